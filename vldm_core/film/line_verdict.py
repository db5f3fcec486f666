"""Is a track a scratch? What it measures like, and the tests that tell scratches from scene verticals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .line_tracks import BoolArray, FloatArray, Path, sample_along

_REACH = 10
_RIDGE_PERIOD = 6.0
_SHOULDER = 0.3


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossProfile:
    """What a line looks like across.

    Attributes:
        depth: Deviation of its core from both sides, grey levels; negative for a dark line.
        left: Visible extent to the left of the track, working pixels, ≥ 0.5.
        right: Visible extent to the right.
    """

    depth: float
    left: float
    right: float


def cross_profile(mean: FloatArray, path: Path, present: BoolArray) -> CrossProfile:
    """Measure a line's cross-profile from the mean luma of the bands.

    The median over frames and bands lets the scene average out; both sides are joined by a straight line below it.

    Args:
        mean: (T, bands, W) mean luma, grey levels.
        path: The line.
        present: (n, bands) where it is present.
    """
    offsets = np.arange(-_REACH, _REACH + 1)
    bands, width = mean.shape[1:]
    window = mean[path.frames]
    x = path.positions(bands)[..., None] + offsets
    inside = present & (x[..., 0] >= 0) & (x[..., -1] <= width - 1)
    if inside.sum() < 4:
        inside = present
    t, b = np.nonzero(inside)
    at = np.clip(x[t, b], 0, width - 1.001)
    base = at.astype(np.int64)
    part = at - base
    t, b = t[:, None], b[:, None]
    samples = window[t, b, base] * (1 - part) + window[t, b, base + 1] * part
    share = (offsets + _REACH) / (2 * _REACH)
    near_left, near_right = samples[:, 2:5].mean(1, keepdims=True), samples[:, -5:-2].mean(1, keepdims=True)
    slope = (share - share[3]) / (share[-4] - share[3])
    profile = path.polarity * np.median(samples - (near_left * (1 - slope) + near_right * slope), axis=0)

    core = profile[_REACH - 1 : _REACH + 2]
    depth = float(core.max())
    centre = _REACH - 1 + int(np.argmax(core))
    left = _extent(profile[centre::-1], depth) + (_REACH - centre)
    right = _extent(profile[centre:], depth) - (_REACH - centre)
    return CrossProfile(depth=path.polarity * depth, left=max(0.5, left), right=max(0.5, right))


def _extent(side: FloatArray, depth: float) -> float:
    """How far a profile stays visible from its peak outwards, in pixels."""
    limit = max(_SHOULDER * depth, 0.5)
    below = np.flatnonzero(side[:7] < limit)
    if len(below) == 0:
        return 6.0
    first = int(below[0])
    if first == 0:
        return 0.5
    return first - 1 + float((side[first - 1] - limit) / max(side[first - 1] - side[first], 1e-6))


def separability(displacement: FloatArray, path: Path) -> float:
    """How well a line along a path can be told from a scene that moves by ``displacement``.

    The share of a ridge's energy that the best fixed picture of a moving scene cannot explain:
    1 − |mean exp(i k (D_t − x_t))|² at the wave number of a typical line; 0 when the scene moves with the line.

    Args:
        displacement: (T,) or (T, bands, W) displacement of the scene.
        path: The line.
    """
    local = displacement.ndim == 3
    moved = np.median(sample_along(displacement, path), axis=1) if local else displacement[path.frames]
    phase = np.exp(2j * np.pi / _RIDGE_PERIOD * (moved - path.x))
    return float(1 - np.abs(phase.mean()) ** 2)


def film_share(ridge: FloatArray, evidence: FloatArray, path: Path, present: BoolArray) -> float:
    """Share of a track's ridge response that is left when the scene layer is taken out: about 1 for a scratch."""
    before = float(sample_along(ridge, path)[present].sum())
    after = float(sample_along(evidence, path)[present].sum())
    if before * path.polarity <= 0:
        return 0.0
    return after / before


def follows_scene(displacement: NDArray[np.float32], path: Path) -> float:
    """Slope of the track's steps on those of the scene: about 0 for a scratch, 1 for a part of the scene.

    Steps over several frames keep the noise of the positions down.

    Args:
        displacement: (T,) displacement of the scene.
        path: The line.
    """
    lag = min(6, max(1, len(path.x) // 3))
    own = path.x[lag:] - path.x[:-lag]
    scene = displacement[path.frames][lag:] - displacement[path.frames][:-lag]
    energy = float(scene @ scene)
    return float(own @ scene) / energy if energy > 0.02 * len(scene) else 0.0
