"""Marks that stay while the scene moves are found; the scene, its lines and burned-in letters are not."""

import cv2
import numpy as np
import pytest

from vldm_core.errors import SettingsError
from vldm_core.film.motion.scene import FrameMotion
from vldm_core.film.standing.detection import StandingAnalyser, StandingSettings, standing_mask

HEIGHT, WIDTH, COUNT = 120, 200, 24


def scene(speed, count=COUNT, seed=0):
    generator = np.random.default_rng(seed)
    layers = [s * cv2.GaussianBlur(generator.normal(size=(HEIGHT, WIDTH + 8 * count)), (0, 0), s) for s in (1.5, 4, 12)]
    wide = np.sum(layers, axis=0)
    wide = (120 + 30 * wide / wide.std()).clip(20, 235)
    grain = generator.normal(0, 1.5, (count, HEIGHT, WIDTH))
    return np.stack([wide[:, speed * t : speed * t + WIDTH] for t in range(count)]) + grain


def hair_mask(thickness=2):
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    points = np.array([[150, 0], [146, 12], [150, 24], [158, 32], [160, 44]], np.int32)
    cv2.polylines(mask, [points], False, 1.0, thickness)
    return mask


def found(film, speed, settings=None):
    analyser = StandingAnalyser(settings or StandingSettings(), HEIGHT, WIDTH)
    full = np.ones((6, 16), np.float32)
    motion = FrameMotion(
        dx=-speed, dy=0.0, angle=0.0, grid_dx=-speed * full, grid_dy=0 * full, grid_confidence=full, confidence=1.0
    )
    for t, frame in enumerate(film):
        analyser.update(frame.clip(0, 255).astype(np.float32), motion if t else None)
    return analyser.finish()


def masks(standing, count=COUNT):
    none = np.zeros((HEIGHT, WIDTH), bool)
    return np.stack([none if (mask := standing_mask(standing, t)) is None else mask for t in range(count)])


@pytest.mark.parametrize("speed", [1, 3, 6])
def test_a_hair_in_the_gate_is_found_and_nothing_else(speed):
    hair = hair_mask()
    made = masks(found(scene(speed) * (1 - 0.8 * hair) + 20 * 0.8 * hair, speed))
    # What of a hair lies along a slow motion hides itself.
    assert made[2:-2, hair > 0].mean() > (0.9 if speed > 1 else 0.7)
    assert made[:, cv2.dilate(hair, np.ones((11, 11))) == 0].mean() < 1e-3


def test_a_hair_that_comes_is_marked_from_about_then():
    film, hair = scene(4, 36), hair_mask()
    film[12:] = film[12:] * (1 - 0.8 * hair) + 16 * hair
    made = masks(found(film, 4), 36)
    assert not made[:12].any() and made[14:34, hair > 0].mean() > 0.9


def test_a_spot_on_the_lens_is_found_bright_or_dark():
    spot = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.circle(spot, (60, 70), 4, 1.0, -1)
    for level in (15, 245):
        made = masks(found(scene(3) * (1 - 0.7 * spot) + level * 0.7 * spot, 3))
        assert made[2:-2, spot > 0].mean() > 0.9 and made.mean() < 0.02


def test_a_scene_that_stands_still_tells_nothing():
    hair = hair_mask()
    assert not found(scene(0) * (1 - 0.8 * hair), 0).blocks


def test_a_clean_scene_in_motion_has_no_marks():
    for speed in (1, 4, 8):
        assert not masks(found(scene(speed, seed=speed), speed)).any()


def test_burned_in_letters_stay():
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.putText(drawn, "Fine day, all", (40, 108), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 255, 1, cv2.LINE_AA)
    letters = drawn.astype(np.float32) / 255
    film = scene(3)
    rim = cv2.dilate(letters, np.ones((3, 3)))
    made = masks(found(film * (1 - rim) + 245 * letters, 3))
    assert made.mean() < 1e-3


def test_an_upright_line_is_left_to_the_scratches():
    film = scene(3)
    film[:, :, 90:92] = 30
    assert not masks(found(film, 3)).any()


def test_frames_that_cannot_be_measured_break_nothing():
    analyser = StandingAnalyser(StandingSettings(), HEIGHT, WIDTH)
    for frame in scene(3, 6):
        analyser.update(frame.astype(np.float32), None)
        analyser.skip()
    assert analyser.count == 12 and not analyser.finish().blocks


def test_a_large_frame_is_marked_at_its_own_size():
    hair = hair_mask()
    film = scene(6) * (1 - 0.8 * hair) + 16 * hair
    analyser = StandingAnalyser(StandingSettings(), 6 * HEIGHT, 6 * WIDTH)
    full = np.ones((6, 16), np.float32)
    motion = FrameMotion(
        dx=-36.0, dy=0.0, angle=0.0, grid_dx=-36 * full, grid_dy=0 * full, grid_confidence=full, confidence=1.0
    )
    for t, frame in enumerate(film[:14]):
        large = cv2.resize(frame.clip(0, 255).astype(np.float32), (6 * WIDTH, 6 * HEIGHT))
        analyser.update(large, motion if t else None)
    mask = standing_mask(analyser.finish(), 6)
    assert mask is not None and mask.shape == (6 * HEIGHT, 6 * WIDTH)
    assert mask.mean() < 0.02
    assert mask[cv2.resize(hair, (6 * WIDTH, 6 * HEIGHT)) > 0.9].mean() > 0.9


@pytest.mark.parametrize("options", [{"certainty": 0.1}, {"certainty": 1.5}, {"depth": 0.0}, {"depth": 300.0}])
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(SettingsError):
        StandingSettings(**options)


def test_letters_with_an_outline_and_a_box_stay():
    film = scene(3)
    film[:, 8:30, 20:120] = 12
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.putText(drawn, "01:12:07", (24, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA)
    letters = drawn.astype(np.float32) / 255
    assert masks(found(film * (1 - letters) + 240 * letters, 3)).mean() < 1e-3


def test_the_pieces_of_a_line_with_gaps_are_left_to_the_scratches():
    film = scene(3)
    for top in (0, 24, 50, 75, 100):
        film[:, top : top + 14, 90:92] = 20
    assert not masks(found(film, 3)).any()
