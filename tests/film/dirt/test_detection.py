"""Transient dirt is found, and what moves, flickers or stays is left alone."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.film.dirt.detection import RADIUS, DirtSettings, detect_dirt, dirt_probability
from vldm_core.metrics.detection import dilate
from vldm_core.video.flow import estimate_flow, to_luma
from vldm_core.video.warping import warp

from ...testers import interrupt_comes_out, windows_agree
from .dirt_scenes import scene, speckled, with_runner


def score(found: Tensor, truth: Tensor) -> tuple[float, float]:
    """Recall and precision at 1 px tolerance."""
    found, truth = found > 0.5, truth > 0.5
    recall = (truth & dilate(found, 1)).sum() / truth.sum()
    precision = (found & dilate(truth, 1)).sum() / found.sum().clamp(min=1)
    return float(recall), float(precision)


def plain_spikes(frames: Tensor, threshold: float = 14.0) -> Tensor:
    """The textbook detector SDIp: both motion-compensated differences beyond a threshold, with one sign."""
    luma = torch.from_numpy(to_luma(frames))[:, None]
    back, ahead = estimate_flow(frames), estimate_flow(frames, direction="forward")
    masks = torch.zeros(len(frames), *frames.shape[-2:])
    for t in range(1, len(frames) - 1):
        before, after = luma[t] - warp(luma[t - 1], back[t - 1]), luma[t] - warp(luma[t + 1], ahead[t])
        both = (torch.minimum(before, after) > threshold) | (torch.maximum(before, after) < -threshold)
        masks[t] = both[0].float()
    return masks


def test_specks_are_found_and_little_else() -> None:
    dirty, truth = speckled(scene(9))
    inner = slice(1, -1)
    recall, precision = score(detect_dirt(dirty)[inner], truth[inner])
    assert recall > 0.85
    assert precision > 0.9


def test_beats_plain_spikes_where_things_run() -> None:
    clean = with_runner(scene(9, pan=3.0), speed=13.0)
    dirty, truth = speckled(clean, per_frame=3)
    inner = slice(1, -1)
    recall, precision = score(detect_dirt(dirty)[inner], truth[inner])
    plain_recall, plain_precision = score(plain_spikes(dirty)[inner], truth[inner])
    ours = 2 * recall * precision / (recall + precision)
    plain = 2 * plain_recall * plain_precision / (plain_recall + plain_precision)
    assert ours > plain + 0.1
    assert ours > 0.8


def test_a_running_object_is_not_dirt() -> None:
    found = detect_dirt(with_runner(scene(8), speed=11.0))
    assert found.mean() < 2e-4


def test_a_clean_pan_raises_no_alarm() -> None:
    assert detect_dirt(scene(7, pan=5.0)).mean() < 1e-4


def test_flicker_is_not_dirt() -> None:
    clean = scene(8)
    stream = np.random.default_rng(5)
    ramp = torch.linspace(-1, 1, clean.shape[-1])
    flickering = clean.clone()
    for index in range(len(clean)):
        gain = 1 + 0.07 * stream.uniform(-1, 1) + 0.05 * stream.uniform(-1, 1) * ramp
        flickering[index] = (clean[index] * gain).clamp(0, 1)
    assert detect_dirt(flickering).mean() < 1e-4


def test_specks_are_found_under_flicker() -> None:
    dirty, truth = speckled(scene(8))
    gains = torch.tensor([1.0, 0.94, 1.06, 0.97, 1.05, 0.93, 1.02, 0.98])
    recall, precision = score(detect_dirt((dirty * gains[:, None, None, None]).clamp(0, 1))[1:-1], truth[1:-1])
    assert recall > 0.8
    assert precision > 0.85


def test_what_stays_is_not_dirt() -> None:
    frames = scene(8, pan=0.0)
    frames[:, :, 60:66, 80:90] = 0.95
    assert detect_dirt(frames)[:, 58:68, 78:92].sum() == 0


@pytest.mark.parametrize("life", [2, 3])
def test_a_speck_that_lasts_a_few_frames_is_found(life: int) -> None:
    frames = scene(9, pan=0.4)
    frames[3 : 3 + life, :, 60:66, 130:137] = 0.97
    assert (detect_dirt(frames)[3 : 3 + life, 61:65, 131:136] > 0).float().mean() > 0.9


def test_dirt_on_a_repeated_frame_is_found() -> None:
    clean = scene(7)
    dirty, truth = speckled(clean, first=3, last=4)
    repeated = torch.cat([dirty[:4], dirty[3:]])
    marks = torch.cat([truth[:4], truth[3:]])
    recall, precision = score(detect_dirt(repeated)[3:5], marks[3:5])
    assert recall > 0.8
    assert precision > 0.9


def test_first_and_last_frame_are_judged_from_one_side() -> None:
    dirty, truth = speckled(scene(6), per_frame=6)
    ends = torch.tensor([0, 5])
    recall, precision = score(detect_dirt(dirty)[ends], truth[ends])
    assert recall > 0.6
    assert precision > 0.85


def test_windows_give_the_same_mask() -> None:
    dirty, _ = speckled(with_runner(scene(17, 96, 128)), per_frame=3)
    whole = detect_dirt(dirty)
    for run in (
        lambda window, kept: detect_dirt(dirty[window]),
        lambda window, kept: detect_dirt(dirty[window], keep=kept),
    ):
        windows_agree(run, whole, (5, 9), radius=RADIUS)


def test_protection_size_and_growth() -> None:
    dirty, truth = speckled(scene(7), first=3, last=4)
    found = detect_dirt(dirty)[3] > 0
    protect = torch.zeros_like(truth)
    protect[:, :, :96] = True
    spared = detect_dirt(dirty, protect=protect)[3] > 0
    assert not spared[:, :96].any()
    assert torch.equal(spared[:, 96:], found[:, 96:])
    assert not detect_dirt(dirty, DirtSettings(min_size=500)).any()
    grown = detect_dirt(dirty, DirtSettings(grow=2))[3] > 0
    assert (grown & found).sum() == found.sum() < grown.sum()
    assert torch.equal(grown | dilate(found[None], 2)[0], dilate(found[None], 2)[0])


def test_spots_of_other_sizes_are_left() -> None:
    frames = scene(7)
    frames[3, :, 30:34, 30:34] = 0.95
    frames[3, :, 90:110, 120:150] += 0.35
    small, large = (slice(31, 33), slice(31, 33)), (slice(94, 106), slice(124, 146))
    for settings, small_found, large_found in (
        (DirtSettings(), True, True),
        (DirtSettings(max_size=100), True, False),
        (DirtSettings(min_size=100), False, True),
    ):
        found = detect_dirt(frames, settings, keep=slice(3, 4))[3] > 0
        assert bool(found[small].all()) == small_found == bool(found[small].any())
        assert (float(found[large].float().mean()) > 0.9) == large_found == bool(found[large].any())


@pytest.mark.parametrize("polarity", ["dark", "bright"])
def test_dark_and_bright_damage_of_every_kind_are_found_apart(polarity: str) -> None:
    frames = scene(9)
    x, y = np.meshgrid(np.arange(192), np.arange(144))
    blotch = np.clip(1.5 - np.hypot((x - 45) / 22, (y - 100) / 16), 0, 1).clip(max=1)
    mark = np.zeros((144, 192), np.float32)
    mark[20:26, 30:37] = 0.35
    mark[10:130, 150:152] = 0.2
    mark += 0.1 * blotch.astype(np.float32)
    sign = 1 if polarity == "bright" else -1
    frames[4] = (frames[4] + sign * torch.from_numpy(mark)).clamp(0, 1)
    own = detect_dirt(frames, DirtSettings(polarity=polarity), keep=slice(4, 5))[4] > 0  # type: ignore[arg-type]
    other = "dark" if polarity == "bright" else "bright"
    opposite = detect_dirt(frames, DirtSettings(polarity=other), keep=slice(4, 5))[4] > 0  # type: ignore[arg-type]
    for place in ((slice(21, 25), slice(31, 36)), (slice(30, 110), slice(150, 152)), (slice(92, 108), slice(34, 56))):
        assert own[place].float().mean() > 0.6
        assert opposite[place].float().mean() < 0.02


@pytest.mark.parametrize("settings", [DirtSettings(min_size=1), DirtSettings(min_size=1, certainty=0.2, lifetime=2)])
def test_probability_above_certainty_is_the_mask(settings: DirtSettings) -> None:
    dirty, truth = speckled(with_runner(scene(6)))
    probability = dirt_probability(dirty, settings)
    assert probability.min() >= 0 and probability.max() <= 1
    assert torch.equal((probability >= settings.certainty).float(), detect_dirt(dirty, settings))
    assert ((probability > 0) & (probability < settings.certainty)).any()
    assert probability[truth].mean() > 0.5 > 0.05 > probability[~dilate(truth, 1)].mean()
    assert not dirt_probability(dirty, settings, keep=slice(2, 3))[:2].any()


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_frames_find_nothing(count: int) -> None:
    dirty, _ = speckled(scene(2))
    assert detect_dirt(dirty[:count]).sum() == 0


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (16, 17), (8, 200)])
def test_tiny_frames(height: int, width: int) -> None:
    frames = torch.rand(4, 3, height, width, generator=torch.Generator().manual_seed(0))
    assert detect_dirt(frames).shape == (4, height, width)


def test_a_still_picture_has_no_dirt() -> None:
    assert detect_dirt(scene(1).repeat(5, 1, 1, 1)).sum() == 0


def test_grey_frames_give_the_same_as_colour() -> None:
    dirty, _ = speckled(scene(4, 96, 128), seed=3)
    difference = detect_dirt(dirty) != detect_dirt(dirty[:, :1])
    assert difference.float().mean() < 1e-3


def test_wrong_arguments_are_refused() -> None:
    frames = torch.zeros(3, 3, 32, 32)
    with pytest.raises(SettingsError, match="protect mask"):
        detect_dirt(frames, protect=torch.zeros(3, 32, 31))
    with pytest.raises(SettingsError, match="dirt detection needs"):
        detect_dirt(torch.zeros(3, 32, 32))
    with pytest.raises(SettingsError, match="dirt detection needs"):
        dirt_probability(torch.zeros(3, 32, 32))
    for wrong in ({"polarity": "grey"}, {"max_size": 2}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            DirtSettings(**wrong)  # type: ignore[arg-type]


def test_an_interrupt_comes_out() -> None:
    interrupt_comes_out(lambda progress: detect_dirt(scene(3, 64, 64), progress=progress))


def test_clumps_of_bright_grain_are_no_blotches() -> None:
    stream, frames = np.random.default_rng(3), []
    for frame in scene(7, pan=0.5)[:, 0].numpy():
        grain = cv2.GaussianBlur(stream.standard_normal(frame.shape), (0, 0), 1.6)
        bright = 255 - 64 * (1 - frame) + 7 * grain / grain.std()
        _, coded = cv2.imencode(
            ".jpg", np.clip(np.rint(bright), 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 30]
        )
        frames.append(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))
    film = torch.from_numpy(np.stack(frames))[:, None].repeat(1, 3, 1, 1).float() / 255
    assert detect_dirt(film).mean() < 2e-3
