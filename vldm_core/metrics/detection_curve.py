"""Precision and recall of a soft map over a fixed list of thresholds, with a spatial tolerance, in constant memory.

A threshold marks every pixel whose score reaches it. A true pixel is found if a marked pixel lies within the tolerance
(Chebyshev distance), a marked pixel is right if a true pixel does. Both follow exactly from histograms of the scores,
one entry per threshold: the best score around every true pixel says from which threshold on it is found, and the score
of every pixel says from which on it is marked. Histograms add up, so figures over many clips pool all their pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import SettingsError

TOLERANCES = (0, 1, 2)
"""Pixels; every count is made for each of them."""

_REACH = 9.2
_STEPS = 128

CURVE_THRESHOLDS: NDArray[np.float32] = (1 / (1 + np.exp(-np.linspace(-_REACH, _REACH, 2 * _STEPS + 1)))).astype(
    np.float32
)
"""Thresholds 0.0001 … 0.9999, evenly spaced on a logistic scale, 0.5 in the middle."""

MASK_THRESHOLDS: NDArray[np.float32] = np.array([0.5], np.float32)
"""For a map that is a mask already."""

Counts = NDArray[np.int64]
Curve = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionCounts:
    """Pixels by the number of thresholds that their score reaches: entry k of a histogram reaches the first k.

    Attributes:
        thresholds: (K,) rising.
        found: (tolerances, labels, K + 1) true pixels of each label, by the best score within the tolerance.
        right: (tolerances, K + 1) pixels with truth within the tolerance, by their own score.
        wrong: (tolerances, K + 1) pixels without, by their own score.
    """

    thresholds: NDArray[np.float32]
    found: Counts
    right: Counts
    wrong: Counts

    def __add__(self, other: "DetectionCounts") -> "DetectionCounts":
        """Pool the pixels of two clips.

        Raises:
            SettingsError: They were counted with other thresholds or labels.
        """
        if self.found.shape != other.found.shape or not np.array_equal(self.thresholds, other.thresholds):
            raise SettingsError("counts with different thresholds or labels cannot be added; count them alike")
        return DetectionCounts(
            thresholds=self.thresholds,
            found=self.found + other.found,
            right=self.right + other.right,
            wrong=self.wrong + other.wrong,
        )

    def recall(self, tolerance: int, label: int | None = None) -> Curve:
        """Return the share of true pixels found per threshold, (K,), NaN where nothing is true.

        Args:
            tolerance: One of `TOLERANCES`.
            label: Only the true pixels of this label, counted from 0.
        """
        found = self.found[tolerance]
        histogram = found.sum(axis=0) if label is None else found[label]
        return _ratio(_reaching(histogram), np.full(len(self.thresholds), histogram.sum()))

    def precision(self, tolerance: int) -> Curve:
        """Return the share of marked pixels that are right per threshold, (K,), NaN where nothing is marked."""
        right, wrong = _reaching(self.right[tolerance]), _reaching(self.wrong[tolerance])
        return _ratio(right, right + wrong)

    def f1(self, tolerance: int) -> Curve:
        """Return the harmonic mean of recall and precision, (K,), NaN where nothing is true, 0 where none is hit."""
        recall, precision = self.recall(tolerance), np.nan_to_num(self.precision(tolerance))
        both = recall + precision
        return np.where(np.isnan(recall), np.nan, _ratio(2 * recall * precision, np.where(both == 0, 1.0, both)))

    def false_alarm(self, tolerance: int) -> Curve:
        """Return the share of undamaged pixels that are marked, (K,), NaN without undamaged pixels."""
        histogram = self.wrong[tolerance]
        return _ratio(_reaching(histogram), np.full(len(self.thresholds), histogram.sum()))

    def average_precision(self, tolerance: int) -> float | None:
        """Return the area under the precision-recall curve, Σ (R_k - R_(k+1)) P_k; None where nothing is true.

        Pixels that no threshold marks add nothing, so a map that never finds half of the truth stays below 0.5.
        """
        recall, precision = self.recall(tolerance), np.nan_to_num(self.precision(tolerance))
        if np.isnan(recall).any():
            return None
        return float(((recall - np.append(recall[1:], 0.0)) * precision).sum())

    def recall_at(self, false_alarm: float, tolerance: int) -> float | None:
        """Return the highest recall at no more than a share of false alarms; None where nothing is true."""
        recall = self.recall(tolerance)
        if np.isnan(recall).any():
            return None
        allowed = np.nan_to_num(self.false_alarm(tolerance)) <= false_alarm
        return float(recall[allowed].max()) if allowed.any() else 0.0


def count_detections(
    score: Tensor,
    truth: Tensor,
    *,
    labels: int = 1,
    ignore: Tensor | None = None,
    thresholds: NDArray[np.float32] = CURVE_THRESHOLDS,
) -> DetectionCounts:
    """Count for every threshold and tolerance what a soft map finds, marks rightly and marks wrongly.

    Args:
        score: (T, H, W) in 0 … 1.
        truth: (T, H, W) integers: 0 where undamaged, else the label of the damage, 1 … `labels`.
        labels: Kinds of damage told apart.
        ignore: Optional (T, H, W) bool: a mark within the tolerance of these pixels counts neither as right nor as
            wrong, unless truth is within the tolerance too. True pixels always count.
        thresholds: (K,) rising, in 0 … 1, above 0.

    Raises:
        SettingsError: The shapes differ.
    """
    if score.shape != truth.shape or (ignore is not None and ignore.shape != truth.shape):
        raise SettingsError(
            f"score {tuple(score.shape)}, truth {tuple(truth.shape)} and what is ignored differ in shape; "
            "all must be (T, H, W) of one clip"
        )
    size = len(thresholds) + 1
    found = np.zeros((len(TOLERANCES), labels, size), np.int64)
    right, wrong = (np.zeros((len(TOLERANCES), size), np.int64) for _ in range(2))
    for index in range(len(score)):
        reached = _levels(score[index].numpy(), thresholds)
        kinds = truth[index].numpy()
        real = (kinds > 0).astype(np.uint8)
        skipped = None if ignore is None else ignore[index].numpy().astype(np.uint8)
        for number, tolerance in enumerate(TOLERANCES):
            kernel = np.ones((2 * tolerance + 1, 2 * tolerance + 1), np.uint8)
            best = cv2.dilate(reached, kernel)
            near = cv2.dilate(real, kernel) > 0
            calm = ~near if skipped is None else ~near & (cv2.dilate(skipped, kernel) == 0)
            for label in range(labels):
                found[number, label] += np.bincount(best[kinds == label + 1], minlength=size)
            right[number] += np.bincount(reached[near], minlength=size)
            wrong[number] += np.bincount(reached[calm], minlength=size)
    return DetectionCounts(thresholds=thresholds, found=found, right=right, wrong=wrong)


def _levels(score: NDArray, thresholds: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Number of thresholds that every pixel reaches, (H, W)."""
    result = np.zeros(score.shape, np.uint16)
    marked = score >= thresholds[0]
    result[marked] = np.searchsorted(thresholds, score[marked].astype(np.float32), side="right")
    return result


def _reaching(histogram: Counts) -> Counts:
    """Number of pixels that reach each threshold, (K,)."""
    return np.cumsum(histogram[::-1])[::-1][1:]


def _ratio(part: NDArray, whole: NDArray) -> Curve:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
