"""Spread of measured values of which some are wrong."""

import numpy as np
import numpy.typing as npt

MAD_TO_SIGMA = 1.4826
"""Standard deviations of normal noise in one median absolute value of it: a ratio, 1 / Φ⁻¹(3/4)."""


def robust_sigma(values: npt.ArrayLike) -> float:
    """Return the standard deviation of the bulk of the values about 0 (median absolute value, scaled)."""
    array = np.asarray(values, dtype=np.float64)
    return float(MAD_TO_SIGMA * np.median(np.abs(array))) if array.size else 0.0
