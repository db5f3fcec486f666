"""The motion of a shot is measured once, by whatever way it is asked for, and holds no more than its askers need."""

import threading

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.film.motion.field import MotionField, enlarged_mask
from vldm_core.film.motion.shot import RADIUS, MotionSettings, ShotMotion
from vldm_core.video.buffers.keyed_cache import size_of
from vldm_core.video.buffers.pictures import Made

from ..dirt.dirt_scenes import scene

HEIGHT, WIDTH = 96, 128
INNER = np.s_[16:-16, 16:-16]


def panned(count: int, x: float = 1.5, y: float = -0.75, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """A textured scene that moves evenly, (T, 3, H, W)."""
    stream = np.random.default_rng(4)
    side = (width + 160, height + 160)
    scene = np.zeros(side[::-1], np.float32)
    for step in (4, 9, 20):
        coarse = stream.random((side[1] // step, side[0] // step), np.float32)
        scene += cv2.resize(coarse, side, interpolation=cv2.INTER_CUBIC) / 3
    frames = []
    for t in range(count):
        matrix = np.array([[1, 0, 80 - x * t], [0, 1, 80 - y * t]], np.float32)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        frames.append(cv2.warpAffine(scene, matrix, (width, height), flags=flags))
    return torch.from_numpy(np.stack(frames)).clamp(0, 1)[:, None].repeat(1, 3, 1, 1)


def error(field: MotionField, x: float, y: float) -> float:
    """Median distance in pixels from what it should be, away from the border."""
    return float(np.median(np.linalg.norm((field.full() - np.array([x, y], np.float32))[INNER], axis=-1)))


def with_blot(frames: Tensor, *numbers: int) -> Tensor:
    dirty = frames.clone()
    for number in numbers:
        dirty[number, :, 40:56, 50:70] = 0.02
    return dirty


def test_it_is_the_motion_of_the_scene() -> None:
    motion = ShotMotion.of(panned(4))
    assert error(motion.between(1, 2), 1.5, -0.75) < 0.1
    assert error(motion.between(2, 1), -1.5, 0.75) < 0.1
    assert motion.whole(1, 2) == pytest.approx([1.5, -0.75], abs=0.1)
    assert motion.whole(2, 1) == pytest.approx([-1.5, 0.75], abs=0.1)
    assert motion.between(2, 2).full().any() == np.False_
    assert motion.holds(1, 2)[8:-8, 8:-8].mean() > 0.98


def test_a_chain_over_several_frames_is_what_a_direct_estimate_gives() -> None:
    motion = ShotMotion.of(panned(6))
    for here, there in ((1, 4), (4, 1), (0, 2)):
        away = there - here
        chained, direct = motion.between(here, there), motion.directly(here, there)
        assert error(chained, 1.5 * away, -0.75 * away) < 0.25
        apart = np.linalg.norm((chained.full() - direct.full())[INNER], axis=-1)
        assert float(np.median(apart)) < 0.25


class Recorded(ShotMotion):
    """Remembers every estimate."""

    def __init__(self, settings: MotionSettings | None = None) -> None:
        super().__init__(settings)
        self.pairs: list[tuple[str, int, int]] = []

    def _estimate(self, here: int, there: int) -> MotionField:
        self.pairs.append(("quick", here, there))
        return super()._estimate(here, there)

    def _refine(self, here: int, there: int) -> MotionField:
        self.pairs.append(("refined", here, there))
        return super()._refine(here, there)


def test_every_pair_is_estimated_once_each_way() -> None:
    motion = Recorded.of(panned(6))
    assert isinstance(motion, Recorded)
    for _ in range(2):
        for here in range(6):
            for there in (here - 3, here - 2, here - 1, here + 1, here + 2):
                if 0 <= there < 6:
                    motion.between(here, there)
                    motion.error(here, there)
                    motion.holds(here, there)
        motion.whole(0, 5)
    motion._worker.shutdown(wait=True)
    assert len(motion.pairs) == len(set(motion.pairs)) == motion.estimates.total()
    both_ways = {(t, t + 1) for t in range(5)} | {(t + 1, t) for t in range(5)}
    assert {pair[1:] for pair in motion.pairs if pair[0] == "refined"} == both_ways
    # The shift of the whole picture begins with a quick look from end to end.
    assert {pair[1:] for pair in motion.pairs if pair[0] == "quick"} <= both_ways | {(0, 5)}


def test_threads_that_ask_at_a_time_do_not_estimate_twice() -> None:
    motion = ShotMotion.of(panned(5))
    found: list[np.ndarray] = []

    def ask() -> None:
        found.extend(motion.between(t, t + 1).grid for t in range(4))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert motion.estimates["refined"] == 4
    assert len({id(grid) for grid in found}) == 4


@pytest.mark.parametrize("step", [1, 3])
def test_who_takes_the_frames_bit_by_bit_finds_the_same(step: int) -> None:
    frames = with_blot(panned(9), 4)
    at_once = ShotMotion.of(frames)
    wanted = [at_once.between(t, t + way).grid for t in range(1, 8) for way in (-1, 1)]
    gradually = ShotMotion()
    gradually.expect("test")
    found = []
    for first in range(0, 9, step):
        for frame in frames[first : first + step]:
            gradually.take(frame)
        if first + step >= 9:
            gradually.end()
        done = len(found) // 2 + 1
        known = min(8, len(gradually) - 1 - RADIUS) if first + step < 9 else 8
        for t in range(done, known):
            found += [gradually.between(t, t + way).grid for way in (-1, 1)]
            gradually.release("test", t)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one, other)


def damage_shows(motion: ShotMotion, position: int) -> tuple[float, float]:
    """Share of the blot that is taken for damage, and of all else."""
    damage = motion.plain_damage(position)
    found = np.zeros(damage.shape, bool)
    found.reshape(-1)[damage.place] = True
    blot = np.zeros(damage.shape, bool)
    # On the grid, whose cells are two pixels wide.
    blot[30:38, 40:52] = True
    return float(found[blot].mean()), float(found[~blot].mean())


def spoilt(*numbers: int) -> Tensor:
    frames = scene(9, pan=0.8)
    for number in numbers:
        frames[number, :, 60:76, 80:104] = 0.02
    return frames


def test_plain_damage_is_found_and_does_not_pull_at_the_motion() -> None:
    frames = spoilt(4)
    motion, clean = ShotMotion.of(frames), ShotMotion.of(scene(9, pan=0.8))
    inside, elsewhere = damage_shows(motion, 4)
    assert inside > 0.9
    assert elsewhere < 0.03
    assert len(motion.plain_damage(0).place) == 0, "the first frame has one neighbour alone"
    once = ShotMotion()
    once.expect("test", refined=False)
    for frame in frames:
        once.take(frame)
    once.end()
    around = np.s_[50:86, 70:114]
    for there in (3, 5):
        wanted = clean.between(4, there).full()[around]
        off = [np.linalg.norm(way.between(4, there).full()[around] - wanted, axis=-1).mean() for way in (once, motion)]
        assert off[1] < 0.85 * off[0]


def test_damage_that_is_shown_twice_is_seen_past_its_copy() -> None:
    frames = spoilt(4)
    frames = torch.cat([frames[:5], frames[4:5], frames[5:]])
    motion = ShotMotion.of(frames)
    for position in (4, 5):
        assert damage_shows(motion, position)[0] > 0.9


def test_known_holes_do_not_move() -> None:
    frames = with_blot(panned(6), *range(6))
    holes = torch.zeros(6, HEIGHT, WIDTH)
    holes[:, 38:58, 48:72] = 1
    around = np.s_[30:66, 40:80]
    off = [
        np.linalg.norm(ShotMotion.of(frames, mask).between(2, 3).full()[around] - (1.5, -0.75), axis=-1).mean()
        for mask in (None, holes)
    ]
    assert off[1] < 0.85 * off[0]


def test_large_scans_are_measured_small() -> None:
    frames = panned(2, x=6.0, y=3.0, height=300, width=1000)
    motion = ShotMotion.of(frames, settings=MotionSettings(working_side=200))
    field = motion.between(0, 1)
    assert field.grid.shape == (30, 100, 2)
    assert field.full().shape == (300, 1000, 2)
    assert error(field, 6.0, 3.0) < 0.5
    assert enlarged_mask(motion.holds(0, 1), motion.size).shape == (300, 1000)
    columns, rows = np.meshgrid(np.arange(500, 520, dtype=np.float32), np.arange(100, 110, dtype=np.float32))
    assert np.allclose(field.at(columns, rows), field.full()[100:110, 500:520], atol=0.05)


def test_quick_is_enough_for_who_says_so() -> None:
    frames = panned(4)
    motion = ShotMotion()
    motion.expect("pre-restoration", refined=False)
    for frame in frames:
        motion.take(frame)
    # The next frame need not be there yet.
    assert np.array_equal(motion.between(2, 3).grid, motion.quick(2, 3).grid)
    assert not motion.estimates["refined"]
    both = ShotMotion()
    both.expect("pre-restoration", refined=False)
    both.expect("dirt marking")
    for frame in frames:
        both.take(frame)
    both.end()
    both.between(0, 1)
    assert both.estimates["refined"] > 0


def test_what_is_held_does_not_grow_with_the_shot() -> None:
    motion = ShotMotion()
    motion.expect("marking")
    motion.expect("filling")
    held = []
    frames = panned(5)
    for t in range(40):
        motion.take(frames[t % 5])
        at = t - RADIUS - 1
        if at >= 1:
            motion.between(at, at - 1)
            motion.release("marking", at)
        if at >= 6:
            motion.between(at - 4, at - 5)
            motion.release("filling", at - 4)
        motion._worker.submit(int).result()
        values = [value for once in (motion._once, motion._lumas) for value in once._values.values()]
        held.append(size_of(values) + sum(frames[0].nbytes for _ in motion._waiting))
    assert max(held[24:]) <= max(held[12:24])
    assert held[-1] < 16 * frames[0].nbytes
    with pytest.raises(LookupError, match="frame 3"):
        motion.between(3, 4)


def test_what_had_to_be_given_up_is_measured_again_the_same() -> None:
    frames = panned(6)
    wanted = [ShotMotion.of(frames).between(t, t + 1).grid for t in range(5)]
    motion = ShotMotion.of(frames, settings=MotionSettings(held_bytes=1))
    for _ in range(2):
        for t in range(5):
            assert np.array_equal(motion.between(t, t + 1).grid, wanted[t])
    assert motion.estimates["refined"] > 5


def test_an_error_of_a_frame_comes_out_and_is_not_kept() -> None:
    frames = panned(3)
    broken = [True]

    def make() -> Tensor:
        if broken[0]:
            raise OSError("the tape is torn")
        return frames[1]

    motion = ShotMotion()
    for image in (frames[0], Made(make), frames[2]):
        motion.take(image)
    motion.end()
    with pytest.raises(OSError, match="torn"):
        motion.between(0, 1)
    broken[0] = False
    assert error(motion.between(0, 1), 1.5, -0.75) < 0.15


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(SettingsError, match="working_side"):
        MotionSettings(working_side=32)
    with pytest.raises(SettingsError, match="held_bytes"):
        MotionSettings(held_bytes=0)
    motion = ShotMotion.of(panned(2))
    with pytest.raises(ValueError, match="has ended"):
        motion.take(torch.zeros(3, HEIGHT, WIDTH))
    with pytest.raises(ValueError, match="not expected"):
        motion.release("someone", 1)
    with pytest.raises(LookupError, match="frame 2"):
        motion.quick(1, 2)
