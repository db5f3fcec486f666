"""The plan of a reel covers every frame once, never looks across a cut, and shows every frame its neighbours."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.reel.resumable.chunks import ReelChunk, plan_chunks, runs_of
from vldm_core.video.shots import Shot

LENGTHS = st.lists(st.integers(1, 700), min_size=1, max_size=8)


def shots_of(lengths):
    edges = [0]
    for length in lengths:
        edges.append(edges[-1] + length)
    return tuple(Shot(first=first, last=last) for first, last in pairwise(edges))


@given(LENGTHS, st.none() | st.integers(0, 60), st.integers(1, 300))
def test_every_frame_is_restored_once_and_sees_its_neighbours(lengths, reach, length):
    shots = shots_of(lengths)
    chunks = plan_chunks(shots, reach=reach, length=length)
    assert [number for chunk in chunks for number in range(chunk.first, chunk.last)] == list(range(shots[-1].last))
    for chunk in chunks:
        shot = shots[chunk.shot]
        assert shot.first <= chunk.start <= chunk.first < chunk.last <= chunk.stop <= shot.last
        if reach is None:
            assert (chunk.first, chunk.last) == (chunk.start, chunk.stop) == (shot.first, shot.last)
        else:
            assert chunk.frames <= length
            assert chunk.start == max(shot.first, chunk.first - reach)
            assert chunk.stop == min(shot.last, chunk.last + reach)


@given(LENGTHS, st.integers(1, 300))
def test_the_tail_of_a_shot_is_no_sliver(lengths, length):
    chunks = plan_chunks(shots_of(lengths), reach=5, length=length)
    for number in range(len(lengths)):
        frames = [chunk.frames for chunk in chunks if chunk.shot == number]
        assert max(frames) - min(frames) <= 1


@given(LENGTHS, st.integers(1, 300), st.none() | st.integers(1, 900), st.data())
def test_runs_hold_what_follows_on_each_other_in_one_shot(lengths, length, longest, data):
    chunks = plan_chunks(shots_of(lengths), reach=5, length=length)
    wanted = [chunk for chunk in chunks if data.draw(st.booleans())]
    runs = runs_of(wanted, longest=longest)
    assert [chunk for run in runs for chunk in run] == wanted
    for run in runs:
        assert len({chunk.shot for chunk in run}) == 1
        assert all(one.last == other.first for one, other in pairwise(run))
        assert longest is None or len(run) == 1 or run[-1].last - run[0].first <= longest


def test_what_cannot_be_planned_is_refused():
    shots = shots_of([5])
    for wrong in ({"reach": -1}, {"reach": 1, "length": 0}):
        with pytest.raises(SettingsError, match="chunks need"):
            plan_chunks(shots, **wrong)
    assert plan_chunks(shots, reach=2)[0] == ReelChunk(first=0, last=5, start=0, stop=5, shot=0)
