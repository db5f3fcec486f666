"""Which marks of dirt are no dirt, judged by the marks of the frames around: whatever has found them.

Dirt falls anywhere, stays for a frame or a few, and then there is other dirt elsewhere. So marks that follow a rule
from frame to frame are a part of the scene. Four rules are looked for, each held against what chance does among as many
marks (the a-contrario principle: A. Desolneux, L. Moisan, J.-M. Morel, "From Gestalt Theory to Image Analysis",
Springer 2008):

- *A course.* Marks alike lie on an even course through three frames: a ball, a bird, a spark.
- *A stream.* Marks all over the frame go the same way to the next frame: rain, snow. Then the other small marks of the
  frame are doubtful, too.
- *A place.* Other frames have a mark at the very place, and something else is to be seen there: a digit, a lamp.
- *A crowd.* Far more marks than elsewhere lie in one part of the picture, frame after frame: glints on water, leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, Plane
from .settings import Falling

RADIUS = 2
"""The verdict on the marks of a frame depends on this many frames on each side."""


@dataclass(frozen=True, kw_only=True)
class CourseTests:
    """What an even course is; distances in pixels of a frame 480 columns wide, and more on wider ones.

    Attributes:
        columns: Columns of a frame on which the distances hold.
        farthest: Pixels that things move between two frames at most.
        nearest: Pixels that they move at least: what hardly moves may be a defect that stays.
        exactness: Pixels that a frame may be off an even course, whatever the chances.
        area_ratio: Ratio of areas up to which two marks are alike: what tumbles changes its own.
        contrast_ratio: The same of contrasts.
        alone: Courses as good that chance would give a mark at most, for it to be left alone by itself.
        together: The same for a mark to count as one of many.
        share_of_dirt: Share of marks of dirt that have one of these by chance: dirt comes in clusters.
        deviations: Deviations above that share at which many marks move.
        most: Marks of a frame, the largest, among which courses are looked for.
    """

    columns: int = 480
    farthest: float = 80.0
    nearest: float = 3.0
    exactness: float = 1.5
    area_ratio: float = 3.0
    contrast_ratio: float = 2.0
    alone: float = 0.00003
    together: float = 0.003
    share_of_dirt: float = 0.3
    deviations: float = 3.0
    most: int = 250


@dataclass(frozen=True, kw_only=True)
class StreamTests:
    """What tells that the marks all over a frame go the same way: rain, snow, or a scene that was misjudged.

    Attributes:
        bin: Pixels, of a frame 480 columns wide, by which displacements are told apart.
        bins: Of them, from left to right and from top to bottom, around no displacement.
        nearest: Pixels of a displacement at least: dirt that stays has none.
        deviations: Deviations of the number of parts of the frame (`CrowdTests`) that chance gives a displacement,
            above which there is a stream. Parts are counted, since dirt in two clusters has many pairs.
        larger: Area, in median areas of what streams, above which a mark is judged by itself.
        most_of: Share of the marks of a frame that move, from which on the small ones among them are doubtful, too.
        most: Marks of a frame, the largest, whose displacements are looked at: with more, each part has all of them.
    """

    bin: float = 8.0
    bins: int = 18
    nearest: float = 4.0
    deviations: float = 4.5
    larger: float = 6.0
    most_of: float = 0.4
    most: int = 160


@dataclass(frozen=True, kw_only=True)
class PlaceTests:
    """What tells a place that changes.

    Attributes:
        off: Distance of their centres at most, in roots of the area.
        area_ratio: Ratio of their areas at most.
        change: Share of its contrast by which the picture differs there between both.
        longest_life: Frames that dirt may stay in place: from the first to the last frame that shows something there,
            more of them must pass.
    """

    off: float = 0.4
    area_ratio: float = 3.0
    change: float = 0.4
    longest_life: int = 3


@dataclass(frozen=True, kw_only=True)
class CrowdTests:
    """What tells a part of the picture that is full of marks, frame after frame.

    Attributes:
        rows: Parts from top to bottom.
        columns: Parts from left to right.
        deviations: Deviations of a number that chance spreads over all parts, above its mean, that a crowd exceeds.
        least: Marks of a part at least.
        frames: Share of the frames looked at in which it must.
    """

    rows: int = 6
    columns: int = 10
    deviations: float = 4.0
    least: int = 4
    frames: float = 0.8


_COURSE = CourseTests()
_STREAM = StreamTests()
_PLACE = PlaceTests()
_CROWD = CrowdTests()
# The rim beside a mark with which it is compared, pixels.
_RIM = 3


@dataclass(frozen=True, eq=False)
class MarkedFrame:
    """The marks of one frame, and its picture.

    Attributes:
        luma: (H, W) grey levels.
        labels: (H, W) int32, the number of the mark from 1, 0 = none.
        boxes: (N, 5) left, top, width, height, area.
        centre: (N, 2) x, y.
        contrast: (N,) grey levels by which a mark is brighter than what is around it.
    """

    luma: Plane
    labels: NDArray
    boxes: NDArray
    centre: Plane
    contrast: Plane

    @classmethod
    def of(cls, luma: Plane, found: BoolArray) -> "MarkedFrame":
        """Number the marks of a frame: picture (H, W) in grey levels, marks (H, W)."""
        count, labels, boxes, centre = cv2.connectedComponentsWithStats(found.view(np.uint8), connectivity=8)
        if count == 1:
            none = np.zeros(0, np.float32)
            return cls(luma, labels, boxes[1:], centre[1:], none)
        pixels = np.flatnonzero(labels)
        sums = np.bincount(labels.ravel()[pixels], weights=luma.ravel()[pixels], minlength=count)[1:]
        size = boxes[1:, 4]
        height, width = luma.shape
        left, top = np.maximum(boxes[1:, 0] - _RIM, 0), np.maximum(boxes[1:, 1] - _RIM, 0)
        right = np.minimum(boxes[1:, 0] + boxes[1:, 2] + _RIM, width)
        bottom = np.minimum(boxes[1:, 1] + boxes[1:, 3] + _RIM, height)
        # What is beside a mark is the picture without any marks.
        free = np.where(found, np.float32(0), luma)
        totals, counts = cv2.integral(free, sdepth=cv2.CV_64F), cv2.integral((~found).view(np.uint8))

        def within(table: NDArray) -> NDArray:
            return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]

        around = within(totals) / np.maximum(within(counts), 1)
        return cls(luma, labels, boxes[1:], centre[1:], np.asarray(sums / size - around))

    def all_but(self, spared: BoolArray) -> BoolArray:
        """The marks (H, W) without some of them, (N,)."""
        return np.concatenate([[False], ~spared])[self.labels]

    def __len__(self) -> int:
        return len(self.boxes)


def spared_marks(index: int, seen: Sequence[MarkedFrame | None], *, falling: Falling = "kept") -> BoolArray:
    """Tell which marks of a frame are a part of the scene.

    Args:
        index: The frame, in `seen`.
        seen: Consecutive frames, those within `RADIUS` of the frame; None for one that tells nothing: a frame that is
            another picture, or a copy.
        falling: What becomes of small marks among many that move or crowd.

    Returns:
        (N,), for each mark of the frame.
    """
    here = seen[index]
    assert here is not None, "a frame that is judged has marks"
    spared = np.zeros(len(here), bool)
    if falling == "dirt" or not len(here):
        return spared
    others = {
        step: marks
        for step in range(-RADIUS, RADIUS + 1)
        if step and 0 <= index + step < len(seen) and (marks := seen[index + step]) is not None
    }
    spared |= _on_course(here, others)
    spared |= _changing(here, others)
    streaming = _in_stream(here, others)
    spared |= streaming
    if falling == "kept":
        spared |= _crowded(here, list(others.values()))
        moving = streaming | spared
        if streaming.any() or moving.sum() > _STREAM.most_of * len(here):
            spared |= here.boxes[:, 4] <= _STREAM.larger * np.median(here.boxes[moving, 4])
    return spared


def _on_course(here: MarkedFrame, others: dict[int, MarkedFrame]) -> BoolArray:
    fewest = np.full(len(here), np.inf)
    for near_step, far_step in ((1, -1), (1, 2), (-1, -2)):
        if near_step in others and far_step in others:
            near, far = others[near_step], others[far_step]
            if max(len(here), len(near), len(far)) > _COURSE.most:
                continue
            np.minimum(fewest, _courses(here, near, far, ratio=far_step / near_step), out=fewest)
    going = fewest < _COURSE.alone
    many = fewest < _COURSE.together
    expected = _COURSE.share_of_dirt * len(here)
    spread = np.sqrt(expected * (1 - _COURSE.share_of_dirt))
    return going | many if many.sum() > expected + _COURSE.deviations * spread else going


def _in_stream(here: MarkedFrame, others: dict[int, MarkedFrame]) -> BoolArray:
    """Which marks are displaced as most of a frame is, from the frame before or to the next, (N,)."""
    going = np.zeros(len(here), bool)
    peaks: list[NDArray[np.intp]] = []
    for step in (-1, 1):
        if step not in others or not len(others[step]):
            continue
        which, bins = _displacements(here, others[step], sign=step)
        part = _part(here)[which]
        votes = np.zeros((_CROWD.rows * _CROWD.columns, _STREAM.bins**2), bool)
        votes[part, bins] = True
        # What chance gives each part, whatever the displacement.
        chance = votes.mean(axis=1)
        level = chance.sum() + _STREAM.deviations * np.sqrt((chance * (1 - chance)).sum() + 1)
        peak = np.flatnonzero(votes.sum(axis=0) > level)
        if not len(peak):
            continue
        peaks.append(peak)
        going[which[np.isin(bins, peak)]] = True
    # Rain falls on both sides of a frame; at the ends of a shot one side has to do.
    if len(peaks) < sum(step in others for step in (-1, 1)):
        going[:] = False
    return going


def _displacements(here: MarkedFrame, other: MarkedFrame, *, sign: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of marks that are alike: the number of each in the frame, and the bin of how far it goes on."""
    unit = max(1.0, here.luma.shape[1] / _COURSE.columns)
    mine, theirs = (np.argsort(-marks.boxes[:, 4], kind="stable")[: _STREAM.most] for marks in (here, other))
    way = sign * (other.centre[None, theirs] - here.centre[mine, None]) / unit
    suits = _alike(here, other)[np.ix_(mine, theirs)] & (np.hypot(way[..., 0], way[..., 1]) >= _STREAM.nearest)
    suits &= (np.abs(way) < _STREAM.bins * _STREAM.bin / 2).all(axis=-1)
    which, onto = np.nonzero(suits)
    cell = np.minimum((way[which, onto] / _STREAM.bin + _STREAM.bins / 2).astype(np.intp), _STREAM.bins - 1)
    return mine[which], cell[:, 1] * _STREAM.bins + cell[:, 0]


