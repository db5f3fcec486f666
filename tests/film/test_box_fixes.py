"""Boxes that a person has drawn are read as they are written, and refused where they lie beyond the film."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.film.box_fixes import BoxFix, check_fixes, fixed_marks, parse_fixes

FIXES = st.builds(
    lambda first, more, left, top, width, height, kind: BoxFix(
        first=first, last=first + more, left=left, top=top, width=width, height=height, kind=kind
    ),
    *(st.integers(0, 5000) for _ in range(4)),
    *(st.integers(1, 500) for _ in range(2)),
    st.sampled_from(["dirt", "scratch"]),
)


@given(st.lists(FIXES, max_size=4), st.sampled_from([" ", ";", "\n", " ; "]))
def test_fixes_are_read_as_they_are_written(fixes, between):
    assert parse_fixes(between.join(map(str, fixes))) == tuple(fixes)


@pytest.mark.parametrize("text", ["5", "5@1,2", "5@1,2,3", "5@1,2,0x4", "7-5@1,2,3x4", "5@1,2,3x4=hair", "5@-1,2,3x4"])
def test_what_is_no_fix_is_refused(text):
    with pytest.raises(SettingsError, match="fix"):
        parse_fixes(text)


@given(FIXES, st.integers(0, 6000), st.integers(1, 100))
def test_a_fix_touches_the_frames_that_it_has(fix, first, count):
    inside = set(range(fix.first, fix.last + 1)) & set(range(first, first + count))
    assert fix.touches(first, first + count) == bool(inside)


def test_boxes_are_marked_by_kind():
    fixes = parse_fixes("2-3@1,0,2x1 3@4,2,1x2=scratch")
    assert fixed_marks(fixes, 1, 4, 6) == {}
    marks = fixed_marks(fixes, 3, 4, 6)
    assert marks["dirt"].nonzero().tolist() == [[0, 1], [0, 2]]
    assert marks["scratch"].nonzero().tolist() == [[2, 4], [3, 4]]


@pytest.mark.parametrize(
    ("text", "words"), [("10@0,0,1x1", "frames 0 to 9"), ("1@5,0,2x1", "6×4"), ("1@0,4,1x1", "6×4")]
)
def test_boxes_beyond_the_film_are_named(text, words):
    with pytest.raises(SettingsError, match=words):
        check_fixes(parse_fixes(text), 10, 4, 6)
    check_fixes(parse_fixes("9@5,3,1x1"), 10, 4, 6)
