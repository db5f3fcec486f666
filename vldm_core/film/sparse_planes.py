"""Planes that are 0 almost everywhere, held in little room."""

import numpy as np
from numpy.typing import NDArray

_LEAST_BYTES = 4 << 20
"""A plane of fewer bytes is held as it is: there is room for it, and making it anew takes longer than its use."""


class SparsePlane:
    """A plane of single precision: a bit a pixel, and the values that are not 0."""

    def __init__(self, plane: NDArray[np.float32]) -> None:
        """Hold a plane (H, W), which must not be changed from then on."""
        self._whole = plane if plane.nbytes < _LEAST_BYTES else None
        if self._whole is not None:
            return
        there = plane != 0
        self._width = plane.shape[1]
        self._bits = np.packbits(there, axis=1)
        self._values = plane.ravel()[np.flatnonzero(there)]
        self._first = np.concatenate([[0], np.cumsum(np.count_nonzero(there, axis=1))])

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Return some rows of the plane, which must not be changed."""
        if self._whole is not None:
            return self._whole[rows]
        start, stop, _ = rows.indices(len(self._bits))
        there = np.unpackbits(self._bits[start:stop], axis=1, count=self._width).view(bool)
        result = np.zeros(there.shape, np.float32)
        # A third of the time that assigning by the mask itself takes.
        np.put(result, np.flatnonzero(there), self._values[self._first[start] : self._first[stop]])
        return result

    def plane(self) -> NDArray[np.float32]:
        """Return all of it."""
        return self[:]
