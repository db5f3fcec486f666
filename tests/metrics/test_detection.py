"""Detection scores counted by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vldm_core.errors import SettingsError
from vldm_core.metrics import detection as metrics

MASKS = hnp.arrays(bool, (2, 9, 11))


@pytest.mark.parametrize(("distance", "tolerance", "hit"), [(0, 0, 1), (1, 0, 0), (1, 1, 1), (2, 1, 0), (2, 2, 1)])
def test_tolerance_is_a_chebyshev_distance(distance: int, tolerance: int, hit: int):
    truth, detected = torch.zeros(1, 9, 9), torch.zeros(1, 9, 9)
    truth[0, 4, 4] = 1
    detected[0, 4 + distance, 4 - distance] = 1
    score = metrics.score_detection(detected, truth, tolerance=tolerance)
    assert (score.recall, score.precision, score.f1) == (hit, hit, hit)


def test_detection_scores_counted_by_hand():
    truth, detected = torch.zeros(1, 10, 10), torch.zeros(1, 10, 10)
    truth[0, 2, 2] = truth[0, 7, 7] = 1
    detected[0, 2, 3] = detected[0, 0, 9] = detected[0, 9, 0] = 1
    score = metrics.score_detection(detected, truth, tolerance=1)
    assert score.recall == 0.5
    assert score.precision == pytest.approx(1 / 3)
    assert score.f1 == pytest.approx(0.4)
    assert score.false_alarm == pytest.approx(2 / (100 - 18))


def test_detection_without_damage_or_without_detections():
    nothing, something = torch.zeros(1, 5, 5), torch.ones(1, 5, 5)
    clean = metrics.score_detection(something, nothing)
    assert (clean.recall, clean.precision, clean.f1, clean.false_alarm) == (None, 0, None, 1)
    missed = metrics.score_detection(nothing, something)
    assert (missed.recall, missed.precision, missed.f1, missed.false_alarm) == (0, None, 0, None)


def test_ignored_places_count_neither_way_but_truth_always_does():
    truth, detected, ignore = (torch.zeros(1, 12, 12) for _ in range(3))
    truth[0, 2, 2] = 1
    ignore[0, :, 6] = ignore[0, 2, 2] = 1
    detected[0, 2, 2] = 1
    detected[0, :, 6] = 1
    score = metrics.score_detection(detected, truth, tolerance=1, ignore=ignore)
    assert (score.recall, score.precision, score.f1, score.false_alarm) == (1, 1, 1, 0)


@settings(max_examples=60)
@given(MASKS, MASKS, st.integers(0, 2))
def test_scores_are_shares_and_grow_with_tolerance(detected: np.ndarray, truth: np.ndarray, tolerance: int):
    flagged, real = torch.from_numpy(detected).float(), torch.from_numpy(truth).float()
    near = metrics.score_detection(flagged, real, tolerance=tolerance)
    far = metrics.score_detection(flagged, real, tolerance=tolerance + 1)
    for score in (near, far):
        for value in (score.recall, score.precision, score.f1, score.false_alarm):
            assert value is None or 0 <= value <= 1
    assert (near.recall is None) == (not truth.any())
    if near.recall is not None:
        assert far.recall >= near.recall
    if near.precision is not None:
        assert far.precision >= near.precision


@settings(max_examples=40)
@given(MASKS)
def test_a_perfect_mask_scores_perfectly(truth: np.ndarray):
    real = torch.from_numpy(truth).float()
    score = metrics.score_detection(real, real, tolerance=0)
    assert score.f1 in (None, 1.0)
    assert score.false_alarm in (None, 0.0)


def test_dilation_is_a_square():
    mask = torch.zeros(1, 7, 7)
    mask[0, 3, 0] = 1
    grown = metrics.dilate(mask, 2)
    assert int(grown.sum()) == 15
    assert bool(grown[0, 1:6, 0:3].all())


def test_a_negative_radius_is_refused():
    with pytest.raises(SettingsError, match="0 or more"):
        metrics.dilate(torch.zeros(1, 2, 2), -1)
