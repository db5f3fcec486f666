"""Windows cover a shot, are full, in order and the same every time."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.sampling.regions.windows import (
    WindowSettings,
    flush_starts,
    fuse_weights,
    plan_windows,
    radical_inverse,
)


@st.composite
def settings(draw: st.DrawFn) -> WindowSettings:
    length = draw(st.integers(1, 24))
    return WindowSettings(
        length=length,
        overlap=draw(st.integers(0, length - 1)),
        stride=draw(st.sampled_from([1, 2, 4, 8])),
        schedule=draw(st.sampled_from(["static", "uniform"])),
        fuse=draw(st.sampled_from(["pyramid", "flat", "linear"])),
        move=draw(st.booleans()),
    )


@given(st.integers(1, 150), settings(), st.integers(0, 60))
def test_windows_cover_the_shot_in_full_ordered_windows(frames: int, how: WindowSettings, step: int) -> None:
    windows = plan_windows(frames, how, step)
    assert {frame for window in windows for frame in window} == set(range(frames))
    for window in windows:
        assert len(window) == min(how.length, frames)
        gaps = {after - before for before, after in pairwise(window)}
        assert len(gaps) <= 1 and gaps <= {1, 2, 4, 8}
    assert len(set(windows)) == len(windows)
    assert windows == plan_windows(frames, how, step)


@given(st.integers(1, 150), settings(), st.integers(0, 60))
def test_windows_without_gaps_cover_alone_with_the_overlap_asked_for(
    frames: int, how: WindowSettings, step: int
) -> None:
    dense = [window for window in plan_windows(frames, how, step) if len(window) == 1 or window[1] - window[0] == 1]
    assert dense[0][0] == 0 and dense[-1][-1] == frames - 1
    for before, after in pairwise(dense):
        assert before[0] < after[0]
        assert before[-1] - after[0] + 1 >= how.overlap


@given(st.integers(1, 150), settings())
def test_static_windows_stay(frames: int, how: WindowSettings) -> None:
    if how.schedule == "static" and not how.move:
        assert plan_windows(frames, how, 0) == plan_windows(frames, how, 7)


def test_forty_frames_as_published() -> None:
    windows = plan_windows(40, WindowSettings())
    assert [(window[0], window[-1]) for window in windows] == [(0, 15), (12, 27), (24, 39)]


def test_the_tail_is_moved_back() -> None:
    windows = plan_windows(41, WindowSettings())
    assert [window[0] for window in windows] == [0, 12, 24, 25]


def test_moving_windows_put_their_seams_elsewhere() -> None:
    how = WindowSettings(move=True)
    inner = [start for step in range(8) for start in (w[0] for w in plan_windows(100, how, step)) if 0 < start < 84]
    assert len(set(inner)) > 3 * (len(plan_windows(100, how, 0)) - 2)


def test_uniform_windows_join_far_frames() -> None:
    windows = plan_windows(100, WindowSettings(schedule="uniform", stride=4), 0)
    assert max(window[-1] - window[0] for window in windows) == 60
    short = plan_windows(40, WindowSettings(schedule="uniform", stride=4), 0)
    assert max(window[-1] - window[0] for window in short) == 30


def test_halving_order() -> None:
    assert [radical_inverse(i) for i in range(5)] == [0.0, 0.5, 0.25, 0.75, 0.125]
    assert radical_inverse(1, 3) == pytest.approx(1 / 3)
    with pytest.raises(SettingsError, match="steps count from 0"):
        radical_inverse(-1)


@given(st.integers(1, 60), st.data())
def test_flush_starts_leave_no_hole(extent: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, extent))
    hop = data.draw(st.integers(1, size))
    starts = flush_starts(extent, size, hop, data.draw(st.integers(0, hop - 1)))
    assert starts[0] == 0 and starts[-1] == extent - size
    assert all(0 < after - before <= hop for before, after in pairwise(starts))


@given(st.integers(1, 40), settings())
def test_weights_are_positive_and_symmetric(count: int, how: WindowSettings) -> None:
    weights = fuse_weights(range(count), how)
    assert weights.shape == (count,) and weights.dtype == torch.float32
    assert weights.min() > 0
    assert torch.equal(weights, weights.flip(0))


def test_weights_by_name() -> None:
    window = range(16)
    pyramid = [1, 2, 3, 4, 5, 6, 7, 8, 8, 7, 6, 5, 4, 3, 2, 1]
    assert fuse_weights(window, WindowSettings(fuse="pyramid")).tolist() == pyramid
    assert fuse_weights(window, WindowSettings(fuse="flat")).tolist() == [1] * 16
    linear = fuse_weights(window, WindowSettings(fuse="linear"))
    assert linear[:5].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize(
    "wrong",
    [{"length": 0}, {"overlap": 16}, {"overlap": -1}, {"stride": 3}, {"stride": 0}, {"schedule": "x"}, {"fuse": "x"}],
)
def test_wrong_settings_say_what_to_do(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="use"):
        WindowSettings(**wrong)  # type: ignore[arg-type]
