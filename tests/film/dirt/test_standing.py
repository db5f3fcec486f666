"""Letters, thin lines and marks that stand still are no dirt, whatever moves behind them; dirt on them is found."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.film.dirt.detection import detect_dirt
from vldm_core.film.dirt.standing import overall_gain, same_place, staying
from vldm_core.film.fill.repair import repair_dirt
from vldm_core.film.motion.whole_shift import whole_shift
from vldm_core.metrics.detection import score_detection
from vldm_core.video.flow import FlowSettings, estimate_pair, to_luma

from ..clean_cases import clean_case, psnr_inside
from .dirt_scenes import scene, speckled


def lettering(height: int = 144, width: int = 192) -> np.ndarray:
    """Thin strokes, (H, W) in 0 … 1, as a small letter has them."""
    strokes = np.zeros((height, width), np.uint8)
    for row in (40, 66, 92):
        for number, letter in enumerate("till ill, I lit it. fifty"):
            cv2.putText(strokes, letter, (14 + 7 * number, row), cv2.FONT_HERSHEY_PLAIN, 0.8, 255, 1, cv2.LINE_AA)
    return strokes.astype(np.float32) / 255


def card(count: int = 7, *, seed: int = 4) -> Tensor:
    """Light letters on a dark ground with grain, (T, 3, H, W)."""
    stream = np.random.default_rng(seed)
    still = 14 + 216 * lettering()
    frames = []
    for _ in range(count):
        grain = 4 * cv2.GaussianBlur(stream.standard_normal(still.shape), (0, 0), 0.7)
        frames.append(np.clip(np.rint(still + grain), 0, 255).astype(np.float32) / 255)
    return torch.from_numpy(np.stack(frames))[:, None].repeat(1, 3, 1, 1)


def titled(count: int = 8, *, pan: float = 3.0) -> Tensor:
    """The same letters with a dark edge, standing still before a scene that moves."""
    letters = lettering()
    edge = torch.from_numpy(cv2.dilate(letters, np.ones((3, 3), np.uint8)))
    return scene(count, pan=pan) * (1 - edge) + 0.97 * torch.from_numpy(letters)


def test_letters_on_a_card_are_no_dirt() -> None:
    assert detect_dirt(card()).mean() < 1e-5


def test_letters_before_a_moving_scene_are_no_dirt() -> None:
    found = detect_dirt(titled())
    assert found[1:-1].mean() < 5e-4
    assert found.mean() < 2e-3


@pytest.mark.parametrize("ground", ["card", "titled"])
def test_dirt_between_letters_is_found(ground: str) -> None:
    clean = card() if ground == "card" else titled(7)
    dirty, truth = speckled(clean, per_frame=4)
    score = score_detection(detect_dirt(dirty)[1:-1], truth[1:-1].float())
    # Dark dirt on a dark card shows little.
    assert (score.recall or 0) > 0.78
    assert (score.precision or 0) > 0.88


@pytest.mark.parametrize("life", [4, 6])
def test_a_mark_that_stays_longer_than_dirt_is_no_dirt(life: int) -> None:
    frames = scene(12, pan=3.0)
    frames[4 : 4 + life, :, 20:30, 160:172] = 0.93
    assert detect_dirt(frames)[:, 17:33, 157:175].sum() == 0


@pytest.mark.parametrize(
    ("name", "span", "crop", "least"),
    [
        ("intertitle", (0, 8), None, 38),
        # Its border weaves by itself; a few of its pixels are taken for dirt. The chains of other programs reach 22 dB.
        ("intertitle_weave", (6, 14), None, 36),
        ("subtitles", (7, 15), (slice(180, None), slice(40, 440)), 38),
        ("cue_marks", (9, 19), (slice(0, 120), slice(300, 480)), 38),
    ],
)
def test_what_users_reported_stays(
    name: str, span: tuple[int, int], crop: tuple[slice, slice] | None, least: float
) -> None:
    frames, interest = clean_case(name, *span, crop)
    restored = repair_dirt(frames, detect_dirt(frames))
    assert psnr_inside(frames, restored, interest) >= least


@pytest.mark.parametrize("name", ["intertitle", "subtitles"])
def test_dirt_on_what_users_reported_is_found(name: str) -> None:
    frames, _ = clean_case(name, 2, 9, (slice(100, None), slice(40, 440)))
    dirty, truth = speckled(frames, per_frame=6)
    score = score_detection(detect_dirt(dirty)[1:-1], truth[1:-1].float())
    assert (score.recall or 0) > 0.8
    assert (score.precision or 0) > 0.9


def test_flow_sees_thin_strokes_that_stand_still() -> None:
    luma = to_luma(card(2))
    flow = estimate_pair(luma[0], luma[1], settings=FlowSettings(quality="fast"))
    assert np.abs(flow[lettering() > 0.5]).mean() < 0.1


def test_one_shift_of_a_woven_card_is_measured_exactly() -> None:
    still = (14 + 216 * lettering()).astype(np.float32)
    moved = cv2.warpAffine(still, np.array([[1, 0, 0.7], [0, 1, -0.4]]), still.shape[::-1])
    assert whole_shift(still, moved, np.zeros(2, np.float32)) == pytest.approx([0.7, -0.4], abs=0.1)


def test_staying_counts_frames_in_a_row() -> None:
    shown = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]], bool)[:, None, :]
    stays = staying(2, 5, lambda other: shown[other] & shown[2])
    assert stays.tolist() == [[False, True, True, False]]
    assert staying(1, 3, lambda other: shown[other] & shown[1]).tolist() == [[True, True, False, False]]


def test_the_same_place_may_flicker() -> None:
    luma = to_luma(card(2))
    darker = luma[1] * 0.8
    evened = darker * overall_gain(float(darker.mean()), float(luma[0].mean()))
    assert same_place(luma[0], evened, 4.0)[lettering() > 0.5].mean() > 0.95
    assert not same_place(luma[0], np.roll(luma[1], 5, axis=1), 4.0)[lettering() > 0.9].any()
