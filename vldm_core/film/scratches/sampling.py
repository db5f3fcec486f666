"""Values between pixels along a line, exact to a small fraction of a grey level.

OpenCV's `remap` rounds positions to 1/32 of a pixel, which is as much as the motion of a line differs from the scene's.
"""

import numpy as np
from numpy.typing import NDArray


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
