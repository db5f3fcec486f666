"""Where a restoration changed a film most: the few places that are worth a look, enlarged."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from .before_after import labelled_row

# A place is a square of this share of the shorter side: a blotch or a stretch of a scratch, with what is around it.
_SIDE_SHARE = 0.2
_LEAST_SIDE = 24
# A change smaller than this many grey levels is not a place to look at.
_WORTH_A_LOOK = 2.0 / 255
# The place is looked for on a grid of this share of its side; finer hardly moves it.
_STEP_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class Place:
    """One square of one frame.

    Attributes:
        frame: Number of the frame, from 0.
        top: First row.
        left: First column.
        side: Rows and columns.
        change: Mean change within it, 0 … 1, beyond the change of the frame as a whole.
    """

    frame: int
    top: int
    left: int
    side: int
    change: float

    def of(self, frames: Tensor) -> Tensor:
        """Cut the place out of a film, (T, C, H, W) to (C, side, side)."""
        return frames[self.frame, :, self.top : self.top + self.side, self.left : self.left + self.side]

    def apart(self, other: "Place") -> bool:
        """Tell whether two places show different parts of the picture, in whichever frames."""
        return max(abs(self.top - other.top), abs(self.left - other.left)) >= self.side


def changed_places(before: Tensor, after: Tensor, *, count: int = 3) -> list[Place]:
    """Find the places that changed most, each in another part of the picture.

    What changes everywhere in a frame alike, such as its brightness, does not count.

    Args:
        before: (T, 3, H, W), [0, 1].
        after: Same shape.
        count: At most so many.

    Returns:
        The places, the most changed first; fewer where little has changed.
    """
    height, width = before.shape[-2:]
    side = min(height, width, max(_LEAST_SIDE, round(min(height, width) * _SIDE_SHARE)))
    step = max(1, round(side * _STEP_SHARE))
    found: list[Place] = []
    for number in range(len(before)):
        change = (after[number] - before[number]).mean(dim=0)
        change = (change - change.median()).abs()
        means = functional.avg_pool2d(change[None, None], side, step)[0, 0]
        # One a frame leaves out what a frame has besides; a few do not.
        for flat in means.flatten().topk(min(4 * count, means.numel())).indices.tolist():
            row, column = divmod(flat, means.shape[1])
            found.append(
                Place(frame=number, top=row * step, left=column * step, side=side, change=float(means[row, column]))
            )
    chosen: list[Place] = []
    for place in sorted(found, key=lambda place: -place.change):
        if len(chosen) == count or place.change < _WORTH_A_LOOK:
            break
        if all(place.apart(other) for other in chosen):
            chosen.append(place)
    return chosen


def places_row(before: Tensor, after: Tensor, places: Sequence[Place], *, side: int) -> Tensor:
    """Put places in a row, each before and after, enlarged and labelled.

    Args:
        before: (T, 3, H, W), RGB, [0, 1].
        after: Same shape.
        places: At least one.
        side: Pixels of each square; single pixels stay visible, because they are what is judged.

    Returns:
        (3, side, W').
    """
    squares, labels = [], []
    for place in places:
        for film, when in ((before, "before"), (after, "after")):
            squares.append(functional.interpolate(place.of(film)[None], size=(side, side), mode="nearest")[0])
            labels.append(f"{place.frame} {when}")
    return labelled_row(squares, labels)
