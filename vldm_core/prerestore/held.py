"""Frames that wait for pre-restoration, held small: a picture made when it is needed, and what is damaged of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..arrays import BoolArray, FloatArray
from ..video.buffers.pictures import Picture, picture_of
from .alignment import interleaved, seen_from
from .network import SCALE


@dataclass(frozen=True, kw_only=True)
class HeldFrame:
    """A frame that waits, held small.

    Attributes:
        number: Counted from the start of the shot.
        picture: As it came.
        size: (H, W) of it.
        marks: (H, W), what is damaged: bool, or 0 … 1 where it is soft; None where nothing is.
    """

    number: int
    picture: Picture
    size: tuple[int, int]
    marks: Tensor | None

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width rounded up to what the network takes."""
        height, width = self.size
        return height + -height % SCALE, width + -width % SCALE

    def padded(self) -> Tensor:
        """The picture, (3, h, w)."""
        return padded_planes(self.picture.tensor().detach().float().cpu())

    def mask(self) -> Tensor:
        """(h, w) float32, 1 = damaged."""
        return torch.zeros(self.padded_size) if self.marks is None else padded_planes(self.marks[None].float())[0]

    def damaged(self) -> BoolArray:
        """(h, w), True = damaged."""
        return self.mask().numpy() > 0


def padded_planes(planes: Tensor) -> Tensor:
    """Repeat the last row and column of (C, h, w) until the network takes the size."""
    height, width = planes.shape[-2:]
    bottom, right = -height % SCALE, -width % SCALE
    if not bottom and not right:
        return planes
    return functional.pad(planes[None], (0, right, 0, bottom), mode="replicate")[0]


def hold(number: int, image: Tensor | Picture, mask: Tensor | None) -> HeldFrame:
    """Hold a frame (3, H, W) of a shot with its mask (H, W) until its turn comes."""
    picture = picture_of(image)
    shown = picture.tensor().detach().float().cpu()
    marks = None if mask is None else mask.detach().float().cpu()
    if marks is not None and bool(((marks == 0) | (marks == 1)).all()):
        marks = marks > 0 if bool(marks.any()) else None
    height, width = shown.shape[-2:]
    return HeldFrame(number=number, picture=picture, size=(height, width), marks=marks)


def seen(here: HeldFrame, other: HeldFrame, flow: FloatArray, right: BoolArray) -> Tensor:
    """What another frame shows at the place of every pixel, less what is here, (3, h, w); see `alignment.seen_from`."""
    return seen_from(
        interleaved(here.padded()), here.damaged(), interleaved(other.padded()), other.damaged(), flow, right
    )


@dataclass(frozen=True)
class Chain:
    """The frames of a segment, behind the last one of the segment before."""

    previous: HeldFrame | None
    held: Sequence[HeldFrame]

    def before(self, t: int) -> HeldFrame | None:
        """Return the frame before one of the segment; None at the start of a shot."""
        return self.held[t - 1] if t else self.previous