def _courses(here: MarkedFrame, near: MarkedFrame, far: MarkedFrame, *, ratio: float) -> Plane:
    """How many courses through two other frames as good as its best one chance gives each mark, (N,).

    Args:
        here: The marks.
        near: Those of a neighbour.
        far: Those of a third frame.
        ratio: Time to the third frame, in times to the neighbour; negative on the other side.
    """
    height, width = here.luma.shape
    unit = max(1.0, width / _COURSE.columns)
    result = np.full(len(here), np.inf)
    like_near, like_far = _alike(here, near), _alike(here, far)
    away = near.centre[None] - here.centre[:, None]
    distance = np.hypot(away[..., 0], away[..., 1])
    suits = like_near & (distance >= _COURSE.nearest * unit) & (distance <= _COURSE.farthest * unit)
    followed = np.asarray(like_far.any(axis=1))
    which, onto = np.nonzero(suits & followed[:, None])
    if not len(which):
        return result
    ahead = here.centre[which] + ratio * away[which, onto]
    off = np.hypot(*np.moveaxis(ahead[:, None] - far.centre[None], -1, 0))
    off = np.where(like_far[which], off, np.inf).min(axis=1)
    off = np.maximum(off, _COURSE.exactness * unit)
    per_pixel = like_near.sum(axis=1)[which] * like_far.sum(axis=1)[which] / float(height * width) ** 2
    np.minimum.at(result, which, per_pixel * np.pi**2 * distance[which, onto] ** 2 * off**2)
    return result


