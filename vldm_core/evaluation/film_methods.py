"""The methods that the film benchmark compares, under one interface."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..film.dirt import DirtSettings
from ..film.lines import LineSettings
from ..pipeline import detect_damage, remove_flicker, repair_damage
from . import baselines, line_baselines

OURS = "ours"


@dataclass(frozen=True, kw_only=True)
class Masks:
    """What a method found; None where it does not look for that kind of damage.

    Attributes:
        dirt: (T, H, W), 1 = transient damage.
        lines: (T, H, W), 1 = line scratch.
    """

    dirt: Tensor | None = None
    lines: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to find and undo damage.

    Attributes:
        description: One line for the report.
        detect: Frames (T, 3, H, W) → masks; None for a filter without a mask.
        repair: Frames and masks → frames (T, 3, H, W); None for a detector only.
        deflicker: Frames → frames with even brightness; None where the method has no such stage.
    """

    description: str
    detect: Callable[[Tensor], Masks] | None = None
    repair: Callable[[Tensor, Masks], Tensor] | None = None
    deflicker: Callable[[Tensor], Tensor] | None = None


def _detect_ours(frames: Tensor) -> Masks:
    found = detect_damage(frames, dirt=DirtSettings(), lines=LineSettings())
    return Masks(dirt=found.dirt, lines=found.scratch)


def _repair_ours(frames: Tensor, masks: Masks) -> Tensor:
    return repair_damage(frames, dirt=masks.dirt, scratch=masks.lines)


def _detect_sdip(frames: Tensor) -> Masks:
    return Masks(dirt=baselines.detect_sdip(frames))


def _filled_by(fill: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Masks], Tensor]:
    """Make a repair of a function that fills one mask: it fills whatever is marked."""

    def repair(frames: Tensor, masks: Masks) -> Tensor:
        marked = [mask for mask in (masks.dirt, masks.lines) if mask is not None]
        return fill(frames, sum(marked[1:], marked[0]).clamp(max=1)) if marked else frames

    return repair


METHODS: Mapping[str, Method] = {
    OURS: Method(
        description="detect_damage and repair_damage with their defaults; remove_flicker in the flicker stratum",
        detect=_detect_ours,
        repair=_repair_ours,
        deflicker=remove_flicker,
    ),
    "sdip": Method(
        description="SDIp on DIS flow, threshold 14; mean of the motion-compensated neighbours",
        detect=_detect_sdip,
        repair=_filled_by(baselines.fill_neighbour_mean),
    ),
    "rod": Method(
        description="rank-ordered differences 25/38/55 on DIS flow; mean of the motion-compensated neighbours",
        detect=lambda frames: Masks(dirt=baselines.detect_rod(frames)),
        repair=_filled_by(baselines.fill_neighbour_mean),
    ),
    "telea": Method(
        description="SDIp masks; Telea inpainting",
        detect=_detect_sdip,
        repair=_filled_by(baselines.inpaint_telea),
    ),
    "navier_stokes": Method(
        description="SDIp masks; Navier-Stokes inpainting",
        detect=_detect_sdip,
        repair=_filled_by(baselines.inpaint_navier_stokes),
    ),
    "median": Method(
        description="temporal median of three motion-compensated frames, whole picture, no mask",
        repair=lambda frames, masks: baselines.median_of_three(frames),
    ),
    "line_vote": Method(
        description="column integral z > 6 and vote of 60 % of the frames; detects only",
        detect=lambda frames: Masks(lines=line_baselines.detect_line_integral(frames)),
    ),
    "local_extremum": Method(
        description="DeScratch-like row extrema, connected; subtraction of the vertically blurred difference",
        detect=lambda frames: Masks(lines=line_baselines.detect_local_extremum(frames)),
        repair=_filled_by(line_baselines.subtract_local_extremum),
    ),
}
"""Every method of the main table."""

DETECTORS = (OURS, "sdip", "rod", "line_vote", "local_extremum")
"""Methods with a detector of their own."""

KNOWN_MASK_REPAIRS: Mapping[str, str] = {
    OURS: OURS,
    "telea": "telea",
    "navier_stokes": "navier_stokes",
    "mc_mean": "sdip",
    "median": "median",
    "subtract_blurred": "local_extremum",
}
"""Name in the known-mask table → method whose repair it is."""
