"""Captions in any script can be read in the picture of the table: with a font of the machine, or by numbers."""

import logging
import struct

import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from vldm_core.semantics.table import fonts
from vldm_core.semantics.table.description import ShotDescription
from vldm_core.semantics.table.fonts import code_points, fonts_for, installed_fonts, letters_of
from vldm_core.semantics.table.lettering import Lettering, scripts_of
from vldm_core.semantics.table.sheet import SheetSettings, draw_sheet
from vldm_core.semantics.table.table import ShotTable

SETTINGS = SheetSettings(width=600, max_height=500, text_size=12)
BUILT_IN = ImageFont.load_default(12).font_bytes  # type: ignore[union-attr]


def cmap(kind, codes):
    """A table that maps code points to glyphs, each alone in its segment or group."""
    codes = sorted(codes.items())
    if kind == 12:
        body = struct.pack(">HHIII", 12, 0, 16 + 12 * len(codes), 0, len(codes))
        body += b"".join(struct.pack(">III", code, code, glyph) for code, glyph in codes)
        encoding = 10
    else:
        codes.append((0xFFFF, 0))
        count = len(codes)
        body = struct.pack(">HHHHHHH", 4, 16 + 8 * count, 0, 2 * count, 0, 0, 0)
        body += b"".join(struct.pack(">H", code) for code, _ in codes) + b"\0\0"
        body += b"".join(struct.pack(">H", code) for code, _ in codes)
        body += b"".join(struct.pack(">H", (glyph - code) & 0xFFFF) for code, glyph in codes)
        body += b"\0\0" * count
        encoding = 1
    return struct.pack(">HHHHI", 0, 1, 3, encoding, 12) + body


# The built-in font's glyphs lie in the order of their letters, the blank first.
ENGLISH = {code: code - 29 for code in range(32, 127)}


def drawn(font, letter):
    page = Image.new("L", (60, 40))
    ImageDraw.Draw(page).text((10, 5), letter, font=font, fill=255)
    return page.tobytes()


def with_cmap(codes, kind=4):
    """The built-in font with another table of letters: a font of another script, as far as anybody can tell."""
    table = cmap(kind, codes)
    font = bytearray(BUILT_IN)
    for index in range(struct.unpack_from(">H", font, 4)[0]):
        entry = 12 + 16 * index
        if font[entry : entry + 4] == b"cmap":
            struct.pack_into(">II", font, entry + 8, len(font), len(table))
            return bytes(font) + table
    raise AssertionError("no cmap")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose fonts are those that are put into a folder."""
    monkeypatch.setattr(fonts, "font_folders", lambda: (tmp_path,))
    fonts._installed.cache_clear()
    yield tmp_path
    fonts._installed.cache_clear()


def table(*captions):
    rows = (ShotDescription(first=i, last=i + 1, caption=caption) for i, caption in enumerate(captions))
    return ShotTable(descriptions=tuple(rows))


def picture(caption):
    return draw_sheet(table(caption), None, SETTINGS)


@pytest.mark.parametrize("kind", [4, 12])
def test_the_letters_of_a_font(kind):
    codes = {0x41: 3, 0x416: 9, 0x96FB: 20, **({0x1F600: 30} if kind == 12 else {})}
    font = with_cmap({**codes, 0x42: 0}, kind)
    assert code_points(font, frozenset({*codes, 0x42, 0x43, 0x417, 0x1F601})) == {*codes}
    collection = b"ttcf" + bytes(8) + struct.pack(">I", 16) + _moved(font, 16)
    assert code_points(collection, frozenset({0x41})) == {0x41}


def _moved(font, by):
    """The font as it lies in a collection: offsets count from the beginning of the file."""
    moved = bytearray(font)
    for index in range(struct.unpack_from(">H", font, 4)[0]):
        entry = 12 + 16 * index
        (offset,) = struct.unpack_from(">I", font, entry + 8)
        struct.pack_into(">I", moved, entry + 8, offset + by)
    return bytes(moved)


def test_the_built_in_font_has_english_only():
    assert code_points(BUILT_IN, frozenset(map(ord, "Az9…電Ж"))) == set(map(ord, "Az9…"))


def test_a_letter_is_drawn_with_the_font_that_has_it(machine):
    """Ж of the machine's font looks like the X of the built-in one, so the pictures are alike."""
    # With English letters, by which FreeType tells how glyphs are to be hinted.
    glyph = ENGLISH[ord("X")]
    (machine / "Fancy-Bold.ttf").write_bytes(with_cmap({**ENGLISH, 0x416: ENGLISH[ord("o")]}))
    (machine / "Plain.ttf").write_bytes(with_cmap({**ENGLISH, 0x416: glyph, 0x417: glyph}))
    (machine / "broken.ttf").write_bytes(b"no font")
    fonts._installed.cache_clear()
    assert [path.name for path in fonts_for("ЖЗ")] == ["Plain.ttf"]
    assert Lettering(["ЖЗ"], 12).missing == ()
    # Hinting and kerning go by the script, so it is not the same to the last pixel; no other letter comes nearer.
    for found in ("Ж", "a Ж", "ЖЖЖ"):
        unlike = {letter: picture(found) - picture(found.replace("Ж", letter)) for letter in "AEHKMNOVXYZox["}
        nearest = min(unlike, key=lambda letter: float(unlike[letter].abs().sum()))
        assert nearest == "X"


def test_without_a_font_letters_are_told_by_their_numbers(machine, caplog):
    caplog.set_level(logging.WARNING)
    lettering = Lettering(["電車 in 1906", "café"], 12)
    assert lettering.written("電車 in 1906") == "[96FB 8ECA] in 1906" and lettering.written("café") == "cafe"
    assert lettering.missing == ("車", "電") and scripts_of(lettering.missing) == ("Cjk",)
    # Two captions never look alike, as they did when all letters were boxes.
    assert not torch.equal(picture("電車"), picture("汽車"))
    assert "no installed font has 2 letters of these captions (Cjk)" in caplog.text and "install a font" in caplog.text
    caplog.clear()
    assert picture("a tram").shape[2] < picture("電").shape[2], "the page says so, too"
    caplog.clear()
    picture("Zürich – café")
    assert not caplog.records


def test_plain_tables_look_for_no_font(monkeypatch):
    monkeypatch.setattr(fonts, "installed_fonts", lambda: pytest.fail("fonts were looked for"))
    picture("a tram, 1906 …")


def test_marks_without_a_look_are_left_out(machine):
    assert Lettering(["a\u200b\ufeffb\x00"], 12).written("a\u200b\ufeffb\x00") == "ab"


def test_the_fonts_of_this_machine_are_read():
    """Whatever is installed here: what is said to have a letter draws it."""
    for path in installed_fonts()[:40]:
        has = letters_of(path, frozenset(map(ord, "aЖΩ電")))
        try:
            font = ImageFont.truetype(str(path), 20)
        except OSError:
            continue
        nothing = drawn(font, "\U0010fffe")
        for code in has:
            assert drawn(font, chr(code)) != nothing, (path, chr(code))
