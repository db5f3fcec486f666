"""The local brightness of a frame over that of another: what flicker and lamps do and dirt does not."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import Plane
from ...video.flow import fill_masked

_BLOCK = 32
_SHRINK = 4
_PEDESTAL = 16.0
_FEWEST_IN_BLOCK = 12


def local_gain(reference: Plane, frame: Plane, known: NDArray[np.bool_] | None = None) -> Plane:
    """Return the gain (H, W) that gives a motion-compensated reference the local brightness of the frame.

    It is a smooth field through the block medians of the ratio, so a defect that covers less than half a block does
    not pull it. It applies above a pedestal that keeps the ratio meaningful in the dark; see `apply_gain`.

    Args:
        reference: (H, W) float32.
        frame: (H, W) float32.
        known: (H, W); where given, only these pixels count, and blocks with few of them follow their neighbours.
    """
    height, width = frame.shape
    shrunk = (max(1, width // _SHRINK), max(1, height // _SHRINK))
    above = cv2.resize(frame, shrunk, interpolation=cv2.INTER_AREA) + _PEDESTAL
    below = cv2.resize(reference, shrunk, interpolation=cv2.INTER_AREA) + _PEDESTAL
    ratio = above / np.maximum(below, 1.0)
    step = _BLOCK // _SHRINK
    if known is None:
        border = cv2.BORDER_REFLECT if min(shrunk) > step else cv2.BORDER_REPLICATE
        ratio = cv2.copyMakeBorder(ratio, 0, -shrunk[1] % step, 0, -shrunk[0] % step, border)
        gain = np.median(_blocks(ratio, step), axis=-1).astype(np.float32)
    else:
        whole = cv2.resize(known.astype(np.float32), shrunk, interpolation=cv2.INTER_AREA) == 1
        margin = ((0, -shrunk[1] % step), (0, -shrunk[0] % step))
        ratio = np.pad(np.where(whole, ratio, np.nan), margin, constant_values=np.nan)
        blocks = _blocks(ratio, step)
        few = np.isfinite(blocks).sum(axis=-1) < _FEWEST_IN_BLOCK
        blocks[few] = 1.0
        gain = fill_masked(np.nanmedian(blocks, axis=-1).astype(np.float32), few)
    gain = cv2.GaussianBlur(gain, (0, 0), 0.8)
    size = (gain.shape[1] * step, gain.shape[0] * step)
    field = cv2.resize(gain, size, interpolation=cv2.INTER_LINEAR)[: shrunk[1], : shrunk[0]]
    return cv2.resize(np.clip(field, 0.5, 2.0), (width, height), interpolation=cv2.INTER_LINEAR)


def _blocks(plane: Plane, step: int) -> Plane:
    rows, columns = plane.shape[0] // step, plane.shape[1] // step
    return plane.reshape(rows, step, columns, step).transpose(0, 2, 1, 3).reshape(rows, columns, -1)


def apply_gain(image: Plane, gain: Plane) -> Plane:
    """Apply a gain of `local_gain` to an image (H, W) or (H, W, C), grey levels."""
    result = image + _PEDESTAL
    result *= gain if image.ndim == 2 else gain[..., None]
    result -= _PEDESTAL
    return result
