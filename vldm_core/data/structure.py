"""Upright structure of a scene: posts, frames and fences, which look like line scratches but move with the picture."""

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray
from .camera import LINES


def draw_uprights(stream: np.random.Generator, picture: FloatArray, height: int, most: int) -> FloatArray:
    """Return a picture with near-vertical bars painted over it, single or evenly spaced.

    Args:
        stream: Random stream.
        picture: (h, w, 3) in [0, 1].
        height: Of the frame that is filmed from it, px; the bars are 1 to 12 px of a 480-line frame wide.
        most: Largest number of bars.
    """
    rows, columns = picture.shape[:2]
    unit = height / LINES
    count = int(stream.integers(1, most + 1))
    places = np.asarray(stream.uniform(0, columns, count))
    if stream.random() < 0.5:
        places = places[0] + np.arange(count) * stream.uniform(12, 90) * unit
    width = max(1.0, float(np.exp(stream.uniform(0, np.log(12)))) * unit)
    depth = float(np.exp(stream.uniform(np.log(5), np.log(120)))) / 255 * float(stream.choice([-1, 1]))
    slope = np.tan(np.deg2rad(stream.normal(0, 1.0)))
    top, bottom = np.sort(stream.uniform(-0.5, 1.5, 2)) * rows
    y = np.arange(rows)[:, None]
    # Ends and edges fade over a pixel, as an optical image does.
    along = np.clip(y - top, 0, 1) * np.clip(bottom - y, 0, 1)
    change = np.zeros((rows, columns), dtype=np.float32)
    for place in places:
        distance = np.arange(columns)[None] - (place + slope * (y - rows / 2))
        bar = np.clip(width / 2 + 0.5 - np.abs(distance), 0, 1) * along
        # Lit from one side.
        shade = 1 + 0.5 * np.clip(distance / width, -1, 1)
        change = _stronger(change, (depth * bar * shade).astype(np.float32))
    return np.clip(picture + change[..., None], 0, 1)


def _stronger(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.abs(second) > np.abs(first), second, first)
