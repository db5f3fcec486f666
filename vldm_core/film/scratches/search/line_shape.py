"""How deep and how wide a line is: a Gaussian with or without rims, fitted to the mean profile across it.

Where a faint line ends cannot be read off its profile, because the scene on either side differs by more than its
skirt. But lines look alike: a grain of dust or a burr cuts a groove with a smooth section, and throws up a ridge of
emulsion on either side or does not. So the section with the least squared error is taken among all that may be, each
with its best depth and on its best slope of the background.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....arrays import BoolArray, FloatArray
from ..sampling import sampled_around
from .layers import LayerModel
from .paths import Path


@dataclass(frozen=True, kw_only=True)
class ShapeRules:
    """Which sections of a line are tried, in working pixels.

    Attributes:
        sigmas: Standard deviations of the Gaussian. The narrowest is that of a line below a pixel after the scan.
        offsets: Places of its centre beside the track.
        rims: Depth of the ridges on both sides over that of the groove.
        reach: Pixels on each side of the track that are looked at.
        rim_apart: Distance of the ridges from the centre, standard deviations.
        sure: Pixels from the track that count in full; what lies farther out counts less, as the scene takes over.
        visible: Grey levels down to which the skirt of a line is seen.
        least_half_width: Extent on either side at least.
        widest: Extent on either side at most: what is wider is no line.
        usual_sigma: Standard deviation that a faint line is taken to have, when its profile fits many equally well.
        leaning: Share of the profile's energy by which a section far from the usual one has to fit better, for each
            factor of e in width, pixel of offset, and for rims.
        absent: Weight of the rows that do not show the line.
        groups: Groups of bands that are averaged where line and scene are told apart: a line is the same in all of
            them.
        iterations: Steps of conjugate gradients by which they are told apart.
    """

    sigmas: tuple[float, ...] = (0.5, 0.65, 0.8, 1.0, 1.25, 1.5, 1.8, 2.2, 2.7, 3.3)
    offsets: tuple[float, ...] = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
    rims: tuple[float, ...] = (0.0, 0.25, 0.45)
    reach: int = 16
    rim_apart: float = 2.4
    sure: float = 6.0
    visible: float = 1.0
    least_half_width: float = 0.8
    widest: float = 6.0
    usual_sigma: float = 1.1
    leaning: float = 0.02
    absent: float = 0.02
    groups: int = 6
    iterations: int = 30


_RULES = ShapeRules()


@dataclass(frozen=True, kw_only=True)
class LineShape:
    """The section of a line.

    Attributes:
        depth: Deviation in its centre, grey levels; negative for a dark line.
        sigma: Standard deviation, working pixels.
        rims: Depth of the ridges beside it over that of the groove, 0 … 1.
        offset: Place of its centre to the right of the track on which it was measured, working pixels.
        explained: Energy of the weighted profile that a groove without rims explains there, grey levels². A broad
            section beside a deep line may seem as deep, and its rim may be that line, but its groove explains little of
            what is seen.
    """

    depth: float
    sigma: float
    rims: float = 0.0
    offset: float = 0.0
    explained: float = 0.0

    @property
    def broadest(self) -> bool:
        """Whether no broader section was tried."""
        return self.sigma >= _RULES.sigmas[-1]

    @property
    def extent(self) -> float:
        """How far it is seen on either side of its centre, working pixels."""
        groove = self.sigma * np.sqrt(2 * np.log(max(abs(self.depth) / _RULES.visible, 1.0)))
        rim = self.rims * abs(self.depth) / _RULES.visible
        reach = self.sigma * (_RULES.rim_apart + np.sqrt(2 * np.log(rim))) if rim > 1 else 0.0
        return float(np.clip(max(groove, reach), _RULES.least_half_width, _RULES.widest))


def section(offsets: NDArray[Any], sigma: float, rims: float) -> FloatArray:
    """Section of a line of depth 1 at distances from its centre, in the same unit as its deviation."""
    at = np.asarray(offsets, np.float32) / np.float32(sigma)
    groove = np.exp(np.float32(-0.5) * np.square(at))
    if rims > 0:
        for place in (-_RULES.rim_apart, _RULES.rim_apart):
            groove -= np.float32(rims) * np.exp(np.float32(-0.5) * np.square(at - np.float32(place)))
    return np.asarray(groove, np.float32)


def line_shape(
    mean: FloatArray,
    path: Path,
    present: BoolArray,
    beside: list[tuple[Path, LineShape]],
) -> LineShape:
    """Measure the section of a line as it is seen, whatever stands under it.

    Args:
        mean: (T, bands, W) mean luma, grey levels.
        path: The line.
        present: (n, bands) where it is seen.
        beside: Plainer lines close to it: what these show here is theirs.
    """
    reach = _RULES.reach
    u = np.arange(-reach, reach + 1)
    samples = sampled_around(mean[path.frames], path.positions(mean.shape[1]), _RULES.reach)
    share = present + _RULES.absent
    profile = np.einsum("tb,tbu->u", share, samples) / share.sum()
    others = [_section_beside(path, other, shape, u) for other, shape in beside]
    return fitted_shape(profile.astype(np.float32), path.polarity, others)


def shape_alone(
    mean: FloatArray,
    path: Path,
    present: BoolArray,
    beside: list[tuple[Path, LineShape]],
    moved: FloatArray,
) -> LineShape:
    """Measure the section of what stays with a line while the scene moves past it; see `line_shape`.

    Args:
        mean: (T, bands, W) mean luma, grey levels.
        path: The line.
        present: (n, bands) where it is seen.
        beside: Plainer lines close to it.
        moved: (n,) displacement of the scene under the line, working pixels.
    """
    u = np.arange(-_RULES.reach, _RULES.reach + 1)
    samples = sampled_around(mean[path.frames], path.positions(mean.shape[1]), _RULES.reach)
    share = present + _RULES.absent
    groups = np.array_split(np.arange(samples.shape[1]), min(_RULES.groups, samples.shape[1]))
    strip = np.stack(
        [np.einsum("tb,tbu->tu", share[:, g], samples[:, g]) / share[:, g].sum(axis=1)[:, None] for g in groups], axis=1
    ).astype(np.float32)
    strip -= strip.mean(axis=-1, keepdims=True)
    relative = (moved - path.x).astype(np.float32)
    still = np.zeros(len(strip), np.float32)
    film = LayerModel(relative - relative[0], still, *strip.shape[1:]).fit(strip, _RULES.iterations)[0]
    others = [_section_beside(path, other, shape, u) for other, shape in beside]
    return fitted_shape(np.median(film, axis=0).astype(np.float32), path.polarity, others)


def _section_beside(path: Path, other: Path, shape: LineShape, u: NDArray[Any]) -> FloatArray:
    """Mean section of another line at distances from a path, over the frames that both have."""
    start, end = max(path.first, other.first), min(path.frames.stop, other.frames.stop)
    apart = other.x[start - other.first : end - other.first] - path.x[start - path.first : end - path.first]
    return section(u - apart[:, None], shape.sigma, shape.rims).mean(axis=0)


def fitted_shape(profile: FloatArray, polarity: int, others: list[FloatArray] | None = None) -> LineShape:
    """Fit the section of a line.

    Args:
        profile: (33,) mean along the track, grey levels, the track in the middle.
        polarity: +1 bright, -1 dark.
        others: Sections (33,) of other lines near it, of unknown depth.
    """
    weight = _weight()
    plain: FloatArray = _background()
    rows: FloatArray = _sections()
    if others:
        known = np.column_stack((plain, *(other * weight for other in others)))
        plain = np.asarray(np.linalg.qr(known)[0], np.float32)
    # What background and other lines explain is not this line's.
    weighted: FloatArray = (profile * weight).astype(np.float32)
    weighted = np.asarray(weighted - plain @ (plain.T @ weighted), np.float32)
    rows = np.asarray(rows - (rows @ plain) @ plain.T, np.float32)
    length = np.linalg.norm(rows, axis=1) + 1e-6
    along = rows @ weighted / length
    explained = np.where(polarity * along > 0, np.square(along), 0)
    energy = float(weighted @ weighted) + 1e-9
    best = int(np.argmax(explained / energy - _reluctance()))
    sigma, offset, rims = _GRID[best]
    return LineShape(
        depth=float(along[best] / length[best]),
        sigma=sigma,
        rims=rims,
        offset=offset,
        explained=float(explained[_PLAIN].max()),
    )


_GRID = tuple((s, o, r) for s in _RULES.sigmas for o in _RULES.offsets for r in _RULES.rims)
"""Deviation, offset and rims of every section that is tried."""

_PLAIN = np.array([rims == 0 for _, _, rims in _GRID])
"""Which of them have no rims."""


def reading_of(shape: LineShape) -> FloatArray:
    """What to multiply the pixels across a line with to read its depth there, whatever slope it lies on: (33,)."""
    weight, plain = _weight(max(_RULES.sure, shape.extent + 3)), _background(max(_RULES.sure, shape.extent + 3))
    row = section(np.arange(-_RULES.reach, _RULES.reach + 1), shape.sigma, shape.rims) * weight
    row = row - plain @ (plain.T @ row)
    return np.asarray(row * weight / (row @ row), np.float32)


@lru_cache(maxsize=1)
def _reluctance() -> FloatArray:
    """What every section has to explain more than the usual one, as a share of the energy of the profile."""
    far = [np.square(np.log(s / _RULES.usual_sigma)) + np.square(o) + 2 * (r > 0) for s, o, r in _GRID]
    return (_RULES.leaning * np.array(far)).astype(np.float32)


@lru_cache(maxsize=16)
def _weight(sure: float = _RULES.sure) -> FloatArray:
    far = np.maximum(np.abs(np.arange(-_RULES.reach, _RULES.reach + 1)) - sure, 0)
    return (1 / (1 + np.square(far / 2))).astype(np.float32)


@lru_cache(maxsize=16)
def _background(sure: float = _RULES.sure) -> FloatArray:
    """Orthonormal basis of levels, slopes and slow bows, (33, 3), weighted."""
    u = np.arange(-_RULES.reach, _RULES.reach + 1) / _RULES.reach
    plain = np.stack((np.ones_like(u), u, u * u), axis=1) * _weight(sure)[:, None]
    return np.linalg.qr(plain)[0].astype(np.float32)


@lru_cache(maxsize=1)
def _sections() -> FloatArray:
    """All sections that are tried, weighted: (n, 33)."""
    u = np.arange(-_RULES.reach, _RULES.reach + 1, dtype=np.float32)
    return np.stack([section(u - np.float32(o), s, r) for s, o, r in _GRID]) * _weight()
