"""Neighbours brought to a frame: what they show, where they are left out, and what they agree on."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.film.motion.window import FrameWindow
from vldm_core.film.robust import sorted_planes
from vldm_core.film.temporal import neighbours
from vldm_core.film.temporal.neighbours import Neighbours, NeighbourSettings
from vldm_core.film.temporal.sampling import Samples
from vldm_core.video.warping import pixel_grid

SPEED = (1.5, 0.5)
HEIGHT, WIDTH = 96, 128


def texture(height: int, width: int, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return 60 + 120 * (soft - soft.min()) / (soft.max() - soft.min())


def panned(count: int = 8, grain: float = 0.0, flicker: float = 0.0) -> Tensor:
    """A texture that moves by `SPEED` from frame to frame, (T, 3, H, W)."""
    whole = texture(HEIGHT + 40, WIDTH + 40)
    rng = np.random.default_rng(2)
    frames = []
    for t in range(count):
        matrix = np.array([[1, 0, 10 + t * SPEED[0]], [0, 1, 10 + t * SPEED[1]]], np.float32)
        frame = cv2.warpAffine(whole, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        frame = frame * (1 + flicker * (-1) ** t) + grain * rng.standard_normal(frame.shape)
        frames.append(np.clip(frame, 0, 255).astype(np.float32) / 255)
    return torch.from_numpy(np.stack(frames))[:, None].repeat(1, 3, 1, 1)


def seen(frames: Tensor, index: int, **settings):
    (band,) = Neighbours(FrameWindow(frames), NeighbourSettings(**settings)).compensated(index)
    return band


def test_three_neighbours_each_way_show_the_frame():
    band = seen(panned(), 4)
    assert [look.other for look in band.neighbours] == [1, 2, 3, 5, 6, 7]
    inner = np.s_[16:-16, 16:-16]
    for look in band.neighbours:
        assert np.abs(look.luma - band.frame)[inner].mean() < 0.8
        assert look.misfit[inner].mean() < 0.8
        assert look.valid[inner].all()


def test_what_lies_outside_the_picture_is_not_valid():
    band = seen(panned(), 4)
    # Content moves to the left by 4.5 pixels in three frames: it leaves there, and has come in on the right.
    first, last = band.neighbours[0], band.neighbours[-1]
    assert not last.valid[:, :3].any() and last.valid[16:-16, 16:-4].all()
    assert not first.valid[:, -3:].any() and first.valid[16:-16, 4:-16].all()


def test_the_ends_of_a_shot_have_the_neighbours_that_there_are():
    of = Neighbours(FrameWindow(panned())).of
    assert (of(0), of(1), of(7)) == ((1, 2, 3), (0, 2, 3, 4), (4, 5, 6))
    assert Neighbours(FrameWindow(panned()), NeighbourSettings(reach=1)).of(3) == (2, 4)


def test_copies_tell_nothing():
    frames = panned(8, grain=3.0)
    frames[5] = frames[4]
    of = Neighbours(FrameWindow(frames)).of
    assert of(4) == (1, 2, 3, 6, 7)
    # Of two copies one is enough.
    assert of(6) == (3, 5, 7)


def test_nothing_is_taken_across_a_frame_that_stands_apart():
    frames = panned(9)
    frames[6] = 0.9
    of = Neighbours(FrameWindow(frames)).of
    assert of(4) == (1, 2, 3, 5)
    assert 6 not in of(7)


def test_holes_give_nothing():
    frames = panned()
    holes = np.zeros((HEIGHT, WIDTH), bool)
    holes[40:50, 60:70] = True
    (band,) = Neighbours(FrameWindow(frames), holes=lambda index: holes if index == 5 else None).compensated(4)
    by_frame = {look.other: look for look in band.neighbours}
    here = np.s_[44:46, 64:66]
    assert not by_frame[5].valid[here].any()
    assert by_frame[3].valid[here].all() and by_frame[6].valid[here].all()


def test_brightness_is_that_of_the_frame():
    band = seen(panned(flicker=0.08), 4)
    inner = np.s_[16:-16, 16:-16]
    for look in band.neighbours:
        assert abs(float((look.luma - band.frame)[inner].mean())) < 0.5


def test_colours_lie_where_the_luma_does():
    frames = panned()
    frames[:, 0] *= 0.5
    made = Neighbours(FrameWindow(frames))
    (band,) = made.compensated(4)
    window = FrameWindow(frames)
    inner = np.s_[16:-16, 16:-16]
    for look in band.neighbours:
        colour = made.colour(look)
        assert colour.shape == (HEIGHT, WIDTH, 3)
        assert np.abs(colour - window.colour(4))[inner].mean() < 1.0


@pytest.mark.parametrize("count", range(1, 7))
def test_sorting_networks_sort(count):
    planes = np.random.default_rng(count).random((count, 8, 64)).astype(np.float32)
    np.testing.assert_array_equal(np.stack(sorted_planes(list(planes))), np.sort(planes, axis=0))


def test_bands_of_rows_make_the_same_frame(monkeypatch):
    window = FrameWindow(panned(grain=2.0))
    (whole,) = Neighbours(window).compensated(4)
    cut = neighbours.bands

    def narrow(height, width, reach, *, granularity, planes):
        return cut(height, width, reach, granularity=granularity, planes=(128 << 20) // (width * 4 * 30))

    monkeypatch.setattr(neighbours, "bands", narrow)
    parts = list(Neighbours(window).compensated(4))
    assert len(parts) > 1
    for number, look in enumerate(whole.neighbours):
        for name in ("luma", "valid", "misfit", "gain"):
            joined = np.concatenate([getattr(part.neighbours[number], name) for part in parts])
            np.testing.assert_allclose(joined, getattr(look, name), atol=0.02, err_msg=name)


def test_looking_up_keeps_pixels_and_their_detail():
    picture = texture(HEIGHT, WIDTH)
    np.testing.assert_array_equal(Samples(picture).at(pixel_grid(HEIGHT, WIDTH)), picture)
    # A sine of four pixels, looked up half a pixel on: bilinear interpolation leaves 71 % of it.
    x = np.arange(WIDTH, dtype=np.float32)
    wave = np.tile(np.sin(x * np.pi / 2), (HEIGHT, 1)).astype(np.float32)
    moved = Samples(wave).at(pixel_grid(HEIGHT, WIDTH) + np.array([0.5, 0], np.float32))
    truth = np.sin((x + 0.5) * np.pi / 2)
    assert np.abs(moved[:, 8:-8] - truth[8:-8]).max() < 0.09


def test_settings_say_what_they_take():
    with pytest.raises(neighbours.SettingsError, match="reach"):
        NeighbourSettings(reach=4)
    with pytest.raises(neighbours.SettingsError, match="odd"):
        NeighbourSettings(box=8)
