"""Section, life and place of a line that the search has found, on made profiles."""

import numpy as np
import pytest

from vldm_core.film.scratches.search.courses import likeliest
from vldm_core.film.scratches.search.line_presence import measured_line
from vldm_core.film.scratches.search.line_shape import LineShape, fitted_shape, line_shape, section
from vldm_core.film.scratches.search.paths import Path

FRAMES, BANDS, WIDTH, X = 24, 16, 120, 60.0


def film(shape: LineShape, *, x=X, there=None, moved=None, seed=2, texture=6.0, grain=1.0):
    """Mean luma of bands with a line in them, (T, bands, W)."""
    rng = np.random.default_rng(seed)
    wide = rng.normal(0, 1, (BANDS, WIDTH + 200)).cumsum(axis=1) * texture / 8
    moved = np.zeros(FRAMES) if moved is None else moved
    columns = np.arange(WIDTH)
    scene = np.stack([[np.interp(columns + 100 - m, np.arange(WIDTH + 200), band) for band in wide] for m in moved])
    x = np.broadcast_to(x, FRAMES)
    line = shape.depth * np.stack([section(columns - place, shape.sigma, shape.rims) for place in x])
    there = np.ones((FRAMES, BANDS), bool) if there is None else there
    return (120 + scene + line[:, None] * there[..., None] + rng.normal(0, grain, scene.shape)).astype(np.float32)


def path(polarity, x=X):
    return Path(first=0, x=np.full(FRAMES, x, np.float32), tilt=0.0, polarity=polarity, score=200.0)


EVERYWHERE = np.ones((FRAMES, BANDS), bool)
PAN = 1.3 * np.arange(FRAMES)


@pytest.mark.parametrize(
    "shape",
    [
        LineShape(depth=-3.0, sigma=1.5),
        LineShape(depth=2.0, sigma=1.0),
        LineShape(depth=12.0, sigma=0.65),
        LineShape(depth=-40.0, sigma=2.2),
        LineShape(depth=25.0, sigma=1.0, rims=0.45),
    ],
)
def test_a_line_is_as_deep_and_as_wide_as_it_was_drawn(shape):
    found = line_shape(film(shape, moved=PAN), path(int(np.sign(shape.depth))), EVERYWHERE, [])
    assert found.depth == pytest.approx(shape.depth, rel=0.25, abs=0.5)
    assert abs(found.extent - shape.extent) <= 0.7
    assert (found.rims > 0) == (shape.rims > 0)


def test_a_mask_reaches_to_where_the_skirt_is_one_level():
    shape = LineShape(depth=-20.0, sigma=1.2)
    assert abs(shape.depth) * section(np.array([shape.extent]), shape.sigma, 0)[0] == pytest.approx(1.0, abs=0.01)


def test_the_flank_of_a_known_line_is_no_line():
    deep = LineShape(depth=40.0, sigma=1.0, rims=0.45)
    seen = film(deep, moved=PAN)
    alone = line_shape(seen, path(-1, X + 2.5), EVERYWHERE, [])
    beside = line_shape(seen, path(-1, X + 2.5), EVERYWHERE, [(path(1), deep)])
    assert abs(alone.depth) > 10
    assert abs(beside.depth) < 0.2 * abs(alone.depth)


def test_of_two_polarities_the_wanted_one_is_fitted():
    profile = 10 * section(np.arange(-16, 17), 1.0, 0) - 6 * section(np.arange(-16, 17) - 1.0, 0.5, 0)
    assert fitted_shape(profile, 1).depth > 0 > fitted_shape(profile, -1).depth


def test_birth_death_and_gaps_of_a_line_are_told():
    there = np.zeros((FRAMES, BANDS), bool)
    there[5:18] = True
    there[5:18, 6:9] = False
    line = measured_line(
        film(LineShape(depth=-9.0, sigma=1.2), there=there, moved=PAN, texture=1.5),
        path(-1),
        EVERYWHERE,
        [],
        PAN.astype(np.float32),
        0.9,
    )
    assert line is not None
    assert not line.present[:5].any() and not line.present[18:].any()
    assert line.present[there].mean() > 0.95
    assert line.present[5:18, 7].mean() < 0.35


def test_a_line_that_jumps_is_followed():
    jumps = X + np.random.default_rng(4).uniform(-0.5, 0.5, FRAMES)
    seen = film(LineShape(depth=-15.0, sigma=1.0), x=jumps, moved=PAN)
    line = measured_line(seen, path(-1), EVERYWHERE, [], PAN.astype(np.float32), 0.9)
    assert line is not None
    assert np.abs(line.path.x - jumps).mean() < 0.5 * np.abs(X - jumps).mean()


def test_what_moves_with_the_scene_leaves_no_line():
    """A post that the search took for a line: it stays in place for too few frames to be told by itself."""
    wide = film(LineShape(depth=-9.0, sigma=1.2), x=X + 0.4 * np.arange(FRAMES), moved=0.4 * np.arange(FRAMES))
    moved = (0.4 * np.arange(FRAMES)).astype(np.float32)
    assert measured_line(wide, path(-1, X + 4.6), EVERYWHERE, [], moved, 0.9) is None


def test_one_loud_place_makes_no_course():
    words = np.array([[-3.0, 2.0, -3.0, -1.0, 2.0, 2.0, 2.0, -3.0]], np.float32)
    assert likeliest(words, 2.0).tolist() == [[False] * 4 + [True] * 3 + [False]]
    assert likeliest(np.array([[-np.inf, 3.0, 3.0]], np.float32), 1.0).tolist() == [[False, True, True]]


def test_the_dark_flank_of_a_bright_line_seems_deeper_but_explains_less():
    u = np.arange(-16, 17)
    line = fitted_shape(30 * section(u, 1.8, 0), 1)
    flank = fitted_shape(30 * section(u - 5.0, 1.8, 0), -1)
    assert abs(flank.depth) > line.depth
    assert flank.explained < 0.7 * line.explained


def test_the_rim_of_a_section_beside_a_line_is_not_what_it_explains():
    """A bright section of which one rim is the dark line beside it would explain nearly as much as the line."""
    u = np.arange(-16, 17)
    line = fitted_shape(-20 * section(u, 1.1, 0), -1)
    flank = fitted_shape(-20 * section(u - 3.0, 1.1, 0), 1)
    assert flank.rims > 0
    assert flank.explained < 0.4 * line.explained


def test_a_line_goes_on_behind_what_hides_it_where_most_of_it_is_surely_there():
    line = LineShape(depth=-6.0, sigma=1.2)
    there = np.ones((FRAMES, BANDS), bool)
    there[:6] = False
    seen = film(line, there=there, moved=PAN, texture=1.0)
    # Large things pass under the last bands, and hide half of the line's depth on the average.
    passing = 5 + 30 * np.repeat(np.random.default_rng(5).normal(size=(FRAMES // 3, 4, 1)), 3, axis=0)
    seen[:, 12:] += passing * section(np.arange(WIDTH) - X, 1.6, 0)
    found = measured_line(seen.astype(np.float32), path(-1), there, [], PAN.astype(np.float32), 0.9)
    assert found is not None
    assert found.present[6:, 12:].mean() > 0.95
    assert not found.present[:6].any()
