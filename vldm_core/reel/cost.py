"""How long each pass over a reel takes beside the others, so that one progress bar runs evenly through all of them."""

from ..stages.plan import StagePlan
from ..stages.stage import StageCost
from .restore import ReelSettings

FIND_SHOTS = "find shots"
ANALYSE = "analyse"
RESTORE = "restore"
WRITE = "write"

_SHOTS_MS = 5.0
"""Time to look for cuts in a frame of 480×360 on one processor core; see `StageCost`."""
_EVERY_FRAME = StageCost(analyse=5.0, restore=15.0)
"""Time to read, convert and keep a frame, whatever the stages."""
_WRITE_MS = 10.0
"""Time to read a frame that was kept, and write it into the film."""


def pass_costs(settings: ReelSettings, *, on_card: bool = False) -> dict[str, float]:
    """Estimate how the time of `restore_reel` is shared out among its passes.

    Args:
        settings: The stages that run.
        on_card: Whether pre-restoration runs on a graphics card.

    Returns:
        The names of the passes, as `restore_reel` reports them, in order, each with its share of the time; the shares
        add up to 1.
    """
    costs = [_EVERY_FRAME, *(stage.cost for stage in StagePlan.from_settings(settings).stages)]
    analyse = sum(cost.analyse for cost in costs)
    restore = sum(cost.restore if cost.on_card is None or not on_card else cost.on_card for cost in costs)
    total = _SHOTS_MS + analyse + restore + _WRITE_MS
    return {
        FIND_SHOTS: _SHOTS_MS / total,
        ANALYSE: analyse / total,
        RESTORE: restore / total,
        WRITE: _WRITE_MS / total,
    }
