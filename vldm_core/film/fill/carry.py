"""Carry what is known around the holes of a frame smoothly into them."""

import cv2
import numpy as np

from ...arrays import BoolArray, Plane

_ENOUGH = 1e-3
"""Weight from which a pixel of the pyramid is known at all: what is left of one known pixel two levels above."""


class CarryIn:
    """Fills holes from around them, any number of planes over one pyramid of weights.

    Push-pull interpolation over a pyramid of weighted means (S. J. Gortler et al., "The Lumigraph", SIGGRAPH 1996,
    section 3.4), as `video.flow.fill_masked`; the weights are the dearer half of it, and the same for all planes.
    """

    def __init__(self, unknown: BoolArray) -> None:
        """Prepare for holes (h, w)."""
        self._unknown = unknown
        weight = np.subtract(1, unknown, dtype=np.float32)
        self._weights = [weight]
        if unknown.all():
            return
        while self._weights[-1].min() <= _ENOUGH and max(self._weights[-1].shape) > 1:
            self._weights.append(cv2.pyrDown(self._weights[-1]))

    def __call__(self, plane: Plane) -> Plane:
        """Return a plane (h, w) or (h, w, C) with its holes filled; of one that is all hole, the plane itself."""
        if len(self._weights) == 1:
            return plane
        deep = plane.ndim == 3

        def spread(weight: Plane) -> Plane:
            return weight[..., None] if deep else weight

        levels = [plane * spread(self._weights[0])]
        for _ in self._weights[1:]:
            levels.append(cv2.pyrDown(levels[-1]).reshape(-1, *_narrowed(levels[-1])))
        filled = levels[-1] / np.maximum(spread(self._weights[-1]), 1e-6)
        for values, weight in zip(levels[-2:0:-1], self._weights[-2:0:-1], strict=True):
            coarse = self._enlarged(filled, weight.shape)
            trust = spread(np.minimum(weight, 1))
            filled = coarse + (values / np.maximum(spread(weight), 1e-6) - coarse) * trust
        result = plane.copy()
        result[self._unknown] = self._enlarged(filled, plane.shape)[self._unknown]
        return result

    @staticmethod
    def _enlarged(plane: Plane, shape: tuple[int, ...]) -> Plane:
        large = cv2.resize(plane, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.asarray(large.reshape(*shape[:2], *plane.shape[2:]), np.float32)


def _narrowed(plane: Plane) -> tuple[int, ...]:
    """Shape of a plane from its second axis on, after one step down the pyramid."""
    return ((plane.shape[1] + 1) // 2, *plane.shape[2:])
