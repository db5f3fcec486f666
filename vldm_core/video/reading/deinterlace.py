"""Deinterlacing a film stretch by stretch, with the frame count and all times kept.

What lies before a cut of the tape need not lie behind it: every frame is treated as its neighbourhood shows.
Progressive stretches stay untouched, interlaced ones go through FFmpeg's bwdif in their own field order, and 2:3
telecine, which spreads four film frames over five, has its fields put together again (``telecine.py``).
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import av
from av.filter import Graph
from av.video.reformatter import VideoReformatter

from ..info import FieldOrder
from .telecine import FieldMatcher, has_cadence

# A stretch is interlaced when this share of the frames idet can judge shows combing of one field order, and at least so
# many of them …
LEAST_SHARE = 0.3
LEAST_COMBED = 6
# … and the other order is this much rarer: noise and dirt make idet see both.
MOST_OTHER = 0.25
# Frames looked at on each side of one. Fewer cannot hold LEAST_COMBED frames of a tape that moves now and then; more
# hold more pictures in memory.
_REACH = 12


# Stretches that a message names one by one.
_MOST_NAMED = 8
_ORDER_WORDS = {FieldOrder.TOP_FIRST: "top field first", FieldOrder.BOTTOM_FIRST: "bottom field first"}


class Fields(NamedTuple):
    """How a frame came to its lines."""

    order: FieldOrder
    telecined: bool = False


class FieldVerdict(NamedTuple):
    """What idet says of one frame: "tff", "bff", "progressive" or "undetermined"; and "top", "bottom" or "neither"."""

    fields: str
    repeated: str


@dataclasses.dataclass(slots=True)
class DecodedFrame:
    """A frame on its way from the decoder, with its own timestamps.

    Attributes:
        frame: The picture.
        pts: Presentation time in the stream's time base.
        duration: Display time in the stream's time base.
        substitute: Whether the picture is a neighbour's.
    """

    frame: av.VideoFrame
    pts: int | None
    duration: int | None
    substitute: bool = False


class _Filter:
    """One of FFmpeg's filters over a stream of frames; it hands a frame out when the next one is in."""

    def __init__(self, width: int, height: int, kind: av.VideoFormat, name: str, settings: str = "") -> None:
        graph = Graph()
        self._entry = graph.add_buffer(width=width, height=height, format=kind, time_base=Fraction(1, 1000))
        self._leave = graph.add("buffersink")
        graph.link_nodes(self._entry, graph.add(name, settings), self._leave).configure()
        self._graph = graph
        self._count = 0

    def push(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Put a frame in (None at the end) and yield those that are ready."""
        if frame is not None:
            # The filter needs rising timestamps; the film's own wait outside.
            frame.pts = self._count
            frame.time_base = Fraction(1, 1000)
            self._count += 1
        self._entry.push(frame)
        while True:
            try:
                yield self._leave.pull()
            except (av.BlockingIOError, av.EOFError):
                return


class FieldJudge:
    """FFmpeg's idet over a stream of frames of one size."""

    def __init__(self, width: int, height: int) -> None:
        self._idet = _Filter(width, height, av.VideoFormat("gray"), "idet")
        # A frame that converts itself keeps its scaler, tens of kilobytes, for as long as it is held.
        self._scaler = VideoReformatter()

    def push(self, frame: av.VideoFrame | None) -> Iterator[FieldVerdict]:
        """Look at a frame (None at the end) and yield the verdicts that are ready: one per frame, in order."""
        grey = None if frame is None else self._scaler.reformat(frame, format="gray", threads=1)
        if grey is frame and frame is not None:
            # A gray film's own frame keeps its time.
            grey = av.VideoFrame.from_ndarray(frame.to_ndarray(), format="gray")
        for out in self._idet.push(grey):
            found = out.metadata
            yield FieldVerdict(
                fields=found.get("lavfi.idet.single.current_frame", "undetermined"),
                repeated=found.get("lavfi.idet.repeated.current_frame", "neither"),
            )


def judged(frames: Iterable[DecodedFrame], otherwise: FieldOrder) -> Iterator[tuple[DecodedFrame, Fields]]:
    """Decide for every frame of a film from its neighbourhood.

    Args:
        frames: Frames of one size and pixel format.
        otherwise: What holds where a stretch does not tell.
    """
    judge: FieldJudge | None = None
    waiting: collections.deque[DecodedFrame] = collections.deque()
    verdicts: collections.deque[FieldVerdict] = collections.deque()
    # The number among ``verdicts`` of the frame that is decided next.
    place = 0

    def decided(reach: int) -> Iterator[tuple[DecodedFrame, Fields]]:
        nonlocal place
        while waiting and len(verdicts) - place > reach:
            yield waiting.popleft(), _decide(tuple(verdicts), place, otherwise)
            place += 1
            if place > _REACH:
                verdicts.popleft()
                place -= 1

    for item in frames:
        judge = judge or FieldJudge(item.frame.width, item.frame.height)
        waiting.append(item)
        verdicts.extend(judge.push(item.frame))
        yield from decided(_REACH)
    if judge is not None:
        verdicts.extend(judge.push(None))
        yield from decided(0)


def _decide(verdicts: Sequence[FieldVerdict], place: int, otherwise: FieldOrder) -> Fields:
    """Decide for the frame at ``place``."""
    for first, last in ((place - _REACH, place + _REACH), (place - _REACH, place), (place, place + _REACH)):
        first, last = max(first, 0), min(last, len(verdicts) - 1)
        window = verdicts[first : last + 1]
        order = _order_of(window)
        if order is FieldOrder.PROGRESSIVE:
            continue
        if has_cadence([verdict.repeated for verdict in window]):
            return Fields(order, telecined=True)
        combed = [first + n for n, verdict in enumerate(window) if verdict.fields == order.value]
        if combed[0] <= place <= combed[-1]:
            return Fields(order)
    near = verdicts[max(place - _REACH, 0) : place + _REACH + 1]
    own = verdicts[place].fields
    still = sum(verdict.fields == "progressive" for verdict in near)
    # Beyond the last frame that combs only what is seen to be progressive is taken for it.
    told = own == "progressive" or (own == "undetermined" and still >= LEAST_COMBED)
    return Fields(FieldOrder.PROGRESSIVE if told else otherwise)


def _order_of(window: Sequence[FieldVerdict]) -> FieldOrder:
    count = collections.Counter(verdict.fields for verdict in window)
    combed, other = sorted((count["tff"], count["bff"]), reverse=True)
    known = combed + other + count["progressive"]
    if combed < LEAST_COMBED or combed < LEAST_SHARE * known or other > MOST_OTHER * combed:
        return FieldOrder.PROGRESSIVE
    return FieldOrder.TOP_FIRST if count["tff"] == combed else FieldOrder.BOTTOM_FIRST


def deinterlace(frames: Iterable[tuple[DecodedFrame, Fields]]) -> Iterator[DecodedFrame]:
    """Deinterlace, one frame out per frame in, timestamps kept.

    Args:
        frames: Frames of one size and pixel format, and what to do to each.
    """
    running: _Stretch | None = None
    matcher = FieldMatcher()
    before: DecodedFrame | None = None
    for item, fields in frames:
        if running is not None and (fields.telecined or fields.order is not running.order):
            yield from running.finish(item)
            running = None
        if fields.telecined:
            picture = matcher.whole(item.frame, None if before is None else before.frame, fields.order)
            yield dataclasses.replace(item, frame=picture)
        elif fields.order is FieldOrder.PROGRESSIVE:
            yield item
        else:
            running = running or _Stretch(item, fields.order, before)
            yield from running.push(item)
        before = item
    if running is not None:
        yield from running.finish(None)


def cropped(frames: Iterable[DecodedFrame], crop: tuple[int, int, int, int]) -> Iterator[DecodedFrame]:
    """Take a part of every picture: left, top, width and height, in pixels."""
    left, top, width, height = crop
    cutter: _Filter | None = None
    for item in frames:
        picture = item.frame
        cutter = cutter or _Filter(
            picture.width, picture.height, picture.format, "crop", f"{width}:{height}:{left}:{top}:exact=1"
        )
        for part in cutter.push(picture):
            yield dataclasses.replace(item, frame=part)


class _Stretch:
    """Frames of one field order, with the frame before and the one behind them for the filter to look at."""

    def __init__(self, first: DecodedFrame, order: FieldOrder, before: DecodedFrame | None) -> None:
        self.order = order
        parity = "tff" if order is FieldOrder.TOP_FIRST else "bff"
        picture = first.frame
        self._bwdif = _Filter(
            picture.width, picture.height, picture.format, "bwdif", f"mode=send_frame:parity={parity}:deint=all"
        )
        # None stands for a frame that is only looked at.
        self._waiting: collections.deque[DecodedFrame | None] = collections.deque()
        if before is not None:
            list(self._run(before.frame, None))

    def push(self, item: DecodedFrame) -> Iterator[DecodedFrame]:
        yield from self._run(item.frame, item)

    def finish(self, after: DecodedFrame | None) -> Iterator[DecodedFrame]:
        if after is not None:
            yield from self._run(after.frame, None)
        yield from self._ready(None)

    def _run(self, frame: av.VideoFrame, item: DecodedFrame | None) -> Iterator[DecodedFrame]:
        self._waiting.append(item)
        yield from self._ready(frame)

    def _ready(self, frame: av.VideoFrame | None) -> Iterator[DecodedFrame]:
        for picture in self._bwdif.push(frame):
            item = self._waiting.popleft()
            if item is not None:
                yield dataclasses.replace(item, frame=picture)


class FieldRecord:
    """Remembers which frames were treated how, and says it where that is not one and the same for the whole film."""

    def __init__(self) -> None:
        # First and last frame of every stretch.
        self._stretches: dict[Fields, list[tuple[int, int]]] = {}

    def noted(self, frames: Iterable[tuple[DecodedFrame, Fields]]) -> Iterator[tuple[DecodedFrame, Fields]]:
        """Pass the frames of a film on and note what is done to them."""
        for number, (item, fields) in enumerate(frames):
            stretches = self._stretches.setdefault(fields, [])
            if stretches and stretches[-1][1] == number - 1:
                stretches[-1] = (stretches[-1][0], number)
            else:
                stretches.append((number, number))
            yield item, fields

    def messages(self, name: str) -> Iterator[str]:
        """Yield what there is to say of a film of this name."""
        combed = {
            fields: stretches
            for fields, stretches in self._stretches.items()
            if fields.order is not FieldOrder.PROGRESSIVE and not fields.telecined
        }
        if combed and len(self._stretches) > 1:
            places = "; ".join(f"{_spans(found)} {_ORDER_WORDS[fields.order]}" for fields, found in combed.items())
            yield (
                f"{name} is not interlaced alike from beginning to end: {places}. Each stretch was deinterlaced in its "
                "own order and the rest left as it is; if that is wrong, choose deinterlace top, bottom or off"
            )
        telecined = [stretch for fields, found in self._stretches.items() if fields.telecined for stretch in found]
        if telecined:
            yield (
                f"{_spans(telecined)} of {name} are telecined (2:3 pulldown): the fields were put together to whole "
                "film frames again. Frame count and sound stay, so one frame in five repeats the one before; for the "
                "film's own rate take the repeats out afterwards: ffmpeg -i RESULT -vf decimate -c:a copy FILE"
            )


def _spans(stretches: Iterable[tuple[int, int]]) -> str:
    ordered = sorted(stretches)
    named = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ordered[:_MOST_NAMED])
    more = len(ordered) - _MOST_NAMED
    return f"frames {named}" + (f" and {more} more stretches" if more > 0 else "")
