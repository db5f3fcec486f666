"""Reading the parts of an edited film one after the other."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from ...errors import FilmFileError
from ..colour import RANGE_FULL, RANGE_LIMITED, layout_of, working_matrix
from ..info import FilmFrame, FilmInfo
from ..stream import FilmReader
from .edited import EditedFilm, span_of
from .video_file import Deinterlace, VideoFileReader


class EditedReader(FilmReader):
    """Reads the parts of an edited film one after the other. See ``reader.open_film``.

    Timestamps begin at 0, except in a film that is only cut in its picture, which keeps those of its file.
    """

    def __init__(self, film: EditedFilm, *, deinterlace: Deinterlace = "auto") -> None:
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
