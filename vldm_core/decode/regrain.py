"""Measure the grain of a film and give the restored picture grain like it.

Measuring. Half the difference of two neighbouring frames holds their grain and what moved; half their sum holds the
scene. For grain that is independent from frame to frame the two are uncorrelated, so places can be *chosen* by how flat
the sum is without biasing what is *measured* on the difference: in flat places motion leaves nothing behind. There, in
blocks freed of their own plane (flicker), the strength is taken per level of brightness, the autocorrelation over the
nearest pixels, and the covariance between the colour channels; all of them per shot. Dirt is rejected as outliers, and
so are pairs that repeat one frame.

Making. White noise from a generator that is seeded by the number of the frame, so that it does not depend on how the
film was cut into chunks, is filtered to the measured autocorrelation (a zero-phase filter with the square root of the
power spectrum). Its channels are mixed to the measured covariance, and it is scaled by the strength at the brightness
of each place. Grain that the picture still has is measured in the same way and only the missing variance is added.

Compare A. Norkin, N. Birkbeck, "Film Grain Synthesis for AV1 Video Codec", DCC 2018, which scales autoregressive noise
by a function of brightness.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SettingsError
from ..progress import Progress, Pulse, silent
from ..video.blending import gaussian
from ..video.luma import LUMA_WEIGHTS, luma
from ..video.shots import Shot, covering_shots

_BLOCK = 32
_REACH = 8
_LEVELS = 16
_FLATTEST = 0.3
_FEWEST_BLOCKS = 3
# Variance of the smoothed scene in a block, above which motion could show in the difference; and that of fine grain,
# which no scene goes below.
_FLAT = (8.0 / 255.0) ** 2
_FLOOR = (1.0 / 255.0) ** 2
# A level counts as seen when its blocks hold at most this much structure per grain: coarse grain leaves a third.
_STRUCTURE_PER_GRAIN = 0.6
_BLANK = 1e-9
# Share of the blocks that counts as standing still; and the strongest grain against that in the flattest places.
_STILLEST = 0.5
_MOST = 2.0
_STRUCTURE_SIGMA = 1.5
_BRIGHTNESS_SIGMA = 2.0
# Variance of a difference of frames, as a share of the usual one, below which the frames are one and the same.
_REPEATED = 0.05
_LARGEST_SEED = 2**63 - 1
_SEED_STRIDE = 0x9E3779B97F4A7C15


@dataclass(frozen=True, kw_only=True)
class RegrainSettings:
    """How grain is added.

    Attributes:
        strength: 1 is the grain of the source, 0 none, up to 2.
        seed: Which grain; one seed gives the same grain for the same frame number.
        keep_present: Whether grain that the picture still has counts, so that only what is missing is added.
    """

    strength: float = 1.0
    seed: int = 0
    keep_present: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 2:
            raise SettingsError(f"grain strength is {self.strength}; use 0 … 2")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise SettingsError(f"grain seed is {self.seed}; use 0 … {_LARGEST_SEED}")


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
        kept = [p for p, total in zip(self._pairs, totals, strict=True) if total > _REPEATED * totals.quantile(0.75)]
        if not kept:
            return None
        correlation = torch.stack([p.correlation for p in kept]).sum(0)
        covariance = torch.stack([p.covariance for p in kept]).sum(0)
        weights = torch.tensor(LUMA_WEIGHTS, dtype=covariance.dtype)
        brightness = float(weights @ covariance @ weights)
        if brightness <= 0 or float(correlation[_REACH, _REACH]) <= 0:
            return None
        correlation, lost = _restore_mean(correlation / correlation[_REACH, _REACH])
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
    if min(height, width) < _BLOCK:
        return None
    grey = luma(scene) / 255.0
    smooth = gaussian(grey[None], _STRUCTURE_SIGMA)[0]
    structure = _without_plane(_blocks(smooth[None])).square().mean(dim=(0, 2, 3))
    level = _blocks(grey[None]).mean(dim=(0, 2, 3))
    grain = _without_plane(_blocks(difference))
    weights = torch.tensor(LUMA_WEIGHTS).to(grain)
    brightness = torch.einsum("c,cnij->nij", weights, grain)
    variance = brightness.square().mean(dim=(1, 2))
    bins = (level * (_LEVELS - 1)).round().long().clamp(0, _LEVELS - 1)
    chosen = _choose(structure, variance, bins)
    if not bool(chosen.any()):
        return None
    still = _stillest(variance, bins)
    trust = _trust(structure[chosen])
    taken = grain[:, chosen].double() * trust.sqrt()[:, None, None]

    def per_level(where: Tensor, values: Tensor) -> Tensor:
        return torch.zeros(_LEVELS, dtype=torch.float64).index_add_(0, bins[where], values.double())

    return _Pair(
        variances=per_level(chosen, trust * variance[chosen]),
        structures=per_level(chosen, trust * structure[chosen]),
        weights=per_level(chosen, trust),
        still_variances=per_level(still, variance[still]),
        still_counts=per_level(still, torch.ones_like(variance[still])),
        correlation=_correlate(torch.einsum("c,cnij->nij", weights.double(), taken)),
        covariance=torch.einsum("cnij,dnij->cd", taken, taken) / _BLOCK**2,
    )


def _blocks(planes: Tensor) -> Tensor:
    """Cut (C, H, W) into blocks (C, N, block, block); the rest at the right and lower border is left out."""
    tiles = planes.unfold(1, _BLOCK, _BLOCK).unfold(2, _BLOCK, _BLOCK)
    return tiles.reshape(planes.shape[0], -1, _BLOCK, _BLOCK)


def _without_plane(blocks: Tensor) -> Tensor:
    """Take the least-squares plane off every block."""
    ramp = torch.linspace(-1, 1, _BLOCK, dtype=blocks.dtype)
    energy = ramp.square().sum() * _BLOCK
    down = torch.einsum("cnij,i->cn", blocks, ramp) / energy
    across = torch.einsum("cnij,j->cn", blocks, ramp) / energy
    mean = blocks.mean(dim=(2, 3), keepdim=True)
    plane = down[..., None, None] * ramp[:, None] + across[..., None, None] * ramp
    return blocks - mean - plane


def _choose(structure: Tensor, variance: Tensor, bins: Tensor) -> Tensor:
    """Choose the flattest blocks of each level of brightness, and among them those without dirt."""
    # Blank borders of the frame, and burnt-out places, have no grain to measure.
    live = variance > _BLANK
    chosen = torch.zeros(len(bins), dtype=torch.bool)
    for level in bins[live].unique():
        members = ((bins == level) & live).nonzero()[:, 0]
        count = max(min(len(members), _FEWEST_BLOCKS), round(_FLATTEST * len(members)))
        chosen[members[structure[members].argsort()[:count]]] = True
    flat = chosen & (structure <= _FLAT)
    if not bool(flat.any()):
        return chosen
    # Dirt, motion of what is not flat after all, a cut that was missed. Burnt-out and blocked-up places tell nothing.
    inner = flat & (bins > 0) & (bins < _LEVELS - 1)
    base = inner if bool(inner.any()) else flat
    trust = _trust(structure[base])
    usual = (trust * variance[base].double()).sum() / trust.sum()
    return flat & (variance <= _MOST**2 * usual)


def _trust(structure: Tensor) -> Tensor:
    """Weight of a block: flat ones count most, so that over many pairs what moves in the others is outweighed."""
    return (structure.double() + _FLOOR) ** -2 * _FLOOR**2


def _stillest(variance: Tensor, bins: Tensor) -> Tensor:
    """Choose the blocks of each level of brightness that changed least: the scene may have texture but stands still."""
    chosen = torch.zeros(len(bins), dtype=torch.bool)
    live = variance > _BLANK
    for level in bins[live].unique():
        members = ((bins == level) & live).nonzero()[:, 0]
        chosen[members[variance[members].argsort()[: math.ceil(_STILLEST * len(members))]]] = True
    return chosen


def _correlate(blocks: Tensor) -> Tensor:
    """Sum of the autocorrelations of blocks (N, block, block), unbiased by their borders, (2·reach + 1, …)."""
    size = 2 * _BLOCK
    window = torch.ones(_BLOCK, _BLOCK, dtype=blocks.dtype)
    overlap = torch.fft.irfft2(torch.fft.rfft2(window, s=(size, size)).abs().square(), s=(size, size))
    power = torch.fft.rfft2(blocks, s=(size, size)).abs().square().sum(0)
    shifts = torch.arange(-_REACH, _REACH + 1) % size
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
        _STRUCTURE_PER_GRAIN * torch.minimum(variances, _MOST**2 * usual * weights), _FLOOR * weights
    )
    reliable = (weights > 0) & (total("structures") <= little)
    flat = (variances / weights.clamp(min=1e-30)).sqrt()
    still = (total("still_variances") / counts.clamp(min=1)).sqrt()
    seen = (reliable | (counts > 0)).nonzero()[:, 0]
    values = torch.where(reliable, flat, still)[seen].clamp(max=_MOST * float(usual.sqrt()))
    levels = torch.arange(_LEVELS)
    right = torch.searchsorted(seen, levels).clamp(max=len(seen) - 1)
    left = torch.where(seen[right] <= levels, right, (right - 1).clamp(min=0))
    span = (seen[right] - seen[left]).clamp(min=1)
    share = ((levels - seen[left]) / span).clamp(0, 1)
    return values[left] + share * (values[right] - values[left])


def missing_grain(wanted: MeasuredGrain, present: MeasuredGrain | None) -> MeasuredGrain:
    """Return the grain that has to be added where some is left: variances subtract, the look is the wanted one."""
    if present is None:
        return wanted
    variance = (wanted.strength.square() - present.strength.square()).clamp(min=0)
    return MeasuredGrain(strength=variance.sqrt(), autocorrelation=wanted.autocorrelation, covariance=wanted.covariance)


def grain_field(model: MeasuredGrain, height: int, width: int, *, seed: int, index: int) -> Tensor:
    """Make the grain of one frame, before it is scaled by brightness.

    Args:
        model: How it looks.
        height: Pixels.
        width: Pixels.
        seed: Which grain.
        index: Number of the frame in the film.

    Returns:
        (3, H, W) float32 whose luma has variance 1.
    """
    generator = torch.Generator().manual_seed((seed + (index + 1) * _SEED_STRIDE) % 2**63)
    # Larger than the picture, so that its opposite borders do not meet, and of a length that transforms quickly.
    rows, columns = (-(-(side + 2 * _REACH) // _BLOCK) * _BLOCK for side in (height, width))
    white = torch.randn(3, rows, columns, generator=generator)
    response = _response(model.autocorrelation, rows, columns)
    field = torch.fft.irfft2(torch.fft.rfft2(white) * response, s=(rows, columns))
    mixing = _root(model.covariance)
    return torch.einsum("cd,dhw->chw", mixing, field[:, :height, :width])


def _response(autocorrelation: Tensor, rows: int, columns: int) -> Tensor:
    """Frequency response of the filter that gives white noise an autocorrelation, (rows, columns // 2 + 1)."""
    shifts = torch.arange(-_REACH, _REACH + 1)
    # Measured far shifts are noise; fading them out keeps the spectrum smooth.
    taper = torch.cos(math.pi / 2 * (shifts.abs() / (_REACH + 1)).clamp(max=1)).square()
    near = shifts.abs() <= 2
    taper = torch.where(near, torch.ones_like(taper), taper)
    table = torch.zeros(rows, columns)
    table[(shifts % rows)[:, None], (shifts % columns)[None]] = autocorrelation * taper[:, None] * taper
    power = torch.fft.rfft2(table).real.clamp(min=0)
    response = power.sqrt()
    # Negative parts of the spectrum that were cut off would otherwise make the grain stronger.
    energy = torch.fft.irfft2(response.square(), s=(rows, columns))[0, 0]
    return response / energy.clamp(min=1e-12).sqrt()


def _root(covariance: Tensor) -> Tensor:
    """Symmetric square root of a covariance, also of a singular one (monochrome grain)."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return ((vectors * values.clamp(min=0).sqrt()) @ vectors.T).float()


def add_grain(frame: Tensor, model: MeasuredGrain, settings: RegrainSettings, index: int) -> Tensor:
    """Add grain to one frame.

    Args:
        frame: (3, H, W), RGB, [0, 1].
        model: The grain to add.
        settings: Strength and seed.
        index: Number of the frame in the film, so that chunks do not matter.

    Returns:
        (3, H, W), in [0, 1].
    """
    if settings.strength == 0:
        return frame
    height, width = frame.shape[-2:]
    field = grain_field(model, height, width, seed=settings.seed, index=index).to(frame)
    brightness = gaussian((luma(frame) / 255.0)[None], _BRIGHTNESS_SIGMA)[0].clamp(0, 1) * (_LEVELS - 1)
    left = brightness.floor().long().clamp(max=_LEVELS - 2)
    strength = model.strength.to(frame)
    scale = torch.lerp(strength[left], strength[left + 1], brightness - left)
    return (frame + settings.strength * scale * field).clamp(0, 1)


def regrain(
    frames: Tensor,
    source: Tensor,
    settings: RegrainSettings | None = None,
    *,
    shots: Sequence[Shot] | None = None,
    first_frame: int = 0,
    progress: Progress = silent,
) -> Tensor:
    """Give restored frames the grain of the film they come from.

    A shot whose grain cannot be measured (fewer than two frames, nothing flat) takes that of the nearest shot before or
    after it; if there is none, nothing is added.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1], restored.
        source: Same shape: the film with its grain.
        settings: Strength and seed.
        shots: Shots that cover the frames; None is one shot.
        first_frame: Number of the first frame in the film.
        progress: Called once per frame and pass.

    Returns:
        (T, 3, H, W), in [0, 1].

    Raises:
        SettingsError: Frames and source differ in shape, or the shots do not cover them.
    """
    settings = settings or RegrainSettings()
    if frames.shape != source.shape or frames.ndim != 4 or frames.shape[1] != 3:
        raise SettingsError(
            f"frames {tuple(frames.shape)} and source {tuple(source.shape)} must be alike, (T, 3, H, W); grain is "
            "measured in pixels, so use the film at the size of the restored frames"
        )
    parts = covering_shots(shots, len(frames))
    if settings.strength == 0:
        return frames
    measuring, adding = Pulse(progress, "measure grain", len(frames)), Pulse(progress, "add grain", len(frames))
    wanted, present = [], []
    for shot in parts:
        analysers = GrainAnalyser(), GrainAnalyser()
        for t in range(shot.first, shot.last):
            analysers[0].update(source[t])
            if settings.keep_present:
                analysers[1].update(frames[t])
            measuring.step()
        wanted.append(analysers[0].finish())
        present.append(analysers[1].finish())
    result = frames.clone()
    for number, shot in enumerate(parts):
        model = _nearest(wanted, number)
        for t in range(shot.first, shot.last):
            if model is not None:
                missing = missing_grain(model, present[number])
                result[t] = add_grain(frames[t], missing, settings, first_frame + t)
            adding.step(result[t])
    return result


def _nearest(models: Sequence[MeasuredGrain | None], number: int) -> MeasuredGrain | None:
    order = sorted(range(len(models)), key=lambda other: abs(other - number))
    return next((models[other] for other in order if models[other] is not None), None)
