"""MarkedFrame that follow a rule from frame to frame are no dirt; dirt, dense, lasting or in clusters, is."""

from collections.abc import Callable

import numpy as np
import pytest

from vldm_core.errors import SettingsError
from vldm_core.film.spared.marks import RADIUS, MarkedFrame, spared_marks
from vldm_core.film.spared.settings import SparingSettings

from . import lettering, small_things
from .ground import SIZE, Content


def share_spared(lumas: list[np.ndarray], found: list[np.ndarray], **options: str) -> float:
    """Share of the marked pixels that are spared, frames at the ends left out."""
    seen = [MarkedFrame.of(luma, mask) for luma, mask in zip(lumas, found, strict=True)]
    spared = total = 0
    for index in range(RADIUS, len(seen) - RADIUS):
        kept = seen[index].all_but(spared_marks(RADIUS, seen[index - RADIUS : index + RADIUS + 1], **options))  # type: ignore[arg-type]
        spared += int((found[index] & ~kept).sum())
        total += int(found[index].sum())
    return spared / total


def grey(frames: list[np.ndarray]) -> list[np.ndarray]:
    return [frame.astype(np.float32).mean(axis=-1) for frame in frames]


@pytest.mark.parametrize(
    ("make", "least"),
    [
        (small_things.sparks, 0.9),
        (small_things.birds, 0.9),
        (small_things.tennis, 0.6),
        (small_things.snow, 0.9),
        (small_things.drizzle, 0.8),
        (small_things.glitter, 0.9),
    ],
)
def test_what_moves_or_crowds_is_spared(make: Callable[[int], Content], least: float) -> None:
    frames, risks = make(10)
    assert share_spared(grey(frames), risks) > least


def test_digits_that_change_are_spared() -> None:
    frames, risks = lettering.clock_without_plate(9)
    first = np.nonzero(risks[0])[1].min()
    last = [risk & (np.arange(SIZE[1]) > first + 92) for risk in risks]
    assert share_spared(grey(frames), last) > 0.9


def dirt(count: int, number: int, *, seed: int, life: int = 1, cluster: float = 0.0) -> list[np.ndarray]:
    """MarkedFrame of dirt at random places: some a frame, each for some frames, single or in clusters of six."""
    stream = np.random.default_rng(seed)
    found = [np.zeros(SIZE, bool) for _ in range(count + life)]
    for t in range(count):
        for _ in range(number // life):
            x, y = stream.integers(10, SIZE[1] - 10), stream.integers(10, SIZE[0] - 10)
            for _ in range(6 if cluster else 1):
                w, h = stream.integers(2, 6, 2)
                left, top = (max(0, int(v + cluster * stream.normal())) for v in (x, y))
                for later in range(life):
                    found[t + later][top : top + h, left : left + w] = True
    return found[:count]


@pytest.mark.parametrize(
    ("number", "life", "cluster"), [(20, 1, 0.0), (120, 1, 0.0), (36, 3, 0.0), (8, 1, 12.0)], ids=str
)
def test_dirt_is_not_spared(number: int, life: int, cluster: float) -> None:
    found = dirt(16, number, seed=number + life, life=life, cluster=cluster)
    stream = np.random.default_rng(1)
    lumas = [np.where(mask, 30.0, 120.0) + stream.normal(0, 4, SIZE) for mask in found]
    assert share_spared([luma.astype(np.float32) for luma in lumas], found) < 0.01


def test_the_user_decides_about_what_falls() -> None:
    frames, flakes = small_things.snow(10)
    lumas, found = grey(frames), [flake.copy() for flake in flakes]
    # Dirt among the flakes, as bright and as large as they are.
    specks = dirt(10, 30, seed=4)
    for luma, mask, speck in zip(lumas, found, specks, strict=True):
        luma[speck] = 240
        mask |= speck
    assert share_spared(lumas, found, falling="kept") > 0.9
    assert share_spared(lumas, found, falling="judged") > 0.5
    assert share_spared(lumas, found, falling="dirt") == 0


def test_a_frame_without_marks_and_one_that_tells_nothing_are_no_fault() -> None:
    empty = MarkedFrame.of(np.zeros((20, 30), np.float32), np.zeros((20, 30), bool))
    one = np.zeros((20, 30), bool)
    one[5:8, 5:8] = True
    marked = MarkedFrame.of(np.where(one, 200, 90).astype(np.float32), one)
    assert len(spared_marks(0, [empty])) == 0
    assert spared_marks(1, [None, marked, empty]).tolist() == [False]


def test_contrast_is_against_what_is_around() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:15, 10:15] = mask[10:15, 16:20] = True
    marks = MarkedFrame.of(np.where(mask, 30, 100).astype(np.float32), mask)
    assert marks.contrast == pytest.approx([-70, -70])


def test_another_word_for_what_falls_is_refused() -> None:
    with pytest.raises(SettingsError, match="falling is 'rain'"):
        SparingSettings(falling="rain")  # type: ignore[arg-type]
