"""The clock of MPEG streams, which may begin again in the middle of a file or lie before zero.

DVD files (.VOB) and recordings (.ts) that were joined byte by byte start a new clock with every part, and a transport
stream's clock of 33 bits runs over after 26.5 hours. Every other container keeps one clock for the whole file.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av

from .container import FilmSource, open_input, source_name, video_stream

# FFmpeg's names of the containers whose packets carry the clock of the recording.
_CLOCKED = frozenset({"mpeg", "mpegts"})
# A step back that is shorter than this, in seconds, is disorder of a damaged stream and not another clock.
_LEAST_STEP_BACK = Fraction(1, 4)
# One false time runs ahead by more than this, in seconds, and the next ones go on as before it.
_FALSE_LEAP = 10


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Makes the times of a file one that rises from beginning to end, for pictures and sound alike.

    Attributes:
        shifts: Per part of the file, the seconds that are added to its times.
        entries: Stream index → for each part that the stream enters, (number of its first packet, number of the part).
        cuts: Numbers of the first frame of every part but the first, in the order of decoding.
        packets: Packets of the film's video stream, when they were counted.
    """

    shifts: tuple[Fraction, ...] = (Fraction(0),)
    entries: dict[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    cuts: tuple[int, ...] = ()
    packets: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether no time changes."""
        return not any(self.shifts)

    def corrected(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        """Put the packets of a file, read from its beginning, on the one clock; any choice of streams will do."""
        if self.is_plain:
            yield from packets
            return
        count: dict[int, int] = {}
        for packet in packets:
            index = packet.stream_index
            if packet.size and packet.time_base:
                number = count[index] = count.get(index, -1) + 1
                part = 0
                for first, entered in self.entries.get(index, ()):
                    if number >= first:
                        part = entered
                ticks = round(self.shifts[part] / packet.time_base)
                if packet.pts is not None:
                    packet.pts += ticks
                if packet.dts is not None:
                    packet.dts += ticks
            yield packet


@dataclass
class _Part:
    """What was seen between two beginnings of the clock: where it lies, and the times of its pictures in seconds."""

    position: int
    first_frame: int
    start: Fraction | None = None
    end: Fraction | None = None


def read_clock(source: FilmSource) -> Clock:
    """Read the clock of a film file. MPEG streams are read through once, without decoding; other files cost nothing.

    Raises:
        FilmFileError: See ``container.open_input``.
    """
    if isinstance(source, io.BytesIO):
        return _scan(source)
    try:
        state = os.stat(source)
    except OSError:
        return _scan(source)
    return _scan_once(os.fspath(source), state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _scan_once(path: str, _size: int, _modified: int) -> Clock:
    # Size and time of change are only there to tell another file of the same name.
    return _scan(Path(path))


def _scan(source: FilmSource) -> Clock:
    with open_input(source) as container:
        if container.format.name not in _CLOCKED:
            return Clock()
        scan = _Scan(film=video_stream(container, source_name(source)).index)
        wanted = [s for s in container.streams if s.type in ("video", "audio", "subtitle")]
        try:
            for packet in container.demux(wanted):
                if packet.size:
                    scan.see(packet)
        except (av.InvalidDataError, av.error.OSError):
            # What the decoder makes of the damage is told when the film is read.
            pass
    return scan.clock()


@dataclass(kw_only=True)
class _Scan:
    """What the packets of a file have shown so far; dictionaries are by the index of the stream."""

    film: int
    parts: list[_Part] = field(default_factory=lambda: [_Part(position=0, first_frame=0)])
    entries: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    count: dict[int, int] = field(default_factory=dict)
    last: dict[int, Fraction] = field(default_factory=dict)
    before_leap: dict[int, Fraction] = field(default_factory=dict)
    earliest: Fraction | None = None

    def see(self, packet: av.Packet) -> None:
        index = packet.stream_index
        number = self.count[index] = self.count.get(index, -1) + 1
        time = packet.dts if packet.dts is not None else packet.pts
        if time is None:
            return
        due = time * packet.time_base
        current = self._part_of(packet, number, due)
        self.last[index] = due
        shown = (packet.pts if packet.pts is not None else time) * packet.time_base
        if index == self.film:
            _note(self.parts[current], shown, packet)
            if current:
                self.parts[current].first_frame = min(self.parts[current].first_frame, number)
        if current == 0:
            self.earliest = shown if self.earliest is None else min(self.earliest, shown)

    def _part_of(self, packet: av.Packet, number: int, due: Fraction) -> int:
        """Tell which part a packet belongs to, and note where its stream enters another one."""
        index = packet.stream_index
        entered = self.entries.setdefault(index, [])
        position = packet.pos if packet.pos is not None and packet.pos >= 0 else self.parts[-1].position
        if not entered:
            current = _part_at(self.parts, position)
            entered.append((0, current))
            return current
        current = entered[-1][1]
        if due > self.last[index] + _FALSE_LEAP:
            self.before_leap[index] = self.last[index]
        elif packet.stream.type == "subtitle":
            # Subtitles are too far between to tell a clock from them.
            at = _part_at(self.parts, position)
            if at > current:
                current = at
                entered.append((number, current))
        elif due < self.last[index] - _LEAST_STEP_BACK and not _follows(self.before_leap.get(index), due):
            current = max(current + 1, _part_at(self.parts, position))
            if current == len(self.parts):
                first = self.count.get(self.film, -1) + (index != self.film)
                self.parts.append(_Part(position=position, first_frame=first))
            entered.append((number, current))
        return current

    def clock(self) -> Clock:
        """Put the parts behind each other."""
        shifts = [max(Fraction(0), -(self.earliest or Fraction(0)))]
        end: Fraction | None = self.parts[0].end
        for part in self.parts[1:]:
            # Sound that runs back while the pictures go on is damaged; its clock is theirs.
            joined = part.start is not None and end is not None
            shifts.append(shifts[-1] + end - part.start if joined else shifts[-1])  # type: ignore[operator]
            end = part.end if part.end is not None else end
        return Clock(
            shifts=tuple(shifts),
            entries={index: tuple(found) for index, found in self.entries.items()},
            cuts=tuple(part.first_frame for part in self.parts[1:] if part.start is not None),
            packets=self.count.get(self.film, -1) + 1,
        )


def _part_at(parts: list[_Part], position: int) -> int:
    """The latest part that begins at or before a place in the file."""
    return max(number for number, part in enumerate(parts) if part.position <= position)


def _follows(before: Fraction | None, due: Fraction) -> bool:
    """Whether a time goes on from the one before a false leap."""
    return before is not None and before <= due <= before + _FALSE_LEAP


def _note(part: _Part, shown: Fraction, packet: av.Packet) -> None:
    end = shown + (packet.duration or 0) * packet.time_base
    part.start = shown if part.start is None else min(part.start, shown)
    part.end = end if part.end is None else max(part.end, end)
