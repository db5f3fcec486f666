"""Scores of one method on one clip, and their means: the rows of the film benchmark."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .film_material import LINE_DEPTHS, AgedClip
from .method_worker import MethodRun
from .metrics import (
    dilate,
    flicker_index,
    largest_change_outside,
    psnr,
    psnr_inside,
    score_detection,
    share_changed_outside,
    ssim,
    warp_error,
)

TOLERANCE = 1
"""Pixels; tolerance of all detection scores of the benchmark."""

_FAR = 2
"""Pixels from a line beyond which a mark is taken for another line."""

_LARGEST_PSNR = 99.0
"""Decibels reported for a perfect match, which has no finite PSNR."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The figures of one method. Shares are fractions; None = does not apply to the method or the clip.

    Attributes:
        dirt_recall: Share of dirty pixels found, 1 px tolerance.
        dirt_precision: Share of pixels marked as dirt that are; pixels on a line or faintly touched count neither way.
        dirt_f1: Harmonic mean of the two.
        line_recall: Share of line pixels found, 1 px tolerance.
        line_recall_faint: The same for the line of 6 grey levels.
        line_false_alarm: Share of undamaged pixels marked as line; pixels on dirt or faintly touched count neither
            way, gaps of a line are undamaged.
        line_false_alarm_far: Share of all pixels marked as line more than 2 px away from the course of any line, gaps
            counted as line: lines that are not there, where the figure above also counts marks that are too broad or
            bridge a gap.
        psnr_inside: PSNR inside all true damage, dB, against the film without local damage.
        psnr_dirt: The same inside dirt that is not on a line.
        psnr_lines: The same inside lines that have no dirt on them.
        ssim_inside: Structural similarity inside all true damage.
        psnr_whole: PSNR of the whole picture, dB.
        outside_max: Largest change outside the method's own masks, grey levels; outside the true damage (1 px
            tolerance) for a method without a mask. Before deflicker.
        outside_changed: Share of undamaged pixels changed by more than 2 grey levels: what false alarms cost.
        flicker: Overall flicker index of the result, after deflicker where the method has one.
        flicker_local: Local flicker index, likewise.
        warp_error: Warp error of the result, grey levels, after deflicker where the method has one.
        seconds_per_frame: Wall time of detection and repair.
        peak_mb: Highest resident memory of the method's process, MB.
    """

    dirt_recall: float | None = None
    dirt_precision: float | None = None
    dirt_f1: float | None = None
    line_recall: float | None = None
    line_recall_faint: float | None = None
    line_false_alarm: float | None = None
    line_false_alarm_far: float | None = None
    psnr_inside: float | None = None
    psnr_dirt: float | None = None
    psnr_lines: float | None = None
    ssim_inside: float | None = None
    psnr_whole: float | None = None
    outside_max: float | None = None
    outside_changed: float | None = None
    flicker: float | None = None
    flicker_local: float | None = None
    warp_error: float | None = None
    seconds_per_frame: float | None = None
    peak_mb: float | None = None


@dataclass(frozen=True, kw_only=True)
class RepairScores:
    """Repair with the true masks: PSNR in dB inside the damage.

    Attributes:
        psnr_inside: Inside all damage.
        psnr_dirt: Inside dirt that is not on a line.
        psnr_lines: Inside lines that have no dirt on them.
        psnr_line_depths: Inside the lines of 6, 10 and 20 grey levels, one each.
        outside_max: Largest change outside the masks, grey levels.
    """

    psnr_inside: float | None
    psnr_dirt: float | None
    psnr_lines: float | None
    psnr_line_depths: tuple[float | None, ...]
    outside_max: float


def score_restoration(clip: AgedClip, run: MethodRun) -> Scores:
    """Score a method that ran with its own masks."""
    lines = clip.lines > 0
    damage = clip.dirt | lines
    found: dict[str, float | None] = {"seconds_per_frame": run.seconds / len(clip.aged), "peak_mb": run.peak_mb}
    if run.masks.dirt is not None:
        score = score_detection(run.masks.dirt, clip.dirt, tolerance=TOLERANCE, ignore=lines | clip.faint)
        found |= {"dirt_recall": score.recall, "dirt_precision": score.precision, "dirt_f1": score.f1}
    if run.masks.lines is not None:
        score = score_detection(run.masks.lines, lines, tolerance=TOLERANCE, ignore=clip.dirt | clip.faint)
        found |= {"line_recall": score.recall, "line_false_alarm": score.false_alarm}
        away = (run.masks.lines > 0.5) & ~dilate(clip.courses, _FAR)
        found["line_false_alarm_far"] = float(away.float().mean())
        found["line_recall_faint"] = score_detection(run.masks.lines, clip.lines == 1, tolerance=TOLERANCE).recall
    if run.output is None:
        return Scores(**found)
    own = [mask for mask in (run.masks.dirt, run.masks.lines) if mask is not None]
    allowed = torch.stack(own).amax(dim=0) if own else dilate(damage, TOLERANCE).float()
    return Scores(
        **found,
        **_picture(clip, run.output),
        outside_max=largest_change_outside(run.output, clip.aged, allowed),
        outside_changed=share_changed_outside(run.output, clip.aged, dilate(damage, TOLERANCE).float()),
        **_temporal(clip, run.output if run.even is None else run.even),
    )


def score_untouched(clip: AgedClip) -> Scores:
    """Score the damaged film itself, the row that every method is to be read against."""
    return Scores(**_picture(clip, clip.aged), **_temporal(clip, clip.aged), outside_max=0.0, outside_changed=0.0)


def score_undamaged(clip: AgedClip) -> Scores:
    """Score the film without local damage: its temporal figures are what a perfect repair reaches."""
    return Scores(**_temporal(clip, clip.undamaged))


def score_repair(clip: AgedClip, output: Tensor) -> RepairScores:
    """Score a repair that was given the true masks."""
    lines = clip.lines > 0
    damage = clip.dirt | lines
    return RepairScores(
        psnr_inside=finite(psnr_inside(output, clip.undamaged, damage.float())),
        psnr_dirt=finite(psnr_inside(output, clip.undamaged, (clip.dirt & ~lines).float())),
        psnr_lines=finite(psnr_inside(output, clip.undamaged, (lines & ~clip.dirt).float())),
        psnr_line_depths=tuple(
            finite(psnr_inside(output, clip.undamaged, ((clip.lines == number + 1) & ~clip.dirt).float()))
            for number in range(len(LINE_DEPTHS))
        ),
        outside_max=largest_change_outside(output, clip.aged, damage.float()),
    )


def mean_scores(rows: Iterable[Scores]) -> Scores:
    """Average figure by figure over the clips where it applies; the peak is the highest."""
    rows = list(rows)
    means = {field.name: mean_of([getattr(row, field.name) for row in rows]) for field in fields(Scores)}
    for name in ("outside_max", "peak_mb"):
        seen = [getattr(row, name) for row in rows if getattr(row, name) is not None]
        means[name] = max(seen) if seen else None
    return Scores(**means)


def mean_repair(rows: Sequence[RepairScores]) -> RepairScores:
    """Average figure by figure over the clips where it applies; the change outside is the largest."""
    return RepairScores(
        psnr_inside=mean_of([row.psnr_inside for row in rows]),
        psnr_dirt=mean_of([row.psnr_dirt for row in rows]),
        psnr_lines=mean_of([row.psnr_lines for row in rows]),
        psnr_line_depths=tuple(
            mean_of([row.psnr_line_depths[number] for row in rows]) for number in range(len(LINE_DEPTHS))
        ),
        outside_max=max(row.outside_max for row in rows),
    )


def mean_of(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there, or None."""
    seen = [value for value in values if value is not None]
    return sum(seen) / len(seen) if seen else None


def finite(decibels: float | None) -> float | None:
    """Cap a PSNR so that JSON can hold it."""
    return None if decibels is None else min(decibels, _LARGEST_PSNR) if math.isfinite(decibels) else _LARGEST_PSNR


def _picture(clip: AgedClip, output: Tensor) -> dict[str, float | None]:
    lines = clip.lines > 0
    damage = (clip.dirt | lines).float()
    return {
        "psnr_inside": finite(psnr_inside(output, clip.undamaged, damage)),
        "psnr_dirt": finite(psnr_inside(output, clip.undamaged, (clip.dirt & ~lines).float())),
        "psnr_lines": finite(psnr_inside(output, clip.undamaged, (lines & ~clip.dirt).float())),
        "ssim_inside": ssim(output, clip.undamaged, damage),
        "psnr_whole": finite(psnr(output, clip.undamaged)),
    }


def _temporal(clip: AgedClip, output: Tensor) -> dict[str, float | None]:
    flicker = flicker_index(output, clip.flow, clip.visible)
    return {
        "flicker": flicker.overall,
        "flicker_local": flicker.local,
        "warp_error": warp_error(output, clip.flow, clip.visible),
    }
