"""Columns that the user names: here is a scratch, or here is none, whatever the search thinks.

An archivist who has looked at a reel knows where it is scratched, and where the mast of a ship stands. What they name
counts: columns that are forced are marked from top to bottom, and where columns are excluded nothing is marked, which
wins where both are said.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...arrays import BoolArray
from ...errors import SettingsError

_RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d+))?(?:\s*@\s*(\d+)(?:\s*-\s*(\d+))?)?")
"""A range as it is typed: ``287-288@10-40``."""

_LEAST_SHARE = 0.5
"""Share of the picture's height from which on a column of a painted mask is taken: a painted spot is no scratch."""


@dataclass(frozen=True, kw_only=True)
class ColumnRange:
    """Columns of the frame, in all frames or in some.

    Attributes:
        first: First column, pixels of the full frame from the left, from 0.
        last: Last column, which belongs to them.
        frames: First and last frame, which both belong to them, counted from the first frame of the film or the batch;
            None for all.
    """

    first: int
    last: int
    frames: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        spans = {"columns": (self.first, self.last)} | ({} if self.frames is None else {"frames": self.frames})
        for name, span in spans.items():
            whole = len(span) == 2 and all(isinstance(end, int) and not isinstance(end, bool) for end in span)
            if not whole or not 0 <= span[0] <= span[1]:
                raise SettingsError(
                    f"scratch {name} are {span!r}; give the first and the last, whole numbers from 0, in that order"
                )

    def __str__(self) -> str:
        """Write it as `parse_columns` reads it."""
        return _span(self.first, self.last) + ("" if self.frames is None else f"@{_span(*self.frames)}")


def parse_columns(text: str) -> tuple[ColumnRange, ...]:
    """Read column ranges as they are typed.

    Args:
        text: Ranges parted by commas, semicolons or line ends, each a column or ``first-last``, and the frames behind
            an ``@`` where it is not all of them: ``287-288, 100@10-40``. Empty for none.

    Raises:
        SettingsError: Something in it is no range.
    """
    ranges = []
    for part in re.split(r"[,;\n]", text):
        if not part.strip():
            continue
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            raise SettingsError(
                f"scratch columns are given as '287-288' or '287-288@10-40', parted by commas; {part.strip()!r} is "
                "neither"
            )
        first, last, begin, end = (None if number is None else int(number) for number in found.groups())
        assert first is not None, "the expression has no match without it"
        frames = None if begin is None else (begin, begin if end is None else end)
        ranges.append(ColumnRange(first=first, last=first if last is None else last, frames=frames))
    return tuple(ranges)


def format_columns(columns: Iterable[ColumnRange]) -> str:
    """Write column ranges as `parse_columns` reads them."""
    return ", ".join(str(one) for one in columns)


def columns_from_mask(mask: Tensor, first: int = 0) -> tuple[ColumnRange, ...]:
    """Take the columns that somebody has painted.

    Args:
        mask: (H, W), or (T, H, W) with one for each frame; above 0.5 is painted. Columns are taken that are painted in
            half of the height or more.
        first: Frame of the film that the first of (T, H, W) belongs to.

    Raises:
        SettingsError: The mask has another shape.
    """
    if mask.ndim not in (2, 3):
        raise SettingsError(f"a mask of scratch columns is (H, W) or (T, H, W), got {tuple(mask.shape)}")
    painted = ((mask > 0.5).float().mean(dim=-2) >= _LEAST_SHARE).cpu().numpy()
    if mask.ndim == 2:
        return tuple(ColumnRange(first=start, last=stop - 1) for start, stop in _runs(painted))
    ranges = []
    open_runs: dict[tuple[int, int], int] = {}
    for number in range(len(painted) + 1):
        here = set(_runs(painted[number])) if number < len(painted) else set()
        for run in [run for run in open_runs if run not in here]:
            frames = first + open_runs.pop(run), first + number - 1
            ranges.append(ColumnRange(first=run[0], last=run[1] - 1, frames=frames))
        for run in here:
            open_runs.setdefault(run, number)
    return tuple(sorted(ranges, key=lambda one: (one.frames or (0, 0), one.first)))


def columns_of_frame(columns: Sequence[ColumnRange], frame: int, width: int) -> BoolArray | None:
    """Which columns of a frame some ranges hold.

    Args:
        columns: The ranges.
        frame: Number of the frame in the film.
        width: Width of the frame; what lies beyond it is left out.

    Returns:
        (W,), or None where that is none.
    """
    named = np.zeros(width, bool)
    for one in columns:
        if one.frames is None or one.frames[0] <= frame <= one.frames[1]:
            named[one.first : one.last + 1] = True
    return named if named.any() else None


def _runs(painted: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First column of every run, and the one after its last."""
    edges = np.diff(painted.astype(np.int8), prepend=0, append=0)
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def _span(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"
