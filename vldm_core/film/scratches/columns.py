"""Columns that the user names: here is a scratch, or here is none, whatever the search thinks.

An archivist who has looked at a reel knows where it is scratched, and where the mast of a ship stands. What they name
counts: columns that are forced are marked from top to bottom, and where columns are excluded nothing is marked, which
wins where both are said.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arrays import BoolArray
from ...errors import SettingsError

_RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d+))?(?:\s*@\s*(\d+)(?:\s*-\s*(\d+))?)?")
"""A range as it is typed: ``287-288@10-40``."""


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


def _span(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"
