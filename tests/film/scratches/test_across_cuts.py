"""A doubtful line becomes a scratch when it continues one from across a cut, and only then."""

from dataclasses import replace

import numpy as np
import pytest

from vldm_core.film.scratches.across_cuts import confirm_across_cuts
from vldm_core.film.scratches.detection import ScratchMap, ScratchTrack


def track(x=100.0, *, first=0, count=20, depth=-12.0, tilt=0.0):
    return ScratchTrack(
        first=first,
        x=np.full(count, x, np.float32),
        tilt=np.full(count, tilt, np.float32),
        left=1.0,
        right=1.0,
        depth=depth,
        score=100.0,
        present=np.ones((count, 10), bool),
    )


def shot(*, tracks=(), doubtful=(), count=20):
    return ScratchMap(height=120, width=200, frame_count=count, grow=1.0, tracks=tracks, doubtful=doubtful)


SCRATCHED = shot(tracks=(track(),))


def test_a_continued_line_is_confirmed_from_both_sides_and_onwards():
    unsure = shot(doubtful=(track(101.0), track(150.0)))
    before, near, far, after = confirm_across_cuts([unsure, SCRATCHED, unsure, unsure])
    for lines in (before, far, after):
        # It takes the place of the scratch it continues.
        assert [float(t.x[0]) for t in lines.tracks] == [100.0]
        assert [float(t.x[0]) for t in lines.doubtful] == [150.0]
    assert near is SCRATCHED


@pytest.mark.parametrize(
    "other",
    [track(103.0), track(depth=12.0), track(depth=-60.0), track(tilt=0.05), track(first=15, count=5)],
    ids=["elsewhere", "other polarity", "much deeper", "other tilt", "begins late"],
)
def test_another_line_is_not(other):
    lines = confirm_across_cuts([SCRATCHED, shot(doubtful=(other,), count=40)])[1]
    assert lines.tracks == ()
    assert lines.doubtful == (other,)


def test_a_scratch_that_ended_before_the_cut_confirms_nothing():
    ended = shot(tracks=(track(count=5),))
    assert confirm_across_cuts([ended, shot(doubtful=(track(),))])[1].tracks == ()


def test_a_single_shot_stays_as_it_is():
    lines = replace(SCRATCHED, doubtful=(track(100.5),))
    assert confirm_across_cuts([lines]) == (lines,)
    assert confirm_across_cuts([]) == ()
