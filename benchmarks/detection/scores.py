"""Scores of one method on one clip, and what becomes of them over many: the figures of the detection benchmark.

Detections are counted (`detection_curve`) and pooled: every pixel of every clip weighs alike. Figures of repaired
pictures are averaged clip by clip.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from operator import add

import numpy as np
import torch
from torch import Tensor

from vldm_core.metrics.detection import dilate
from vldm_core.metrics.detection_curve import (
    CURVE_THRESHOLDS,
    MASK_THRESHOLDS,
    TOLERANCES,
    DetectionCounts,
    count_detections,
)
from vldm_core.metrics.fidelity import decibels, largest_change_outside, psnr, share_changed_outside, ssim_map
from vldm_core.metrics.temporal import flicker_index, warp_error

from .methods import Masks
from .sources.aged import AgedClip
from .sources.strata import DIRT_KINDS, LINE_KINDS

TOLERANCE = 1
"""Pixels; tolerance of the figures that are given for one tolerance only."""

ALLOWED_ALARM = 0.001
"""Share of undamaged pixels marked at which recall is compared."""

_FAR = 2
"""Pixels from a line beyond which a mark is taken for another line."""

_LARGEST_PSNR = 99.0
"""Decibels reported for a perfect match, which has no finite PSNR."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionTally:
    """What a method marked on some clips, as counts that add up.

    Attributes:
        mask: Counts of its mask.
        soft: Counts of its scores, or None where it has none.
        far: Pixels marked more than 2 px away from all damage of the kind, gaps of lines counted as damage.
        pixels: Pixels of the clips.
    """

    mask: DetectionCounts
    soft: DetectionCounts | None
    far: int
    pixels: int

    def __add__(self, other: "DetectionTally") -> "DetectionTally":
        """Pool two clips."""
        soft = None if self.soft is None or other.soft is None else self.soft + other.soft
        return DetectionTally(
            mask=self.mask + other.mask, soft=soft, far=self.far + other.far, pixels=self.pixels + other.pixels
        )


@dataclass(frozen=True, kw_only=True)
class DetectionFigures:
    """How well damage of one kind is found. Shares are fractions; None = does not apply.

    Lists go by tolerance: 0, 1 and 2 px. Pixels touched by damage of the other kind, or faintly, count neither way.

    Attributes:
        recall: Share of damaged pixels found.
        precision: Share of marked pixels that are damaged.
        f1: Harmonic mean of the two.
        false_alarm: Share of undamaged pixels marked; gaps of a line are undamaged.
        false_alarm_far: Share of all pixels marked more than 2 px away from the damage, gaps of a line counted as line:
            lines that are not there, where the figure above also counts marks that are too broad or bridge a gap.
        recall_by_kind: Kind of damage → share found, 1 px tolerance.
        average_precision: Area under the precision-recall curve of the scores.
        best_f1: Highest F1 on that curve, 1 px tolerance.
        best_threshold: Highest score at which that is.
        recall_at_alarm: Highest recall on that curve with at most 0.1 % of undamaged pixels marked, 1 px tolerance.
    """

    recall: tuple[float | None, ...]
    precision: tuple[float | None, ...]
    f1: tuple[float | None, ...]
    false_alarm: tuple[float | None, ...]
    false_alarm_far: float
    recall_by_kind: Mapping[str, float | None]
    average_precision: tuple[float | None, ...] | None
    best_f1: float | None
    best_threshold: float | None
    recall_at_alarm: float | None


