"""Carrying sound and subtitles over: packets are copied, never decoded."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from fractions import Fraction

import av
from av.container import OutputContainer
from av.stream import Stream

from ..errors import FilmFileError
from .container import FilmSource, open_input, source_name
from .encoding import CONTAINERS

_logger = logging.getLogger(__name__)


# Notes about the source as a file, not about the film.
_OF_THE_FILE = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}


class PacketCopier:
    """Copies the sound and subtitle packets of a film into another, in step with its pictures.

    The film's title, other notes and chapters go with them.

    Every sound stream is copied bit-exactly, in codec, channels and timing. Subtitles are copied where the output
    container holds their codec; ``warnings`` names those it does not.

    Args:
        source: The film whose sound is wanted.
        output: The container being written; its streams are added before the first packet.

    Raises:
        FilmFileError: The source cannot be opened, or the output container cannot hold a sound codec.
    """

    def __init__(self, source: FilmSource, output: OutputContainer, suffix: str) -> None:
        self.warnings: list[str] = []
        self._name = source_name(source)
        self._output = output
        self._input = open_input(source)
        self._targets: dict[int, Stream] = {}
        try:
            names = {k: v for k, v in self._input.metadata.items() if k.lower() not in _OF_THE_FILE}
            output.metadata.update(names)
            output.set_chapters(self._input.chapters())
            for stream in self._input.streams:
                if stream.type in ("audio", "subtitle"):
                    self._add(stream, suffix)
        except BaseException:
            self._input.close()
            raise
        self._packets = self._demux()
        self._held: av.Packet | None = None
        self._done = not self._targets

    def _add(self, stream: Stream, suffix: str) -> None:
        codec = stream.codec_context.name if stream.codec_context is not None else "unknown"
        try:
            target = self._output.add_stream_from_template(stream)
        except (ValueError, av.FFmpegError) as error:
            if stream.type == "subtitle":
                self._warn(f"the subtitles of {self._name} ({codec}) cannot be stored in {suffix} and are left out")
                return
            raise FilmFileError(
                f"{suffix} cannot hold the sound of {self._name} ({codec}); {_containers_for(stream, suffix)}"
            ) from error
        target.metadata.update({k: v for k, v in stream.metadata.items() if k.lower() in ("language", "title")})
        target.disposition = stream.disposition
        self._targets[stream.index] = target

    def _demux(self) -> Iterator[av.Packet]:
        wanted = [self._input.streams[index] for index in self._targets]
        try:
            for packet in self._input.demux(wanted):
                if packet.dts is not None or packet.pts is not None:
                    yield packet
        except (av.InvalidDataError, av.error.OSError) as error:
            self._warn(f"the sound of {self._name} cannot be read to its end ({error}); it is copied up to the fault")

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copy every packet that is due before a time, or all that are left."""
        while not self._done:
            packet = self._held or next(self._packets, None)
            if packet is None:
                self._done = True
                return
            stamp = packet.dts if packet.dts is not None else packet.pts
            if seconds is not None and stamp * packet.time_base > seconds:
                self._held = packet
                return
            self._held = None
            packet.stream = self._targets[packet.stream_index]
            self._output.mux(packet)

    def close(self) -> None:
        """Release the source."""
        self._input.close()

    def _warn(self, message: str) -> None:
        self.warnings.append(message)
        _logger.warning("%s", message)


def _containers_for(stream: Stream, suffix: str) -> str:
    """Say which container takes a sound stream that ``suffix`` does not."""
    codec = stream.codec_context.codec.canonical_name if stream.codec_context is not None else ""
    fitting = []
    for other, muxer in CONTAINERS.items():
        if other != suffix:
            with av.open(os.devnull, mode="w", format=muxer) as container:
                if codec in container.supported_codecs:
                    fitting.append(other)
    return f"write a {' or '.join(fitting)} file" if fitting else "convert the sound before"
