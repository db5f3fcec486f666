"""Boxes that a person has drawn are read as they are written, and refused where they lie beyond the film."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.film.box_fixes import FIX_KINDS, BoxFix, check_fixes, fix_of_mask, fixed_marks, parse_fixes

FIXES = st.builds(
    lambda first, more, left, top, width, height, kind: BoxFix(
        first=first, last=first + more, left=left, top=top, width=width, height=height, kind=kind
    ),
    *(st.integers(0, 5000) for _ in range(4)),
    *(st.integers(1, 500) for _ in range(2)),
    st.sampled_from(FIX_KINDS),
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


@given(st.integers(0, 2**32 - 1), st.sampled_from(FIX_KINDS), st.integers(1, 40), st.integers(1, 40))
def test_a_painted_shape_goes_through_its_text(seed, kind, height, width):
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    fix = fix_of_mask(mask, 3, 5, kind)
    if fix is None:
        assert not (mask > 0.5).any()
        return
    (read,) = parse_fixes(str(fix))
    assert read == fix
    assert torch.equal(fixed_marks([read], 4, height, width)[kind], (mask > 0.5).float())
    assert fixed_marks([read], 6, height, width) == {}


def test_a_shape_of_another_box_is_refused():
    fix = fix_of_mask(torch.eye(9), 0, 0)
    with pytest.raises(SettingsError, match="another box"):
        parse_fixes(str(fix).replace("9x9", "9x30"))
    with pytest.raises(SettingsError, match="another box"):
        # Far more than fits into the box, packed small.
        parse_fixes(str(fix_of_mask(1 - torch.eye(4000), 0, 0)).replace("4000x4000", "9x9"))
    with pytest.raises(SettingsError, match="cannot be read"):
        parse_fixes("1@0,0,2x2#abcd")


def test_of_two_boxes_that_meet_the_later_one_counts():
    marks = fixed_marks(parse_fixes("1@0,0,3x1 1@1,0,1x1=keep"), 1, 2, 4)
    assert marks["dirt"].nonzero().tolist() == [[0, 0], [0, 2]] and marks["keep"].nonzero().tolist() == [[0, 1]]
    assert set(fixed_marks(parse_fixes("1@1,0,1x1=keep 1@0,0,3x1"), 1, 2, 4)) == {"dirt"}


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
