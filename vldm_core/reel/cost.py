"""How long each pass over a reel takes beside the others, so that one progress bar runs evenly through all of them."""

from dataclasses import dataclass

from .restore import ReelSettings

FIND_SHOTS = "find shots"
ANALYSE = "analyse"
RESTORE = "restore"

# A network on a graphics card, against the same on a processor core or two.
_CARD_SPEED = 15.0


@dataclass(frozen=True)
class _Cost:
    """Time for one frame in the two passes after the shots are found, in ms for 480×360 on one processor core."""

    analyse: float = 0.0
    restore: float = 0.0


# Measured with every stage alone on the demonstration film. Only their relation counts, which hardly changes with the
# machine and with the size of the picture.
_SHOTS_MS = 20.0
_EVERY_FRAME = _Cost(analyse=5.0, restore=15.0)
_LINES = _Cost(analyse=105.0, restore=275.0)
_FLICKER = _Cost(analyse=100.0, restore=50.0)
_STABILISE = _Cost(analyse=25.0, restore=10.0)
_DIRT = _Cost(restore=520.0)
_PRERESTORE = _Cost(restore=775.0)


def pass_costs(settings: ReelSettings, *, on_card: bool = False) -> dict[str, float]:
    """Estimate how the time of `restore_film` is shared out among its passes.

    Args:
        settings: The stages that run.
        on_card: Whether pre-restoration runs on a graphics card.

    Returns:
        The names of the passes, as `restore_film` reports them, in order, each with its share of the time; the shares
        add up to 1.
    """
    parts = [_EVERY_FRAME]
    parts += [_LINES] if settings.lines is not None else []
    parts += [_FLICKER] if settings.flicker is not None else []
    parts += [_STABILISE] if settings.stabilise is not None else []
    parts += [_DIRT] if settings.dirt is not None else []
    analyse, restore = sum(part.analyse for part in parts), sum(part.restore for part in parts)
    if settings.prerestore is not None:
        restore += _PRERESTORE.restore / (_CARD_SPEED if on_card else 1.0)
    total = _SHOTS_MS + analyse + restore
    return {FIND_SHOTS: _SHOTS_MS / total, ANALYSE: analyse / total, RESTORE: restore / total}
