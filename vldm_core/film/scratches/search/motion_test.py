"""Is a track a scratch? What it measures like, and the tests that tell scratches from scene verticals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ....arrays import BoolArray, FloatArray
from ..sampling import sampled, sampled_around
from .layers import LayerModel
from .paths import Path, sample_along


@dataclass(frozen=True, kw_only=True)
class MotionTestRules:
    """How a line is measured along its track, in working pixels.

    Attributes:
        ridge_period: Wavelength of a typical line with its flanks.
        strip: Pixels on each side of the track that the two layers are fitted to.
        strip_groups: Groups of bands that a strip is averaged to: a line is the same in all of them, grain is not.
        strip_iterations: Steps of conjugate gradients on a strip.
        least_jitter: Deviation of the quick motion of the scene from which on a line can be held against it.
        least_drift: The same of its whole motion, for a track that stands still.
        still: Range of positions up to which a track stands still.
    """

    ridge_period: float = 6.0
    strip: int = 16
    strip_groups: int = 6
    strip_iterations: int = 30
    least_jitter: float = 0.06
    least_drift: float = 0.15
    still: float = 2.0


_RULES = MotionTestRules()


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
    phase = np.exp(2j * np.pi / _RULES.ridge_period * (moved - path.x))
    return float(1 - np.abs(phase.mean()) ** 2)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How much a track belongs to the film.

    Attributes:
        film_share: Share of its ridge response that the best two-layer explanation puts into the layer that stays with
            the track; about 1 for a scratch, about 0 for a part of the scene and where the two cannot be told apart.
        following: Slope of its measured position on the position of the scene; about 0 for a scratch, 1 for a part of
            the scene.
        following_error: Standard error of that slope.
    """

    film_share: float
    following: float
    following_error: float


def judge(ridge: FloatArray, displacements: Sequence[FloatArray], path: Path, present: BoolArray) -> Verdict:
    """Fit the two layers once more, in a strip that moves with the track, and measure the track's own position.

    Args:
        ridge: (T, bands, W) ridge responses.
        displacements: Motions of the scene to hold against the track, (T,) or (T, bands, W) each; the one that explains
            most of the track counts.
        path: The line.
        present: (n, bands) where it is present.
    """
    strip = _strip(ridge, path, present)
    expected = path.polarity * strip.mean(axis=(0, 1))
    core = slice(_RULES.strip - 2, _RULES.strip + 3)
    weight = np.clip(expected[core], 0, None)
    before = float(weight @ expected[core])
    share, following, error = 1.0, 0.0, 0.0
    position = _positions(ridge, path, present)
    for displacement in displacements:
        local = displacement.ndim == 3
        moved = np.median(sample_along(displacement, path), axis=1) if local else displacement[path.frames]
        relative = (moved - path.x).astype(np.float32)
        layers = LayerModel(relative - relative[0], np.zeros(len(strip), np.float32), *strip.shape[1:])
        film, _ = layers.fit(strip, _RULES.strip_iterations)
        after = float(weight @ (path.polarity * film.mean(axis=0)[core]))
        share = min(share, after / before if before > 0 else 0.0)
        slope, slope_error = _following(position, moved, still=bool(np.ptp(path.x) <= _RULES.still))
        error = max(error, slope_error)
        if abs(slope) > abs(following):
            following = slope
    return Verdict(film_share=share, following=following, following_error=error)


def _strip(ridge: FloatArray, path: Path, present: BoolArray) -> FloatArray:
    """Straighten the surroundings of a track: (n, groups, 2·reach + 1), averaged over groups of bands."""
    window = ridge[path.frames]
    bands = window.shape[1]
    samples = sampled_around(window, path.positions(bands), _RULES.strip)
    # Bands that hardly show the line only add scene.
    shown = np.flatnonzero(present.mean(axis=0) >= 0.25)
    if len(shown) == 0:
        shown = np.arange(bands)
    groups = np.array_split(shown, min(_RULES.strip_groups, len(shown)))
    return np.stack([samples[:, group].mean(axis=1) for group in groups], axis=1).astype(np.float32)


