"""The methods that the detection benchmark compares, under one interface."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.scratches.detection import ScratchSettings
from vldm_core.stages.batch import damage_probability, detect_damage, remove_flicker, repair_damage, restore_frames
from vldm_core.stages.settings import StageSettings

from ..baselines import dirt as baselines
from ..baselines import scratches as line_baselines
from .sources.strata import LINE_STRATA, STRATA, Stratum

OURS = "ours"


@dataclass(frozen=True, kw_only=True)
class Masks:
    """What a method found; None where it does not look for that kind of damage.

    Attributes:
        dirt: (T, H, W), 1 = transient damage.
        lines: (T, H, W), 1 = line scratch.
        dirt_probability: (T, H, W), score of transient damage in 0 … 1 for a curve over all thresholds.
        scratch_probability: (T, H, W), score of line scratch, likewise.
    """

    dirt: Tensor | None = None
    lines: Tensor | None = None
    dirt_probability: Tensor | None = None
    scratch_probability: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Detectors:
    """Settings of our detectors.

    Attributes:
        dirt: Of transient damage.
        lines: Of line scratches.
    """

    dirt: DirtSettings
    lines: ScratchSettings


@dataclass(frozen=True, kw_only=True)
class FilmMethod:
    """A way to find and undo damage.

    Attributes:
        description: One line for the report.
        detect: Frames (T, 3, H, W) → masks, with scores where they cost nothing; None for a filter without a mask.
        soften: Frames → scores, where they cost another pass; None where `detect` gives them or there are none.
        repair: Frames and masks → frames (T, 3, H, W); None for a detector only.
        restore: Frames → frames, where finding and repairing run side by side in use; None where one follows the other.
            For measuring time; gives what `repair` gives after `detect`.
        deflicker: Frames → frames with even brightness; None where the method has no such stage.
        detectors: What tells our own methods apart; None for others.
        borrowed: Whether the masks are those of another method, which then is the one to be judged by them.
        strata: Strata it is run on.
    """

    description: str
    detect: Callable[[Tensor], Masks] | None = None
    soften: Callable[[Tensor], Masks] | None = None
    repair: Callable[[Tensor, Masks], Tensor] | None = None
    restore: Callable[[Tensor], Tensor] | None = None
    deflicker: Callable[[Tensor], Tensor] | None = None
    detectors: Callable[[], Detectors] | None = None
    borrowed: bool = False
    strata: tuple[Stratum, ...] = tuple(STRATA)


def _defaults() -> Detectors:
    return Detectors(dirt=DirtSettings(), lines=ScratchSettings())


def _weight_free() -> Detectors:
    return Detectors(dirt=DirtSettings(), lines=ScratchSettings(detector="weight-free"))


def _learned() -> Detectors:
    return Detectors(dirt=DirtSettings(), lines=ScratchSettings(detector="learned"))


def _detect_ours(detectors: Callable[[], Detectors], frames: Tensor) -> Masks:
    chosen = detectors()
    found = detect_damage(frames, dirt=chosen.dirt, lines=chosen.lines, strict=True)
    return Masks(dirt=found.dirt, lines=found.scratch)


def _soften_ours(detectors: Callable[[], Detectors], frames: Tensor) -> Masks:
    chosen = detectors()
    found = damage_probability(frames, dirt=chosen.dirt, lines=chosen.lines, strict=True)
    return Masks(dirt_probability=found.dirt, scratch_probability=found.scratch)


def _repair_ours(frames: Tensor, masks: Masks) -> Tensor:
    return repair_damage(frames, dirt=masks.dirt, scratch=masks.lines, strict=True)


def _restore_ours(detectors: Callable[[], Detectors], frames: Tensor) -> Tensor:
    chosen = detectors()
    settings = replace(StageSettings.no_stages(), dirt=chosen.dirt, lines=chosen.lines)
    # A measurement must not pass over frames that could not be done.
    return restore_frames(frames, settings, strict=True)[0]


def _ours(description: str, detectors: Callable[[], Detectors]) -> FilmMethod:
    return FilmMethod(
        description=description,
        detect=partial(_detect_ours, detectors),
        soften=partial(_soften_ours, detectors),
        repair=_repair_ours,
        restore=partial(_restore_ours, detectors),
        deflicker=partial(remove_flicker, strict=True),
        detectors=detectors,
    )


def _score(strength: Tensor, usual: float) -> Tensor:
    """Map a strength ≥ 0 to 0 … 1 so that the usual threshold falls on 0.5; the order stays."""
    return strength / (strength + usual)


def _detect_sdip(frames: Tensor) -> Masks:
    strength = baselines.sdip_strength(frames)
    usual = baselines.SDIP_THRESHOLD
    return Masks(dirt=(strength > usual).float(), dirt_probability=_score(strength, usual))


def _detect_rod(frames: Tensor) -> Masks:
    strength = baselines.rod_strength(frames)
    return Masks(dirt=(strength > 1).float(), dirt_probability=_score(strength, 1.0))


def _detect_line_vote(frames: Tensor) -> Masks:
    strength = line_baselines.line_integral_strength(frames)
    return Masks(
        lines=line_baselines.detect_line_integral(frames),
        scratch_probability=_score(strength, line_baselines.LINE_INTEGRAL_THRESHOLD),
    )


def _detect_local_extremum(frames: Tensor) -> Masks:
    strength = line_baselines.local_extremum_strength(frames)
    usual = line_baselines.LEAST_DIFFERENCE
    return Masks(lines=(strength > usual).float(), scratch_probability=_score(strength, usual))


def _filled_by(fill: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Masks], Tensor]:
    """Make a repair of a function that fills one mask: it fills whatever is marked."""

    def repair(frames: Tensor, masks: Masks) -> Tensor:
        marked = [mask for mask in (masks.dirt, masks.lines) if mask is not None]
        return fill(frames, sum(marked[1:], marked[0]).clamp(max=1)) if marked else frames

    return repair


_REPAIR_STRATA: tuple[Stratum, ...] = ("transient", "persistent")

METHODS: Mapping[str, FilmMethod] = {
    OURS: _ours("our detectors and repair with their defaults", _defaults),
    "weight_free": _ours("the same with the detector of scratches weight-free", _weight_free),
    "learned": _ours("the same with the detector of scratches learned", _learned),
    "sdip": FilmMethod(
        description="SDIp on DIS flow, threshold 14; mean of the motion-compensated neighbours",
        detect=_detect_sdip,
        repair=_filled_by(baselines.fill_neighbour_mean),
    ),
    "rod": FilmMethod(
        description="rank-ordered differences 25/38/55 on DIS flow; mean of the motion-compensated neighbours",
        detect=_detect_rod,
        repair=_filled_by(baselines.fill_neighbour_mean),
    ),
    "telea": FilmMethod(
        description="SDIp masks; Telea inpainting",
        detect=_detect_sdip,
        repair=_filled_by(baselines.inpaint_telea),
        borrowed=True,
        strata=_REPAIR_STRATA,
    ),
    "navier_stokes": FilmMethod(
        description="SDIp masks; Navier-Stokes inpainting",
        detect=_detect_sdip,
        repair=_filled_by(baselines.inpaint_navier_stokes),
        borrowed=True,
        strata=_REPAIR_STRATA,
    ),
    "median": FilmMethod(
        description="temporal median of three motion-compensated frames, whole picture, no mask",
        repair=lambda frames, _masks: baselines.median_of_three(frames),
        strata=_REPAIR_STRATA,
    ),
    "line_vote": FilmMethod(
        description="column integral z > 6 and vote of 60 % of the frames; detects only",
        detect=_detect_line_vote,
        strata=LINE_STRATA,
    ),
    "local_extremum": FilmMethod(
        description="DeScratch-like row extrema, connected; subtraction of the vertically blurred difference",
        detect=_detect_local_extremum,
        repair=_filled_by(line_baselines.subtract_local_extremum),
        strata=LINE_STRATA,
    ),
}
"""Every method of the benchmark."""

KNOWN_MASK_STRATA = _REPAIR_STRATA
"""Strata in which repairs are compared with the true masks."""

KNOWN_MASK_REPAIRS: Mapping[str, str] = {
    OURS: OURS,
    "telea": "telea",
    "navier_stokes": "navier_stokes",
    "mc_mean": "sdip",
    "median": "median",
    "subtract_blurred": "local_extremum",
}
"""Name in the known-mask table → method whose repair it is."""


def distinct(names: tuple[str, ...]) -> dict[str, str]:
    """Map every name to the first of the names that stands for the same detectors, mostly itself.

    Our defaults are one of the other two, or a mixture; the same work need not be done twice.
    """
    stands_for: dict[str, str] = {}
    seen: dict[Detectors, str] = {}
    for name in names:
        detectors = METHODS[name].detectors
        stands_for[name] = name if detectors is None else seen.setdefault(detectors(), name)
    return stands_for
