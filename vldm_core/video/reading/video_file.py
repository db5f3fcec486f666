"""A film file through FFmpeg, frame by frame, with every timestamp and with faults named."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import heapq
import itertools
import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

import av
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.stream import VideoStream

from ...errors import FilmFileError, SettingsError
from ..colour import ColourConverter, layout_of
from ..info import FieldOrder, FilmFrame, FilmInfo
from ..stream import FilmReader, number_ranges
from ..writing.extras import start_timecode
from ..writing.ffv1_checksum import ChecksumWatch
from .clock import Clock, read_clock
from .container import (
    FilmSource,
    declared_duration,
    declared_frame_count,
    frame_rate_of,
    moving_streams,
    open_input,
    source_name,
    video_packets,
    video_stream,
)
from .deinterlace import DecodedFrame, FieldRecord, Fields, cropped, deinterlace, judged
from .edited import FilmPart
from .interlace import detect_field_order

_logger = logging.getLogger(__name__)

Deinterlace = Literal["auto", "off", "tff", "bff"]

# Packets after a fault during which a missing frame counts as lost to it; longer than any codec's reordering.
_FAULT_REACH = 64
# Packets looked at to tell a constant rate in coarse timestamps from a variable one.
_RATE_PROBE = 96
_DEFAULT_RATE = Fraction(25)
# No interlaced video has more lines (1080, stored as 1088); larger scans are not searched for fields.
_MOST_INTERLACED_LINES = 1088


class VideoFileReader(FilmReader):
    """Reads a film file through FFmpeg. See ``open_film``."""

    def __init__(self, source: FilmSource, *, deinterlace: Deinterlace = "auto", part: FilmPart | None = None) -> None:
        super().__init__(source_name(source))
        self._source = source
        self._part = part
        self._wanted = deinterlace
        self._count_is_exact = False
        self._clock = read_clock(source)
        if self._clock.cuts:
            self._warn_at_opening(
                f"the clock of {self.name} begins again at frame{'s' if len(self._clock.cuts) > 1 else ''} "
                f"{number_ranges(self._clock.cuts)}: it was joined from {len(self._clock.cuts) + 1} parts; they are "
                "played one after the other, pictures and sound alike"
            )
        self.info = self._probe(deinterlace)
        # The frames as the decoder gives them, before a part of the picture is taken.
        self._whole = self.info.width, self.info.height
        if part is not None and part.crop is not None:
            self.info = self._cropped_info(part.crop)
        self._converter = ColourConverter(
            self.info.width, self.info.height, self.info.colour_matrix, self.info.colour_range
        )

    def _probe(self, wanted: Deinterlace) -> FilmInfo:
        with open_input(self._source) as container:
            stream = video_stream(container, self.name)
            self._tell_other_pictures(container, stream)
            if stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1":
                self._warn_at_opening(
                    f"the transparency of {self.name} is in a form that cannot be read and is left out; convert the "
                    "film to ProRes 4444 or a sequence of PNG files to keep it"
                )
            decoder = _Decoder(self, container, stream, self._clock)
            first = next(decoder.frames(), None)
            if first is None:
                raise FilmFileError(
                    f"no frame of {self.name} can be decoded (codec {stream.codec_context.name}); the file is damaged "
                    "or cut short: copy it again"
                )
            frame = first.frame
            layout = layout_of(frame.format.name)
            rate = frame_rate_of(stream)
            if rate is None:
                rate = _DEFAULT_RATE
                self._warn_at_opening(f"{self.name} tells no frame rate; {rate} frames per second are assumed")
            declared = declared_duration(container, stream)
            self._count_is_exact = stream.frames > 0 and container.format.name.startswith("mov")
            matrix = frame.side_data.get(SideDataType.DISPLAYMATRIX)
            context = stream.codec_context
            order, deinterlaced = self._field_order(wanted)
            return FilmInfo(
                path=self.name,
                width=frame.width,
                height=frame.height,
                frame_rate=rate,
                time_base=stream.time_base,
                frame_count=self._clock.packets or declared_frame_count(container, stream, rate),
                bit_depth=layout.bits,
                pix_fmt=frame.format.name,
                codec=context.codec.name,
                colour_range=int(frame.color_range) or (2 if layout.full_range else 0),
                colour_matrix=int(frame.colorspace),
                colour_primaries=int(frame.color_primaries),
                colour_transfer=int(frame.color_trc),
                rotation=frame.rotation,
                display_matrix=None if matrix is None else tuple(memoryview(bytes(matrix)).cast("i")),
                sample_aspect_ratio=stream.sample_aspect_ratio or None,
                has_audio=bool(container.streams.audio),
                field_order=order,
                deinterlaced=deinterlaced,
                duration=self._duration(declared, rate),
                constant_rate=_has_constant_rate(self._source, stream.time_base, rate, self._clock),
                timecode=start_timecode(container, stream),
            )

    def _cropped_info(self, crop: tuple[int, int, int, int]) -> FilmInfo:
        left, top, width, height = crop
        inside = 0 <= left < left + width <= self._whole[0] and 0 <= top < top + height <= self._whole[1]
        if not inside:
            raise SettingsError(
                f"the part of {width}x{height} at {left}, {top} is not inside the pictures of {self.name}, which are "
                f"{self._whole[0]}x{self._whole[1]}"
            )
        return dataclasses.replace(self.info, width=width, height=height)

    def _duration(self, declared: Fraction | None, rate: Fraction) -> float | None:
        if self._clock.cuts and self._clock.packets:
            # What the container says is the length of one part.
            return float(self._clock.packets / rate)
        return None if declared is None else float(declared)

    def _tell_other_pictures(self, container: InputContainer, film: VideoStream) -> None:
        others = [s for s in moving_streams(container) if s.index != film.index]
        if others:
            sizes = ", ".join(
                "unreadable" if s.codec_context is None else f"{s.codec_context.width}x{s.codec_context.height}"
                for s in others
            )
            self._warn_at_opening(
                f"{self.name} holds {len(others) + 1} video streams; the largest, {film.codec_context.width}x"
                f"{film.codec_context.height}, is taken for the film and the others ({sizes}) are left out"
            )

    def _field_order(self, wanted: Deinterlace) -> tuple[FieldOrder, bool]:
        if wanted == "off":
            return FieldOrder.PROGRESSIVE, False
        order = detect_field_order(self._source) if wanted == "auto" else FieldOrder(wanted)
        return order, order is not FieldOrder.PROGRESSIVE

    def _frames(self) -> Iterator[FilmFrame]:
        with contextlib.ExitStack() as stack:
            container = stack.enter_context(open_input(self._source))
            stream = video_stream(container, self.name)
            decoder = _Decoder(self, container, stream, self._clock)
            if self.info.constant_rate:
                decoder.period = 1 / (self.info.frame_rate * self.info.time_base)
            decoded = self._checked_size(self._inside(decoder, container, stream))
            record = FieldRecord()
            if self._wanted == "auto" and self.info.height <= _MOST_INTERLACED_LINES:
                decoded = deinterlace(record.noted(judged(decoded, self.info.field_order)))
            elif self.info.deinterlaced:
                decoded = deinterlace((item, Fields(self.info.field_order)) for item in decoded)
            if self._part is not None and self._part.crop is not None:
                decoded = cropped(decoded, self._part.crop)
            for index, item in enumerate(decoded):
                yield FilmFrame(
                    index=index,
                    pts=item.pts,
                    duration=item.duration,
                    image=functools.partial(self._converter.rgb, item.frame),
                    source=item.frame,
                    substitute=item.substitute,
                )
            for message in record.messages(self.name):
                self._warn(message)
            if self._part is None or not self._part.is_cut_in_time:
                self._report_shortfall(decoder, container, stream)

    def _inside(self, decoder: _Decoder, container: InputContainer, stream: VideoStream) -> Iterator[DecodedFrame]:
        """Yield the frames of the part that is read."""
        if self._part is None or not self._part.is_cut_in_time:
            yield from decoder.frames()
            return
        first, behind = self._part.ticks(stream.time_base)
        if first is not None and self._clock.is_plain:
            with contextlib.suppress(av.FFmpegError):
                container.seek(first, stream=stream)
        begun = False
        for item in decoder.frames():
            if item.pts is not None and first is not None and item.pts < first:
                continue
            if item.pts is not None and behind is not None and item.pts >= behind:
                return
            if not begun:
                # What came before is no frame of this film, and its faults are none.
                begun = True
                decoder.delivered = 1
                del self.undecodable[:], self.damaged[:], decoder.jumps[:]
            yield item

    def _checked_size(self, frames: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
        for number, item in enumerate(frames):
            if (item.frame.width, item.frame.height) != self._whole:
                raise FilmFileError(
                    f"frame {number} of {self.name} is {item.frame.width}x{item.frame.height}, the film began as "
                    f"{self._whole[0]}x{self._whole[1]}; split the file there or convert it to one size"
                )
            yield item

    def _report_shortfall(self, decoder: _Decoder, container: InputContainer, stream: VideoStream) -> None:
        """Warn when the file holds fewer frames than its container promises."""
        if self._count_is_exact:
            if decoder.packets < stream.frames:
                self._warn(
                    f"{self.name} is cut short: {stream.frames} frames are promised, {decoder.delivered} are there "
                    f"(frames {number_ranges(range(decoder.delivered, stream.frames))} are missing)"
                )
            return
        if decoder.jumps and decoder.delivered < (self.info.frame_count or 0):
            places = ", ".join(f"{count} after frame {index}" for index, count in decoder.jumps)
            self._warn(f"frames are missing from {self.name}, and are not replaced: {places}; their time stays empty")
        if self._clock.cuts:
            # The container's length is that of one part.
            return
        promised = declared_duration(container, stream)
        others = any(s.type in ("audio", "subtitle", "data") for s in container.streams)
        from_video = bool(stream.duration) or any(key.upper().startswith("DURATION") for key in stream.metadata)
        if promised is None or decoder.last_end is None or (others and not from_video):
            return
        start = (stream.start_time or 0) * stream.time_base + self._clock.shifts[0] if stream.duration else 0
        missing = start + promised - decoder.last_end * stream.time_base
        if missing > max(2 / self.info.frame_rate, decoder.widest_gap * stream.time_base):
            self._warn(
                f"{self.name} is cut short: it promises {float(promised):.2f} s of pictures and ends "
                f"{float(missing):.2f} s early, after frame {decoder.delivered - 1}"
            )


class _Decoder:
    """Decodes one video stream; knows from the packets which frames ought to come.

    A packet that is there but does not decode becomes a copy of the last good frame (of the first one, at the start
    of a film). Frames are matched by presentation time; codecs legitimately leave some packets without a frame, so
    one is only counted as lost near an error.

    Decoding uses slice threads, not frame threads: with frame threads FFmpeg reports an error later and against
    another packet, and frames around it are lost.
    """

    def __init__(self, reader: FilmReader, container: InputContainer, stream: VideoStream, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._container = container
        self._stream = stream
        self.packets = 0
        self.delivered = 0
        self.last_end: int | None = None
        self.widest_gap = 0
        self.period: Fraction | None = None
        self.jumps: list[tuple[int, int]] = []
        self._last_pts: int | None = None
        # AVI tells when a packet is decoded, not when its frame is shown; frames are shown at those times in turn.
        self._by_order = container.format.name == "avi"
        self._order: collections.deque[int | None] = collections.deque()
        self._due: list[int] = []
        self._failed: set[int] = set()
        self._fault = 0
        self._lost_at_start: list[int | None] = []
        self._last: DecodedFrame | None = None
        stream.thread_type = "SLICE"
        context = stream.codec_context
        context.flags |= av.codec.context.Flags.output_corrupt
        self._checksums = ChecksumWatch() if context.name == "ffv1" else None
        # Presentation times of frames whose coded data is known to be damaged.
        self._spoilt: set[int | None] = set()

    def frames(self) -> Iterator[DecodedFrame]:
        """Yield every frame in presentation order."""
        for packet in self._clock.corrected(video_packets(self._container, self._stream)):
            self.packets += 1
            self._fault = max(0, self._fault - 1)
            if self._by_order:
                self._order.append(packet.dts)
            expected = None if packet.is_discard or self._by_order else packet.pts
            if expected is not None:
                heapq.heappush(self._due, expected)
            if packet.is_corrupt or (self._checksums is not None and self._checksums.is_damaged(bytes(packet))):
                self._fault = _FAULT_REACH
                self._spoilt.add(packet.pts)
            try:
                frames = packet.decode()
            except (av.FFmpegError, EOFError) as error:
                _logger.debug("%s: packet at %s: %s", self._reader.name, packet.pts, error)
                self._fault = _FAULT_REACH
                if expected is not None:
                    self._failed.add(expected)
                elif not packet.is_discard:
                    yield from self._stand_in(self._order.popleft() if self._by_order else None)
                continue
            for frame in frames:
                yield from self._deliver(frame)
        try:
            rest = self._stream.decode(None)
        except (av.FFmpegError, EOFError):
            rest = []
        for frame in rest:
            yield from self._deliver(frame)
        if self._last is not None:
            yield from self._skip_to(None)

    def _deliver(self, frame: av.VideoFrame) -> Iterator[DecodedFrame]:
        pts = frame.pts
        if self._by_order:
            pts = self._order.popleft() if self._order else None
        elif pts is not None:
            yield from self._skip_to(pts)
        item = DecodedFrame(frame=frame, pts=pts, duration=frame.duration or None)
        if self._lost_at_start:
            lost, self._lost_at_start = self._lost_at_start, []
            self._last = item
            for missing in lost:
                yield from self._stand_in(missing)
        if frame.is_corrupt or pts in self._spoilt:
            self._fault = _FAULT_REACH
            self._spoilt.discard(pts)
            self._reader.damaged.append(self.delivered)
        if pts is not None:
            if self._last_pts is not None:
                self.widest_gap = max(self.widest_gap, pts - self._last_pts)
                if self.period is not None and pts - self._last_pts > 1.5 * self.period + 1:
                    self.jumps.append((self.delivered - 1, round((pts - self._last_pts) / self.period) - 1))
            self._last_pts = pts
            self.last_end = pts + (frame.duration or 0)
        self._last = item
        self.delivered += 1
        yield item

    def _skip_to(self, pts: int | None) -> Iterator[DecodedFrame]:
        """Stand in for the frames due before ``pts`` (or all that are due) that did not come."""
        while self._due and (pts is None or self._due[0] <= pts):
            due = heapq.heappop(self._due)
            failed = due in self._failed
            self._failed.discard(due)
            if (pts is None or due < pts) and (failed or self._fault):
                yield from self._stand_in(due)

    def _stand_in(self, pts: int | None) -> Iterator[DecodedFrame]:
        if self._last is None:
            self._lost_at_start.append(pts)
            return
        self._reader.undecodable.append(self.delivered)
        self.delivered += 1
        self._last_pts = pts
        yield DecodedFrame(frame=self._last.frame, pts=pts, duration=self._last.duration, substitute=True)


def _has_constant_rate(source: FilmSource, time_base: Fraction, rate: Fraction, clock: Clock) -> bool:
    """Whether the first timestamps are a constant rate, up to rounding to the time base."""
    period = 1 / (rate * time_base)
    tolerance = 0 if period.denominator == 1 else 1
    stamps: list[int] = []
    with open_input(source) as container:
        stream = video_stream(container, source_name(source))
        for packet in clock.corrected(video_packets(container, stream)):
            stamp = packet.dts if container.format.name == "avi" else packet.pts
            if stamp is None:
                return False
            if not packet.is_discard:
                stamps.append(stamp)
            if len(stamps) == _RATE_PROBE:
                break
    stamps.sort()
    # The packets read last may have later neighbours that come earlier; judge only the first part.
    judged = stamps if len(stamps) < _RATE_PROBE else stamps[: _RATE_PROBE // 2]
    steps = [round((stamp - judged[0]) / period) for stamp in judged]
    on_grid = all(abs(s - judged[0] - n * period) <= tolerance for s, n in zip(judged, steps, strict=True))
    # A damaged film may lack a frame here and there and still have a constant rate.
    regular = sum(b - a == 1 for a, b in itertools.pairwise(steps))
    return len(judged) > 2 and on_grid and regular >= 0.8 * (len(steps) - 1)
