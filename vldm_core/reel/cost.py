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


SAMPLE = "sample"
PRIOR = "restore with prior"

_SAMPLE_MS = 120_000.0
"""Time to sample a frame with a Stable Diffusion model in 20 steps on two processor cores: 6 s a step at 512×512."""
_SAMPLE_ON_CARD_MS = 500.0
"""The same on a graphics card."""


def pass_costs(settings: ReelSettings, *, on_card: bool = False, prior: bool = False) -> dict[str, float]:
    """Estimate how the time of `restore_reel`, or of `restore_film_with_prior`, is shared out among its passes.

    Args:
        settings: The stages that run.
        on_card: Whether networks run on a graphics card.
        prior: Whether a prior follows.

    Returns:
        The names of the passes, as they are reported, in order, each with its share of the time; the shares
        add up to 1.
    """
    costs = [_EVERY_FRAME, *(stage.cost for stage in StagePlan.from_settings(settings).stages)]
    analyse = sum(cost.analyse for cost in costs)
    restore = sum(cost.restore if cost.on_card is None or not on_card else cost.on_card for cost in costs)
    times = {FIND_SHOTS: _SHOTS_MS, ANALYSE: analyse, RESTORE: restore, WRITE: _WRITE_MS}
    if prior:
        times |= {SAMPLE: _SAMPLE_ON_CARD_MS if on_card else _SAMPLE_MS, PRIOR: _WRITE_MS}
    total = sum(times.values())
    return {name: time / total for name, time in times.items()}
