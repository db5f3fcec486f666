"""The parts of a mask are what OpenCV finds, measured on the marked pixels alone."""

import cv2
import numpy as np
import pytest

from vldm_core.film.dirt.parts import Parts


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_parts_are_measured_as_on_whole_planes(share: float) -> None:
    stream = np.random.default_rng(2)
    mask = stream.random((40, 60)) < share
    values = stream.normal(0, 1, mask.shape)
    count, labels, statistics, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    parts = Parts(mask)
    own = values.ravel()[parts.places]
    assert parts.count == count and np.array_equal(parts.labels, labels)
    assert np.array_equal(parts.areas[1:], statistics[1:, cv2.CC_STAT_AREA])
    assert np.array_equal(parts.boxes[1:], statistics[1:, : cv2.CC_STAT_AREA])
    assert np.allclose(parts.centres[1:], centres[1:])
    for number in range(1, count):
        there = labels == number
        assert np.isclose(parts.means(own)[number], values[there].mean())
        assert np.isclose(parts.medians(own)[number], np.median(values[there]))
        assert np.isclose(parts.shares(own > 0)[number], (values[there] > 0).mean())
        assert np.array_equal(parts.labels[parts.box(number)] == number, there[parts.box(number)])
    assert np.array_equal(parts.spread(parts.areas > 2), mask & (parts.areas > 2)[labels])
