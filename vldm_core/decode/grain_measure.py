"""Measure the grain of a film, shot by shot.

Half the difference of two neighbouring frames holds their grain and what moved; half their sum holds the
scene. For grain that is independent from frame to frame the two are uncorrelated, so places can be *chosen* by how flat
the sum is without biasing what is *measured* on the difference: in flat places motion leaves nothing behind. There, in
blocks freed of their own plane (flicker), the strength is taken per level of brightness, the autocorrelation over the
nearest pixels, and the covariance between the colour channels; all of them per shot. Dirt is rejected as outliers, and
so are pairs that repeat one frame.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..video.blending import gaussian
from ..video.luma import LUMA_WEIGHTS, luma


@dataclass(frozen=True, kw_only=True)
class GrainTable:
    """What is told of the grain of a shot.

    Attributes:
        block: Pixels on each side of the blocks in which grain is measured: several times as wide as the coarsest.
        reach: Pixels on each side over which its correlation is told: beyond, none is measured on film.
        levels: Levels of brightness, evenly spaced, at which its strength is told.
    """

    block: int = 32
    reach: int = 8
    levels: int = 16


@dataclass(frozen=True, kw_only=True)
class GrainPlaces:
    """Where grain is measured.

    Attributes:
        flattest: Share of the blocks of a level that are chosen, the flattest. More measures motion for grain.
        fewest: Blocks of a level that are chosen at least.
        structure_sigma: Pixels of the blur after which the scene's structure is measured.
        flat: Of [0, 1]², variance of the smoothed scene in a block above which motion could show in the difference:
            eight grey levels, squared.
        floor: Of [0, 1]², the same of fine grain, which no scene goes below: one grey level, squared.
        structure_per_grain: Share: a level counts as seen when its blocks hold at most this much structure per grain;
            coarse grain leaves a third.
        blank: Of [0, 1]², variance up to which a block is blank or burnt out and has no grain to measure.
        stillest: Share of the blocks of a level that counts as standing still.
        most: Factor of the strongest grain against that in the flattest places; what is more is dirt or motion.
        repeated: Variance of a difference of frames, as a share of the usual one, below which the frames are one and
            the same.
        usual: Share of the pairs of frames that differ by less than the usual one: repeats, up to half of a film, lie
            below it.
    """

    flattest: float = 0.3
    fewest: int = 3
    structure_sigma: float = 1.5
    flat: float = (8.0 / 255.0) ** 2
    floor: float = (1.0 / 255.0) ** 2
    structure_per_grain: float = 0.6
    blank: float = 1e-9
    stillest: float = 0.5
    most: float = 2.0
    repeated: float = 0.05
    usual: float = 0.75


GRAIN = GrainTable()
_PLACES = GrainPlaces()


@dataclass(frozen=True, kw_only=True)
class MeasuredGrain:
    """The grain of one shot.

    Attributes:
        strength: (levels,) standard deviation of the luma of the grain in [0, 1] units, at evenly spaced brightness
            from 0 to 1.
        autocorrelation: (2·8 + 1, 2·8 + 1), 1 at the centre, over shifts of -8 … 8 pixels down and across.
        covariance: (3, 3) of the channels, scaled so that the luma has variance 1.
    """

    strength: Tensor
    autocorrelation: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class _Pair:
    """Sums over the blocks of one pair of frames.

    Attributes:
        variances: (levels,) of the grain in the flat blocks, weighted.
        structures: (levels,) of what the scene shows in them, weighted.
        weights: (levels,) the weights.
        still_variances: (levels,) of the difference in the stillest blocks, flat or not.
        still_counts: (levels,) how many these are.
        correlation: (2·reach + 1, …) of the flat blocks.
        covariance: (3, 3) of the flat blocks.
    """

    variances: Tensor
    structures: Tensor
    weights: Tensor
    still_variances: Tensor
    still_counts: Tensor
    correlation: Tensor
    covariance: Tensor


class GrainAnalyser:
    """First pass over a shot; holds one frame and a small table per pair of frames."""

    def __init__(self) -> None:
        self._previous: Tensor | None = None
        self._pairs: list[_Pair] = []

    def update(self, frame: Tensor) -> None:
        """Take the next frame, (3, H, W), RGB, [0, 1]."""
        if self._previous is not None:
            pair = _measure((frame + self._previous) / 2, (frame - self._previous) / math.sqrt(2.0))
            if pair is not None:
                self._pairs.append(pair)
        self._previous = frame

    def finish(self) -> MeasuredGrain | None:
        """Return the grain of the shot, or None where none can be measured (one frame, no flat place, no grain)."""
        if not self._pairs:
            return None
        totals = torch.stack([pair.variances.sum() / pair.weights.sum() for pair in self._pairs])
        kept = [
            p
            for p, total in zip(self._pairs, totals, strict=True)
            if total > _PLACES.repeated * totals.quantile(_PLACES.usual)
        ]
        if not kept:
            return None
        correlation = torch.stack([p.correlation for p in kept]).sum(0)
        covariance = torch.stack([p.covariance for p in kept]).sum(0)
        weights = torch.tensor(LUMA_WEIGHTS, dtype=covariance.dtype)
        brightness = float(weights @ covariance @ weights)
        if brightness <= 0 or float(correlation[GRAIN.reach, GRAIN.reach]) <= 0:
            return None
        correlation, lost = _restore_mean(correlation / correlation[GRAIN.reach, GRAIN.reach])
        return MeasuredGrain(
            strength=(_strength(kept) / math.sqrt(1 - lost)).float(),
            autocorrelation=correlation.float(),
            covariance=(covariance / brightness).float(),
        )


def _restore_mean(correlation: Tensor) -> tuple[Tensor, float]:
    """Undo what taking a plane off every block takes off the grain.

    With the plane goes a share b of the variance, and about the same amount of the correlation at every shift. So where
    grain is no longer correlated, at the farthest shifts, -b / (1 - b) is measured instead of 0.

    Returns:
        The autocorrelation, and b.
    """
    inner = torch.zeros_like(correlation, dtype=torch.bool)
    inner[1:-1, 1:-1] = True
    far = min(0.0, float(correlation[~inner].mean()))
    return (correlation - far) / (1 - far), -far / (1 - far)


def _measure(scene: Tensor, difference: Tensor) -> _Pair | None:
    """Measure the grain in the flat blocks of one pair; None for pictures without a whole block."""
    height, width = scene.shape[-2:]
    if min(height, width) < GRAIN.block:
        return None
    grey = luma(scene) / 255.0
    smooth = gaussian(grey[None], _PLACES.structure_sigma)[0]
    structure = _without_plane(_blocks(smooth[None])).square().mean(dim=(0, 2, 3))
    level = _blocks(grey[None]).mean(dim=(0, 2, 3))
    grain = _without_plane(_blocks(difference))
    weights = torch.tensor(LUMA_WEIGHTS).to(grain)
    brightness = torch.einsum("c,cnij->nij", weights, grain)
    variance = brightness.square().mean(dim=(1, 2))
    bins = (level * (GRAIN.levels - 1)).round().long().clamp(0, GRAIN.levels - 1)
    chosen = _choose(structure, variance, bins)
    if not bool(chosen.any()):
        return None
    still = _stillest(variance, bins)
    trust = _trust(structure[chosen])
    taken = grain[:, chosen].double() * trust.sqrt()[:, None, None]

    def per_level(where: Tensor, values: Tensor) -> Tensor:
        return torch.zeros(GRAIN.levels, dtype=torch.float64).index_add_(0, bins[where], values.double())

    return _Pair(
        variances=per_level(chosen, trust * variance[chosen]),
        structures=per_level(chosen, trust * structure[chosen]),
        weights=per_level(chosen, trust),
        still_variances=per_level(still, variance[still]),
        still_counts=per_level(still, torch.ones_like(variance[still])),
        correlation=_correlate(torch.einsum("c,cnij->nij", weights.double(), taken)),
        covariance=torch.einsum("cnij,dnij->cd", taken, taken) / GRAIN.block**2,
    )


def _blocks(planes: Tensor) -> Tensor:
    """Cut (C, H, W) into blocks (C, N, block, block); the rest at the right and lower border is left out."""
    tiles = planes.unfold(1, GRAIN.block, GRAIN.block).unfold(2, GRAIN.block, GRAIN.block)
    return tiles.reshape(planes.shape[0], -1, GRAIN.block, GRAIN.block)


def _without_plane(blocks: Tensor) -> Tensor:
    """Take the least-squares plane off every block."""
    ramp = torch.linspace(-1, 1, GRAIN.block, dtype=blocks.dtype)
    energy = ramp.square().sum() * GRAIN.block
    down = torch.einsum("cnij,i->cn", blocks, ramp) / energy
    across = torch.einsum("cnij,j->cn", blocks, ramp) / energy
    mean = blocks.mean(dim=(2, 3), keepdim=True)
    plane = down[..., None, None] * ramp[:, None] + across[..., None, None] * ramp
    return blocks - mean - plane


def _choose(structure: Tensor, variance: Tensor, bins: Tensor) -> Tensor:
    """Choose the flattest blocks of each level of brightness, and among them those without dirt."""
    # Blank borders of the frame, and burnt-out places, have no grain to measure.
    live = variance > _PLACES.blank
    chosen = torch.zeros(len(bins), dtype=torch.bool)
    for level in bins[live].unique():
        members = ((bins == level) & live).nonzero()[:, 0]
        count = max(min(len(members), _PLACES.fewest), round(_PLACES.flattest * len(members)))
        chosen[members[structure[members].argsort()[:count]]] = True
    flat = chosen & (structure <= _PLACES.flat)
    if not bool(flat.any()):
        return chosen
    # Dirt, motion of what is not flat after all, a cut that was missed. Burnt-out and blocked-up places tell nothing.
    inner = flat & (bins > 0) & (bins < GRAIN.levels - 1)
    base = inner if bool(inner.any()) else flat
    trust = _trust(structure[base])
    usual = (trust * variance[base].double()).sum() / trust.sum()
    return flat & (variance <= _PLACES.most**2 * usual)


def _trust(structure: Tensor) -> Tensor:
    """Weight of a block: flat ones count most, so that over many pairs what moves in the others is outweighed."""
    return (structure.double() + _PLACES.floor) ** -2 * _PLACES.floor**2


def _stillest(variance: Tensor, bins: Tensor) -> Tensor:
    """Choose the blocks of each level of brightness that changed least: the scene may have texture but stands still."""
    chosen = torch.zeros(len(bins), dtype=torch.bool)
    live = variance > _PLACES.blank
    for level in bins[live].unique():
        members = ((bins == level) & live).nonzero()[:, 0]
        chosen[members[variance[members].argsort()[: math.ceil(_PLACES.stillest * len(members))]]] = True
    return chosen


def _correlate(blocks: Tensor) -> Tensor:
    """Sum of the autocorrelations of blocks (N, block, block), unbiased by their borders, (2·reach + 1, …)."""
    size = 2 * GRAIN.block
    window = torch.ones(GRAIN.block, GRAIN.block, dtype=blocks.dtype)
    overlap = torch.fft.irfft2(torch.fft.rfft2(window, s=(size, size)).abs().square(), s=(size, size))
    power = torch.fft.rfft2(blocks, s=(size, size)).abs().square().sum(0)
    shifts = torch.arange(-GRAIN.reach, GRAIN.reach + 1) % size
    correlation = torch.fft.irfft2(power, s=(size, size)) / overlap.clamp(min=1.0)
    return correlation[shifts][:, shifts]


def _strength(pairs: Sequence[_Pair]) -> Tensor:
    """Standard deviation at each level.

    Levels that were not seen in flat places take it from the stillest others; levels that were not seen at all take it
    from their neighbours. No level may be far above the flattest places, because that is motion and not grain.
    """

    def total(name: str) -> Tensor:
        return torch.stack([getattr(pair, name) for pair in pairs]).sum(0)

    variances, weights, counts = total("variances"), total("weights"), total("still_counts")
    inner = slice(1, -1) if bool((weights[1:-1] > 0).any()) else slice(None)
    usual = variances[inner].sum() / weights[inner].sum()
    # Motion raises the variance, so the usual one decides how much structure is little.
    little = torch.maximum(
        _PLACES.structure_per_grain * torch.minimum(variances, _PLACES.most**2 * usual * weights),
        _PLACES.floor * weights,
    )
    reliable = (weights > 0) & (total("structures") <= little)
    flat = (variances / weights.clamp(min=1e-30)).sqrt()
    still = (total("still_variances") / counts.clamp(min=1)).sqrt()
    seen = (reliable | (counts > 0)).nonzero()[:, 0]
    values = torch.where(reliable, flat, still)[seen].clamp(max=_PLACES.most * float(usual.sqrt()))
    levels = torch.arange(GRAIN.levels)
    right = torch.searchsorted(seen, levels).clamp(max=len(seen) - 1)
    left = torch.where(seen[right] <= levels, right, (right - 1).clamp(min=0))
    span = (seen[right] - seen[left]).clamp(min=1)
    share = ((levels - seen[left]) / span).clamp(0, 1)
    return values[left] + share * (values[right] - values[left])
