"""The local brightness of a frame over that of another: what flicker and lamps do and dirt does not.

It is a smooth field through the block medians of the ratio of the two, so a defect that covers less than half a block
does not pull it. It applies above a pedestal that keeps the ratio meaningful in the dark; see `apply_gain`.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import BoolArray, FloatArray, Plane
from ...video.flow import fill_masked


@dataclass(frozen=True, kw_only=True)
class LocalGain:
    """How local brightness is measured.

    Attributes:
        shrink: Factor by which frames are reduced before: grain averages out, and it costs a sixteenth.
        block: Pixels of the reduced frames on each side of a block, 32 of the frame. Larger ones follow a lamp less,
            smaller ones are pulled by larger defects.
        fewest: Pixels of a block that must be known for it to have a median of its own: of fewer, one edge decides.
        pedestal: Grey levels that are added to both before they are divided: near black, noise would be the ratio.
        least_light: Grey levels, pedestal counted, that are divided by at least.
        sigma: Blocks over which the field is smoothed, so that the steps between medians do not show.
        limits: Least and largest gain, a ratio. Flicker does no more; what does is another picture.
    """

    shrink: int = 4
    block: int = 8
    fewest: int = 12
    pedestal: float = 16.0
    least_light: float = 1.0
    sigma: float = 0.8
    limits: tuple[float, float] = (0.5, 2.0)


GAIN = LocalGain()


def local_gain(reference: Plane, frame: Plane) -> Plane:
    """Return the gain (H, W) that gives a motion-compensated reference the local brightness of the frame.

    Args:
        reference: (H, W) float32.
        frame: (H, W) float32.
    """
    height, width = frame.shape
    shrunk = (max(1, width // GAIN.shrink), max(1, height // GAIN.shrink))
    before, after = (cv2.resize(plane, shrunk, interpolation=cv2.INTER_AREA) for plane in (reference, frame))
    return local_gain_of_reduced(before, after, None, (height, width))


def local_gain_of_reduced(reference: Plane, frame: Plane, known: BoolArray | None, shape: tuple[int, int]) -> Plane:
    """Return the gain of frames that are reduced already.

    Args:
        reference: (H / 4, W / 4) float32, motion compensated.
        frame: (H / 4, W / 4) float32.
        known: (H / 4, W / 4); where given, only these pixels count, and blocks with few of them follow their
            neighbours.
        shape: (H, W).

    Returns:
        (H, W).
    """
    height, width = frame.shape
    ratio = (frame + GAIN.pedestal) / np.maximum(reference + GAIN.pedestal, GAIN.least_light)
    below, right = -height % GAIN.block, -width % GAIN.block
    if known is None:
        border = cv2.BORDER_REFLECT if min(height, width) > GAIN.block else cv2.BORDER_REPLICATE
        medians = np.median(_blocks(cv2.copyMakeBorder(ratio, 0, below, 0, right, border)), axis=-1).astype(np.float32)
    else:
        ratio = np.where(known, ratio, np.float32(np.inf))
        blocks = _blocks(np.pad(ratio, ((0, below), (0, right)), constant_values=np.inf))
        count = np.isfinite(blocks).sum(axis=-1)
        few = count < GAIN.fewest
        # The unknown ones are sorted to the end; of none at all the first is taken, and not looked at.
        middle = np.take_along_axis(np.sort(blocks, axis=-1), (count // 2)[..., None] % GAIN.block**2, -1)
        medians = fill_masked(np.where(few, np.float32(1), middle[..., 0]).astype(np.float32), few)
    smooth = cv2.GaussianBlur(medians, (0, 0), GAIN.sigma)
    size = (smooth.shape[1] * GAIN.block, smooth.shape[0] * GAIN.block)
    field = cv2.resize(smooth, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    return cv2.resize(np.clip(field, *GAIN.limits), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def _blocks(plane: Plane) -> FloatArray:
    """The pixels of each block, (rows, columns, block²)."""
    rows, columns = plane.shape[0] // GAIN.block, plane.shape[1] // GAIN.block
    cut = plane.reshape(rows, GAIN.block, columns, GAIN.block).transpose(0, 2, 1, 3)
    return np.asarray(cut.reshape(rows, columns, -1), np.float32)


def apply_gain(image: Plane, gain: Plane) -> Plane:
    """Apply a gain to an image (H, W) or (H, W, C), or to colours (N, C) with a gain (N, 1), in grey levels."""
    result = image + GAIN.pedestal
    result *= gain if image.ndim == 2 else gain[..., None]
    result -= GAIN.pedestal
    return result
