"""Timecode of pictures."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.video.sequences.timecode import Timecode


@pytest.mark.parametrize(
    ("start", "frames", "rate", "then"),
    [
        ("01:00:00:00", 25, Fraction(24), "01:00:01:01"),
        ("23:59:59:23", 1, Fraction(24), "00:00:00:00"),
        ("00:00:59;29", 1, Fraction(30000, 1001), "00:01:00;02"),
        ("00:09:59;29", 1, Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:00;00", 17982, Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:59:29", 1, Fraction(30000, 1001), "00:01:00:00"),
        ("10:20:30:12", 0, Fraction(25), "10:20:30:12"),
    ],
)
def test_it_is_counted_on(start, frames, rate, then):
    assert str(Timecode.of(start).after(frames, rate)) == then


@given(st.integers(0, 2589407), st.integers(0, 5000))
def test_counting_in_two_steps_is_counting_in_one(first, more):
    zero, rate = Timecode.of("00:00:00;00"), Fraction(30000, 1001)
    assert zero.after(first, rate).after(more, rate) == zero.after(first + more, rate)


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 29), st.booleans())
def test_words_come_back(hours, minutes, seconds, frames, drop):
    code = Timecode(hours=hours, minutes=minutes, seconds=seconds, frames=frames, drop=drop)
    assert Timecode.of_word(code.word) == code == Timecode.of(str(code))


@pytest.mark.parametrize("word", [0xFFFFFFFF, 0x0A000000, 0x00610000])
def test_what_is_no_timecode_is_none(word):
    assert Timecode.of_word(word) is None
    assert Timecode.of("noon") is None
