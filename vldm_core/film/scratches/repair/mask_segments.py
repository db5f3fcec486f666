"""Masks of line scratches as segments: pieces with one run of masked pixels on each row.

The repair works along a line, but a mask may come from anywhere: from the detector, from a painter's hand, with lines
that cross or touch. So it is cut into segments where runs meet or part.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ....arrays import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskSegment:
    """A piece of the mask that has one run of pixels on each of its rows.

    Attributes:
        top: First row.
        start: (n,) first masked column of every row.
        stop: (n,) column after the last.
        centre: (n,) smoothed middle.
    """

    top: int
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    centre: FloatArray

    @property
    def rows(self) -> NDArray[np.int64]:
        """(n,) every row of the piece."""
        return np.arange(self.top, self.top + len(self.start))

    @cached_property
    def span(self) -> tuple[float, float]:
        """Leftmost and rightmost centre."""
        return float(self.centre.min()), float(self.centre.max())

    @cached_property
    def half_width(self) -> float:
        """Half of the width that nine rows in ten do not exceed, px."""
        return float(np.percentile(self.stop - self.start, 90)) / 2


def find_segments(mask: NDArray[np.bool_]) -> list[MaskSegment]:
    """Split a mask into segments, following its runs from row to row."""
    edge = np.diff(mask.astype(np.int8), axis=1, prepend=0, append=0)
    run_rows, starts = np.nonzero(edge == 1)
    stops = np.nonzero(edge == -1)[1]
    rows: list[list[tuple[int, int, int]]] = [[] for _ in range(mask.shape[0] + 1)]
    for run in zip(run_rows.tolist(), starts.tolist(), stops.tolist(), strict=True):
        rows[run[0]].append(run)
    finished: list[list[tuple[int, int, int]]] = []
    open_segments: list[list[tuple[int, int, int]]] = []
    for runs in rows:
        if not runs:
            finished += open_segments
            open_segments = []
            continue
        following: list[list[tuple[int, int, int]]] = []
        touched = [[o for o in open_segments if o[-1][1] <= run[2] and run[1] <= o[-1][2]] for run in runs]
        times = Counter(id(segment) for group in touched for segment in group)
        for run, before in zip(runs, touched, strict=True):
            # Where lines meet or part, new segments begin.
            alone = len(before) == 1 and times[id(before[0])] == 1
            width = run[2] - run[1]
            if alone and abs(width - (before[0][-1][2] - before[0][-1][1])) <= 3:
                before[0].append(run)
                following.append(before[0])
            else:
                following.append([run])
        kept = {id(segment) for segment in following}
        finished += [segment for segment in open_segments if id(segment) not in kept]
        open_segments = following
    return [_segment(runs) for runs in finished]


def _segment(runs: list[tuple[int, int, int]]) -> MaskSegment:
    table = np.array(runs, np.int64)
    middle = (table[:, 1] + table[:, 2] - 1) / 2
    # Masks are drawn in whole pixels: a local straight line through the middles brings back the fraction.
    reach = min(12, (len(middle) - 1) // 2)
    padded = np.concatenate(
        (2 * middle[0] - middle[1 : reach + 1][::-1], middle, 2 * middle[-1] - middle[-reach - 1 : -1][::-1])
    )
    kernel = np.ones(2 * reach + 1) / (2 * reach + 1)
    return MaskSegment(
        top=int(table[0, 0]),
        start=table[:, 1],
        stop=table[:, 2],
        centre=np.convolve(padded, kernel, mode="valid").astype(np.float32),
    )


def counterpart(segment: MaskSegment, others: list[MaskSegment]) -> int | None:
    """Index of the segment of another frame that shows the same line, or None."""
    best, most = None, 0
    reach = 3.0 + segment.half_width
    leftmost, rightmost = segment.span
    for number, other in enumerate(others):
        # No median lies beyond the extremes; the slack is for rounding.
        if other.span[0] - rightmost > reach + 0.01 or leftmost - other.span[1] > reach + 0.01:
            continue
        top, bottom = max(segment.top, other.top), min(segment.top + len(segment.start), other.top + len(other.start))
        if bottom - top <= most:
            continue
        theirs = other.centre[top - other.top : bottom - other.top]
        apart = theirs - segment.centre[top - segment.top : bottom - segment.top]
        if abs(float(np.median(apart))) <= reach:
            best, most = number, bottom - top
    return best
