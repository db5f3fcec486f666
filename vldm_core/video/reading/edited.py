"""A film made of parts of film files, decoded one after the other: cut in time, cut in the picture, joined."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import FilmFileError, SettingsError
from .clock import read_clock
from .container import FilmSource, frame_rate_of, open_input, source_name, video_packets, video_stream

if TYPE_CHECKING:
    pass


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
class FilmSpan:
    """Where the frames of a part lie on its file's clock, in seconds, and how many there are."""

    first: Fraction
    end: Fraction
    frames: int


def span_of(part: FilmPart) -> FilmSpan:
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
    return FilmSpan(first=first * base, end=first * base + counted if exact else end * base, frames=count)