def _positions(ridge: FloatArray, path: Path, present: BoolArray) -> NDArray[np.float64]:
    """Measure where the line is in every frame, to a small fraction of a pixel: (n,)."""
    for _ in range(2):
        core = _strip(ridge, path, present)[..., _RULES.strip - 6 : _RULES.strip + 7].mean(axis=1).astype(np.float64)
        usual = core.mean(axis=0)
        # Every frame is the usual profile, stronger or weaker and shifted: core = a · usual - shift · slope.
        design = np.stack((usual, -np.gradient(usual), np.ones_like(usual)), axis=1)
        solution = np.linalg.lstsq(design, core.T, rcond=None)[0]
        shift = np.clip(solution[1] / np.clip(solution[0], 0.3, None), -1, 1)
        path = replace(path, x=(path.x + shift).astype(np.float32))
    return path.x.astype(np.float64)


def _following(position: NDArray[np.float64], moved: FloatArray, *, still: bool) -> tuple[float, float]:
    """Slope of the line's measured position on that of the scene, and its standard error.

    Weave tells most, because it changes from frame to frame: what is quick in both is compared. Two things that drift
    steadily say nothing about each other; but a track that stands still may be compared with any motion.
    """
    views: list[tuple[float, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = [
        (_RULES.least_jitter, lambda values: values - cv2.blur(values[None], (7, 1), borderType=cv2.BORDER_REFLECT)[0])
    ]
    if still:
        views.append((_RULES.least_drift, lambda values: values - values.mean()))
    best, least = 0.0, np.inf
    for needed, view in views:
        scene, own = view(moved.astype(np.float64)), view(position)
        energy = float(scene @ scene)
        if energy < needed**2 * len(scene):
            continue
        coefficient = float(own @ scene) / energy
        rest = own - coefficient * scene
        error = float(np.sqrt(rest @ rest / max(len(rest) - 4, 1) / energy))
        if error < least:
            best, least = coefficient, error
    return best, least


def drifts_alike(displacement: FloatArray, path: Path) -> bool:
    """Does a track drift in the direction of the scene, at a speed that a nearer or farther part of it may have?"""
    if np.ptp(path.x) <= 2 * _RULES.still:
        return False
    moved = displacement[path.frames]
    scene, own = moved - moved.mean(), path.x - path.x.mean()
    energy = float(scene @ scene)
    if energy < _RULES.least_drift**2 * len(scene):
        return False
    together = float(own @ scene) / np.sqrt(energy * float(own @ own) + 1e-9)
    return bool(together > 0.9 and 0.25 < float(own @ scene) / energy < 4.0)


def straightened(evidence: FloatArray, path: Path, present: BoolArray) -> Path:
    """Refine tilt and position of a path where it is present, from the evidence of all its frames."""
    window = evidence[path.frames]
    bands = window.shape[1]
    reach = 6
    samples = sampled_around(window, path.positions(bands), reach)
    seen = path.polarity * (samples * present[..., None]).sum(axis=0)
    offsets = np.arange(bands) - (bands - 1) / 2
    turns = np.linspace(-4, 4, 33) / max(bands - 1, 1)
    shifts = np.linspace(-2, 2, 17)
    # One row of evidence a band, looked up at every shift and turn.
    at = shifts[:, None, None] + turns[:, None] * offsets + reach
    total = np.ascontiguousarray(sampled(seen, at.reshape(-1, bands).T).T).sum(axis=1).reshape(at.shape[:2])
    best = np.unravel_index(int(np.argmax(total)), total.shape)
    return replace(path, x=(path.x + shifts[best[0]]).astype(np.float32), tilt=path.tilt + float(turns[best[1]]))
