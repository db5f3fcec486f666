"""Scene motion in film coordinates: sub-pixel accuracy, and what must not fool it."""

import av
import cv2
import numpy as np
import pytest
from scipy import ndimage

from vldm_core.errors import SettingsError
from vldm_core.film.motion.scene import FrameMotion, measure_motion

CLIPS = {"film/market_street_1906.mkv": 0, "film/san_francisco_1906.mkv": 5, "clips/seeking.mp4": 10}
PHOTOS = ["photos/kait-herzog-8242.jpg", "photos/nasa-45068.jpg"]


def frame_of(path, index, size=(480, 368)):
    with av.open(str(path)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            if i == index:
                grey = frame.to_ndarray(format="gray")
                return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    raise AssertionError(f"{path} has no frame {index}")


@pytest.fixture(scope="module")
def pictures(shared_data):
    found = [frame_of(shared_data(name), index) for name, index in CLIPS.items()]
    found += [frame_of(shared_data(name), 0) for name in PHOTOS]
    return found


def moved(picture, dx, dy, angle=0.0):
    height, width = picture.shape
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    cx, cy = (width - 1) / 2, (height - 1) / 2
    x, y = np.meshgrid(np.arange(width) - cx - dx, np.arange(height) - cy - dy)
    source = (-sin * x + cos * y + cy, cos * x + sin * y + cx)
    return ndimage.map_coordinates(picture, source, order=3, mode="reflect").astype(np.float32)


def grained(picture, rng):
    return (picture + rng.normal(0, 2.5, picture.shape)).clip(0, 255).astype(np.float32)


def texture(height=368, width=480, seed=0):
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(height, width)), 2, mode="wrap")
    return (128 + 40 * noise / noise.std()).clip(0, 255).astype(np.float32)


def test_weave_of_real_pictures_is_measured_to_a_tenth_of_a_pixel(pictures):
    rng = np.random.default_rng(0)
    errors, angles = [], []
    for picture in pictures:
        for _ in range(2):
            dx, dy, angle = *rng.normal(0, 1.5, 2), rng.uniform(-0.1, 0.1)
            motion = measure_motion(grained(picture, rng), grained(moved(picture, dx, dy, angle), rng))
            errors.append(np.hypot(motion.dx - dx, motion.dy - dy))
            angles.append(abs(motion.angle - angle))
            assert motion.confidence > 0.8
    assert np.mean(errors) < 0.06
    assert np.max(errors) < 0.15
    assert np.mean(angles) < 0.01


def test_dirt_flicker_and_standing_scratches_do_not_fool_it(pictures):
    rng = np.random.default_rng(1)
    errors, cells = [], []
    for picture in pictures:
        dx, dy = 2.3, -1.1
        pair = []
        columns = rng.integers(8, 470, 8)
        for clean in (picture, moved(picture, dx, dy)):
            damaged = grained(clean, rng) * (1 + rng.normal(0, 0.07))
            field = cv2.resize(rng.normal(0, 0.04, (4, 4)), (480, 368), interpolation=cv2.INTER_CUBIC)
            damaged = damaged * (1 + field)
            for _ in range(30):
                centre = (int(rng.integers(480)), int(rng.integers(368)))
                cv2.circle(damaged, centre, int(rng.integers(1, 7)), float(rng.choice([10, 250])), -1)
            for i, column in enumerate(columns):
                damaged[:, column : column + 1 + i % 4] += 60 if i % 2 else -60
            pair.append(damaged.clip(0, 255).astype(np.float32))
        motion = measure_motion(*pair)
        errors.append(np.hypot(motion.dx - dx, motion.dy - dy))
        sure = motion.grid_confidence > 0.5
        assert sure.sum() > 10
        cells.append(np.median(np.hypot(motion.grid_dx - dx, motion.grid_dy - dy)[sure]))
    assert np.mean(errors) < 0.1
    assert np.max(cells) < 0.25


def test_a_scratch_alone_does_not_stop_the_scene():
    rng = np.random.default_rng(2)
    pair = [texture(), moved(texture(), 3.0, 0.0)]
    for picture in pair:
        picture[:, ::24] = 255
        picture[:, 1::24] = 255
    motion = measure_motion(grained(pair[0], rng), grained(pair[1], rng))
    assert abs(motion.dx - 3.0) < 0.1 and abs(motion.dy) < 0.1


def test_rotation_is_told_from_translation():
    picture = texture()
    motion = measure_motion(picture, moved(picture, 0.0, 0.0, 0.5))
    assert motion.angle == pytest.approx(0.5, abs=0.02)
    assert abs(motion.dx) < 0.1 and abs(motion.dy) < 0.1
    # Clockwise on the screen: the right side goes down, the top goes right.
    assert motion.grid_dy[3, 15] > 1.0 and motion.grid_dx[0, 8] > 0.8


def test_a_foreground_moves_its_own_cells_only():
    picture, foreground = texture(), texture(seed=5)
    before, after = picture.copy(), moved(picture, 1.0, 0.5)
    before[120:250, 180:300] = foreground[120:250, 180:300]
    after[120:250, 176:296] = foreground[120:250, 180:300]
    motion = measure_motion(before, after)
    assert abs(motion.dx - 1.0) < 0.05 and abs(motion.dy - 0.5) < 0.05
    assert np.abs(motion.grid_dx[3, 7:9] + 4.0).max() < 0.2
    assert 0.5 < motion.confidence < 1.0


def test_large_frames_are_measured_in_their_own_pixels():
    picture = cv2.resize(texture(), (1440, 1104), interpolation=cv2.INTER_CUBIC)
    motion = measure_motion(picture, moved(picture, 4.0, -3.0))
    assert abs(motion.dx - 4.0) < 0.1 and abs(motion.dy + 3.0) < 0.1
    assert motion.confidence > 0.9


def test_shapes_and_the_featureless_frame():
    flat = np.full((120, 160), 90, np.float32)
    motion = measure_motion(flat, flat)
    assert isinstance(motion, FrameMotion)
    assert motion.grid_dx.shape == motion.grid_dy.shape == motion.grid_confidence.shape == (6, 16)
    assert (motion.dx, motion.dy, motion.angle, motion.confidence) == (0, 0, 0, 0)
    rng = np.random.default_rng(4)
    noise = measure_motion(grained(flat, rng), grained(flat, rng))
    assert noise.confidence < 0.2


@pytest.mark.parametrize("size", [(1, 1), (5, 400), (37, 23), (368, 480)])
def test_any_size_gives_a_finite_answer(size):
    rng = np.random.default_rng(6)
    motion = measure_motion(*(rng.uniform(0, 255, size).astype(np.float32) for _ in range(2)))
    assert np.isfinite([motion.dx, motion.dy, motion.angle, motion.confidence]).all()
    assert np.isfinite(motion.grid_dx).all() and np.isfinite(motion.grid_dy).all()
    assert (motion.grid_confidence >= 0).all() and (motion.grid_confidence <= 1).all()


def test_the_same_pair_gives_the_same_answer():
    pair = texture(), moved(texture(), 0.7, 0.2)
    first, second = measure_motion(*pair), measure_motion(*pair)
    assert np.array_equal(first.grid_dx, second.grid_dx) and first.dx == second.dx and first.angle == second.angle


def test_frames_of_different_size_are_refused():
    with pytest.raises(SettingsError, match="one size"):
        measure_motion(np.zeros((4, 4), np.float32), np.zeros((4, 5), np.float32))
