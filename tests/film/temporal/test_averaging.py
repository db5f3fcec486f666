"""Averaging along the motion: grain goes, detail and drawings stay, damage is not carried, missed damage goes."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.film.motion.window import FrameWindow
from vldm_core.film.temporal.averaging import AveragingSettings, averaged, neighbour_settings
from vldm_core.film.temporal.neighbours import Holes, Neighbours, bands
from vldm_core.film.temporal.noise import grain_by_brightness
from vldm_core.stages.batch import average_frames

from .test_neighbours import HEIGHT, WIDTH, panned

INNER = np.s_[12:-12, 12:-12]


def average(frames: Tensor, index: int = 4, holes: Holes | None = None, **settings) -> np.ndarray:
    how = AveragingSettings(**settings)
    window = FrameWindow(frames)
    neighbours = (
        Neighbours(window, neighbour_settings(how))
        if holes is None
        else Neighbours(window, neighbour_settings(how), holes=holes)
    )
    grain = grain_by_brightness(window, neighbours, index)
    assert grain is not None
    return window.luma[index] + averaged(neighbours, index, grain, how)


def error(made: np.ndarray, truth: Tensor, where=INNER) -> float:
    return float(np.sqrt(np.square(made - truth[0].numpy() * 255)[where].mean()))


def test_grain_is_averaged_out_and_detail_stays():
    clean, grainy = panned(), panned(grain=5.0)
    made = average(grainy)
    # Seven independent values leave 38 % of the deviation.
    assert error(made, clean[4]) < 0.55 * 5.0
    sharpness = [cv2.Laplacian(cv2.GaussianBlur(picture, (0, 0), 1), cv2.CV_32F)[INNER].std()
                 for picture in (made, clean[4, 0].numpy() * 255)]  # fmt: skip
    assert sharpness[0] > 0.9 * sharpness[1]


def test_even_ground_is_left_with_less_grain_than_an_average_has():
    rng = np.random.default_rng(6)
    ground = np.full((9, HEIGHT, WIDTH), 120, np.float32)
    grainy = torch.from_numpy((ground + 5 * rng.standard_normal(ground.shape)).astype(np.float32) / 255)
    made = average(grainy[:, None].repeat(1, 3, 1, 1))
    assert np.std(made - 120) < 0.25 * 5


def test_film_without_grain_comes_out_as_it_went_in():
    clean = panned()
    change = np.abs(average(clean) - clean[4, 0].numpy() * 255)
    assert change.mean() < 0.2 and change.max() < 2


def drawing(count: int = 9) -> Tensor:
    """A drawn disc that jumps on even ground."""
    frames = np.full((count, HEIGHT, WIDTH), 150, np.float32)
    for t in range(count):
        cv2.circle(frames[t], (30 + 9 * t, 48), 12, (40,), -1)
    return torch.from_numpy(frames / 255)[:, None].repeat(1, 3, 1, 1)


def test_drawings_are_not_touched():
    frames = drawing()
    made = average_frames(frames)
    assert float((made - frames).abs().max()) * 255 < 1.0


def test_what_was_repaired_is_not_carried_along():
    frames, clean = panned(grain=3.0), panned()
    spoilt = frames.clone()
    # A bad fill, a little too bright: near enough to fit.
    spoilt[3, :, 40:60, 50:80] += 4 / 255
    holes = np.zeros((HEIGHT, WIDTH), bool)
    holes[40:60, 50:80] = True
    here = np.s_[44:56, 56:74]
    without = average(spoilt, holes=lambda index: holes if index == 3 else None)
    assert error(without, clean[4], here) < error(average(spoilt), clean[4], here)
    assert abs(float((without - clean[4, 0].numpy() * 255)[here].mean())) < 0.6


def test_missed_damage_is_taken_off_where_it_is_asked_for():
    frames, clean = panned(grain=3.0), panned()
    frames[4, :, 40:46, 60:66] = 1.0
    frames[4, :, 20:70, 90:92] = 0.05
    for spot in (np.s_[40:46, 60:66], np.s_[20:70, 90:92]):
        assert error(average(frames), clean[4], spot) < 5
        assert error(average(frames, missed_damage=False), clean[4], spot) > 30


@pytest.mark.parametrize("speed", [7, 13])
def test_a_small_fast_ball_is_not_taken_for_damage(speed):
    frames = panned(grain=2.0)
    for t in range(len(frames)):
        x = 20 + speed * t
        frames[t, :, 50:56, x : x + 6] = 0.95
    x = 20 + speed * 4
    made = average(frames)
    assert made[51:55, x + 1 : x + 5].min() > 200


def test_strength_reach_and_grain_say_how_much_is_done():
    frames = panned(grain=5.0)
    came = frames[4, 0].numpy() * 255
    full = np.abs(average(frames) - came)[INNER].mean()
    assert np.abs(average(frames, strength=0.5) - came)[INNER].mean() == pytest.approx(full / 2, rel=1e-3)
    assert np.abs(average(frames, keep_grain=0.75) - came)[INNER].mean() == pytest.approx(full / 4, rel=1e-2)
    assert np.abs(average(frames, reach=1) - came)[INNER].mean() < full
    for nothing in (AveragingSettings(strength=0), AveragingSettings(reach=0)):
        assert torch.equal(average_frames(frames, settings=nothing), frames)


def test_all_grain_kept_still_takes_missed_damage_off():
    frames = panned(grain=3.0)
    frames[4, :, 40:46, 60:66] = 1.0
    came = frames[4, 0].numpy() * 255
    made = average(frames, keep_grain=1.0)
    assert made[41:45, 61:65].max() < 220
    changed = np.abs(made - came) > 0.01
    assert changed.mean() < 0.02


def test_colours_are_averaged_as_the_luma_is():
    frames, clean = panned(grain=5.0), panned()
    rng = np.random.default_rng(5)
    frames = frames + torch.from_numpy(4 * rng.standard_normal(frames.shape).astype(np.float32)) / 255
    tint = torch.tensor([1.0, 0.8, 0.6])[:, None, None]
    made = average_frames((frames * tint).clamp(0, 1))
    for channel in range(3):
        before, after = (
            (picture[4, channel] - clean[4, channel] * tint[channel])[INNER].std() for picture in (frames * tint, made)
        )
        assert after < 0.62 * before


def test_one_channel_three_times_is_what_colour_would_give():
    frames = panned(grain=4.0)
    almost = frames.clone()
    almost[:, 0, 0, 0] += 1e-4
    grey, coloured = average_frames(frames), average_frames(almost)
    assert float((grey - coloured).abs().max()) * 255 < 0.1


def test_bands_of_rows_make_the_same_frame(monkeypatch):
    frames = panned(grain=3.0)
    frames[4, :, 40:52, 60:66] = 1.0
    whole = average(frames)

    def narrow(height, width, reach, *, granularity, planes):
        return bands(height, width, reach, granularity=granularity, planes=(128 << 20) // (width * 4 * 30))

    monkeypatch.setattr("vldm_core.film.temporal.neighbours.bands", narrow)
    np.testing.assert_allclose(average(frames), whole, atol=0.1)


def test_the_result_hangs_on_neither_windows_nor_chunks():
    frames = panned(12, grain=3.0)
    whole = average_frames(frames)
    # What lies more than the radius behind a frame does not show in it.
    part = average_frames(frames[:11])
    assert torch.equal(whole[:4], part[:4])


def test_the_ends_of_a_shot_are_averaged_with_what_there_is():
    clean, grainy = panned(), panned(grain=5.0)
    for index in (0, 7):
        assert error(average(grainy, index), clean[index]) < 0.8 * 5.0
    assert torch.equal(average_frames(grainy[:1]), grainy[:1])


def test_settings_say_what_they_take():
    for wrong in ({"strength": 1.5}, {"keep_grain": -0.1}, {"reach": 4}):
        with pytest.raises(ValueError, match="use"):
            AveragingSettings(**wrong)


def test_missed_damage_of_two_frames_is_taken_off():
    frames, clean = panned(grain=3.0), panned()
    for t in (4, 5):
        # It lies still on the scene, which moves to the left and up.
        x, y = round(70 - 1.5 * (t - 4)), round(48 - 0.5 * (t - 4))
        frames[t, :, y : y + 8, x : x + 8] = 0.02
    assert error(average(frames), clean[4], np.s_[48:56, 70:78]) < 14
