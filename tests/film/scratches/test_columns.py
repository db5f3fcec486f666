"""Columns that the user names, and lines of one polarity."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.film.scratches.columns import ColumnRange, parse_columns
from vldm_core.film.scratches.detection import detect_scratches, scratch_probability
from vldm_core.film.scratches.settings import ScratchSettings
from vldm_core.film.scratches.tracks import ScratchMap, ScratchTrack, scratch_mask

HEIGHT, WIDTH, COUNT = 96, 120, 12


def lines(**options):
    """A shot with a line at x = 40 in its upper half."""
    bands = np.zeros((COUNT, 6), bool)
    bands[:, :3] = True
    track = ScratchTrack(
        first=0,
        x=np.full(COUNT, 40.0, np.float32),
        tilt=np.zeros(COUNT, np.float32),
        left=1.0,
        right=1.0,
        depth=-10.0,
        score=100.0,
        present=bands,
    )
    return ScratchMap(height=HEIGHT, width=WIDTH, frame_count=COUNT, grow=1.0, tracks=(track,), doubtful=(), **options)


def columns(mask):
    return sorted(set(torch.nonzero(mask)[:, 1].tolist()))


def test_forced_columns_are_marked_from_top_to_bottom_in_their_frames():
    shot = lines(forced=(ColumnRange(first=70, last=72, frames=(103, 105)),), first=100)
    assert columns(scratch_mask(shot, 2, HEIGHT, WIDTH)) == [39, 40, 41]
    mask = scratch_mask(shot, 3, HEIGHT, WIDTH)
    assert columns(mask) == [39, 40, 41, 70, 71, 72]
    assert bool((mask[:, 70:73] == 1).all())
    assert bool((scratch_probability(shot, 3, HEIGHT, WIDTH)[:, 70:73] == 1).all())


def test_a_line_in_forced_columns_runs_through():
    mask = scratch_mask(lines(forced=(ColumnRange(first=40, last=40),)), 0, HEIGHT, WIDTH)
    assert bool((mask[:, 39:42] == 1).all())


def test_nothing_is_marked_in_excluded_columns_also_where_they_are_forced():
    shot = lines(forced=(ColumnRange(first=70, last=75),), excluded=(ColumnRange(first=40, last=72),))
    assert columns(scratch_mask(shot, 0, HEIGHT, WIDTH)) == [73, 74, 75]
    here = replace(shot, forced=(), excluded=(ColumnRange(first=40, last=40, frames=(4, 6)),))
    assert columns(scratch_mask(here, 3, HEIGHT, WIDTH)) == [39, 40, 41]
    assert not scratch_mask(here, 4, HEIGHT, WIDTH).any()
    assert not scratch_probability(here, 4, HEIGHT, WIDTH).any()


def test_columns_beyond_the_frame_are_left_out():
    shot = lines(forced=(ColumnRange(first=118, last=130),), excluded=(ColumnRange(first=500, last=600),))
    assert columns(scratch_mask(shot, 0, HEIGHT, WIDTH))[-1] == WIDTH - 1


def test_the_search_hands_columns_on():
    frames = torch.full((3, 3, HEIGHT, WIDTH), 0.5)
    settings = ScratchSettings(forced=parse_columns("50-51, 60@2"), excluded=parse_columns("51@1"))
    masks = detect_scratches(frames, settings)
    assert [columns(mask) for mask in masks] == [[50, 51], [50], [50, 51, 60]]


@pytest.mark.parametrize(("polarity", "found"), [("both", [60, 140]), ("dark", [60]), ("bright", [140])])
def test_lines_of_one_polarity(polarity, found):
    rng = np.random.default_rng(5)
    frames = 120 + 2.5 * rng.normal(size=(24, HEIGHT * 2, 200)).astype(np.float32)
    frames[:, :, 60] -= 25
    frames[:, :, 140] += 25
    clip = torch.from_numpy(frames.clip(0, 255) / 255)[:, None].expand(-1, 3, -1, -1)
    settings = ScratchSettings(polarity=polarity, detector="weight-free", locked_shots="on")
    marked = columns(detect_scratches(clip, settings)[12])
    assert [x for x in (60, 140) if x in marked] == found
    assert all(min(abs(x - centre) for centre in found) <= 4 for x in marked)


RANGES = st.builds(
    lambda first, more, frames: ColumnRange(first=first, last=first + more, frames=frames),
    st.integers(0, 4000),
    st.integers(0, 30),
    st.none() | st.tuples(st.integers(0, 50), st.integers(50, 90000)),
)


@given(st.lists(RANGES, max_size=4))
def test_what_is_written_is_read_again(ranges):
    assert parse_columns(", ".join(str(one) for one in ranges)) == tuple(ranges)


def test_reading_is_lenient_about_blanks_and_parting():
    assert parse_columns(" 3 - 5 ;\n 7 @ 2,") == (
        ColumnRange(first=3, last=5),
        ColumnRange(first=7, last=7, frames=(2, 2)),
    )


@pytest.mark.parametrize("text", ["5-3", "a", "3-", "-3", "3@", "3@5-2", "3.5", "1 2"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(SettingsError, match="scratch"):
        parse_columns(text)


@pytest.mark.parametrize(
    "options",
    [
        {"polarity": "grey"},
        {"forced": ((1, 2),)},
        {"excluded": [ColumnRange(first=1, last=2)]},
        {"forced": (ColumnRange(first=0, last=24),)},
    ],
)
def test_settings_refuse_what_cannot_be(options):
    with pytest.raises(SettingsError):
        ScratchSettings(**options)


@pytest.mark.parametrize("span", [(-1, 3), (4, 3), (1.5, 3), (True, 3)])
def test_ranges_refuse_what_cannot_be(span):
    with pytest.raises(SettingsError):
        ColumnRange(first=span[0], last=span[1])
    with pytest.raises(SettingsError):
        ColumnRange(first=1, last=1, frames=span)
