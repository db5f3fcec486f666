"""Long shots in parts that a prior can hold in memory; they overlap, and are crossfaded where they do."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from ..errors import VLDMError
from ..video.shots import Shot

Restore = Callable[[Tensor, Shot, Shot, int], Tensor]
"""Frames (T, 3, H, W) of a part, the part, its shot, and the number of the part in the film, to frames like them."""


def plan_parts(shot: Shot, most: int, overlap: int) -> tuple[Shot, ...]:
    """Divide a shot into the fewest parts, of lengths that differ by one frame at most.

    Args:
        shot: The shot.
        most: Longest part; at least three times the overlap, so that no frame is in three parts.
        overlap: Frames that a part shares with the next.

    Returns:
        Parts in film frame numbers, in order; each begins `overlap` frames before the last one ends.
    """
    if len(shot) <= most:
        return (shot,)
    count = -(-(len(shot) - overlap) // (most - overlap))
    total = len(shot) + (count - 1) * overlap
    parts, first = [], shot.first
    for index in range(count):
        last = first + total * (index + 1) // count - total * index // count
        parts.append(Shot(first, last))
        first = last - overlap
    return tuple(parts)


def over_parts(
    frames: Iterator[Tensor], shots: Sequence[Shot], most: int, overlap: int, restore: Restore
) -> Iterator[Tensor]:
    """Restore a stream part by part and crossfade where parts overlap.

    Args:
        frames: The film, (3, H, W) each.
        shots: Shots that cover it.
        most: Longest part.
        overlap: Frames that parts share.
        restore: See `Restore`.

    Yields:
        Every frame of the film, restored.
    """
    number = 0
    for shot in shots:
        parts = plan_parts(shot, most, overlap)
        inputs: list[Tensor] = []
        tail: Tensor | None = None
        for part in parts:
            inputs += islice(frames, len(part) - len(inputs))
            if len(inputs) != len(part):
                raise VLDMError(f"the film ended in frame {part.first + len(inputs)}, though {part.last} were counted")
            result = restore(torch.stack(inputs), part, shot, number)
            number += 1
            if tail is not None:
                result[: len(tail)] = crossfade(tail, result[: len(tail)])
            kept = 0 if part is parts[-1] else overlap
            yield from result[: len(part) - kept]
            tail = result[len(part) - kept :].clone() if kept else None
            inputs = inputs[len(inputs) - kept :] if kept else []


def crossfade(before: Tensor, after: Tensor) -> Tensor:
    """Fade from one clip to another, (T, …) both; neither end is one of them alone."""
    share = torch.arange(1, len(before) + 1, dtype=before.dtype) / (len(before) + 1)
    return torch.lerp(before, after, share.view(-1, *(1,) * (before.ndim - 1)))
