"""The fixes of a record: what a person sees as one, with all frames that it was repaired in."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .file import RecordReader
from .repairs import KINDS, UNKNOWN, Array, Selection

_NAMES = ("frame", "number", "kind", "x", "y", "width", "height", "marked", "changed", "confidence")
_Rows = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class Fix:
    """A fix.

    Attributes:
        number: From 1.
        kind: See `KINDS`.
        shot: From 0.
        first: First frame, from 0.
        last: Last frame; it belongs to it.
        frames: Frames that have it.
        x: Left edge of the box around all of it, pixels.
        y: Its upper edge.
        width: Of the box, pixels.
        height: Of the box, pixels.
        marked: Pixels that were marked, over all frames.
        changed: Pixels that were changed; 0 where all of it was left alone.
        confidence: How sure it is that this is damage, percent, where it is surest; None where nobody says.
    """

    number: int
    kind: str
    shot: int
    first: int
    last: int
    frames: int
    x: int
    y: int
    width: int
    height: int
    marked: int
    changed: int
    confidence: int | None


def fixes_of(reader: RecordReader, selection: Selection | None = None) -> Iterator[Fix]:
    """Give the fixes of a record, shot by shot.

    Args:
        reader: The record.
        selection: Which repairs; None is all of them. A fix is told as far as its repairs are selected.

    Raises:
        FilmFileError: A part of the record is damaged.
    """
    waiting: list[_Rows] = []
    current = -1
    for part in reader.parts():
        chosen = np.ones(len(part), bool) if selection is None else selection.of(part)
        for shot in np.unique(part.shot[chosen]):
            if shot != current and waiting:
                yield from _of_shot(waiting, current)
                waiting = []
            current = int(shot)
            own = chosen & (part.shot == shot)
            waiting.append({name: getattr(part, name)[own] for name in _NAMES})
    if waiting:
        yield from _of_shot(waiting, current)


def _of_shot(parts: list[_Rows], shot: int) -> Iterator[Fix]:
    rows = {name: np.concatenate([part[name] for part in parts]).astype(np.int64) for name in _NAMES}
    numbers, place = np.unique(rows["number"], return_inverse=True)
    count = len(numbers)

    def least(values: Array) -> Array:
        result = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(result, place, values)
        return result

    def most(values: Array) -> Array:
        result = np.full(count, -1)
        np.maximum.at(result, place, values)
        return result

    first, last = least(rows["frame"]), most(rows["frame"])
    left, top = least(rows["x"]), least(rows["y"])
    right, bottom = most(rows["x"] + rows["width"]), most(rows["y"] + rows["height"])
    sure = most(np.where(rows["confidence"] == UNKNOWN, -1, rows["confidence"]))
    marked, changed = (np.bincount(place, rows[name], count) for name in ("marked", "changed"))
    both = np.unique(np.stack([place, rows["frame"]]), axis=1)[0]
    frames, kind = np.bincount(both, minlength=count), most(rows["kind"])
    for number in range(count):
        yield Fix(
            number=int(numbers[number]),
            kind=KINDS[kind[number]],
            shot=shot,
            first=int(first[number]),
            last=int(last[number]),
            frames=int(frames[number]),
            x=int(left[number]),
            y=int(top[number]),
            width=int(right[number] - left[number]),
            height=int(bottom[number] - top[number]),
            marked=int(marked[number]),
            changed=int(changed[number]),
            confidence=None if sure[number] < 0 else int(sure[number]),
        )
