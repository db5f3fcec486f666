"""Pictures that are held small and made large when someone looks at them.

A frame of a large film takes several times more room as floating point numbers than as the decoder gave it. What waits
in a stream is therefore a picture in this sense: it knows how to make its tensor, and gives the same one every time.
Pictures are made from others: a repair changes few pixels, and only these are held.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

_LARGEST_PATCH = 0.3
"""Share of the pixels above which a changed picture is held as a whole: a patch takes half as much again per pixel."""


class Picture(Protocol):
    """Something that can make one picture again and again; a `FilmFrame` is one."""

    def tensor(self) -> Tensor:
        """Return the picture, (3, H, W), RGB, [0, 1]; the same values every time. It must not be changed."""


@dataclass(frozen=True, eq=False)
class Whole:
    """A picture held as it is.

    Attributes:
        image: (3, H, W), RGB, [0, 1].
    """

    image: Tensor

    def tensor(self) -> Tensor:
        """Return the picture itself, without a copy."""
        return self.image


class Made:
    """A picture that a function makes; as long as somebody holds what it made, that is given again."""

    def __init__(self, make: Callable[[], Tensor]) -> None:
        """Hold the function; it must give the same values every time, in any thread."""
        self._make = make
        self._last: weakref.ref[Tensor] | None = None

    def tensor(self) -> Tensor:
        """Return the picture."""
        image = None if self._last is None else self._last()
        if image is None:
            image = self._make()
            self._last = weakref.ref(image)
        return image


class Clip:
    """Frames that are made one by one; indexed like a tensor (T, C, H, W)."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        """Hold some pictures of one size, at least one.

        Args:
            pictures: The frames in order.
        """
        self._pictures = pictures
        first = pictures[0].tensor()
        self.shape = torch.Size((len(pictures), *first.shape))
        self.device = first.device

    @property
    def ndim(self) -> int:
        """Number of dimensions, as of a tensor."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Tensor:
        return self._pictures[index].tensor()

    def picture(self, index: int) -> Picture:
        """Return a frame without making it."""
        return self._pictures[index]


def picture_of(image: Tensor | Picture) -> Picture:
    """Return a picture for a tensor (3, H, W); what is one already is given back."""
    return Whole(image) if isinstance(image, Tensor) else image


def patched(before: Picture, after: Tensor) -> Picture:
    """Hold what has become of a picture.

    Args:
        before: The picture.
        after: (3, H, W) the same with some pixels changed; it may be a part of something larger, which is not held.

    Returns:
        A picture with the values of `after`, which holds `before` and the pixels that differ.
    """
    came = before.tensor()
    if after is came:
        return before
    place = _different(came, after)
    if not len(place):
        return before
    if len(place) > _LARGEST_PATCH * came[0].numel():
        return Whole(after.clone())
    values = after.flatten(1)[:, place].clone()
    place = place.to(torch.int32)

    def make() -> Tensor:
        image = before.tensor().clone()
        image.flatten(1)[:, place.long()] = values
        return image

    return Made(make)


def _different(came: Tensor, after: Tensor) -> Tensor:
    """Places of the pixels (H · W) in which two pictures (C, H, W) differ."""
    if came.device.type != "cpu" or after.device.type != "cpu":
        return (came != after).any(dim=0).flatten().nonzero()[:, 0]
    # NumPy rather than torch: a tenth of the time.
    one, other = came.numpy(), after.detach().numpy()
    return torch.from_numpy(np.flatnonzero((one != other).any(axis=0)))


def copied(frames: Tensor | Clip, wanted: Sequence[int]) -> Tensor:
    """Return a tensor to write results to.

    Args:
        frames: (T, C, H, W).
        wanted: Those that are going to be changed.

    Returns:
        (T, C, H, W): a copy of a tensor; of a `Clip` a copy of the wanted frames, and the others blank, which takes up
        no memory.
    """
    if isinstance(frames, Tensor):
        return frames.clone()
    result = torch.from_numpy(np.zeros(tuple(frames.shape), np.float32)).to(frames.device)
    for index in wanted:
        result[index] = frames[index]
    return result
