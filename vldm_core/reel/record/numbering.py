"""Gives repairs the numbers of fixes: what a person names to have it undone."""

from dataclasses import dataclass, field

import numpy as np

from .repairs import KINDS, Array, Repairs

_GAP = 2
"""Frames in which a mark that stays may be missing and still be the same."""

_NEAR_PX = 2
"""Pixels by which it may move beyond its box from one frame to the next."""

_SINGLE = [KINDS.index(kind) for kind in ("dirt", "seam")]
"""Kinds of which every mark is a fix of its own."""


@dataclass(kw_only=True)
class _Last:
    """Where a mark that stays was seen last."""

    number: int
    kind: int
    frame: int
    box: tuple[int, int, int, int]


@dataclass
class Numbering:
    """Numbers the repairs of a film frame by frame.

    Every spot of dirt and every seam is a fix of its own. A scratch that the first pass has followed is one fix through
    its shot; other scratches, standing marks and named boxes are one as long as they are seen at about the same place.
    It holds what the current shot needs.
    """

    _count: int = 0
    _shot: int = -1
    _linked: dict[int, int] = field(default_factory=dict)
    _staying: list[_Last] = field(default_factory=list)

    def of(self, repairs: Repairs, shot: int) -> Repairs:
        """Number the repairs of the next frame.

        Args:
            repairs: Of one frame.
            shot: Number of its shot.
        """
        if shot != self._shot:
            self._shot, self._linked, self._staying = shot, {}, []
        if not len(repairs):
            return repairs
        numbers = np.zeros(len(repairs), np.uint32)
        single = np.isin(repairs.kind, _SINGLE)
        for place in np.flatnonzero(~single):
            numbers[place] = self._staying_number(repairs, int(place))
        count = int(single.sum())
        numbers[single] = np.arange(self._count + 1, self._count + count + 1)
        self._count += count
        return repairs.numbered(numbers, shot)

    def _staying_number(self, repairs: Repairs, place: int) -> int:
        link = int(repairs.link[place])
        if link >= 0:
            if link not in self._linked:
                self._count += 1
                self._linked[link] = self._count
            return self._linked[link]
        frame, kind, box = int(repairs.frame[place]), int(repairs.kind[place]), _box(repairs, place)
        self._staying = [last for last in self._staying if frame - last.frame <= _GAP + 1]
        known = next((last for last in self._staying if last.kind == kind and _meet(last.box, box)), None)
        if known is None:
            self._count += 1
            known = _Last(number=self._count, kind=kind, frame=frame, box=box)
            self._staying.append(known)
        elif known.frame == frame:
            # Two parts of it in one frame: both are where it is looked for in the next.
            self._staying.append(_Last(number=known.number, kind=kind, frame=frame, box=box))
        known.frame, known.box = frame, box
        return known.number


def _box(repairs: Repairs, place: int) -> tuple[int, int, int, int]:
    columns: tuple[Array, ...] = (repairs.x, repairs.y, repairs.width, repairs.height)
    x, y, width, height = (int(column[place]) for column in columns)
    return x, y, x + width, y + height


def _meet(one: tuple[int, int, int, int], two: tuple[int, int, int, int]) -> bool:
    return all(one[axis] - _NEAR_PX < two[axis + 2] and two[axis] - _NEAR_PX < one[axis + 2] for axis in (0, 1))
