"""Procedural shapes: fractal noise, and irregular specks cut out of it."""

import math
from functools import lru_cache

import cv2
import numpy as np

from ...arrays import FloatArray
from ..randomness import generator
from .marks import box_around, offsets

_TILE = 256  # px, side of the periodic noise tile


@lru_cache(maxsize=4)
def fractal_tile(exponent: float = 1.5) -> FloatArray:
    """Return a periodic tile of noise with an amplitude spectrum f^-exponent.

    The tile is the same for all seeds; variety comes from where and at which scale it is looked at.

    Args:
        exponent: Spectral slope; larger is smoother. 1.5 has the ragged outline of dirt.

    Returns:
        Zero-mean, unit-variance noise, (256, 256), read-only.
    """
    frequency = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None, :])
    frequency[0, 0] = np.inf
    white = generator(0, "fractal tile").standard_normal((_TILE, _TILE))
    tile = np.fft.irfft2(np.fft.rfft2(white) * frequency**-exponent, s=(_TILE, _TILE))
    tile = ((tile - tile.mean()) / tile.std()).astype(np.float32)
    tile.setflags(write=False)
    return tile


def fractal_noise(dx: FloatArray, dy: FloatArray, zoom: float, offset: tuple[float, float]) -> FloatArray:
    """Look at the tile of noise around a place.

    Args:
        dx: (1, w) distance from the place to the right, px.
        dy: (h, 1) distance down, px.
        zoom: px of the tile per px of the frame.
        offset: (x, y) of the place in the tile, px.

    Returns:
        (h, w).
    """
    shape = (dy.shape[0], dx.shape[1])
    return np.asarray(
        cv2.remap(
            fractal_tile(),
            np.broadcast_to(dx * np.float32(zoom), shape) + np.float32(offset[0] % _TILE),
            np.broadcast_to(dy * np.float32(zoom), shape) + np.float32(offset[1] % _TILE),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        ),
        dtype=np.float32,
    )


def speck(
    *,
    centre: tuple[float, float],
    size: float,
    elongation: float,
    angle: float,
    raggedness: float,
    edge: float,
    mottle: float,
    blur: float,
    offset: tuple[float, float],
    height: int,
    width: int,
) -> tuple[slice, slice, FloatArray] | None:
    """Render one irregular particle.

    The outline is an ellipse whose radius is disturbed by fractal noise; with a large disturbance the particle frays
    and falls into crumbs. Coverage follows the signed distance to the outline, so small specks are anti-aliased.

    Args:
        centre: (x, y) in px; sub-pixel.
        size: Diameter of the circle of equal area, px.
        elongation: Long axis over short axis, at least 1.
        angle: Direction of the long axis, radians.
        raggedness: Disturbance of the radius as a share of it, 0 (ellipse) … 1 (crumbs).
        edge: Width of the soft rim, px.
        mottle: Unevenness of the inside, 0 (flat) … 1.
        blur: Standard deviation of the blur of the lens that sees the particle, px.
        offset: Where in the noise tile to look, px.
        height: Frame height, px.
        width: Frame width, px.

    Returns:
        Rows, columns and the coverage there in [0, 1]; None when the particle lies outside the frame.
    """
    radius = 0.5 * size
    stretch = elongation**0.5
    # The noise is cut off at 2 standard deviations, so nothing reaches beyond this box.
    reach = radius * stretch * (1 + 2 * raggedness) + edge * stretch**2 + 3 * blur + 1
    x, y = centre
    box = box_around(x, y, reach, height, width)
    if box is None:
        return None
    dx, dy = offsets(*box, x, y)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along = (dx * cos + dy * sin) / np.float32(radius * stretch)
    across = (dy * cos - dx * sin) * np.float32(stretch / radius)
    # Larger particles show more of the tile, hence more detail, but less than in proportion to their size.
    zoom = (18 + 0.8 * radius) / radius
    # The noise is isotropic while the ellipse is not: stretched noise would look like brush strokes.
    noise = np.minimum(fractal_noise(dx, dy, zoom, offset), 2)
    distance = (1 + np.float32(raggedness) * noise - np.sqrt(along**2 + across**2)) * np.float32(radius / stretch)
    coverage = np.clip(distance / np.float32(edge) + np.float32(0.5), 0, 1)
    coverage *= np.clip(1 + np.float32(mottle) * (noise - 1), 0.3, 1)
    # A scan resolves less than the pixel grid: without this the frayed parts would look like pixel noise.
    size = 2 * math.ceil(2.5 * blur) + 1
    coverage = cv2.GaussianBlur(coverage, (size, size), blur, borderType=cv2.BORDER_REPLICATE)
    return *box, np.asarray(coverage, dtype=np.float32)
