"""Planes that are 0 almost everywhere, held in little room."""

import numpy as np
from numpy.typing import NDArray


class SparsePlane:
    """A plane of single precision: a bit a pixel, and the values that are not 0."""

    def __init__(self, plane: NDArray[np.float32]) -> None:
        """Hold a plane (H, W)."""
        there = plane != 0
        self._width = plane.shape[1]
        self._bits = np.packbits(there, axis=1)
        self._values = plane[there]
        self._first = np.concatenate([[0], np.cumsum(np.count_nonzero(there, axis=1))])

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Return some rows of the plane, made anew each time."""
        start, stop, _ = rows.indices(len(self._bits))
        there = np.unpackbits(self._bits[start:stop], axis=1, count=self._width).view(bool)
        result = np.zeros(there.shape, np.float32)
        result[there] = self._values[self._first[start] : self._first[stop]]
        return result

    def plane(self) -> NDArray[np.float32]:
        """Return all of it."""
        return self[:]
