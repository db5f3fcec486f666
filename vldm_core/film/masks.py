"""Edit damage masks: clean up, widen or narrow, soften, hold over time, protect and add."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import ByteArray
from ..errors import SettingsError
from ..progress import Progress, silent

LARGEST_GROWTH = 128
"""Pixels; beyond that a mask is better painted anew."""


@dataclass(frozen=True, kw_only=True)
class MaskEdit:
    """What is done to a mask, in this order.

    Attributes:
        threshold: A pixel is marked where the mask is at least this. Above 0, up to 1.
        min_size: Marks of fewer pixels, connected also diagonally, are removed frame by frame. 0 or 1 removes none.
        fill_holes: Whether what a mark encloses is marked too.
        grow: Pixels by which marks become wider; negative ones make them narrower. -128 … 128.
        hold: Frames for which every mark is kept before and after its own. 0 … 100.
        feather: Pixels over which the mask falls off outside the marks, which stay whole. 0 … 128.
    """

    threshold: float = 0.5
    min_size: int = 0
    fill_holes: bool = False
    grow: int = 0
    hold: int = 0
    feather: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise SettingsError(f"mask threshold is {self.threshold}; use more than 0, up to 1")
        if self.min_size < 0:
            raise SettingsError(f"mask min_size is {self.min_size}; use 0 pixels or more")
        if not -LARGEST_GROWTH <= self.grow <= LARGEST_GROWTH:
            raise SettingsError(f"mask grow is {self.grow}; use {-LARGEST_GROWTH} … {LARGEST_GROWTH} pixels")
        if not 0 <= self.hold <= 100:
            raise SettingsError(f"mask hold is {self.hold}; use 0 … 100 frames")
        if not 0 <= self.feather <= LARGEST_GROWTH:
            raise SettingsError(f"mask feather is {self.feather}; use 0 … {LARGEST_GROWTH} pixels")


def edit_mask(
    mask: Tensor,
    edit: MaskEdit | None = None,
    *,
    add: Tensor | None = None,
    protect: Tensor | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Edit the mask of a shot or a film.

    Distances are Euclidean, from pixel to pixel. At the border of the frame marks are taken to go on, so that
    narrowing does not take them off it.

    Args:
        mask: (T, H, W) in [0, 1].
        edit: What is done; by default the mask becomes 0 and 1.
        add: (T, H, W) or (1, H, W) for all frames; marked where it is above 0.5, before marks grow, are held and get
            soft. Small marks of it are kept.
        protect: The same; where it is above 0.5 the result is 0, whatever else was done.
        progress: Called twice per frame.

    Returns:
        (T, H, W) float32 in [0, 1]: 1 in marks, falling to 0 within `feather` pixels around them, 0 elsewhere.

    Raises:
        SettingsError: A mask has another shape.
    """
    edit = edit or MaskEdit()
    if mask.ndim != 3 or 0 in mask.shape:
        raise SettingsError(f"the mask has the shape {tuple(mask.shape)}; give (T, H, W) with T at least 1")
    added, protected = _fitting("add", add, mask), _fitting("protect", protect, mask)
    count = len(mask)
    marks = np.zeros(tuple(mask.shape), dtype=np.uint8)
    for index in range(count):
        marked = (mask[index].detach().cpu() >= edit.threshold).numpy().astype(np.uint8)
        marked = _without_small(marked, edit.min_size)
        if added is not None:
            marked |= added[index]
        if edit.fill_holes:
            marked = _filled(marked)
        marks[index] = _grown(marked, edit.grow)
        progress("clean mask", index + 1, count)
    result = torch.empty(tuple(mask.shape), dtype=torch.float32)
    for index in range(count):
        held = marks[max(0, index - edit.hold) : index + edit.hold + 1].max(axis=0)
        soft = _feathered(held, edit.feather)
        if protected is not None:
            soft[protected[index] > 0] = 0
        result[index] = torch.from_numpy(soft)
        progress("soften mask", index + 1, count)
    return result.to(mask.device)


def _fitting(name: str, other: Tensor | None, mask: Tensor) -> ByteArray | None:
    """Return a second mask as 0 and 1 for every frame."""
    if other is None:
        return None
    if other.ndim != 3 or other.shape[1:] != mask.shape[1:] or len(other) not in (1, len(mask)):
        raise SettingsError(
            f"the {name} mask has the shape {tuple(other.shape)}, the mask {tuple(mask.shape)}; use one of the same "
            "size with as many frames, or with one for all"
        )
    return np.asarray((other.expand_as(mask).detach().cpu() > 0.5).numpy(), dtype=np.uint8)


def _without_small(marked: ByteArray, size: int) -> ByteArray:
    if size <= 1:
        return marked
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(marked, connectivity=8)
    keep = statistics[:, cv2.CC_STAT_AREA] >= size
    keep[0] = False
    return np.asarray(keep[labels], dtype=np.uint8)


def _filled(marked: ByteArray) -> ByteArray:
    """Mark what cannot be reached from the border without crossing a mark, not even diagonally between its pixels."""
    _, labels = cv2.connectedComponents(1 - marked, connectivity=4)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.asarray(~np.isin(labels, np.unique(border[border > 0])), dtype=np.uint8)


def _grown(marked: ByteArray, pixels: int) -> ByteArray:
    if pixels > 0:
        return np.asarray(_distance_to(marked) <= pixels, dtype=np.uint8)
    if pixels < 0:
        return np.asarray(_distance_to(1 - marked) > -pixels, dtype=np.uint8)
    return marked


def _feathered(marked: ByteArray, pixels: float) -> NDArray[np.float32]:
    """Fall off from 1 in marks to 0 at a distance of one pixel more than `pixels`, along half a cosine."""
    if pixels <= 0:
        return marked.astype(np.float32)
    share = np.clip(_distance_to(marked) / np.float32(pixels + 1), 0, 1)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * share), dtype=np.float32)


def _distance_to(marked: ByteArray) -> NDArray[np.float32]:
    """Return the distance of each pixel to the next marked one; infinite where none is marked."""
    if not marked.any():
        return np.full(marked.shape, np.inf, dtype=np.float32)
    return np.asarray(cv2.distanceTransform(1 - marked, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), dtype=np.float32)
