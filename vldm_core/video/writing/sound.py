"""Carrying sound and subtitles over: packets are copied, never decoded."""

from __future__ import annotations

import errno
import io
import logging
import os
from collections.abc import Iterator
from fractions import Fraction

import av
from av.container import OutputContainer
from av.stream import Stream

from ...errors import FilmFileError
from ..reading.clock import read_clock
from ..reading.container import FilmSource, open_input, source_name
from ..reading.edited import FilmPart, span_of
from .encoding import CONTAINERS
from .extras import Extras

_logger = logging.getLogger(__name__)


# Notes about the source as a file, not about the film.
_OF_THE_FILE = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}

# How long before its visible part an edit list's hidden sound is kept, in seconds: decoders need a run-up (AAC one
# packet, Opus 80 ms), and copied sound starts with it.
_PREROLL = Fraction(1, 10)


class PacketCopier:
    """Copies the sound and subtitle packets of a film into another, in step with its pictures.

    The film's title, other notes, chapters, attached files and cover go with them.

    Every sound stream is copied bit-exactly, in codec, channels and timing. Subtitles are copied where the output
    container holds their codec; ``warnings`` names those it does not.

    Args:
        source: The film whose sound is wanted.
        part: The part of it that is wanted, or None for the whole.
        output: The container being written; its streams are added before the first packet.

    Raises:
        FilmFileError: The source cannot be opened, or the output container cannot hold a sound codec.
    """

    def __init__(
        self, source: FilmSource, output: OutputContainer, suffix: str, *, part: FilmPart | None = None
    ) -> None:
        self.warnings: list[str] = []
        self._name = source_name(source)
        self._output = output
        self._clock = read_clock(source)
        # A part that is cut in time: where it begins on the clock of its file, and which of its sound is wanted.
        self._span = span_of(part) if part is not None and part.is_cut_in_time else None
        self._behind = None if part is None or part.duration is None else part.start + part.duration
        self._input = open_input(source)
        self._targets: dict[int, Stream] = {}
        try:
            names = {k: v for k, v in self._input.metadata.items() if k.lower() not in _OF_THE_FILE}
            output.metadata.update(names)
            if self._span is None:
                output.set_chapters(self._input.chapters())
            wanted = [s for s in self._input.streams if s.type in ("audio", "subtitle")]
            self._rehearse([s for s in wanted if s.type == "audio"], source, suffix)
            for stream in wanted:
                self._add(stream, suffix)
            self._extras = Extras(self._input, source, output, suffix, self._name)
            for message in self._extras.warnings:
                self._warn(message)
        except BaseException:
            self._input.close()
            raise
        self._packets = self._demux()
        self._held: av.Packet | None = None
        self._written: dict[int, Fraction] = {}
        self._overlap = Fraction(0)
        self._done = not self._targets

    def _rehearse(self, streams: list[Stream], source: FilmSource, suffix: str) -> None:
        """Write the first sound packets into memory: MP4 finds out only at its end what it cannot hold."""
        if not streams:
            return
        with open_input(source) as start, av.open(io.BytesIO(), mode="w", format=CONTAINERS[suffix]) as trial:
            try:
                targets = {stream.index: _same_stream(trial, stream) for stream in streams}
                for packet in start.demux([start.streams[index] for index in targets]):
                    if packet.size and targets.get(packet.stream_index) is not None:
                        index = packet.stream_index
                        packet.stream, targets[index] = targets[index], None
                        trial.mux(packet)
                    if not any(targets.values()):
                        break
                trial.close()
            except (ValueError, av.FFmpegError) as error:
                codecs = ", ".join(sorted({_codec_name(stream) for stream in streams}))
                raise FilmFileError(
                    f"{suffix} cannot hold the sound of {self._name} ({codecs}); {_containers_for(streams, suffix)}"
                ) from error

    def _add(self, stream: Stream, suffix: str) -> None:
        try:
            target = _same_stream(self._output, stream)
        except (ValueError, av.FFmpegError):
            self._warn(
                f"the subtitles of {self._name} ({_codec_name(stream)}) cannot be stored in {suffix} and are left out"
            )
            return
        target.metadata.update({k: v for k, v in stream.metadata.items() if k.lower() in ("language", "title")})
        target.disposition = stream.disposition
        self._targets[stream.index] = target

    def _demux(self) -> Iterator[av.Packet]:
        wanted = [self._input.streams[index] for index in self._targets]
        hidden: dict[int, list[av.Packet]] = {index: [] for index in self._targets}
        latest: dict[int, Fraction] = {}
        try:
            for packet in self._of_part(self._clock.corrected(self._input.demux(wanted))):
                if packet.dts is None and packet.pts is None:
                    continue
                index, time = packet.stream_index, _time(packet)
                if not packet.is_discard:
                    yield from (p for p in hidden[index] if time - _time(p) <= _PREROLL)
                    hidden[index] = []
                    latest[index] = time
                    yield packet
                elif index in latest:
                    if time - latest[index] <= _PREROLL:
                        yield packet
                else:
                    hidden[index].append(packet)
        except (av.InvalidDataError, av.error.OSError) as error:
            self._warn(f"the sound of {self._name} cannot be read to its end ({error}); it is copied up to the fault")

    def _of_part(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        """Leave the packets out that are not wanted, and let the times of the others begin with the pictures."""
        if self._span is None:
            yield from packets
            return
        for packet in packets:
            if not packet.size or (packet.dts is None and packet.pts is None):
                continue
            due = _time(packet)
            if due < self._span.first or (self._behind is not None and due >= self._behind):
                continue
            ticks = round(self._span.first / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - ticks
            packet.dts = None if packet.dts is None else packet.dts - ticks
            yield packet

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copy every packet that is due before a time, or all that are left."""
        self._extras.write(self._output)
        while not self._done:
            packet = self._held or next(self._packets, None)
            if packet is None:
                self._done = True
                self._tell_overlap()
                return
            if seconds is not None and _time(packet) > seconds:
                self._held = packet
                return
            self._held = None
            if packet.stream.type == "audio" and not self._rises(packet):
                continue
            kind, due, source = packet.stream.type, _time(packet), _codec_name(packet.stream)
            packet.stream = self._targets[packet.stream_index]
            try:
                self._output.mux(packet)
            except av.FFmpegError as error:
                if error.errno == errno.ENOSPC:
                    raise
                what = "subtitles" if kind == "subtitle" else "sound"
                raise FilmFileError(
                    f"the {what} of {self._name} ({source}) cannot be stored at {float(due):.2f} s: "
                    f"{error.strerror or error}"
                ) from error

    def _rises(self, packet: av.Packet) -> bool:
        """Whether a sound packet comes after all before it; no container takes one that does not."""
        index, due = packet.stream_index, _time(packet)
        if index in self._written and due <= self._written[index]:
            self._overlap += (packet.duration or 0) * packet.time_base
            return False
        self._written[index] = due
        return True

    def _tell_overlap(self) -> None:
        if self._overlap:
            self._warn(
                f"{float(self._overlap):.2f} s of the sound of {self._name} lie over other sound, where parts were "
                "joined or times are false, and are left out"
            )
            self._overlap = Fraction(0)

    def close(self) -> None:
        """Release the source."""
        self._input.close()

    def _warn(self, message: str) -> None:
        self.warnings.append(message)
        _logger.warning("%s", message)


def _time(packet: av.Packet) -> Fraction:
    """When a packet is due, in seconds."""
    return (packet.dts if packet.dts is not None else packet.pts) * packet.time_base


def _codec_name(stream: Stream) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context is not None else "an unknown codec"


def _same_stream(output: OutputContainer, stream: Stream) -> Stream:
    """Add a stream like another one to a container being written."""
    target = output.add_stream_from_template(stream)
    if stream.type == "audio" and stream.codec_context.layout.name.endswith("channels"):
        # Sound in AVI does not say which loudspeaker is which; MP4 insists on it.
        name = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}.get(stream.codec_context.layout.nb_channels)
        if name is not None:
            target.codec_context.layout = name
    return target


def _containers_for(streams: list[Stream], suffix: str) -> str:
    """Say which container takes sound that ``suffix`` does not."""
    fitting = []
    for other, muxer in CONTAINERS.items():
        if other != suffix:
            with av.open(os.devnull, mode="w", format=muxer) as container:
                if all(_codec_name(stream) in container.supported_codecs for stream in streams):
                    fitting.append(other)
    return f"write a {' or '.join(fitting)} file" if fitting else "convert the sound before"
