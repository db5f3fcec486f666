"""A film made of parts of film files, decoded one after the other: cut in time, cut in the picture, joined."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import FilmFileError, SettingsError
from ..colour import RANGE_FULL, RANGE_LIMITED, layout_of, working_matrix
from ..info import FilmFrame, FilmInfo
from ..stream import FilmReader
from .clock import read_clock
from .container import FilmSource, frame_rate_of, open_input, source_name, video_packets, video_stream

if TYPE_CHECKING:
    from .reader import Deinterlace


@dataclass(frozen=True, kw_only=True)
class FilmPart:
    """A part of a film file.

    Attributes:
        source: The file, or its bytes.
        start: Seconds on the file's own clock from which frames belong to the part; 0 for its beginning.
        duration: Seconds that it lasts, or None to the end.
        crop: Left, top, width and height of the part of the picture, in pixels of the picture as it is stored (a
            display rotation is applied afterwards), or None for the whole.
    """

    source: FilmSource
    start: Fraction = Fraction(0)
    duration: Fraction | None = None
    crop: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.start < 0 or (self.duration is not None and self.duration <= 0):
            raise SettingsError(
                f"a part of a film starts at 0 s or later and lasts longer than 0 s, got {float(self.start)} s and "
                f"{self.duration if self.duration is None else float(self.duration)} s"
            )

    @property
    def is_cut_in_time(self) -> bool:
        """Whether the part is less than the whole file."""
        return self.start > 0 or self.duration is not None

    def ticks(self, time_base: Fraction) -> tuple[int | None, int | None]:
        """Return first timestamp that belongs to the part and first one behind it, in units of ``time_base``."""
        first = math.floor(self.start / time_base) if self.start else None
        return first, None if self.duration is None else math.floor((self.start + self.duration) / time_base)


@dataclass(frozen=True, kw_only=True)
class EditedFilm:
    """Parts that are one film, in order.

    Attributes:
        parts: One or more; several have frames of one size.
        sound: File with the sound of the whole film. Without it one part brings its own, and several are silent.
    """

    parts: tuple[FilmPart, ...]
    sound: FilmSource | None = None

    def __post_init__(self) -> None:
        if not self.parts:
            raise SettingsError("an edited film has no part; give at least one")

    @property
    def name(self) -> str:
        """A name for messages."""
        return " + ".join(dict.fromkeys(source_name(part.source) for part in self.parts))

    def holds(self, path: str | os.PathLike[str]) -> bool:
        """Whether a file on disk is one of those read."""
        sources = [part.source for part in self.parts] + [self.sound]
        for source in sources:
            try:
                if isinstance(source, str | os.PathLike) and Path(source).samefile(path):
                    return True
            except OSError:
                continue
        return False


@dataclass(frozen=True, kw_only=True)
class Span:
    """Where the frames of a part lie on its file's clock, in seconds, and how many there are."""

    first: Fraction
    end: Fraction
    frames: int


def span_of(part: FilmPart) -> Span:
    """Find a part's frames from the packets of its file, without decoding.

    Raises:
        FilmFileError: The file cannot be read, or no frame lies in the part.
    """
    name = source_name(part.source)
    clock = read_clock(part.source)
    with open_input(part.source) as container:
        stream = video_stream(container, name)
        base, rate = stream.time_base, frame_rate_of(stream) or Fraction(25)
        low, high = part.ticks(base)
        by_order = container.format.name == "avi"
        first = end = None
        count = 0
        for packet in clock.corrected(video_packets(container, stream)):
            stamp = packet.dts if by_order else packet.pts
            if stamp is None or packet.is_discard:
                continue
            if (low is not None and stamp < low) or (high is not None and stamp >= high):
                continue
            count += 1
            first = stamp if first is None else min(first, stamp)
            after = stamp + (packet.duration or round(1 / rate / base))
            end = after if end is None else max(end, after)
    if first is None or end is None:
        length = "" if part.duration is None else f" and lasts {float(part.duration):.3f} s"
        raise FilmFileError(f"{name} has no frame in the part that starts at {float(part.start):.3f} s{length}")
    # Where times are rounded to milliseconds, the number of frames tells the length better than the last frame does.
    counted = count / rate
    exact = abs(counted - (end - first) * base) < 1 / (2 * rate)
    return Span(first=first * base, end=first * base + counted if exact else end * base, frames=count)


