"""The pixel shape in a Matroska header, which PyAV cannot write.

FFmpeg's muxer takes it from a stream field that PyAV does not expose. So the muxer is given a track name that is too
long, and when the file is complete the name's bytes are exchanged for the display size. The header keeps its length;
nothing else in the file moves. (Matroska: RFC 9559 section 5.1.4.1.28, EBML: RFC 8794.)
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from av.stream import Stream

from ...errors import FilmFileError

_RESERVE = b"\x7f" * 40
_SEGMENT, _TRACKS, _TRACK_ENTRY, _NAME, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x536E, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
_CRC, _VOID = 0xBF, 0xEC
_UNIT_ASPECT_RATIO = 3
_HEADER_LIMIT = 8 << 20


class _Element(NamedTuple):
    kind: int
    content: bytes
    raw: bytes


def reserve_title(stream: Stream) -> None:
    """Make room in the track header of a Matroska output for ``store_display_size``."""
    stream.metadata["title"] = stream.metadata.get("title", "") + _RESERVE.decode()


def store_display_size(path: Path, width: int, height: int, sample_aspect_ratio: Fraction) -> None:
    """Write the display size of the video track that ``reserve_title`` was called for.

    Args:
        path: A complete Matroska file.
        width: Pixels.
        height: Pixels.
        sample_aspect_ratio: Width over height of a pixel.

    Raises:
        FilmFileError: The header has no such track.
    """
    with path.open("rb+") as file:
        head = file.read(_HEADER_LIMIT)
        start, end = _find_tracks(head, path)
        elements = list(_elements(head[start:end]))
        parts = [_with_display_size(e, width, height, sample_aspect_ratio) for e in elements if e.kind != _CRC]
        body = b"".join(parts)
        if elements[0].kind == _CRC:
            # The checksum covers everything in the element after itself.
            body = _element(_CRC, zlib.crc32(body).to_bytes(4, "little")) + body
        if len(body) != end - start or _RESERVE in body or body == head[start:end]:
            raise FilmFileError(f"the header of {path} is not as expected; the pixel shape cannot be stored")
        file.seek(start)
        file.write(body)


def _with_display_size(entry: _Element, width: int, height: int, ratio: Fraction) -> bytes:
    parts = list(_elements(entry.content))
    if entry.kind != _TRACK_ENTRY or not any(e.kind == _NAME and e.content.endswith(_RESERVE) for e in parts):
        return entry.raw
    kept = b""
    for part in parts:
        if part.kind == _NAME:
            title = part.content.removesuffix(_RESERVE)
            kept += _element(_NAME, title) if title else b""
        elif part.kind == _VIDEO:
            replaced = (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)
            shape = b"".join(e.raw for e in _elements(part.content) if e.kind not in replaced)
            kept += _element(_VIDEO, shape + _display_elements(width, height, ratio))
        else:
            kept += part.raw
    head = entry.raw[: len(entry.raw) - len(entry.content)]
    # Two bytes of the filler are its own identifier and length.
    return head + kept + _element(_VOID, bytes(len(entry.content) - len(kept) - 2))


def _display_elements(width: int, height: int, ratio: Fraction) -> bytes:
    across, down = width * ratio, height / ratio
    if across.denominator == 1:
        size, unit = (int(across), height), 0
    elif down.denominator == 1:
        size, unit = (width, int(down)), 0
    else:
        shape = Fraction(width, height) * ratio
        size, unit = (shape.numerator, shape.denominator), _UNIT_ASPECT_RATIO
    written = _element(_DISPLAY_WIDTH, _integer(size[0])) + _element(_DISPLAY_HEIGHT, _integer(size[1]))
    return written + (_element(_DISPLAY_UNIT, _integer(unit)) if unit else b"")


def _integer(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def _find_tracks(head: bytes, path: Path) -> tuple[int, int]:
    position = 0
    while position < len(head) - 12:
        kind, size, begin = _header(head, position)
        if kind == _TRACKS and begin + size <= len(head):
            return begin, begin + size
        # The segment is entered, everything else is passed over.
        position = begin if kind == _SEGMENT else begin + size
    raise FilmFileError(f"the header of {path} holds no track list; the pixel shape cannot be stored")


def _elements(data: bytes) -> Iterator[_Element]:
    position = 0
    while position < len(data):
        kind, size, begin = _header(data, position)
        yield _Element(kind, data[begin : begin + size], data[position : begin + size])
        position = begin + size


def _header(data: bytes, position: int) -> tuple[int, int, int]:
    """Return identifier, content size and content position of the element at a position."""
    length = 9 - data[position].bit_length()
    kind = int.from_bytes(data[position : position + length], "big")
    position += length
    length = 9 - data[position].bit_length()
    size = int.from_bytes(data[position : position + length], "big") & ((1 << 7 * length) - 1)
    return kind, size, position + length


def _element(kind: int, content: bytes) -> bytes:
    length = 1
    while len(content) >= (1 << 7 * length) - 1:
        length += 1
    size = (len(content) | 1 << 7 * length).to_bytes(length, "big")
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + size + content
