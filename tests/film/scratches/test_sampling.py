"""Values between pixels along a line."""

import numpy as np

from vldm_core.film.scratches.sampling import sampled, sampled_around


def test_a_ramp_is_read_exactly_and_goes_on_as_it_ends() -> None:
    rows = np.stack([np.arange(9.0), 20 - 2 * np.arange(9.0)]).astype(np.float32)
    x = np.array([[0.0, 0.003, 4.37, 7.9, -3.0, 30.0]] * 2)
    found = sampled(rows, x)
    assert found.shape == (2, 6)
    inside, ends = found[:, :4], found[:, 4:]
    assert np.allclose(inside[0], x[0, :4], atol=1e-6) and np.allclose(inside[1], 20 - 2 * x[1, :4], atol=1e-6)
    assert np.allclose(ends, [[0, 8], [20, 4]], atol=2.1e-3)


def test_every_row_is_read_at_its_own_places() -> None:
    stream = np.random.default_rng(0)
    values = stream.normal(size=(3, 4, 11)).astype(np.float32)
    x = stream.uniform(0, 9.9, (3, 4, 5))
    wanted = [[np.interp(x[t, b], np.arange(11), values[t, b]) for b in range(4)] for t in range(3)]
    assert np.allclose(sampled(values, x), wanted, atol=1e-6)


def test_whole_pixels_around_a_place_are_read_like_single_ones() -> None:
    stream = np.random.default_rng(1)
    values = stream.normal(size=(3, 4, 11)).astype(np.float32)
    x = stream.uniform(-3, 14, (3, 4))
    found = sampled_around(values, x, 2)
    assert found.dtype == np.float32
    wanted = [[np.interp(x[t, b] + np.arange(-2, 3), np.arange(11), values[t, b]) for b in range(4)] for t in range(3)]
    assert np.allclose(found, wanted, atol=1e-5)
