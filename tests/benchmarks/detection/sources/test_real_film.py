"""Measuring the known line of a real film."""

import numpy as np
import pytest
import torch

from benchmarks.common.material import read_film
from benchmarks.detection.sources import real_film


def _film_with_line(depth: float) -> torch.Tensor:
    """Moving noise, 368×480, with a dark line where the San Francisco film has one."""
    rng = np.random.default_rng(0)
    film = torch.from_numpy(rng.normal(0.5, 0.02, (4, 1, 368, 480)).astype(np.float32)).expand(-1, 3, -1, -1).clone()
    film[:, :, real_film.LINE_ROWS[0] : real_film.LINE_ROWS[1], 287:289] -= depth / 255
    return film


def test_depth_of_the_real_line_is_measured_and_its_removal_too():
    before, after = _film_with_line(4.0), _film_with_line(0.5)
    mask = torch.zeros(4, 368, 480)
    mask[:3, 30:200, 286:289] = 1
    mask[3, 30:100, 286:289] = 1
    result = real_film.measure_line(before, after, mask)
    assert result.depth_before == pytest.approx(4.0, abs=0.4)
    assert result.depth_after == pytest.approx(0.5, abs=0.4)
    assert result.depth_ratio == pytest.approx(result.depth_after / result.depth_before)
    assert (result.frames, result.frames_detected) == (4, 3)
    assert result.rows_covered == pytest.approx((3 * 170 + 70) / 4 / 308)
    assert result.mask_share == pytest.approx((3 * 170 + 70) * 3 / 4 / 368 / 480)


def test_a_mask_beside_the_line_does_not_count():
    mask = torch.zeros(1, 368, 480)
    mask[:, :, 290:300] = 1
    mask[:, :, :286] = 1
    assert float(real_film.rows_touched(mask, real_film.LINE_COLUMNS, real_film.LINE_ROWS)) == 0


def test_the_real_line_is_there(shared_data):
    film = read_film(shared_data("film/san_francisco_1906.mkv"))
    depths = real_film.line_depths(film, real_film.LINE_COLUMNS, real_film.LINE_ROWS)
    assert len(depths) == 49
    assert 2 < float(depths.mean()) < 4
    elsewhere = real_film.line_depths(film, (240, 241), real_film.LINE_ROWS)
    assert abs(float(elsewhere.mean())) < 0.5
