"""A frame on its way through the stages, held small between them."""

from dataclasses import dataclass, fields
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..video.buffers.pictures import Picture, patched, picture_of

Origin = TypeVar("Origin")


class _Marks:
    """A mask (H, W) of zeros and ones, a bit a pixel."""

    def __init__(self, mask: Tensor) -> None:
        self._shape, self._type = mask.shape, mask.dtype
        self._bits = np.packbits(mask.numpy() > 0)

    def tensor(self) -> Tensor:
        """Return the mask."""
        bits = np.unpackbits(self._bits, count=self._shape.numel())
        return torch.from_numpy(bits).reshape(self._shape).to(self._type)

    def any(self) -> bool:
        """Whether there is a one."""
        return bool(self._bits.any())


def _held_mask(mask: Tensor | _Marks | None) -> Tensor | _Marks | None:
    if not isinstance(mask, Tensor) or mask.device.type != "cpu":
        return mask
    plain = mask.detach()
    return _Marks(plain) if _is_binary(plain.numpy()) else mask


def _is_binary(values: np.ndarray) -> bool:
    """Whether there are only zeros and ones; quick where there are few ones."""
    return (
        values.dtype == bool or not values.size or (bool(values.min() >= 0) and bool((values[values > 0] == 1).all()))
    )


class _Image:
    """The field for the picture: given as a tensor or a picture, seen as a tensor."""

    @overload
    def __get__(self, frame: None, owner: type) -> Self: ...
    @overload
    def __get__(self, frame: "StageFrame[Any]", owner: type) -> Tensor: ...
    def __get__(self, frame: "StageFrame[Any] | None", owner: type) -> "Tensor | Self":
        if frame is None:
            # To the dataclass: there is no default.
            raise AttributeError("image")
        return frame.picture.tensor()

    def __set__(self, frame: "StageFrame[Any]", value: Tensor | Picture) -> None:
        frame.__dict__["picture"] = picture_of(value)


class _Mask:
    """A field for a mask: given and seen as a tensor or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    @overload
    def __get__(self, frame: None, owner: type) -> None: ...
    @overload
    def __get__(self, frame: "StageFrame[Any]", owner: type) -> Tensor | None: ...
    def __get__(self, frame: "StageFrame[Any] | None", owner: type) -> Tensor | None:
        if frame is None:
            # To the dataclass: the default.
            return None
        held = frame.__dict__[self._name]
        return held.tensor() if isinstance(held, _Marks) else held

    def __set__(self, frame: "StageFrame[Any]", value: Tensor | _Marks | None) -> None:
        frame.__dict__[self._name] = _held_mask(value)


_MASKS = ("dirt", "scratch", "forced", "around", "kept", "seam")
"""Fields that are masks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MarkCertainty:
    """How sure it was that pixels are damaged, where it was sure enough to mark them.

    Attributes:
        place: Places of the pixels, row by row from the top left, rising.
        value: For each how likely it is damaged, 0 … 1.
    """

    place: NDArray[np.uint32]
    value: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True)
class StageFrame(Generic[Origin]):
    """A frame on its way through the stages.

    Image and masks are made anew whenever they are looked at; what is held is `picture`, and a bit a pixel of a mask.

    Attributes:
        image: (3, H, W), RGB, [0, 1]; it must not be changed. A frame is made with a tensor or with a `Picture`.
        dirt: (H, W), 1 = transient dirt, or None before detection.
        scratch: (H, W), 1 = persistent line scratch, or None before detection.
        forced: (H, W), 1 = what is filled in any case, for a person said so; or None.
        around: (H, W), 1 = what of that is filled from the picture around it and not from the neighbours; or None.
        kept: (H, W), 1 = what is not repaired, for a person said so; or None.
        dirt_probability: (H, W), how likely each pixel is dirt, 0 … 1, or None where that was not asked for.
        scratch_probability: (H, W), how likely each pixel is a scratch, likewise.
        latent: (4, h/8, w/8), the picture as pre-restoration leaves it in the VAE's unscaled units, h and w being H and
            W rounded up to a multiple of 8; None where there is none.
        position: The frame's place in its shot, from 0, as the motion of the shot counts; 0 where no stage asks for it.
        seam: (H, W), 1 = dirt that is the seam of a splice or a frame line, or None where there is none.
        certainty: How sure it was of the dirt that it found, or None where nobody wants to know.
        repairs: What the caller has noted of the frame after the last repair, see `ShotContext.repaired`.
        origin: Whatever the caller wants to get back with the frame.
        number: The frame in the film, from 0, for notices; None when not known.
    """

    image: _Image = _Image()  # a descriptor is shared by all frames
    origin: Origin
    dirt: _Mask = _Mask()
    scratch: _Mask = _Mask()
    forced: _Mask = _Mask()
    around: _Mask = _Mask()
    kept: _Mask = _Mask()
    seam: _Mask = _Mask()
    number: int | None = None
    position: int = 0
    dirt_probability: Tensor | None = None
    scratch_probability: Tensor | None = None
    latent: Tensor | None = None
    certainty: MarkCertainty | None = None
    repairs: Any = None

    @property
    def picture(self) -> Picture:
        """The image as it is held."""
        held: Picture = self.__dict__["picture"]
        return held

    def is_marked(self, kind: str) -> bool:
        """Whether a mask, "dirt" or "scratch", marks any pixel."""
        held = self.__dict__[f"_{kind}"]
        if held is None or isinstance(held, _Marks):
            return held is not None and held.any()
        return bool((held > 0.5).any())

    def damage(self) -> Tensor | None:
        """What is marked, whatever by, (H, W); None where neither kind was looked for."""
        return joined_masks(self.dirt, self.scratch)

    def having(self, **changes: Any) -> "StageFrame[Any]":
        """Return the frame with other values, which share with it what stays.

        Args:
            changes: Values by the name of the field. An image given as a tensor is held as what it changes.
        """
        kept = {"image": self.picture, **{name: self.__dict__[f"_{name}"] for name in _MASKS}}
        if isinstance(changes.get("image"), Tensor):
            changes["image"] = patched(self.picture, changes["image"])
        given = {
            field.name: kept[field.name] if field.name in kept else getattr(self, field.name)
            for field in fields(self)
            if field.name not in changes
        }
        return StageFrame(**given, **changes)


def joined_masks(dirt: Tensor | None, scratch: Tensor | None) -> Tensor | None:
    """Join masks of both kinds, of one shape; None where there is neither."""
    if dirt is None or scratch is None:
        return scratch if dirt is None else dirt
    return torch.maximum(dirt, scratch)
