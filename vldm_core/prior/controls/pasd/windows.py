"""Looking at the pixels around: attention over a picture whose cost grows with its area and not with its square.

PASD lets every position of a feature map look at every position of the ControlNet's residual, and at every other of its
own. What it looks for lies nearby: the residual says what the degraded picture shows at that place. So in large
pictures each block of positions looks at a square around it. The square has the size of the largest map that PASD is
run on where it is published (768 pixels, 96 positions; it was trained with 64), it never leaves the picture, and
neighbouring blocks see mostly the same. Maps of no more positions than the square are attended to as a whole, which is
what the original computes, and cheaper there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ....errors import SettingsError
from ..network.blocks import Attend, attend_to_all

BLOCKS_ACROSS = 3
"""Blocks that the side of a square is long: each position sees a third of the square or more on every side, and the
squares of neighbouring blocks share two thirds. Cost does not depend on it."""

MOST_SCORES = 2**28
"""Scores that are formed at a time at most: kernels that hold them all take 4 bytes for each."""


@dataclass(frozen=True, kw_only=True)
class PixelAttentionWindows:
    """What a position looks at.

    Attributes:
        seen: Side of the square that is looked at, positions of the feature map. 0 looks at the whole picture, as the
            original does whatever the size: cost then grows with the square of the area.
    """

    seen: int = 96

    def __post_init__(self) -> None:
        if self.seen < 0:
            raise SettingsError(f"pixel attention seen is {self.seen}; use 0 for all positions, or 1 or more")

    def whole(self, height: int, width: int) -> bool:
        """Tell whether all positions of a map look at all."""
        return not self.seen or height * width <= self.seen**2

    def attend(self, height: int, width: int) -> Attend:
        """Return the attention over maps of a size, rows first: queries, keys and values are (B, heads, h · w, d)."""
        if self.whole(height, width):
            return _attend_in_parts

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            query, key, value = (part.unflatten(2, (height, width)) for part in (query, key, value))
            found = torch.empty_like(query)
            for rows, seen_rows in self._spans(height):
                for columns, seen_columns in self._spans(width):
                    seen = _attend_in_parts(
                        query[:, :, rows, columns].flatten(2, 3),
                        key[:, :, seen_rows, seen_columns].flatten(2, 3),
                        value[:, :, seen_rows, seen_columns].flatten(2, 3),
                    )
                    found[:, :, rows, columns] = seen.unflatten(2, (rows.stop - rows.start, -1))
            return found.flatten(2, 3)

        return attend

    def _spans(self, length: int) -> Iterator[tuple[slice, slice]]:
        """Yield blocks along a side, as evenly long as they can be, and what each sees."""
        blocks = -(-length // max(1, self.seen // BLOCKS_ACROSS))
        seen = min(self.seen, length)
        for index in range(blocks):
            first, last = index * length // blocks, (index + 1) * length // blocks
            start = min(max((first + last - seen) // 2, 0), length - seen)
            yield slice(first, last), slice(start, start + seen)


def _attend_in_parts(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend to all with so many queries at a time that the scores stay few."""
    batch, heads = query.shape[:2]
    most = max(1, MOST_SCORES // (batch * heads * key.shape[2]))
    if query.shape[2] <= most:
        return attend_to_all(query, key, value)
    return torch.cat([attend_to_all(part, key, value) for part in query.split(most, dim=2)], dim=2)
