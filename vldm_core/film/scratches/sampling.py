"""Values between pixels along a line, exact to a small fraction of a grey level.

OpenCV's `remap` rounds positions to 1/32 of a pixel, which is as much as the motion of a line differs from the scene's.
"""

import numpy as np
from numpy.typing import NDArray

from ...arrays import FloatArray


def sampled(values: NDArray[np.floating], x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sample rows at places between their pixels, with linear interpolation.

    Args:
        values: (..., W), at least two columns.
        x: (..., n) places in every row, pixels; beyond an end the row goes on as it ends.

    Returns:
        (..., n).
    """
    x = np.clip(x, 0, values.shape[-1] - 1.001)
    base = x.astype(np.int64)
    part = x - base
    below, above = (np.take_along_axis(values, place, axis=-1) for place in (base, base + 1))
    return below * (1 - part) + above * part


def sampled_around(values: FloatArray, x: NDArray[np.floating], reach: int) -> FloatArray:
    """Sample rows at whole pixels from a place between their pixels, with linear interpolation.

    Args:
        values: (..., W).
        x: (...) a place in every row, pixels; beyond an end the row goes on as it ends.
        reach: Pixels on each side of it.

    Returns:
        (..., 2·reach + 1), float32.
    """
    values = np.ascontiguousarray(values, np.float32)
    width = values.shape[-1]
    base = np.floor(x)
    part = (x - base).astype(np.float32)[..., None]
    column = np.clip(base.astype(np.int64)[..., None] + np.arange(-reach, reach + 2), 0, width - 1)
    column += (np.arange(x.size) * width).reshape(*x.shape, 1)
    near = np.take(values.ravel(), column)
    result = np.diff(near, axis=-1)
    result *= part
    result += near[..., :-1]
    return result
