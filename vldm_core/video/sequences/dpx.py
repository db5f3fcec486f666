"""Headers of DPX pictures (SMPTE ST 268-1): what FFmpeg neither reads nor writes of them is carried over here."""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ...errors import FilmFileError
from ..info import FilmInfo
from .timecode import Timecode

HEADER_BYTES = 2048
"""Of a header with the parts of film and video."""

_GENERIC_BYTES = 1664
"""Without them, which is what FFmpeg writes."""

_IMAGE_OFFSET, _FILE_SIZE, _GENERIC_SIZE, _INDUSTRY_SIZE, _ELEMENT_OFFSET = 4, 16, 24, 28, 808
_BIG, _LITTLE = b"SDPX", b"XPDS"
_NOTHING = b"\xff"
"""What stands in a header where nothing is known."""

_TRANSFER, _COLORIMETRIC = 801, 802
_FRAME_POSITION, _FRAME_RATE = 1712, 1724
_TIMECODE, _TEMPORAL_RATE = 1920, 1940
_LOGARITHMIC = (1, 3)
"""Transfer characteristics: printing density, and logarithmic."""

_TAGS = {1: 6, 4: 10, 5: 7, 6: 8, 7: 5, 8: 2, 9: 3, 10: 3}
"""FFmpeg's transfer characteristics and primaries → DPX's numbers; others are unspecified video."""
_UNSPECIFIED_VIDEO = 4

_TEXTS = ((260, 660), (1432, 1620), (1664, 1712), (1732, 1920), (1928, 1932))
"""Bytes of texts and single bytes that say where a picture comes from: project, input device, film stock, slate."""
_WORDS = ((1628, 1636), (1712, 1732), (1920, 1928), (1932, 1972))
"""Bytes of four-byte numbers: pixel aspect, place in the film, timecode, video signal."""

_SLOWEST, _FASTEST = 1.0, 240.0
"""Frames per second that a header may well mean."""
_RATES = [Fraction(rate) for rate in (16, 18, 24, 25, 30, 48, 50, 60)]
_RATES += [rate * Fraction(1000, 1001) for rate in (24, 30, 48, 60)]
_RATE_TOLERANCE = 0.002


@dataclass(frozen=True)
class DpxHeader:
    """The header of a DPX picture.

    Attributes:
        contents: Its bytes.
    """

    contents: bytes

    @classmethod
    def of_file(cls, path: Path) -> "DpxHeader | None":
        """Read the header of a file; None where it has none.

        Raises:
            FilmFileError: The file cannot be read.
        """
        try:
            with path.open("rb") as file:
                contents = file.read(HEADER_BYTES).ljust(HEADER_BYTES, _NOTHING)
        except OSError as error:
            raise FilmFileError(f"{path} cannot be read: {error.strerror or error}") from error
        if contents[:4] not in (_BIG, _LITTLE):
            return None
        header = cls(contents)
        # What lies where the image begins says nothing of film and video.
        end = min(HEADER_BYTES, max(_GENERIC_BYTES, int(header._number("I", _IMAGE_OFFSET))))
        return cls(contents[:end].ljust(HEADER_BYTES, _NOTHING))

    @property
    def order(self) -> str:
        """Order of its bytes, as `struct` writes it."""
        return ">" if self.contents[:4] == _BIG else "<"

    @property
    def is_logarithmic(self) -> bool:
        """Whether the values are densities, as film scanners give them."""
        return self.contents[_TRANSFER] in _LOGARITHMIC

    @property
    def timecode(self) -> Timecode | None:
        """Timecode of the picture."""
        return Timecode.of_word(int(self._number("I", _TIMECODE)))

    @property
    def frame_rate(self) -> Fraction | None:
        """Frames per second, as the film's or the video's part says it; None where neither does."""
        for place in (_FRAME_RATE, _TEMPORAL_RATE):
            rate = self._number("f", place)
            if math.isfinite(rate) and _SLOWEST <= rate <= _FASTEST:
                near = min(_RATES, key=lambda known: abs(known - Fraction(rate)))
                return near if abs(near - rate) < _RATE_TOLERANCE else Fraction(rate).limit_denominator(1001)
        return None

    def _number(self, kind: str, place: int) -> float:
        return struct.unpack_from(f"{self.order}{kind}", self.contents, place)[0]  # type: ignore[no-any-return]


def carried_over(made: bytes, source: DpxHeader) -> bytes:
    """Return a picture of FFmpeg's with what its source's header says of film, device, slate, timecode and transfer."""
    header, image = _widened(made)
    header[_TRANSFER : _COLORIMETRIC + 1] = source.contents[_TRANSFER : _COLORIMETRIC + 1]
    for first, last in _TEXTS:
        header[first:last] = source.contents[first:last]
    order = DpxHeader(bytes(header)).order
    for place in _places(_WORDS):
        (word,) = struct.unpack_from(f"{source.order}I", source.contents, place)
        struct.pack_into(f"{order}I", header, place, word)
    return bytes(header) + image


def described(made: bytes, info: FilmInfo, number: int, timecode: Timecode | None) -> bytes:
    """Return a picture whose header says its place in the film.

    Args:
        made: The picture as FFmpeg made it.
        info: The film.
        number: Of the picture in the film, from 0.
        timecode: Of the picture, or None.
    """
    header, image = _widened(made)
    order = DpxHeader(bytes(header)).order
    header[_TRANSFER] = _TAGS.get(info.colour_transfer, _UNSPECIFIED_VIDEO)
    header[_COLORIMETRIC] = _TAGS.get(info.colour_primaries, _UNSPECIFIED_VIDEO)
    struct.pack_into(f"{order}I", header, _FRAME_POSITION, number)
    for place in (_FRAME_RATE, _TEMPORAL_RATE):
        struct.pack_into(f"{order}f", header, place, float(info.frame_rate))
    if timecode is not None:
        struct.pack_into(f"{order}I", header, _TIMECODE, timecode.word)
    return bytes(header) + image


def _widened(made: bytes) -> tuple[bytearray, bytes]:
    """Return the header of a picture of FFmpeg's with room for film and video, and what follows it."""
    order = DpxHeader(made).order
    (offset,) = struct.unpack_from(f"{order}I", made, _IMAGE_OFFSET)
    header = bytearray(made[:_GENERIC_BYTES].ljust(HEADER_BYTES, _NOTHING))
    sizes = {
        _IMAGE_OFFSET: HEADER_BYTES,
        _ELEMENT_OFFSET: HEADER_BYTES,
        _FILE_SIZE: HEADER_BYTES + len(made) - offset,
        _GENERIC_SIZE: _GENERIC_BYTES,
        _INDUSTRY_SIZE: HEADER_BYTES - _GENERIC_BYTES,
    }
    for place, size in sizes.items():
        struct.pack_into(f"{order}I", header, place, size)
    return header, made[offset:]


def _places(parts: tuple[tuple[int, int], ...]) -> Iterator[int]:
    for first, last in parts:
        yield from range(first, last, 4)
