"""What lies in a film file beside pictures, sound and subtitles: attached files, a cover, a timecode, other data."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from ..reading.container import FilmSource, open_input

# Codec of a cover picture → its kind and the ending of its name.
_COVERS = {"mjpeg": ("image/jpeg", "jpg"), "png": ("image/png", "png")}
# Containers whose data streams are a film's own; recordings carry the broadcaster's, which nobody misses.
_WITH_DATA = frozenset({"mov", "matroska", "mxf"})
_MOST_NAMED = 4


def start_timecode(container: InputContainer, film: VideoStream) -> str | None:
    """Return the timecode of a film's first frame, such as ``01:00:00:00``, or None."""
    for notes in (film.metadata, container.metadata, *(s.metadata for s in container.streams if s.type == "data")):
        for key, value in notes.items():
            if key.lower() == "timecode" and value:
                return value
    return None


class Extras:
    """Carries attached files and the cover of a film over to a container being written, or says that it cannot.

    Args:
        film: The film, opened.
        source: The same, to be opened again.
        output: The container being written, before its first packet.
        suffix: Of the file being written.
        name: Of the film, for messages.
    """

    def __init__(
        self, film: InputContainer, source: FilmSource, output: OutputContainer, suffix: str, name: str
    ) -> None:
        self.warnings: list[str] = []
        self._waiting: list[tuple[Stream, av.Packet]] = []
        covers = [s for s in film.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        files = [s for s in film.streams if s.type == "attachment"]
        if suffix == ".mkv":
            for number, file in enumerate(files, start=1):
                output.add_attachment(
                    file.name or f"attachment {number}", file.mimetype or "application/octet-stream", file.data
                )
        elif files:
            names = [file.name or "without a name" for file in files]
            self._left_out(f"attached files ({_listed(names)})", name, suffix)
        lost = [stream.index for stream in covers if not self._carry_cover(stream, source, output, suffix)]
        if lost:
            self._left_out("cover picture", name, suffix)
        data = _unknown_data(film)
        if data:
            self.warnings.append(
                f"{len(data)} data stream{'s' if len(data) > 1 else ''} of {name} ({_listed(data)}) cannot be read and "
                "are left out"
            )

    def _left_out(self, what: str, name: str, suffix: str) -> None:
        self.warnings.append(
            f"the {what} of {name} cannot be stored in {suffix} and will be missing; write a .mkv file to keep it"
        )

    def _carry_cover(self, stream: VideoStream, source: FilmSource, output: OutputContainer, suffix: str) -> bool:
        kind = None if stream.codec_context is None else _COVERS.get(stream.codec_context.name)
        packet = _first_packet(source, stream.index)
        if kind is None or packet is None or suffix == ".mov":
            return False
        if suffix == ".mkv":
            output.add_attachment(stream.metadata.get("filename", f"cover.{kind[1]}"), kind[0], bytes(packet))
            return True
        try:
            target = output.add_stream_from_template(stream)
        except (ValueError, av.FFmpegError):
            return False
        target.disposition = av.stream.Disposition.attached_pic
        self._waiting.append((target, packet))
        return True

    def write(self, output: OutputContainer) -> None:
        """Write what goes into the container as packets, once it has been started."""
        for target, packet in self._waiting:
            packet.stream = target
            packet.pts = packet.dts = 0
            output.mux(packet)
        self._waiting.clear()


def _first_packet(source: FilmSource, index: int) -> av.Packet | None:
    with open_input(source) as container:
        for packet in container.demux(container.streams[index]):
            if packet.size:
                return packet
    return None


def _unknown_data(film: InputContainer) -> list[str]:
    if not _WITH_DATA & set(film.format.name.split(",")):
        return []
    streams: Iterator[Stream] = (s for s in film.streams if s.type == "data")
    unknown = [s for s in streams if not any(key.lower() == "timecode" for key in s.metadata)]
    # The text of chapters is a data stream of its own; the chapters are carried over.
    unknown = unknown[1:] if film.chapters() else unknown
    return [s.metadata.get("handler_name") or f"number {s.index}" for s in unknown]


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
