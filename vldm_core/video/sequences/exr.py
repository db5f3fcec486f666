"""Headers of OpenEXR pictures: the attributes that FFmpeg leaves out, such as timecode and chromaticities, are kept."""

import struct
from collections.abc import Mapping
from pathlib import Path

from ...errors import FilmFileError
from .timecode import Timecode

_MAGIC = b"v/1\x01"
_FIRST = 8
_MOST_HEADER = 1 << 20
"""Bytes in which a header ends, unless it holds a preview picture larger than any."""

_FLAGS = 0x00000200 | 0x00000800 | 0x00001000
"""Of the version: tiles, deep data, several parts. Such a file's header is left alone."""

_OF_THE_PICTURE = frozenset(
    {
        "channels", "compression", "dataWindow", "displayWindow", "lineOrder", "screenWindowCenter", "chunkCount",
        "screenWindowWidth", "tiles", "type", "version", "name", "preview", "gamma", "writer", "dwaCompressionLevel",
    }
)  # fmt: skip
"""Attributes that say how the pixels of a file lie in it, and what FFmpeg writes itself."""

_TIMECODE = "timeCode"
_HALF, _FLOAT = 1, 2

Attributes = dict[str, tuple[str, bytes]]
"""Name of each attribute → its type and value."""


def attributes_of(path: Path) -> Attributes:
    """Read the attributes of a file; none where its header cannot be followed.

    Raises:
        FilmFileError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            contents = file.read(_MOST_HEADER)
    except OSError as error:
        raise FilmFileError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return _parsed(contents)[0]
    except (ValueError, IndexError, struct.error, UnicodeDecodeError):
        return {}


def bits_of(attributes: Attributes) -> int:
    """Bits of the deepest channel: 16 for half floats, 32 for floats."""
    contents, place, deepest = attributes.get("channels", ("", b""))[1], 0, 16
    while place < len(contents) and contents[place]:
        place = contents.index(0, place) + 1
        (kind,) = struct.unpack_from("<I", contents, place)
        deepest = max(deepest, 16 if kind == _HALF else 32)
        place += 16
    return deepest


def timecode_of(attributes: Attributes) -> Timecode | None:
    """Timecode of a picture."""
    kind, value = attributes.get(_TIMECODE, ("", b""))
    return Timecode.of_word(struct.unpack("<II", value)[0]) if kind == "timecode" and len(value) == 8 else None


def of_timecode(timecode: Timecode) -> Attributes:
    """The attribute that says a timecode."""
    return {_TIMECODE: ("timecode", struct.pack("<II", timecode.word, 0))}


def with_attributes(made: bytes, more: Mapping[str, tuple[str, bytes]], height: int) -> bytes:
    """Return a picture that FFmpeg made with further attributes.

    Args:
        made: The picture: scan lines, one part.
        more: Attributes; those that say how pixels lie in a file are left out.
        height: Rows.
    """
    own, end = _parsed(made)
    chosen = {name: said for name, said in more.items() if name not in _OF_THE_PICTURE and name not in own}
    added = b"".join(
        f"{name}\0{kind}\0".encode() + struct.pack("<I", len(value)) + value for name, (kind, value) in chosen.items()
    )
    # The rows of a block by compression: none, RLE and ZIPS 1, ZIP 16.
    rows = {0: 1, 1: 1, 2: 1, 3: 16}[own["compression"][1][0]]
    count = -(-height // rows)
    offsets = struct.unpack_from(f"<{count}Q", made, end)
    moved = struct.pack(f"<{count}Q", *(offset + len(added) for offset in offsets))
    return made[: end - 1] + added + b"\0" + moved + made[end + 8 * count :]


def _parsed(contents: bytes) -> tuple[Attributes, int]:
    """Return the attributes of a header, and the place behind it.

    Raises:
        ValueError: It is none, or of a kind that is not followed.
    """
    if contents[:4] != _MAGIC or struct.unpack_from("<I", contents, 4)[0] & _FLAGS:
        raise ValueError("not a plain OpenEXR header")
    found: Attributes = {}
    place = _FIRST
    while contents[place]:
        name_end = contents.index(0, place)
        kind_end = contents.index(0, name_end + 1)
        (size,) = struct.unpack_from("<I", contents, kind_end + 1)
        first = kind_end + 5
        value = contents[first : first + size]
        if len(value) < size:
            raise ValueError("the header is cut off")
        found[contents[place:name_end].decode()] = (contents[name_end + 1 : kind_end].decode(), value)
        place = first + size
    return found, place + 1
