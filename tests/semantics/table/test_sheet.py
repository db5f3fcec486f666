"""The picture of the table: everything has its place, nothing overlaps or is cut off, long tables go on on pages."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from vldm_core.errors import SettingsError
from vldm_core.semantics.table.description import ShotDescription
from vldm_core.semantics.table.lettering import without_accents
from vldm_core.semantics.table.sheet import SheetSettings, draw_sheet, kind_of_film, paginate, wrapped
from vldm_core.semantics.table.table import ShotTable

BACKGROUND = torch.tensor([24, 24, 26]) / 255
SMALL = SheetSettings(width=600, max_height=500, text_size=12)
LONG = ShotDescription(
    first=0,
    last=30,
    key_frames=(2, 9, 20, 22, 25, 28),
    caption="a man in a hat " * 40,
    tags=tuple(f"tag {number}" for number in range(60)),
    era="1920s",
    era_confidence=0.83,
    prompt="a_very_long_word" * 40,
    negative="blurry",
)


def table(*shots):
    """A table of these shots one after the other, each 30 frames long."""
    moved = [
        replace(shot, first=30 * i, last=30 * i + 30, key_frames=tuple(30 * i + frame for frame in shot.key_frames))
        for i, shot in enumerate(shots)
    ]
    return ShotTable(descriptions=tuple(moved))


def plain(colour, height=48, width=64):
    return torch.tensor(colour, dtype=torch.float32)[:, None, None].expand(3, height, width)


def drawn(page, settings=SMALL):
    """Where something is drawn, (H, W); nothing may be in the margins."""
    used = ((page - BACKGROUND[:, None, None]).abs() > 0.02).any(0)
    margin = settings.text_size
    assert not used[:, : margin // 2].any() and not used[:, -margin // 2 :].any()
    assert not used[-margin // 2 :].any()
    return used


class TestPicture:
    def test_key_frames_are_shown_beside_the_text(self):
        shot = replace(LONG, key_frames=(2, 9))
        pages = draw_sheet(table(shot), {2: plain((1.0, 0.0, 0.0)), 9: plain((0.0, 0.0, 1.0))}, SMALL)
        assert pages.shape[:2] == (1, 3) and pages.shape[3] == SMALL.width
        red = (pages[0] == torch.tensor([1.0, 0.0, 0.0])[:, None, None]).all(0)
        blue = (pages[0] == torch.tensor([0.0, 0.0, 1.0])[:, None, None]).all(0)
        assert red.sum() > 3000 and abs(int(red.sum()) - int(blue.sum())) < 300
        # Side by side, and both left of the text.
        assert red.nonzero()[:, 1].max() < blue.nonzero()[:, 1].min()
        assert blue.nonzero()[:, 1].max() < 0.45 * SMALL.width
        assert drawn(pages[0])[60:, int(0.45 * SMALL.width) :].any()

    def test_the_same_table_gives_the_same_picture(self):
        pictures = {2: plain((0.2, 0.4, 0.6))}
        assert torch.equal(draw_sheet(table(LONG), pictures, SMALL), draw_sheet(table(LONG), pictures, SMALL))

    @pytest.mark.parametrize("changed", ["caption", "prompt", "negative", "era", "medium", "sound", "colour"])
    def test_every_field_is_written(self, changed):
        shot = ShotDescription(first=0, last=30)
        other: Any = {changed: "x"}
        assert not same(draw_sheet(table(shot), None, SMALL), draw_sheet(table(replace(shot, **other)), None))

    def test_tags_and_confidences_are_written(self):
        shot = ShotDescription(first=0, last=30)
        for changed in ({"tags": ("street",)}, {"era_confidence": 0.4}, {"key_frames": (3,)}):
            other = draw_sheet(table(replace(shot, **changed)), None, SMALL)
            assert not same(draw_sheet(table(shot), None, SMALL), other)

    def test_a_shot_without_anything_and_a_film_of_one_frame(self):
        pages = draw_sheet(ShotTable(descriptions=(ShotDescription(first=0, last=1),)), None, SMALL)
        assert len(pages) == 1 and drawn(pages[0]).any()

    def test_many_short_shots(self):
        shots = [ShotDescription(first=0, last=30, key_frames=(0,))] * 60
        pages = draw_sheet(table(*shots), None, SMALL)
        assert len(pages) > 6
        for page in pages:
            drawn(page)

    @pytest.mark.parametrize("size", [(8, 300), (300, 8), (1, 1)])
    def test_pictures_of_any_shape_stay_in_their_place(self, size):
        shot = replace(LONG, key_frames=(2,), caption="", tags=(), prompt="", negative="")
        pages = draw_sheet(table(shot), {2: plain((0.0, 1.0, 0.0), *size)}, SMALL)
        green = (pages[0] == torch.tensor([0.0, 1.0, 0.0])[:, None, None]).all(0).nonzero()
        assert not len(green) or green[:, 1].max() < 0.45 * SMALL.width
        drawn(pages[0])


def same(a, b):
    return a.shape == b.shape and torch.equal(a, b)


class TestPages:
    @given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 120))
    def test_rows_are_on_one_page_each_in_order_and_pages_hold_what_fits(self, heights, space):
        pages = paginate(heights, space)
        assert [index for page in pages for index in page] == list(range(len(heights)))
        for page, following in zip(pages, [*pages[1:], None], strict=True):
            used = sum(heights[index] for index in page)
            assert len(page) == 1 or used <= space
            assert following is None or used + heights[following[0]] > space

    def test_all_pages_have_one_size_and_at_most_the_height_asked_for(self):
        pages = draw_sheet(table(*[LONG] * 7), None, SMALL)
        assert len(pages) > 1 and pages.shape[2] <= SMALL.max_height
        for page in pages:
            drawn(page)


class TestText:
    FONT = ImageFont.load_default(12)

    @given(st.text(st.characters(codec="ascii"), max_size=300), st.integers(30, 200), st.integers(1, 4))
    def test_lines_fit_and_nothing_is_lost_without_a_sign(self, text, width, lines):
        rows = wrapped(text, width, lines, self.FONT.getlength)
        assert len(rows) <= lines and all(self.FONT.getlength(row) <= width for row in rows)
        words = "".join(text.split())
        if rows and rows[-1].endswith("…"):
            assert words.startswith("".join("".join(rows)[:-1].split()))
        else:
            assert "".join("".join(rows).split()) == words

    def test_breaks_between_words(self):
        assert wrapped("one two  three\nfour", 9, 3, len) == ["one two", "three", "four"]
        assert wrapped("one two three four", 9, 2, len) == ["one two", "three fo…"]
        assert wrapped("abcdefgh ij", 3, 9, len) == ["abc", "def", "gh", "ij"]
        assert wrapped(" \n ", 9, 2, len) == []

    def test_accents_are_left_out(self):
        assert without_accents("Zürich – café ß 3×4 łódź") == "Zurich - cafe ss 3x4 lodz"
        assert without_accents("plain, text!") == "plain, text!"

    def test_kind_of_film(self):
        assert kind_of_film(LONG) == "1920s (83%)  ·  medium unknown  ·  sound unknown  ·  colour unknown"
        doubtful = ShotDescription(first=0, last=1, era_confidence=0.31)
        assert kind_of_film(doubtful).startswith("era unknown (31%)")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: SheetSettings(text_size=4), "text_size is 4"),
        (lambda: SheetSettings(width=100), "width is 100"),
        (lambda: SheetSettings(max_height=20), "max_height 20"),
        (lambda: SheetSettings(key_frames=0), "key_frames is 0"),
        (lambda: draw_sheet(table(LONG), {2: torch.zeros(8, 8, 3)}), "picture of frame 2 must be (3, height, width)"),
    ],
    ids=["letters", "width", "height", "count", "layout"],
)
def test_what_cannot_be_drawn_is_refused(call, expected):
    with pytest.raises(SettingsError) as caught:
        call()
    assert expected in str(caught.value)
