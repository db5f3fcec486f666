"""Burned-in text is found, what belongs to the scene is not, and neither is dirt beside the letters."""

import numpy as np
import pytest

from vldm_core.errors import SettingsError
from vldm_core.film.motion.scene import FrameMotion
from vldm_core.film.spared.graphics import Graphics, GraphicsFinder

from .ground import SIZE, Content, filmed, laid_over, landscape, lettered, panned, panning
from .lettering import brief_subtitles, clock_without_plate, dirty_subtitles, karaoke, plain_subtitles, small_clock


def moved(dx: float, dy: float) -> FrameMotion:
    """A motion of the whole scene."""
    grid = np.ones((6, 16), np.float32)
    return FrameMotion(
        dx=dx, dy=dy, angle=0.0, grid_dx=dx * grid, grid_dy=dy * grid, grid_confidence=grid, confidence=1.0
    )


def graphics_of(frames: list[np.ndarray], shift: tuple[float, float]) -> Graphics:
    """What is found in frames (H, W, 3) of a scene that moves evenly."""
    finder = GraphicsFinder(*frames[0].shape[:2])
    for number, frame in enumerate(frames):
        luma = frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        finder.update(luma, moved(*shift) if number else None)
    return finder.finish()


def covered(found: Graphics, risks: list[np.ndarray]) -> tuple[float, float]:
    """Share of what is at risk that is found, and share of the rest."""
    masks = [found.mask(index) for index in range(len(risks))]
    spared = np.stack([np.zeros(SIZE, bool) if mask is None else mask.numpy() for mask in masks])
    risk = np.stack(risks)
    return float(spared[risk].mean()) if risk.any() else 0.0, float(spared[~risk].mean())


@pytest.mark.parametrize(
    ("content", "shift", "least"),
    [
        (plain_subtitles(9), (-6.0, -1.0), 0.95),
        (brief_subtitles(6), (-2.3, -0.4), 0.9),
        (karaoke(5), (-1.4, 0.0), 0.95),
        (clock_without_plate(5), (-1.0, -0.3), 0.95),
        (small_clock(5), (-1.0, -0.3), 0.9),
    ],
    ids=["subtitles", "brief", "karaoke", "clock", "small clock"],
)
def test_text_before_a_moving_scene_is_found(content: Content, shift: tuple[float, float], least: float) -> None:
    inside, outside = covered(graphics_of(content[0], shift), content[1])
    assert inside > least
    assert outside < 0.035, "a rim, and little else"


def _at_rest(text_of, count: int = 8) -> Content:
    still = panned(landscape(300, 520, 5), 8, 8)
    covers = [
        lettered(text_of(t), (240, 60), size=20) if text_of(t) else np.zeros(SIZE, np.float32) for t in range(count)
    ]
    return filmed([laid_over(still, cover, 250) for cover in covers]), [cover > 0.5 for cover in covers]


def test_a_word_of_two_frames_before_a_scene_at_rest_is_found() -> None:
    frames, letters = _at_rest(lambda t: "Halt! Who is there?" if t in (3, 4) else "")
    assert covered(graphics_of(frames, (0.0, 0.0)), letters)[0] > 0.85


def test_digits_that_change_before_a_scene_at_rest_are_found() -> None:
    frames, _ = _at_rest(lambda t: f"12:59:{30 + 7 * t}")
    found = graphics_of(frames, (0.0, 0.0))
    changing = lettered("12:59:37", (240, 60), size=20) > 0.5
    changing &= ~(lettered("12:59:30", (240, 60), size=20) > 0.2)
    mask = found.mask(1)
    assert mask is not None and float(mask.numpy()[changing].mean()) > 0.8


@pytest.mark.parametrize("shift", [(0.0, 0.0), (-2.5, 0.0)])
def test_a_scene_without_text_has_none(shift: tuple[float, float]) -> None:
    frames = filmed(panning(6, seed=8, speed=(-shift[0], 0.0)))
    found = graphics_of(frames, shift)
    assert covered(found, [np.zeros(SIZE, bool)] * 6)[1] < 5e-4


def test_dirt_beside_the_letters_is_left_to_be_found() -> None:
    frames, letters, dirt = dirty_subtitles(6)
    found = graphics_of(frames, (-2.3, -0.4))
    inside, _ = covered(found, letters)
    assert inside > 0.9
    assert covered(found, dirt)[0] < 0.03, "what touches the rim of a letter"


def test_large_frames_are_looked_at_small_and_told_at_their_size() -> None:
    frames, risks = plain_subtitles(4)
    twice = [np.kron(frame, np.ones((2, 2, 1), np.uint8)) for frame in frames]
    found = graphics_of(twice, (-12.0, -2.0))
    mask = found.mask(1)
    assert mask is not None and tuple(mask.shape) == (2 * SIZE[0], 2 * SIZE[1])
    assert float(mask.numpy()[::2, ::2][risks[1]].mean()) > 0.9


def test_a_frame_that_could_not_be_measured_costs_its_own_graphics_alone() -> None:
    frames, _ = plain_subtitles(8)
    finder = GraphicsFinder(*SIZE)
    for number, frame in enumerate(frames):
        luma = frame.astype(np.float32).mean(axis=-1)
        if number == 4:
            finder.skip()
        else:
            finder.update(luma, moved(-6.0, -1.0) if number else None)
    assert finder.count == 8
    assert set(finder.finish().frames) == {0, 1, 2, 3, 5, 6, 7}


def test_frames_of_another_size_are_refused() -> None:
    finder = GraphicsFinder(*SIZE)
    with pytest.raises(SettingsError, match="one finder per shot"):
        finder.update(np.zeros((8, 8), np.float32), None)
