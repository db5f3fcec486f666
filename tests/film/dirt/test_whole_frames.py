"""Frames that differ as a whole are no dirt: hazed, blank and inserted ones, drawings on twos, stroboscopes."""

import av
import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.film.dirt import detection as dirt
from vldm_core.film.dirt.detection import RADIUS, DirtSettings, detect_dirt
from vldm_core.film.dirt.references import REACH, SIDE, References, differs_as_a_whole, is_even
from vldm_core.film.fill.repair import LARGE_SHARE, MUCH_FILLED
from vldm_core.film.motion.shot import ShotMotion
from vldm_core.film.motion.window import FrameWindow
from vldm_core.metrics.detection import score_detection
from vldm_core.notices import Notices
from vldm_core.stages import batch as pipeline
from vldm_core.video.flow import to_luma

from ..clean_cases import clean_case
from .dirt_scenes import scene, speckled, with_runner


def hazed(frame: Tensor) -> Tensor:
    """Lift the blacks, take contrast off and blur, as stray light and a bad print do; (3, H, W)."""
    picture = cv2.GaussianBlur(frame.permute(1, 2, 0).numpy(), (0, 0), 1.2)
    rows = np.linspace(0.16, 0.26, picture.shape[0], dtype=np.float32)[:, None, None]
    return torch.from_numpy(0.6 * picture + rows).permute(2, 0, 1)


def drawn(count: int = 8, height: int = 144, width: int = 192) -> Tensor:
    """A drawing of even colours on twos: a ball that jumps, and blinks in one drawing; (T, 3, H, W)."""
    frames = []
    for number in range(count // 2):
        frame = np.full((height, width), 170, np.uint8)
        frame[100:] = 120
        x, y = 20 + 30 * number, 90 - 25 * (number % 2)
        cv2.circle(frame, (x, y), 14, 90, -1, cv2.LINE_AA)
        cv2.circle(frame, (x, y), 14, 10, 2, cv2.LINE_AA)
        if number != 2:
            cv2.circle(frame, (x - 5, y - 4), 3, 250, -1, cv2.LINE_AA)
            cv2.circle(frame, (x + 5, y - 4), 3, 250, -1, cv2.LINE_AA)
        frames += [frame, frame]
    return torch.from_numpy(np.stack(frames)).float()[:, None].repeat(1, 3, 1, 1) / 255


def test_a_hazed_frame_is_left_and_told() -> None:
    frames = scene(9, pan=2.5)
    frames[4] = hazed(frames[4])
    told: list[tuple[int, str]] = []
    found = detect_dirt(frames, tell=lambda *what: told.append(what))
    assert found.mean() < 1e-4
    assert told == [(4, dirt.DIFFERS)]


def test_dirt_beside_a_hazed_frame_is_found() -> None:
    dirty, truth = speckled(scene(9, pan=2.5), per_frame=4)
    dirty[4] = hazed(dirty[4])
    score = score_detection(detect_dirt(dirty)[[3, 5]], truth[[3, 5]].float())
    assert (score.recall or 0) > 0.8
    assert (score.precision or 0) > 0.9


@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("length", [1, 2])
def test_an_inserted_blank_is_left(level: float, length: int) -> None:
    frames = scene(9, pan=2.0)
    frames[4 : 4 + length] = level
    told: list[tuple[int, str]] = []
    found = detect_dirt(frames, tell=lambda *what: told.append(what))
    # Motion past the blank is measured over two frames and more, and less exactly.
    assert found.mean() < 2e-4
    assert {index for index, _ in told} <= {4, 5} and len(told) >= (length == 1)


def test_drawings_on_twos_stay() -> None:
    assert not detect_dirt(drawn()).any()


def test_dirt_on_one_frame_of_a_drawing_is_found() -> None:
    frames = drawn()
    frames[4, :, 30:36, 150:158] = 0.05
    found = detect_dirt(frames)[4, 31:35, 151:157]
    assert (found > 0).float().mean() > 0.9


def test_a_frame_of_grain_is_not_even() -> None:
    assert is_even(to_luma(drawn(2))[0])
    assert not is_even(to_luma(scene(1))[0])
    assert not is_even(np.zeros((40, 40), np.float32))


def test_fast_motion_and_flicker_are_no_other_picture() -> None:
    moving = with_runner(scene(3, pan=9.0), speed=40.0)
    luma, motion = to_luma(moving), ShotMotion.of(moving)
    motions = motion.quick(1, 0), motion.quick(1, 2)
    assert not differs_as_a_whole(luma[1], (luma[0], luma[2]), motions)
    assert not differs_as_a_whole(luma[1] * 1.15, (luma[0], luma[2]), motions)


def test_references_step_over_copies_and_other_pictures() -> None:
    frames = scene(8)
    frames[2], frames[5] = frames[1], 0.0
    references = References(FrameWindow(frames))
    assert (SIDE, REACH) == (3, 5)
    assert references.of(3) == ((2, 0), (4, 6, 7))
    assert references.of(1) == ((0,), (3, 4, 6))
    assert references.of(4) == ((3, 2, 0), (6, 7))
    assert references.of(0) == ((), (1, 3, 4))
    assert [references.stands_apart(index) for index in range(8)] == [False] * 5 + [True] + [False] * 2


def test_windows_with_other_pictures_give_the_same_mask() -> None:
    dirty, _ = speckled(scene(18, 96, 128), per_frame=3)
    dirty[8], dirty[11] = hazed(dirty[8]), dirty[10]
    settings = DirtSettings()
    whole = detect_dirt(dirty, settings)
    for first, last in ((4, 8), (8, 12)):
        start = max(first - RADIUS, 0)
        kept = slice(first - start, last - start)
        assert torch.equal(detect_dirt(dirty[start : last + RADIUS], settings, keep=kept)[kept], whole[first:last])


@pytest.mark.parametrize(("name", "span"), [("animation", (0, 12)), ("leaders", (19, 26)), ("strobe", (0, 8))])
def test_what_users_reported_stays(name: str, span: tuple[int, int]) -> None:
    frames, _ = clean_case(name, *span)
    assert detect_dirt(frames).mean() < 1e-5


def test_the_hazed_frame_of_market_street_stays(shared_data) -> None:
    with av.open(str(shared_data("film/market_street_1906.mkv"))) as film:
        shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)][18:27]
    frames = torch.from_numpy(np.stack(shown).transpose(0, 3, 1, 2).copy()).float() / 255
    found = detect_dirt(frames, keep=slice(4, 6))
    assert not found[4].any()
    # The dark part of the blotch in the sky of the frame after it.
    assert found[5, 70:88, 200:220].sum() > 100
    assert found[5].mean() < 0.004


def test_more_than_a_share_is_not_filled_untold() -> None:
    frames, notices = scene(5, 64, 96), Notices()
    masks = torch.zeros(5, 64, 96)
    masks[2, :16] = 1
    masks[3, :2] = 1
    assert float(masks[2].mean()) > LARGE_SHARE > float(masks[3].mean())
    pipeline.repair_damage(frames, dirt=masks, notices=notices)
    assert [notice.frame for notice in notices if notice.text == MUCH_FILLED] == [2]


def test_what_is_left_as_a_whole_is_told() -> None:
    frames, notices = scene(7, 96, 128), Notices()
    frames[3] = 0.0
    pipeline.detect_damage(frames, dirt=DirtSettings(), notices=notices)
    assert [(notice.frame, notice.text) for notice in notices] == [(3, dirt.DIFFERS)]
