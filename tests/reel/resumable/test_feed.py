"""Frames are read once for chunks in order, and none is kept that no chunk looks at."""

import weakref

import pytest

from vldm_core.progress import Pulse, silent
from vldm_core.reel.mask_films import GivenMarks
from vldm_core.reel.resumable.feed import FrameFeed
from vldm_core.video.reading.reader import open_film

from ..conftest import CUT

COUNT = 2 * CUT


class Counted:
    """A film that says how many frames were read, and how many of them were in memory at once."""

    def __init__(self, film):
        self._film, self.read, self.most, self._alive = film, 0, 0, weakref.WeakSet()

    def __iter__(self):
        for frame in self._film:
            self.read += 1
            self._alive.add(frame)
            self.most = max(self.most, len(self._alive))
            yield frame


@pytest.fixture
def film(small_film):
    with open_film(small_film) as opened:
        yield Counted(opened)


@pytest.fixture
def feed(film, small_film):
    with open_film(small_film) as shown:
        info = shown.info
    with FrameFeed(film, lambda: GivenMarks((), info, ())) as made:
        yield made


def taken(feed, first, last, again):
    """Numbers of the frames of a range, and how many are kept at most and at the end."""
    numbers, kept = [], []
    for frame in feed.range(first, last, Pulse(silent, "read", COUNT), again=again):
        numbers.append(frame.origin.index)
        kept.append(len(feed._recent))
    assert numbers == list(range(first, min(last, COUNT)))
    return max(kept), kept[-1]


def test_a_run_that_ends_its_shot_keeps_nothing(film, feed):
    assert taken(feed, 0, CUT, again=CUT) == (1, 1)
    assert taken(feed, CUT, COUNT, again=COUNT) == (1, 1)
    assert film.read == COUNT


def test_runs_of_one_shot_share_what_both_look_at(film, feed):
    reach = 3
    # Of ten frames each, with three neighbours on either side.
    assert taken(feed, 0, 10 + reach, again=10 - reach)[1] == 2 * reach
    assert taken(feed, 10 - reach, 20 + reach, again=20 - reach)[0] <= 2 * reach
    assert taken(feed, 20 - reach, COUNT, again=COUNT)[1] == 1
    assert film.read == COUNT


def test_what_is_gone_is_read_from_the_start(film, feed):
    taken(feed, 0, CUT, again=CUT)
    taken(feed, 4, CUT, again=CUT)
    assert film.read == 2 * CUT
    taken(feed, CUT + 3, COUNT + 5, again=COUNT)
    assert film.read == CUT + COUNT


def test_what_is_passed_over_is_not_held(film, feed):
    """A run that goes on begins in the middle of a film."""
    taken(feed, COUNT - 3, COUNT, again=COUNT)
    assert film.read == COUNT and film.most <= 4
