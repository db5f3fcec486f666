"""Finding out whether a film is interlaced, from a sample of its frames.

The decision looks at the pictures (FFmpeg's ``idet``) in a bounded number of frames spread over the file, because
the flags of captured tapes are often wrong in both directions: progressive film stored in interlaced frames, and
interlaced material that nothing marks. Flags decide only where the pictures do not move. What is decided here holds
where a stretch of the film does not tell by itself; see ``deinterlace.py``.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Iterator

import av
from av.video.stream import VideoStream

from ..info import FieldOrder
from .container import FilmSource, open_input, source_name, video_packets, video_stream
from .deinterlace import LEAST_COMBED, LEAST_SHARE, MOST_OTHER, FieldJudge

_logger = logging.getLogger(__name__)

_PLACES = 4
_FRAMES_PER_PLACE = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldEvidence:
    """What the sampled frames of a file showed.

    Attributes:
        top_first: Frames that look combed, top field first.
        bottom_first: Frames that look combed, bottom field first.
        progressive: Frames that look progressive.
        undetermined: Frames that do not move.
        flagged: Frames the decoder marked as interlaced.
        flagged_order: The field order the container or codec declares.
    """

    top_first: int = 0
    bottom_first: int = 0
    progressive: int = 0
    undetermined: int = 0
    flagged: int = 0
    flagged_order: FieldOrder = FieldOrder.PROGRESSIVE

    def decide(self) -> FieldOrder:
        """Return the field order of most of the file."""
        combed = max(self.top_first, self.bottom_first)
        other = min(self.top_first, self.bottom_first)
        judged = self.top_first + self.bottom_first + self.progressive
        if combed >= LEAST_COMBED and combed >= LEAST_SHARE * judged and other <= MOST_OTHER * combed:
            return FieldOrder.TOP_FIRST if self.top_first > self.bottom_first else FieldOrder.BOTTOM_FIRST
        sampled = judged + self.undetermined
        if judged < 0.1 * sampled and self.flagged > sampled / 2:
            return self.flagged_order
        return FieldOrder.PROGRESSIVE


def detect_field_order(source: FilmSource) -> FieldOrder:
    """Decide the field order of most of a film file from at most 64 frames spread over it.

    Raises:
        FilmFileError: The file cannot be opened or holds no video.
    """
    evidence = sample_fields(source)
    order = evidence.decide()
    _logger.info("%s: field order %s (%s)", source_name(source), order.value, evidence)
    return order


def sample_fields(source: FilmSource) -> FieldEvidence:
    """Collect the evidence ``detect_field_order`` decides on."""
    counts: collections.Counter[str] = collections.Counter()
    with open_input(source) as container:
        stream = video_stream(container, source_name(source))
        stream.thread_type = "SLICE"
        declared = _declared_order(stream)
        length = stream.duration or int((container.duration or 0) / av.time_base / stream.time_base)
        short = bool(stream.frames) and stream.frames <= _PLACES * _FRAMES_PER_PLACE
        places = 1 if short or not length else _PLACES
        for place in range(places):
            # The middle of each part: films begin with a leader that does not move.
            start = 0 if places == 1 else (stream.start_time or 0) + length * (2 * place + 1) // (2 * places)
            if start:
                try:
                    container.seek(start, stream=stream)
                except av.FFmpegError:
                    break
            frames = list(_some_frames(container, stream, _FRAMES_PER_PLACE * (_PLACES if short else 1)))
            counts["flagged"] += sum(frame.interlaced_frame for frame in frames)
            counts.update(_judge(frames))
    return FieldEvidence(
        top_first=counts["tff"],
        bottom_first=counts["bff"],
        progressive=counts["progressive"],
        undetermined=counts["undetermined"],
        flagged=counts["flagged"],
        flagged_order=declared,
    )


def _declared_order(stream: VideoStream) -> FieldOrder:
    # AVFieldOrder: 2 TT, 3 BB, 4 TB (coded top first, shown bottom first), 5 BT.
    context = stream.codec_context
    if context.name == "dvvideo" and context.height in (480, 576):
        # Standard-definition DV is always bottom field first, and its decoder does not say so.
        return FieldOrder.BOTTOM_FIRST
    return FieldOrder.BOTTOM_FIRST if context.field_order in (3, 4) else FieldOrder.TOP_FIRST


def _some_frames(container: av.container.InputContainer, stream: VideoStream, limit: int) -> Iterator[av.VideoFrame]:
    found = 0
    for packet in video_packets(container, stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        for frame in frames:
            yield frame
            found += 1
            if found == limit:
                return
    try:
        yield from stream.decode(None)
    except (av.FFmpegError, EOFError):
        return


def _judge(frames: list[av.VideoFrame]) -> Iterator[str]:
    """Yield idet's verdict ("tff", "bff", "progressive", "undetermined") on each frame that has neighbours."""
    if len(frames) < 3:
        return
    width, height = frames[0].width, frames[0].height
    alike = [frame for frame in frames if (frame.width, frame.height) == (width, height)]
    judge = FieldJudge(width, height)
    verdicts = [verdict for frame in (*alike, None) for verdict in judge.push(frame)]
    # The first and last frame have a neighbour on one side only.
    for verdict in verdicts[1:-1]:
        yield verdict.fields