def _alike(here: MarkedFrame, other: MarkedFrame) -> BoolArray:
    """Which marks of another frame are like those of a frame, (N, M)."""
    result = np.sign(here.contrast)[:, None] == np.sign(other.contrast)[None]
    for ratio, one, two in (
        (_COURSE.area_ratio, here.boxes[:, 4], other.boxes[:, 4]),
        (_COURSE.contrast_ratio, np.abs(here.contrast) + 1, np.abs(other.contrast) + 1),
    ):
        result &= np.abs(np.log(one)[:, None] - np.log(two)[None]) <= np.log(ratio)
    return np.asarray(result)


def _changing(here: MarkedFrame, others: dict[int, MarkedFrame]) -> BoolArray:
    pixels = np.flatnonzero(here.labels)
    owners = here.labels.ravel()[pixels] - 1
    size = here.boxes[:, 4]
    first, last = np.zeros(len(here), int), np.zeros(len(here), int)
    for step, other in others.items():
        change = np.abs(other.luma.ravel()[pixels] - here.luma.ravel()[pixels])
        change = np.bincount(owners, weights=change, minlength=len(here)) / size
        away = np.hypot(*np.moveaxis(here.centre[:, None] - other.centre[None], -1, 0))
        ratio = np.abs(np.log(size)[:, None] - np.log(other.boxes[:, 4])[None])
        there = (away <= _PLACE.off * np.sqrt(size)[:, None]) & (ratio <= np.log(_PLACE.area_ratio))
        shows = there.any(axis=1) & (change > _PLACE.change * np.abs(here.contrast))
        first, last = np.where(shows, np.minimum(first, step), first), np.where(shows, np.maximum(last, step), last)
    return last - first >= _PLACE.longest_life


