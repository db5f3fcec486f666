"""Upright structure of a scene: posts, frames and fences, which look like scratches but move with the picture."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..ageing.randomness import log_uniform
from ..ageing.units import line_scale
from ..ageing.validation import require_ranges
from ..arrays import DoubleArray, FloatArray


class Upright(NamedTuple):
    """A near-vertical bar.

    Attributes:
        cover: (H, W) how much of each pixel it covers, 0 … 1; its edges and ends fade over a pixel, as an optical image
            does.
        aside: (H, W) distance from its middle, px, positive to the right.
    """

    cover: DoubleArray
    aside: DoubleArray


def upright(
    rows: int, columns: int, x: float, width: float, *, slope: float, top: float = -np.inf, bottom: float = np.inf
) -> Upright:
    """Return where a bar is in a picture.

    Args:
        rows: Of the picture.
        columns: Of the picture.
        x: Its middle at half height, px.
        width: Its width, px.
        slope: Tangent of its angle to the vertical.
        top: Where it begins, px.
        bottom: Where it ends, px.
    """
    y = np.arange(rows, dtype=np.float64)[:, None]
    aside = np.arange(columns)[None] - (x + slope * (y - rows / 2))
    return Upright(np.clip(width / 2 + 0.5 - np.abs(aside), 0, 1) * between(y, top, bottom), aside)


def between(y: DoubleArray, top: float, bottom: float) -> DoubleArray:
    """Return the share of rows at heights y that lies between two heights, px; 0 … 1, fading over a pixel."""
    return np.asarray(np.clip(y - top, 0, 1) * np.clip(bottom - y, 0, 1))


@dataclass(frozen=True, kw_only=True)
class UprightSettings:
    """What posts look like. Lengths are px of a 480-line frame and scale with the height.

    Attributes:
        fence_share: Share of pictures whose posts are evenly spaced.
        spacing: Smallest and largest distance of these.
        width: Smallest and largest width; log-uniform, and never below a pixel.
        depth: Smallest and largest change of brightness, grey levels; log-uniform, either way.
        slope: Standard deviation of the angle to the vertical, degrees.
        shade: How much one side is darker and the other brighter than the middle, share of the depth: things are lit
            from one side.
    """

    fence_share: float = 0.5
    spacing: tuple[float, float] = (12.0, 90.0)
    width: tuple[float, float] = (1.0, 12.0)
    depth: tuple[float, float] = (5.0, 120.0)
    slope: float = 1.0
    shade: float = 0.5

    def __post_init__(self) -> None:
        require_ranges("posts'", self, 255, logarithmic=("width", "depth"))


def draw_uprights(
    stream: np.random.Generator,
    picture: FloatArray,
    height: int,
    most: int,
    settings: UprightSettings,
) -> FloatArray:
    """Return a picture with near-vertical bars painted over it, single or evenly spaced.

    Args:
        stream: Random stream.
        picture: (h, w, 3) in [0, 1].
        height: Of the frame that is filmed from it, px.
        most: Largest number of bars.
        settings: What they look like.
    """
    rows, columns = picture.shape[:2]
    unit = line_scale(height)
    count = int(stream.integers(1, most + 1))
    places = np.asarray(stream.uniform(0, columns, count))
    if stream.random() < settings.fence_share:
        places = places[0] + np.arange(count) * stream.uniform(*settings.spacing) * unit
    width = max(1.0, log_uniform(stream, *settings.width) * unit)
    depth = log_uniform(stream, *settings.depth) / 255 * float(stream.choice([-1, 1]))
    slope = float(np.tan(np.deg2rad(stream.normal(0, settings.slope))))
    top, bottom = np.sort(stream.uniform(-0.5, 1.5, 2)) * rows
    change = np.zeros((rows, columns), dtype=np.float32)
    for place in places:
        bar = upright(rows, columns, place, width, slope=slope, top=top, bottom=bottom)
        lit = 1 + settings.shade * np.clip(bar.aside / width, -1, 1)
        change = _stronger(change, (depth * bar.cover * lit).astype(np.float32))
    return np.clip(picture + change[..., None], 0, 1)


def _stronger(first: FloatArray, second: FloatArray) -> FloatArray:
    return np.where(np.abs(second) > np.abs(first), second, first)
