"""Opening film files: clear errors before work starts, and what a container says about its video."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from ...errors import FilmFileError

FilmSource = str | os.PathLike[str] | io.BytesIO

# Demuxers that turn any text or single picture into a "video".
_NOT_FILM = ("tty", "image2", "_pipe", "ffmetadata", "srt", "webvtt", "ass")

# Frames per second beyond which a container's mean rate is its time base by mistake (raw DV).
_MAX_RATE = 1000


def source_name(source: FilmSource) -> str:
    """Return a name for messages."""
    return "<memory>" if isinstance(source, io.BytesIO) else os.fspath(source)


def file_url(path: str | os.PathLike[str]) -> str:
    """Return a path as FFmpeg takes it literally, so that a colon in a name is no protocol."""
    return f"file:{os.fspath(path)}"


def open_input(source: FilmSource) -> InputContainer:
    """Open a film file for reading.

    Raises:
        FilmFileError: The file is missing, unreadable, empty, cut short before its index, or no film.
    """
    name = source_name(source)
    if isinstance(source, io.BytesIO):
        # getvalue() shares the bytes; every container gets its own read position.
        content = source.getvalue()
        head = content[:4096]
        target: str | io.BytesIO = io.BytesIO(content)
    else:
        head = _read_head(Path(source))
        target = file_url(source)
    if not head:
        raise FilmFileError(f"{name} is empty (0 bytes); copy or export it again")
    try:
        container = av.open(target, mode="r", metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise FilmFileError(_why_unreadable(name, head, error)) from error
    kind = container.format.name
    if any(kind == word or (word.startswith("_") and kind.endswith(word)) for word in _NOT_FILM):
        container.close()
        raise FilmFileError(
            f"{name} is not a film file (it reads as {kind!r}); give a video file, or the folder of an image sequence"
        )
    return container


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except FileNotFoundError as error:
        raise FilmFileError(f"{path} does not exist; check the path") from error
    except PermissionError as error:
        raise FilmFileError(f"{path} may not be read; check its permissions") from error
    except OSError as error:
        raise FilmFileError(f"{path} cannot be read: {error.strerror or error}") from error


def _why_unreadable(name: str, head: bytes, error: Exception) -> str:
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return (
            f"{name} has no usable index (moov): the recording or copy was cut short. Copy it again, or rebuild its "
            "index with a repair tool and an intact file from the same camera"
        )
    return (
        f"{name} is not a film file that can be read ({error}); give a video file, or the folder of an image sequence"
    )


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the film's video stream: the one with the largest pictures, the first of equals.

    A cover picture does not count; a small first stream is a proxy.

    Raises:
        FilmFileError: There is none, or no decoder for it.
    """
    streams = moving_streams(container)
    readable = [stream for stream in streams if stream.codec_context is not None]
    if readable:
        return max(readable, key=lambda stream: stream.codec_context.width * stream.codec_context.height)
    if streams:
        raise FilmFileError(f"the video of {name} is in a codec this FFmpeg build cannot decode")
    what = "only sound" if container.streams.audio else "no video"
    raise FilmFileError(f"{name} holds {what}; give a file with a video stream")


def moving_streams(container: InputContainer) -> list[VideoStream]:
    """Return the video streams that are no cover picture."""
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def frame_rate_of(stream: VideoStream) -> Fraction | None:
    """Return the exact frame rate, or None when the container tells nothing.

    The mean rate can be off by the rounding of the last frame's duration; where the lowest common rate of the
    timestamps differs from it by less than 0.05 %, that is the nominal rate. (30 and 30000/1001 differ by 0.1 %.)
    """
    mean, base = stream.average_rate, stream.base_rate
    if not mean or mean > _MAX_RATE:
        return stream.guessed_rate or base or None
    if base and abs(mean - base) < base / 2000 and base.denominator <= mean.denominator:
        return base
    return mean


def declared_frame_count(container: InputContainer, stream: VideoStream, rate: Fraction | None) -> int | None:
    """Return the number of frames the container promises, or an estimate from the duration, or None."""
    if stream.frames > 0 and "avi" not in container.format.name.split(","):
        return stream.frames
    for key, value in stream.metadata.items():
        if key.upper().startswith("NUMBER_OF_FRAMES") and value.isdigit():
            return int(value)
    seconds = declared_duration(container, stream)
    if seconds is None or rate is None:
        return stream.frames or None
    return round(seconds * rate)


def declared_duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Return the length of the video in seconds as the container promises it, or None."""
    if stream.duration:
        return stream.duration * stream.time_base
    for key, value in stream.metadata.items():
        if key.upper().startswith("DURATION"):
            clock = value.split(":")
            try:
                end = Fraction(clock[0]) * 3600 + Fraction(clock[1]) * 60 + Fraction(clock[2])
            except (ValueError, IndexError):
                break
            # Matroska's tag tells the end of the track, not its length.
            return end - (stream.start_time or 0) * stream.time_base
    if container.duration:
        return Fraction(container.duration, av.time_base)
    return None


def video_packets(container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
    """Yield the packets of a stream; an unreadable stretch is skipped.

    Empty packets are not yielded: they would flush the decoder. (AVI uses them to show the frame before for longer.)
    A packet that FFmpeg marked as corrupt (``packet.is_corrupt``) is yielded.
    """
    barren = 0
    while barren < 16:
        try:
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                barren = 0
                yield packet
        except (av.InvalidDataError, av.error.OSError):
            barren += 1
            continue
        return


def same_file(first: FilmSource, second: str | os.PathLike[str]) -> bool:
    """Whether two sources are the same file on disk."""
    if isinstance(first, io.BytesIO):
        return False
    try:
        return Path(first).samefile(second)
    except OSError:
        return False
