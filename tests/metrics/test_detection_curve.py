"""Curves over all thresholds: by hand, and against brute force on tiny maps."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vldm_core.errors import SettingsError
from vldm_core.metrics.detection import score_detection
from vldm_core.metrics.detection_curve import CURVE_THRESHOLDS, MASK_THRESHOLDS, TOLERANCES, count_detections

SHAPE = (2, 7, 9)
FEW = np.array([0.2, 0.5, 0.8], np.float32)
SCORES = hnp.arrays(np.float32, SHAPE, elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.6, 0.8, 1.0]))
LABELS = hnp.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 0, 0, 1, 2]))
MASKS = hnp.arrays(bool, SHAPE, elements=st.sampled_from([False, False, False, True]))


def _around(plane: np.ndarray, tolerance: int):
    """Yield every pixel of a plane with the block of pixels within the tolerance."""
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            top, left = max(row - tolerance, 0), max(column - tolerance, 0)
            yield (row, column), np.s_[top : row + tolerance + 1, left : column + tolerance + 1]


@settings(max_examples=60)
@given(SCORES, LABELS, MASKS)
def test_counts_are_what_brute_force_counts(score, truth, ignore):
    counts = count_detections(
        *map(torch.from_numpy, (score, truth)), labels=2, ignore=torch.from_numpy(ignore), thresholds=FEW
    )
    for tolerance in TOLERANCES:
        for number, threshold in enumerate(FEW):
            found, right, wrong, calm = [0, 0], 0, 0, 0
            for index in range(len(score)):
                marked = score[index] >= threshold
                for place, block in _around(score[index], tolerance):
                    label = truth[index][place]
                    if label and marked[block].any():
                        found[label - 1] += 1
                    near = truth[index][block].any()
                    free = not near and not ignore[index][block].any()
                    right += int(marked[place] and near)
                    wrong += int(marked[place] and free)
                    calm += int(free)
            for label in (0, 1):
                total = int((truth == label + 1).sum())
                expected = found[label] / total if total else math.nan
                assert counts.recall(tolerance, label)[number] == pytest.approx(expected, nan_ok=True)
            expected = right / (right + wrong) if right + wrong else math.nan
            assert counts.precision(tolerance)[number] == pytest.approx(expected, nan_ok=True)
            expected = wrong / calm if calm else math.nan
            assert counts.false_alarm(tolerance)[number] == pytest.approx(expected, nan_ok=True)


@settings(max_examples=40)
@given(MASKS, LABELS, MASKS)
def test_a_mask_scores_as_in_the_metrics(mask, truth, ignore):
    found, real, skipped = (torch.from_numpy(plane) for plane in (mask.astype(np.float32), truth, ignore))
    counts = count_detections(found, real, labels=2, ignore=skipped, thresholds=MASK_THRESHOLDS)
    for tolerance in TOLERANCES:
        score = score_detection(found, (real > 0).float(), tolerance=tolerance, ignore=skipped)
        for curve, expected in (
            (counts.recall(tolerance), score.recall),
            (counts.precision(tolerance), score.precision),
            (counts.f1(tolerance), score.f1),
            (counts.false_alarm(tolerance), score.false_alarm),
        ):
            assert curve[0] == pytest.approx(math.nan if expected is None else expected, nan_ok=True)


def _row(*values: float) -> torch.Tensor:
    return torch.tensor([[values]])


def test_average_precision_by_hand():
    # Far apart from each other: hits at 0.9 and 0.6, a false alarm at 0.8, one true pixel never found.
    score = torch.zeros(1, 1, 40)
    truth = torch.zeros(1, 1, 40, dtype=torch.uint8)
    score[..., 0], score[..., 10], score[..., 20] = 0.9, 0.8, 0.6
    truth[..., 0] = truth[..., 20] = truth[..., 30] = 1
    counts = count_detections(score, truth)
    # Recall 1/3 at precision 1, then 2/3 at precision 2/3.
    assert counts.average_precision(0) == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    at = int(np.flatnonzero(CURVE_THRESHOLDS == 0.5)[0])
    assert counts.recall(0)[at] == pytest.approx(2 / 3)
    assert counts.precision(0)[at] == pytest.approx(2 / 3)
    assert counts.f1(0)[at] == pytest.approx(2 / 3)
    assert counts.recall_at(0.0, 0) == pytest.approx(1 / 3)
    assert counts.recall_at(1 / 37, 0) == pytest.approx(2 / 3)


def test_tolerance_forgives_a_mark_beside_the_truth():
    score, truth = _row(0, 0, 0.9, 0, 0, 0), _row(1, 0, 0, 0, 0, 0).to(torch.uint8)
    counts = count_detections(score, truth, thresholds=MASK_THRESHOLDS)
    assert [counts.recall(t)[0] for t in TOLERANCES] == [0, 0, 1]
    assert [counts.precision(t)[0] for t in TOLERANCES] == [0, 0, 1]
    assert counts.f1(0)[0] == 0


def test_a_perfect_map_has_the_whole_area_and_an_empty_one_none():
    truth = torch.zeros(1, 8, 8, dtype=torch.uint8)
    truth[0, 2:4, 2:4] = 1
    assert count_detections(truth.float(), truth).average_precision(0) == 1
    assert count_detections(torch.zeros(1, 8, 8), truth).average_precision(1) == 0
    empty = count_detections(truth.float(), torch.zeros_like(truth))
    assert empty.average_precision(0) is None and empty.recall_at(0.1, 0) is None


def test_clips_pool_their_pixels():
    one = count_detections(_row(0.9, 0, 0, 0), _row(1, 0, 0, 0).to(torch.uint8))
    two = count_detections(_row(0.0, 0, 0, 0.7), _row(1, 1, 0, 0).to(torch.uint8))
    both = one + two
    at = int(np.flatnonzero(CURVE_THRESHOLDS == 0.5)[0])
    assert both.recall(0)[at] == pytest.approx(1 / 3)
    assert both.precision(0)[at] == pytest.approx(1 / 2)
    with pytest.raises(SettingsError, match="cannot be added"):
        one + count_detections(_row(0.9), _row(1).to(torch.uint8), thresholds=MASK_THRESHOLDS)


def test_shapes_are_checked():
    with pytest.raises(SettingsError, match="differ in shape"):
        count_detections(torch.zeros(1, 4, 4), torch.zeros(1, 4, 5))
