"""Names for the arrays that planes of a picture are held in."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
ByteArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]
Plane = NDArray
"""(H, W), of any type of number."""
