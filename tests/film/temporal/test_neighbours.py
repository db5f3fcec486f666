"""Neighbours brought to a frame: what they show, where they are left out, and what they agree on."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.film.motion.window import FrameWindow
from vldm_core.film.robust import sorted_planes
from vldm_core.film.temporal import neighbours
from vldm_core.film.temporal.neighbours import Neighbours, NeighbourSettings, doubled, halved
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


AROUND = 4
"""Rows that are shown around bands."""


def seen(frames: Tensor, index: int, **settings):
    (band,) = Neighbours(FrameWindow(frames), NeighbourSettings(**settings)).looked_up(index, AROUND)
    return band


def is_valid(look) -> np.ndarray:
    """Where a look shows the frame, (H, W)."""
    if look.valid is None:
        return np.ones(look.light.shape, bool)
    return doubled(look.valid, look.light.shape, cv2.INTER_NEAREST) > 0


def test_three_neighbours_each_way_show_the_frame():
    band = seen(panned(), 4)
    assert [look.other for look in band.neighbours] == [1, 2, 3, 5, 6, 7]
    inner = np.s_[16:-16, 16:-16]
    for look in band.neighbours:
        assert np.abs(look.light - band.frame)[inner].mean() < 0.8
        assert is_valid(look)[inner].all()


def test_what_lies_outside_the_picture_is_not_valid():
    band = seen(panned(), 4)
    # Content moves to the left by 4.5 pixels in three frames: it leaves there, and has come in on the right.
    first, last = is_valid(band.neighbours[0]), is_valid(band.neighbours[-1])
    assert not last[:, :3].any() and last[16:-16, 16:-4].all()
    assert not first[:, -3:].any() and first[16:-16, 4:-16].all()


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
    (band,) = Neighbours(FrameWindow(frames), holes=lambda index: holes if index == 5 else None).looked_up(4, AROUND)
    by_frame = {look.other: is_valid(look) for look in band.neighbours}
    # From 5 to 4 the scene has moved to the right and down: nothing that interpolation mixes with the hole is valid.
    assert not by_frame[5][39:51, 60:72].any()
    assert by_frame[5].mean() > 0.9
    here = np.s_[44:46, 64:66]
    assert by_frame[3][here].all() and by_frame[6][here].all()


def test_brightness_is_that_of_the_frame():
    band = seen(panned(flicker=0.08), 4)
    inner = np.s_[16:-16, 16:-16]
    for look in band.neighbours:
        assert abs(float((look.light - band.frame)[inner].mean())) < 0.5


def test_colours_lie_where_the_luma_does():
    frames = panned()
    frames[:, 0] *= 0.5
    made = Neighbours(FrameWindow(frames))
    (band,) = made.looked_up(4, AROUND)
    window = FrameWindow(frames)
    red, blue = (window.colour(4)[..., channel] - window.luma[4] for channel in (0, 2))
    inner = np.s_[16:-16, 16:-16]
    for look in band.neighbours:
        chroma = made.chroma(look)
        assert chroma.shape == (HEIGHT, WIDTH, 2)
        assert np.abs(chroma - np.dstack([red, blue]))[inner].mean() < 0.5


@pytest.mark.parametrize("count", range(1, 7))
def test_sorting_networks_sort(count):
    planes = np.random.default_rng(count).random((count, 8, 64)).astype(np.float32)
    np.testing.assert_array_equal(np.stack(sorted_planes(list(planes))), np.sort(planes, axis=0))


def test_bands_of_rows_make_the_same_frame(monkeypatch):
    window = FrameWindow(panned(grain=2.0))
    (whole,) = Neighbours(window).looked_up(4, AROUND)
    cut = neighbours.bands

    def narrow(height, width, reach, *, granularity, planes):
        return cut(height, width, reach, granularity=granularity, planes=(128 << 20) // (width * 4 * 30))

    monkeypatch.setattr(neighbours, "bands", narrow)
    parts = list(Neighbours(window).looked_up(4, AROUND))
    assert len(parts) > 1
    for number, look in enumerate(whole.neighbours):
        for name in ("light", "gain"):
            joined = np.concatenate([getattr(part.neighbours[number], name)[part.core] for part in parts])
            np.testing.assert_allclose(joined, getattr(look, name), atol=0.02, err_msg=name)
        joined = np.concatenate([is_valid(part.neighbours[number])[part.core] for part in parts])
        np.testing.assert_array_equal(joined, is_valid(look))


@pytest.mark.parametrize("shape", [(96, 128), (95, 127)])
def test_a_plane_of_any_size_is_halved_and_doubled(shape):
    plane = np.full(shape, 7, np.float32)
    assert halved(plane).shape == (48, 64)
    np.testing.assert_array_equal(doubled(halved(plane), shape), plane)


def test_looking_up_keeps_pixels_and_their_detail():
    picture = texture(HEIGHT, WIDTH)
    samples = Samples(picture)
    np.testing.assert_array_equal(samples.at(pixel_grid(HEIGHT, WIDTH, samples.scale)), picture)
    # A sine of four pixels, looked up half a pixel on: bilinear interpolation leaves 71 % of it.
    x = np.arange(WIDTH, dtype=np.float32)
    wave = np.tile(np.sin(x * np.pi / 2), (HEIGHT, 1)).astype(np.float32)
    moved = Samples(wave).at(pixel_grid(HEIGHT, WIDTH, 2) + np.array([1, 0], np.float32))
    truth = np.sin((x + 0.5) * np.pi / 2)
    assert np.abs(moved[:, 8:-8] - truth[8:-8]).max() < 0.09


def test_settings_say_what_they_take():
    with pytest.raises(neighbours.SettingsError, match="reach"):
        NeighbourSettings(reach=4)
    with pytest.raises(neighbours.SettingsError, match="odd"):
        NeighbourSettings(hole_margin=2)
