"""Fonts that are installed, and which letters they have.

No font ships with the package: one that has the letters of all scripts is larger than the package. Which fonts there
are is a property of the machine, so whoever draws text must cope with letters that none of them has.
"""

import mmap
import os
import struct
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
# Of fonts that have as many of the letters, the one with the plainest name is taken.
_FANCY = ("bold", "italic", "oblique", "serif", "mono", "condensed", "narrow", "light", "thin", "black", "medium")
_FANCY_SANS = "sansserif"
# Fonts whose letters are pictures in colours, of one size.
_EMOJI = ("emoji", "color")
_MOST_FILES = 4000
_MOST_FONTS = 4


def font_folders() -> tuple[Path, ...]:
    """Return the folders in which systems keep fonts; some may not be there."""
    home = Path.home()
    if sys.platform == "win32":
        windows = Path(os.environ.get("WINDIR", r"C:\Windows"))
        local = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
        return (windows / "Fonts", local / "Microsoft" / "Windows" / "Fonts")
    if sys.platform == "darwin":
        return (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts")
    data = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
    own = Path(os.environ.get("XDG_DATA_HOME", home / ".local" / "share"))
    return (*(Path(folder) / "fonts" for folder in data if folder), own / "fonts", home / ".fonts")


def installed_fonts() -> tuple[Path, ...]:
    """Return the font files of the machine, the plainest names first."""
    return _installed(font_folders())


@lru_cache(maxsize=4)
def _installed(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    found: list[Path] = []
    for folder in folders:
        for root, _, names in os.walk(folder):
            found += [Path(root) / name for name in names if name.lower().endswith(_SUFFIXES)]
    kept = [path for path in found if not any(word in path.name.lower() for word in _EMOJI)]
    return tuple(sorted(kept, key=_plainness)[:_MOST_FILES])


def _plainness(path: Path) -> tuple[int, int, str, str]:
    name = path.stem.lower().replace(_FANCY_SANS, "sans")
    return sum(word in name for word in _FANCY), len(name), name, str(path)


def fonts_for(letters: Iterable[str]) -> tuple[Path, ...]:
    """Return installed fonts that have as many of some letters as possible, the one with most of them first."""
    missing = {ord(letter) for letter in letters}
    chosen: list[Path] = []
    while missing and len(chosen) < _MOST_FONTS:
        best: frozenset[int] = frozenset()
        for path in installed_fonts():
            has = letters_of(path, frozenset(missing))
            if len(has) > len(best):
                best, font = has, path
                if len(best) == len(missing):
                    break
        if not best:
            break
        chosen.append(font)
        missing -= best
    return tuple(chosen)


@lru_cache(maxsize=20_000)
def letters_of(path: Path, wanted: frozenset[int]) -> frozenset[int]:
    """Return which code points a font file has; none where it cannot be read."""
    try:
        # Of many large files only the tables are read.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as font:
            return code_points(font, wanted)
    except (OSError, ValueError, struct.error):
        return frozenset()


def code_points(font: bytes | mmap.mmap, wanted: frozenset[int]) -> frozenset[int]:
    """Return which code points a font has glyphs for, by its table `cmap`.

    Args:
        font: A TrueType or OpenType file, or a collection of them, whose first one counts.
        wanted: Code points to look for.

    Raises:
        struct.error: The file is cut short.
    """
    start = struct.unpack_from(">I", font, 12)[0] if font[:4] == b"ttcf" else 0
    tables = struct.unpack_from(">H", font, start + 4)[0]
    for index in range(tables):
        tag, _, offset, _ = struct.unpack_from(">4sIII", font, start + 12 + 16 * index)
        if tag == b"cmap":
            return _in_cmap(font, offset, wanted)
    return frozenset()


def _in_cmap(font: bytes | mmap.mmap, base: int, wanted: frozenset[int]) -> frozenset[int]:
    found: frozenset[int] = frozenset()
    for index in range(struct.unpack_from(">H", font, base + 2)[0]):
        platform, encoding, offset = struct.unpack_from(">HHI", font, base + 4 + 8 * index)
        # Unicode, as Apple and as Microsoft number it; not symbols.
        if platform != 0 and (platform, encoding) not in ((3, 1), (3, 10)):
            continue
        kind = struct.unpack_from(">H", font, base + offset)[0]
        if kind == 4:
            found |= _in_segments(font, base + offset, wanted)
        elif kind == 12:
            found |= _in_groups(font, base + offset, wanted)
    return found


def _in_segments(font: bytes | mmap.mmap, at: int, wanted: frozenset[int]) -> frozenset[int]:
    """Look into a subtable of format 4: segments of the first 65536 code points."""
    count = struct.unpack_from(">H", font, at + 6)[0] // 2
    ends = struct.unpack_from(f">{count}H", font, at + 14)
    starts = struct.unpack_from(f">{count}H", font, at + 16 + 2 * count)
    shifts = struct.unpack_from(f">{count}H", font, at + 16 + 4 * count)
    ranges_at = at + 16 + 6 * count
    ranges = struct.unpack_from(f">{count}H", font, ranges_at)
    found = set()
    for code in wanted:
        segment = next((i for i, end in enumerate(ends) if code <= end), None)
        if segment is None or code < starts[segment]:
            continue
        glyph = code
        if ranges[segment]:
            place = ranges_at + 2 * segment + ranges[segment] + 2 * (code - starts[segment])
            glyph = struct.unpack_from(">H", font, place)[0]
            if glyph == 0:
                continue
        if (glyph + shifts[segment]) & 0xFFFF:
            found.add(code)
    return frozenset(found)


def _in_groups(font: bytes | mmap.mmap, at: int, wanted: frozenset[int]) -> frozenset[int]:
    """Look into a subtable of format 12: groups of all code points."""
    count = struct.unpack_from(">I", font, at + 12)[0]
    values = struct.unpack_from(f">{3 * count}I", font, at + 16)
    groups = list(zip(values[0::3], values[1::3], values[2::3], strict=True))
    return frozenset(
        code for code in wanted if any(first <= code <= last and glyph + code - first for first, last, glyph in groups)
    )
