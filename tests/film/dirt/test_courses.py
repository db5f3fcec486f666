"""What is small and fast and goes its way is no dirt, nor what changes at its place; dense dirt is."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.film.dirt.courses import _even_courses, _Spots, _spots_of
from vldm_core.film.dirt.detection import detect_dirt
from vldm_core.film.fill.repair import repair_dirt
from vldm_core.metrics.detection import score_detection

from ..clean_cases import clean_case, psnr_inside, share_moved
from .dirt_scenes import scene, speckled


def with_flakes(frames: Tensor, *, number: int = 60, seed: int = 6) -> tuple[Tensor, Tensor]:
    """Let light flakes fall through a scene, each at its own speed; return frames and flakes (T, H, W) bool."""
    stream = np.random.default_rng(seed)
    count, _, height, width = frames.shape
    start = stream.uniform((0, 0), (width, height), (number, 2))
    speed = np.stack([stream.normal(0, 1.5, number), stream.uniform(9, 15, number)], 1)
    result, flakes = frames.clone(), torch.zeros(count, height, width, dtype=torch.bool)
    for index in range(count):
        alpha = np.zeros((height, width), np.float32)
        for x, y in (start + speed * index) % (width, height):
            cv2.circle(alpha, (int(x * 16), int(y * 16)), 28, 1.0, -1, cv2.LINE_AA, 4)
        cover = torch.from_numpy(alpha)
        result[index] = result[index] * (1 - cover) + 0.97 * cover
        flakes[index] = cover > 0.4
    return result, flakes


def test_falling_flakes_stay() -> None:
    frames, flakes = with_flakes(scene(9, pan=1.0))
    found = detect_dirt(frames)[2:-2] > 0
    assert (found & flakes[2:-2]).sum() < 0.05 * flakes[2:-2].sum()


def test_dense_dirt_is_no_snow() -> None:
    dirty, truth = speckled(scene(9), per_frame=40)
    score = score_detection(detect_dirt(dirty)[2:-2], truth[2:-2].float())
    assert (score.recall or 0) > 0.7
    assert (score.precision or 0) > 0.9


@pytest.mark.parametrize(
    ("name", "span", "crop", "peers"),
    [
        # ROI PSNR in dB, and share moved, of the better of two other programs.
        ("confetti", (0, 7), (slice(0, 160), slice(100, 340)), (18.9, 0.142)),
        ("fireworks", (2, 10), (slice(20, 180), slice(60, 260)), (12.6, 0.26)),
        ("ball", (0, 10), (slice(60, 240), slice(None)), (10.7, 0.66)),
        ("rain", (0, 7), (slice(60, 200), slice(100, 340)), (14.3, 0.60)),
    ],
)
def test_small_fast_things_stay_better_than_elsewhere(
    name: str,
    span: tuple[int, int],
    crop: tuple[slice, slice] | None,
    peers: tuple[float, float],
) -> None:
    frames, interest = clean_case(name, *span, crop)
    restored = repair_dirt(frames, detect_dirt(frames))
    assert psnr_inside(frames, restored, interest) > peers[0]
    assert share_moved(frames, restored, interest) < peers[1]


def test_a_counter_stays() -> None:
    frames, interest = clean_case("timecode", 0, 12, (slice(0, 96), slice(0, 240)))
    restored = repair_dirt(frames, detect_dirt(frames))
    # A few pixels of a numeral may go in single frames; burned-in graphics are spared before dirt is looked for.
    assert psnr_inside(restored, frames, interest) > 22
    assert share_moved(frames, restored, interest) < 0.01


def test_a_frame_that_stands_out_as_a_whole_is_one_spot() -> None:
    with np.errstate(all="raise"):
        spots, marks = _spots_of(np.full((8, 10), 20, np.float32))
    assert spots.area.tolist() == [80] and spots.contrast.tolist() == [20]
    assert marks.places.tolist() == list(range(80)) and (marks.numbers == 1).all()


def test_spots_are_measured_as_on_whole_planes() -> None:
    stream = np.random.default_rng(3)
    spike = cv2.GaussianBlur(stream.normal(0, 60, (90, 120)).astype(np.float32), (0, 0), 1.5)
    spots, marks = _spots_of(spike)
    numbers = np.zeros(spike.size, np.int64)
    numbers[marks.places] = marks.numbers
    numbers = numbers.reshape(spike.shape)
    assert 20 < len(spots.area) == numbers.max() and {-1.0, 1.0} == set(spots.sign)
    for number in range(1, len(spots.area) + 1):
        there = numbers == number
        rows, columns = np.nonzero(there)
        assert spots.area[number - 1] == there.sum() >= 2
        assert np.allclose(spots.centre[number - 1], (columns.mean(), rows.mean()))
        assert np.isclose(spots.contrast[number - 1], np.abs(spike[there]).mean())
        assert (np.sign(spike[there]) == spots.sign[number - 1]).all() and (np.abs(spike[there]) > 8).all()
        _, pieces = cv2.connectedComponents(there.astype(np.uint8), connectivity=8)
        assert pieces.max() == 1


def test_courses_are_those_of_a_search_through_all() -> None:
    stream = np.random.default_rng(8)

    def some(count: int) -> _Spots:
        centre = stream.uniform((0, 0), (480, 270), (count, 2))
        return _Spots(centre, stream.choice([-1.0, 1.0], count), stream.uniform(4, 30, count), np.full(count, 20.0))

    spots, near, far = some(12), some(40), some(50)
    found = _even_courses(spots, near, far, -1.0, 1.0, 480 * 270)
    rows = zip(found.spot, found.start, found.end, found.chances, strict=True)
    seen = {(spot, start): (end, chance) for spot, start, end, chance in rows}
    like = [spots.like(other) for other in (near, far)]
    assert len(seen) > 3
    for one in range(12):
        for other in np.flatnonzero(like[0][one]):
            way = near.centre[other] - spots.centre[one]
            distance = np.hypot(*way)
            if not 2.5 <= distance <= 80:
                continue
            off = np.hypot(*(far.centre - (spots.centre[one] - way)).T)
            off[~like[1][one]] = np.inf
            chance = like[0][one].sum() * like[1][one].sum() * (np.pi * distance * max(off.min(), 1.5) / 129600) ** 2
            if chance < 0.05:
                assert seen.pop((one, other)) == (off.argmin(), pytest.approx(chance))
    assert not seen
