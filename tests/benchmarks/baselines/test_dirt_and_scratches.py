"""The baselines do what their formulas say on tiny clips with known damage."""

import numpy as np
import pytest
import torch

from benchmarks.baselines import dirt as baselines
from benchmarks.baselines import scratches as line_baselines
from benchmarks.detection.methods import METHODS
from vldm_core.errors import SettingsError
from vldm_core.metrics.detection import score_detection
from vldm_core.metrics.fidelity import largest_change_outside, psnr


def _scene(
    count: int = 5, height: int = 64, width: int = 96, step: int = 0, noise: float = 0.0, contrast: float = 0.3
) -> torch.Tensor:
    """A textured scene (T, 3, H, W) that moves by `step` px a frame, with optional grain in grey levels."""
    rng = np.random.default_rng(5)
    wide = width + count * abs(step) + 8
    coarse = torch.from_numpy(rng.random((1, 1, height // 4, wide // 4), dtype=np.float32))
    picture = torch.nn.functional.interpolate(coarse, (height, wide), mode="bicubic", align_corners=False)[0]
    picture = (picture * contrast + 0.35).expand(3, -1, -1)
    frames = torch.stack([picture[:, :, step * index : step * index + width] for index in range(count)])
    grain = torch.from_numpy(rng.standard_normal((count, 1, height, width)).astype(np.float32))
    return (frames + grain * noise / 255).clamp(0, 1)


def _dirty(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Put one opaque 5×5 speck, black or white in turn, at another place in every frame."""
    output, mask = frames.clone(), torch.zeros(frames.shape[0], *frames.shape[2:])
    for index in range(frames.shape[0]):
        top, left = 10 + 9 * index, 20 + 12 * index
        output[index, :, top : top + 5, left : left + 5] = float(index % 2)
        mask[index, top : top + 5, left : left + 5] = 1
    return output, mask


def detect_sdip(frames: torch.Tensor) -> torch.Tensor:
    """The mask of the benchmark's method."""
    return METHODS["sdip"].detect(frames).dirt


def detect_rod(frames: torch.Tensor) -> torch.Tensor:
    """The mask of the benchmark's method."""
    return METHODS["rod"].detect(frames).dirt


def psnr_inside(output: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor) -> float:
    """PSNR over the masked pixels of all frames together, dB."""
    chosen = mask > 0.5
    return psnr(output.movedim(1, -1)[chosen], reference.movedim(1, -1)[chosen])


@pytest.mark.parametrize("detect", [detect_sdip, detect_rod])
@pytest.mark.parametrize("step", [0, 2])
def test_dirt_detectors_find_specks_of_both_polarities_at_every_frame(detect, step: int):
    dirty, truth = _dirty(_scene(step=step))
    found = detect(dirty)
    for index in range(len(dirty)):
        score = score_detection(found[index : index + 1], truth[index : index + 1], tolerance=1)
        assert score.recall > 0.9
        assert score.false_alarm < 0.03


@pytest.mark.parametrize("detect", [detect_sdip, detect_rod])
def test_dirt_detectors_are_blind_to_what_stays(detect):
    frames = _scene()
    frames[:, :, :, 40:42] = 0.0
    assert float(detect(frames).sum()) == 0


def test_sdip_needs_both_differences_to_have_one_sign():
    # Noise of frame 2 is above frame 1 and below frame 3 by the same amount: no spike.
    frames = torch.full((3, 3, 32, 32), 0.5)
    frames[0] -= 0.1
    frames[2] += 0.1
    assert float(detect_sdip(frames)[1].sum()) == 0


@pytest.mark.parametrize(
    "repair", [baselines.inpaint_telea, baselines.inpaint_navier_stokes, baselines.fill_neighbour_mean]
)
def test_repairs_change_masked_pixels_only_and_improve_them(repair):
    clean = _scene(step=1)
    dirty, mask = _dirty(clean)
    output = repair(dirty, mask)
    assert largest_change_outside(output, dirty, mask) == 0
    assert psnr_inside(output, clean, mask) > psnr_inside(dirty, clean, mask) + 10
    assert torch.equal(repair(dirty, torch.zeros_like(mask)), dirty)


def test_neighbours_know_more_than_the_surroundings():
    clean = _scene(step=1)
    dirty, mask = _dirty(clean)
    temporal = psnr_inside(baselines.fill_neighbour_mean(dirty, mask), clean, mask)
    spatial = psnr_inside(baselines.inpaint_telea(dirty, mask), clean, mask)
    assert temporal > spatial + 3


def test_median_of_three_removes_specks_without_a_mask():
    clean = _scene()
    dirty, mask = _dirty(clean)
    output = baselines.median_of_three(dirty)
    assert psnr_inside(output, clean, mask) > psnr_inside(dirty, clean, mask) + 10
    assert torch.equal(baselines.median_of_three(clean), clean)


@pytest.mark.parametrize("function", [detect_sdip, detect_rod, baselines.median_of_three])
def test_temporal_baselines_refuse_two_frames(function):
    with pytest.raises(SettingsError, match="at least 3 frames, got 2"):
        function(_scene(count=2))


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(SettingsError, match="does not fit"):
        baselines.inpaint_telea(_scene(), torch.zeros(5, 3, 3))


def _scratched(
    depth: float, tilt: float = 0.0, height: int = 240, step: int = 3
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A moving scene with a line of `depth` grey levels fixed in the film, its clean twin, and the truth."""
    clean = _scene(count=6, height=height, width=120, step=step, noise=2.5, contrast=0.12)
    mask = torch.zeros(6, height, 120)
    columns = 60 + np.round(np.arange(height) * np.tan(np.radians(tilt))).astype(int)
    for row, column in enumerate(columns):
        mask[:, row, column - 1 : column + 2] = 1
    return (clean + mask[:, None] * depth / 255).clamp(0, 1), clean, mask


@pytest.mark.parametrize("depth", [-10.0, 10.0])
def test_line_integral_and_vote_find_a_fixed_line_of_either_polarity(depth: float):
    frames, clean, truth = _scratched(depth)
    found = line_baselines.detect_line_integral(frames)
    assert score_detection(found, truth, tolerance=1).recall == 1
    assert torch.equal(found[0], found[-1])
    without = line_baselines.detect_line_integral(clean)
    assert float(without[:, :, 57:64].sum()) == 0


def test_the_vote_drops_lines_that_do_not_last():
    frames, clean, _ = _scratched(20.0)
    frames[2:] = clean[2:]
    assert float(line_baselines.detect_line_integral(frames)[:, :, 57:64].sum()) == 0
    assert float(line_baselines.detect_line_integral(frames, vote=0.3)[:, :, 57:64].sum()) > 0


@pytest.mark.parametrize("tilt", [0.0, 3.0])
@pytest.mark.parametrize("depth", [-25.0, 25.0])
def test_local_extremum_follows_straight_and_tilted_lines(tilt: float, depth: float):
    frames, _, truth = _scratched(depth, tilt)
    found = line_baselines.detect_local_extremum(frames[:2])
    assert score_detection(found, truth[:2], tolerance=1).recall > 0.8


def test_local_extremum_ignores_short_and_strongly_tilted_strokes():
    frames = torch.full((1, 3, 480, 120), 0.5)
    frames[0, :, 100:160, 30:33] = 0.3
    for row in range(480):
        column = 20 + row // 6  # about 9.5°
        frames[0, :, row, column : column + 3] = 0.3
    assert float(line_baselines.detect_local_extremum(frames).sum()) == 0


@pytest.mark.parametrize("level", [3.0, 5.0, 8.0])
def test_the_strength_of_an_extremum_tells_the_masks_of_all_thresholds(level: float, monkeypatch):
    frames, _, _ = _scratched(16.0, tilt=1.0)
    strength = line_baselines.local_extremum_strength(frames[:2])
    monkeypatch.setattr(line_baselines, "LEAST_DIFFERENCE", level)
    binary = torch.zeros_like(strength)
    for index, plane in enumerate(line_baselines.luma(frames[:2]).numpy()):
        smooth = line_baselines._vertical_blur(plane)
        for sign in (-1.0, 1.0):
            candidates = (line_baselines._extrema(smooth, sign) > level).astype(np.float32)
            connected = line_baselines._connected(candidates)
            grown = np.maximum(connected, np.maximum(np.roll(connected, 1, 1), np.roll(connected, -1, 1)))
            binary[index] = torch.maximum(binary[index], torch.from_numpy(grown))
    assert bool(binary.any())
    assert torch.equal((strength > level)[..., 2:-2], (binary > 0)[..., 2:-2])
    assert torch.equal(line_baselines.detect_local_extremum(frames[:2]), (strength > level).float())


def test_the_strength_of_a_line_integral_is_its_largest_passing_threshold():
    frames, _, _ = _scratched(8.0)
    strength = line_baselines.line_integral_strength(frames)
    assert torch.equal(strength[0], strength[-1])
    on_line = float(strength[:, :, 59:62].amax())
    assert on_line > 6
    for threshold, marked in ((on_line * 0.95, True), (on_line * 1.05, False)):
        found = line_baselines.detect_line_integral(frames, threshold=threshold)
        assert bool(found[:, :, 59:62].any()) is marked


@pytest.mark.parametrize(
    ("detect", "strength", "threshold"),
    [
        (detect_sdip, baselines.sdip_strength, baselines.SDIP_THRESHOLD),
        (detect_rod, baselines.rod_strength, 1.0),
    ],
)
def test_the_strength_of_dirt_tells_the_mask(detect, strength, threshold: float):
    dirty, truth = _dirty(_scene(step=2, noise=2.5))
    values = strength(dirty)
    assert float(values.min()) >= 0
    assert torch.equal(detect(dirty), (values > threshold).float())
    assert float(values[truth > 0].mean()) > 3 * float(values[truth == 0].mean())


def test_sdip_strength_by_hand():
    # 0.5 between 0.45 and 0.42: the smaller difference is 0.05.
    frames = torch.stack([torch.full((3, 24, 24), level) for level in (0.45, 0.5, 0.42)])
    assert float(baselines.sdip_strength(frames)[1].mean()) == pytest.approx(0.05 * 255, rel=1e-4)


@pytest.mark.parametrize("depth", [10.0, 25.0])
def test_subtraction_keeps_the_picture_where_inpainting_loses_it(depth: float):
    frames, clean, truth = _scratched(depth)
    output = line_baselines.subtract_local_extremum(frames, truth)
    assert largest_change_outside(output, frames, truth) == 0
    subtracted = psnr_inside(output, clean, truth)
    assert subtracted > psnr_inside(frames, clean, truth) + 2
    assert subtracted > psnr_inside(baselines.inpaint_telea(frames, truth), clean, truth)