class EditedReader(FilmReader):
    """Reads the parts of an edited film one after the other. See ``reader.open_film``.

    Timestamps begin at 0, except in a film that is only cut in its picture, which keeps those of its file.
    """

    def __init__(self, film: EditedFilm, *, deinterlace: Deinterlace = "auto") -> None:
        from .reader import VideoFileReader

        super().__init__(film.name)
        self._readers = [VideoFileReader(p.source, deinterlace=deinterlace, part=p) for p in film.parts]
        self._opening = [warning for reader in self._readers for warning in reader.warnings]
        self.warnings = list(self._opening)
        first = self._readers[0].info
        for reader in self._readers[1:]:
            if (reader.info.width, reader.info.height) != (first.width, first.height):
                raise FilmFileError(
                    f"{reader.name} is {reader.info.width}x{reader.info.height} and {self._readers[0].name} "
                    f"{first.width}x{first.height}; films that are joined have frames of one size"
                )
        self._spans = [span_of(part) for part in film.parts]
        keeps_clock = len(film.parts) == 1 and not film.parts[0].is_cut_in_time
        one_base = len({reader.info.time_base for reader in self._readers}) == 1
        self._base = first.time_base if one_base else _fine_base([reader.info.time_base for reader in self._readers])
        self._starts = [Fraction(0)]
        for span in self._spans[:-1]:
            self._starts.append(self._starts[-1] + span.end - span.first)
        if keeps_clock:
            self._starts[0] = self._spans[0].first
        self.info = self._joined_info(first, film)

    def _joined_info(self, first: FilmInfo, film: EditedFilm) -> FilmInfo:
        infos = [reader.info for reader in self._readers]
        return replace(
            first,
            path=self.name,
            time_base=self._base,
            frame_count=sum(span.frames for span in self._spans),
            duration=float(sum((span.end - span.first for span in self._spans), Fraction(0))),
            has_audio=film.sound is not None or (len(infos) == 1 and first.has_audio),
            constant_rate=all(i.constant_rate and i.frame_rate == first.frame_rate for i in infos),
            deinterlaced=any(i.deinterlaced for i in infos),
            # A timecode in the middle would have to be counted in the film's own way, with its dropped numbers.
            timecode=None if film.parts[0].start else first.timecode,
        )

    def _frames(self) -> Iterator[FilmFrame]:
        count = 0
        for reader, span, start in zip(self._readers, self._spans, self._starts, strict=True):
            alike = _samples(reader.info) == _samples(self.info)
            scale = reader.info.time_base / self._base
            shift = (start - span.first) / self._base
            frames = iter(reader)
            try:
                for frame in frames:
                    yield replace(
                        frame,
                        index=count,
                        image=functools.partial(getattr, frame, "image"),
                        pts=None if frame.pts is None else round(frame.pts * scale + shift),
                        duration=None if frame.duration is None else max(1, round(frame.duration * scale)),
                        source=frame.source if alike else None,
                    )
                    count += 1
            finally:
                reader.close()
                self.warnings.extend(w for w in reader.warnings if w not in self.warnings)


def _samples(info: FilmInfo) -> tuple[object, ...]:
    """What two films have alike whose samples may lie in one file."""
    usual = RANGE_LIMITED if layout_of(info.pix_fmt).model == "yuv" else RANGE_FULL
    matrix = working_matrix(info.colour_matrix, info.width, info.height)
    return info.pix_fmt, matrix, info.colour_range or usual


def _fine_base(bases: list[Fraction]) -> Fraction:
    """A time base in which the times of all parts are whole, or as good as."""
    denominator = math.lcm(*(base.denominator for base in bases))
    # Muxers count in 31 bits per second at most; a microsecond is far below a frame.
    return Fraction(1, denominator) if denominator < 1 << 31 else Fraction(1, 1_000_000)