@dataclass(frozen=True, kw_only=True)
class RepairFigures:
    """What a repaired film is like. PSNR in dB and similarity against the film without local damage.

    Attributes:
        psnr: Part of the damage → PSNR inside. "all"; "transient" and its kinds, where they are not on a line; "lines"
            and each depth, where there is no dirt on them.
        ssim: The same of structural similarity.
        psnr_whole: PSNR of the whole picture.
        outside_max: Largest change outside the masks that the method worked with, grey levels; outside the true damage
            (1 px tolerance) for a method without a mask.
        outside_changed: Share of undamaged pixels changed by more than 2 grey levels: what false alarms cost.
        flicker: Overall flicker index, as a fraction.
        flicker_local: Local flicker index.
        warp_error: Warp error, grey levels.
    """

    psnr: Mapping[str, float | None]
    ssim: Mapping[str, float | None]
    psnr_whole: float | None
    outside_max: float | None
    outside_changed: float | None
    flicker: float | None
    flicker_local: float | None
    warp_error: float | None


def tally_dirt(clip: AgedClip, masks: Masks) -> DetectionTally | None:
    """Count what a method found of the transient damage of a clip; None where it did not look."""
    if masks.dirt is None:
        return None
    ignore = (clip.lines > 0) | clip.faint
    around = dilate(clip.dirt > 0, _FAR) | dilate(ignore, _FAR)
    return _tally(masks.dirt, masks.dirt_probability, clip.dirt, len(DIRT_KINDS), ignore, around)


def tally_lines(clip: AgedClip, masks: Masks) -> DetectionTally | None:
    """Count what a method found of the lines of a clip; None where it did not look, or there are none to find."""
    if masks.lines is None or not bool(clip.courses.any()):
        return None
    ignore = (clip.dirt > 0) | clip.faint
    around = dilate(clip.courses, _FAR)
    return _tally(masks.lines, masks.scratch_probability, clip.lines, len(LINE_KINDS), ignore, around)


def _tally(
    mask: Tensor, scores: Tensor | None, truth: Tensor, labels: int, ignore: Tensor, around: Tensor
) -> DetectionTally:
    def count(plane: Tensor, thresholds: np.ndarray) -> DetectionCounts:
        return count_detections(plane, truth, labels=labels, ignore=ignore, thresholds=thresholds)

    return DetectionTally(
        mask=count(mask, MASK_THRESHOLDS),
        soft=None if scores is None else count(scores, CURVE_THRESHOLDS),
        far=int(((mask > 0.5) & ~around).sum()),
        pixels=mask.numel(),
    )


def pooled(tallies: Iterable[DetectionTally | None]) -> DetectionTally | None:
    """Add up the counts that are there; None without any."""
    seen = [tally for tally in tallies if tally is not None]
    return reduce(add, seen) if seen else None


def detection_figures(tally: DetectionTally, kinds: Sequence[str]) -> DetectionFigures:
    """Turn counts into figures.

    Args:
        tally: The counts.
        kinds: Names of the labels.
    """
    mask, soft = tally.mask, tally.soft
    by_kind = {kind: _number(mask.recall(TOLERANCE, label)[0]) for label, kind in enumerate(kinds)}
    best = best_at = alarm = None
    if soft is not None and not np.isnan(soft.f1(TOLERANCE)).any():
        curve = soft.f1(TOLERANCE)
        # The highest of several thresholds that do as well.
        top = int(np.flatnonzero(curve == curve.max())[-1])
        best, best_at = float(curve[top]), float(soft.thresholds[top])
        alarm = soft.recall_at(ALLOWED_ALARM, TOLERANCE)
    return DetectionFigures(
        recall=tuple(_number(mask.recall(tolerance)[0]) for tolerance in TOLERANCES),
        precision=tuple(_number(mask.precision(tolerance)[0]) for tolerance in TOLERANCES),
        f1=tuple(_number(mask.f1(tolerance)[0]) for tolerance in TOLERANCES),
        false_alarm=tuple(_number(mask.false_alarm(tolerance)[0]) for tolerance in TOLERANCES),
        false_alarm_far=tally.far / tally.pixels,
        recall_by_kind=by_kind,
        average_precision=None if soft is None else tuple(map(soft.average_precision, TOLERANCES)),
        best_f1=best,
        best_threshold=best_at,
        recall_at_alarm=alarm,
    )


