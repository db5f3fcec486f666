"""Scores of restored films and masks, by hand."""

import numpy as np
import pytest

from benchmarks.film.clips import FilmClip
from benchmarks.film.scores import Counts, Marks, detection, fidelity, gain_fitted, pooled


def clip(**masks):
    """A clip of 3 frames of 24×32 in which a square of dirt and a line are damaged by 100 levels."""
    rng = np.random.default_rng(1)
    clean = rng.integers(60, 140, (3, 24, 32)).astype(np.uint8)
    dirt, line = (np.zeros(clean.shape, bool) for _ in range(2))
    dirt[1, 4:8, 4:8] = True
    line[:, :, 20] = True
    skirt = line.copy()
    skirt[:, :, 18:23] = True
    aged = clean.copy()
    aged[dirt | line] += 100
    return FilmClip(
        name="clip",
        model="second",
        fast=False,
        aged=aged,
        clean=clean,
        masks={"dirt": dirt, "persistent": line},
        rims={"dirt": dirt, "persistent": skirt},
    )


def marks(made, **given):
    empty = np.zeros(made.aged.shape, bool)
    return Marks(**{"dirt": empty, "lines": empty, "standing": empty, **given})


def test_the_brightness_of_a_frame_is_free_and_damage_does_not_steer_it():
    made = clip()
    bright = made.aged.astype(np.float32) * np.array([0.8, 1.0, 1.3], np.float32)[:, None, None]
    figures = fidelity(made, bright)
    assert figures.outside > 90
    assert figures.inside["dirt"] == pytest.approx(20 * np.log10(255 / 100), abs=0.01)
    assert figures.inside["persistent"] == pytest.approx(20 * np.log10(255 / 100), abs=0.01)
    assert figures.warp_error is None and figures.worst_frame == 0
    assert np.allclose(gain_fitted(bright, made), made.aged, atol=0.01)


def test_the_worst_frame_counts_and_a_perfect_film_is_finite():
    made = clip()
    perfect = made.clean.astype(np.float32)
    best = fidelity(made, perfect)
    assert best.whole == best.outside == 99.0 and best.ssim == pytest.approx(1, abs=1e-6)
    worse = perfect.copy()
    worse[2] += np.random.default_rng(2).normal(0, 5, worse[2].shape).astype(np.float32)
    # The damaged film is perfect outside, so the loss is from 99 dB.
    assert fidelity(made, worse).worst_frame == pytest.approx(99 - 34.1, abs=0.5)


def test_marks_are_counted_for_their_own_kind_with_a_tolerance():
    made = clip()
    dirt, lines = (np.zeros(made.aged.shape, bool) for _ in range(2))
    dirt[1, 3:7, 4:8] = True  # one row off
    dirt[0, 15, 4] = True  # nothing there
    dirt[0, 12, 20] = True  # a line: neither right nor wrong
    lines[:, :, 22] = True  # on the skirt, two columns off the core
    found = detection(made, marks(made, dirt=dirt, lines=lines))
    assert found["dirt"].recall == 1 and found["dirt"].precision == pytest.approx(16 / 17)
    assert found["persistent"].recall == 0 and found["persistent"].precision == 1
    assert found["persistent"].recall_any == pytest.approx(3 / 72)
    assert found["dirt"].f1 == pytest.approx(2 * (16 / 17) / (1 + 16 / 17))


def test_a_line_found_by_the_dirt_mask_counts_as_found_by_any():
    made = clip()
    found = detection(made, marks(made, dirt=made.masks["persistent"]))
    assert found["persistent"].recall == 0 and found["persistent"].recall_any == 1


def test_counts_pool_and_what_is_not_there_has_no_figure():
    some, none = Counts(real=10, found=5, found_any=6, right=4, wrong=4), Counts()
    total = pooled([{"blotch": some}, {"blotch": some, "dirt": none}])
    assert list(total) == ["dirt", "blotch"]
    assert total["blotch"] == Counts(real=20, found=10, found_any=12, right=8, wrong=8)
    assert total["blotch"].recall == total["blotch"].precision == 0.5
    assert none.recall is None and none.precision is None and none.f1 is None
    assert Counts(real=3).f1 == 0
