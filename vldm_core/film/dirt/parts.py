"""The connected parts of a mask: little of a frame is marked, and only that is looked at again once it is numbered."""

from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray


class Parts:
    """The parts of a mask (H, W) that hang together over sides or corners, numbered from 1; 0 is what is around them.

    Attributes:
        count: Numbers, 0 counted.
        labels: (H, W) int32, number of each pixel.
        places: (N,) places of the marked pixels in the flattened frame.
        numbers: (N,) int32, of their parts.
    """

    def __init__(self, mask: BoolArray) -> None:
        self.count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        self.labels = np.asarray(labels, np.int32)
        self.places = np.flatnonzero(mask)
        self.numbers = self.labels.ravel()[self.places]

    @cached_property
    def areas(self) -> NDArray[np.intp]:
        """Pixels of each part, (count,); 0 of what is around them."""
        return np.bincount(self.numbers, minlength=self.count)

    @cached_property
    def _rows_and_columns(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return np.divmod(self.places, self.labels.shape[1])

    @cached_property
    def boxes(self) -> NDArray[np.intp]:
        """First column, first row, columns and rows of each part, (count, 4)."""
        boxes = np.zeros((self.count, 4), np.intp)
        for axis, values in enumerate(self._rows_and_columns[::-1]):
            low, high = np.full((2, self.count), [[self.labels.size], [-1]], np.intp)
            np.minimum.at(low, self.numbers, values)
            np.maximum.at(high, self.numbers, values)
            boxes[1:, axis], boxes[1:, 2 + axis] = low[1:], (high - low + 1)[1:]
        return boxes

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        """Mean column and row of each part, (count, 2)."""
        return np.column_stack([self.means(values) for values in self._rows_and_columns[::-1]])

    def means(self, values: NDArray) -> NDArray[np.float64]:
        """The mean of values (N,) over each part, (count,)."""
        return np.bincount(self.numbers, weights=values, minlength=self.count) / np.maximum(self.areas, 1)

    def medians(self, values: NDArray) -> NDArray[np.float64]:
        """The median of values (N,) over each part, (count,); 0 of what is around them."""
        order = np.lexsort((values, self.numbers))
        first = np.cumsum(self.areas) - self.areas
        medians = np.zeros(self.count)
        middle = (order[first[1:] + (self.areas[1:] - part) // 2] for part in (1, 0))
        medians[1:] = sum(values[place].astype(np.float64) for place in middle) / 2
        return medians

    def shares(self, holds: BoolArray) -> NDArray[np.float64]:
        """The share of each part in which something holds, by pixel (N,); (count,)."""
        return self.means(holds.astype(np.float64))

    def box(self, number: int) -> tuple[slice, slice]:
        """The rows and columns of a part."""
        x, y, width, height = (int(value) for value in self.boxes[number])
        return slice(y, y + height), slice(x, x + width)

    def spread(self, values: NDArray) -> NDArray:
        """Give each marked pixel the value (count,) of its part, and 0 to the others, (H, W)."""
        result = np.zeros(self.labels.shape, values.dtype)
        result.ravel()[self.places] = values[self.numbers]
        return result