def _crowded(here: MarkedFrame, others: Sequence[MarkedFrame]) -> BoolArray:
    if len(others) < RADIUS:
        return np.zeros(len(here), bool)
    frames = [here, *others]
    crowds = np.sum([_crowds(marks) for marks in frames], axis=0)
    crowded = cv2.dilate((crowds >= _CROWD.frames * len(frames)).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    # A part beside a crowd belongs to it only where it has more than its share, too.
    crowded &= crowds * 2 >= len(frames)
    return crowded.ravel()[_part(here)]


def _crowds(marks: MarkedFrame) -> BoolArray:
    """Which parts of a frame hold far more marks than chance gives them, (rows, columns)."""
    numbers = np.bincount(_part(marks), minlength=_CROWD.rows * _CROWD.columns)
    # The mean of the parts that hold the fewest: a crowd must not hide itself.
    usual = float(np.sort(numbers)[: len(numbers) * 3 // 4].mean())
    level = max(_CROWD.least, usual + _CROWD.deviations * np.sqrt(usual))
    return np.asarray(numbers >= level).reshape(_CROWD.rows, _CROWD.columns)


def _part(marks: MarkedFrame) -> NDArray[np.intp]:
    height, width = marks.luma.shape
    row = (marks.centre[:, 1] * _CROWD.rows / height).astype(np.intp)
    return row * _CROWD.columns + (marks.centre[:, 0] * _CROWD.columns / width).astype(np.intp)