def repair_figures(
    clip: AgedClip, output: Tensor, masks: Masks | None = None, *, shown: Tensor | None = None
) -> RepairFigures:
    """Score a repaired clip.

    Args:
        clip: The clip.
        output: (T, 3, H, W), the repair.
        masks: What the repair was allowed to change; None, or no masks in it: it had none.
        shown: (T, 3, H, W) for the temporal figures, where a later stage changed the output; None is the output.
    """
    damage = clip.damage
    known = [] if masks is None else [mask for mask in (masks.dirt, masks.lines) if mask is not None]
    around = dilate(damage, TOLERANCE).float()
    allowed = torch.stack(known).amax(dim=0) if known else around
    error = (output - clip.undamaged).square().mean(dim=1)
    likeness = ssim_map(output, clip.undamaged)
    parts = _parts(clip)
    shown = output if shown is None else shown
    flicker = flicker_index(shown, clip.flow, clip.visible)
    return RepairFigures(
        psnr={name: _decibels(error[part]) for name, part in parts.items()},
        ssim={name: float(likeness[part].mean()) if bool(part.any()) else None for name, part in parts.items()},
        psnr_whole=finite(psnr(output, clip.undamaged)),
        outside_max=largest_change_outside(output, clip.aged, allowed),
        outside_changed=share_changed_outside(output, clip.aged, around),
        flicker=flicker.overall,
        flicker_local=flicker.local,
        warp_error=warp_error(shown, clip.flow, clip.visible),
    )


def reference_figures(clip: AgedClip, film: Tensor) -> RepairFigures:
    """Score a film that no repair made: how near one can come, what a change outside the masks is does not apply."""
    figures = repair_figures(clip, film)
    values = {field.name: getattr(figures, field.name) for field in fields(RepairFigures)}
    return RepairFigures(**values | {"outside_max": None, "outside_changed": None})


def mean_repair(rows: Sequence[RepairFigures]) -> RepairFigures:
    """Average figure by figure over the clips where it applies; the change outside is the largest."""
    largest = [row.outside_max for row in rows if row.outside_max is not None]

    def mean(name: str) -> float | None:
        return mean_of(getattr(row, name) for row in rows)

    def mean_parts(name: str) -> dict[str, float | None]:
        parts = dict.fromkeys(part for row in rows for part in getattr(row, name))
        return {part: mean_of(getattr(row, name).get(part) for row in rows) for part in parts}

    return RepairFigures(
        psnr=mean_parts("psnr"),
        ssim=mean_parts("ssim"),
        psnr_whole=mean("psnr_whole"),
        outside_max=max(largest) if largest else None,
        outside_changed=mean("outside_changed"),
        flicker=mean("flicker"),
        flicker_local=mean("flicker_local"),
        warp_error=mean("warp_error"),
    )


def mean_of(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there, or None."""
    seen = [value for value in values if value is not None]
    return sum(seen) / len(seen) if seen else None


def finite(decibels: float | None) -> float | None:
    """Cap a PSNR so that JSON can hold it."""
    return None if decibels is None else min(decibels, _LARGEST_PSNR) if math.isfinite(decibels) else _LARGEST_PSNR


def _parts(clip: AgedClip) -> dict[str, Tensor]:
    """The parts of the damage that are looked at apart, (T, H, W) bool each."""
    dirty, lined = clip.dirt > 0, clip.lines > 0
    parts = {"all": dirty | lined, "transient": dirty & ~lined, "lines": lined & ~dirty}
    parts |= {kind: (clip.dirt == number + 1) & ~lined for number, kind in enumerate(DIRT_KINDS)}
    parts |= {kind: (clip.lines == number + 1) & ~dirty for number, kind in enumerate(LINE_KINDS)}
    return parts


def _decibels(squares: Tensor) -> float | None:
    if not squares.numel():
        return None
    return finite(decibels(float(squares.mean(dtype=torch.float64))))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
