"""Measure the grain of a film and give the restored picture grain like it.

How it is measured is told in `grain_measure`.

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
from ..video.luma import luma
from ..video.shots import Shot, covering_shots
from .grain_measure import GRAIN, GrainAnalyser, MeasuredGrain

_BRIGHTNESS_SIGMA = 2.0
"""Pixels over which brightness is smoothed before it tells the strength of grain: grain must not modulate itself."""

_LARGEST_SEED = 2**63 - 1
"""The largest number that seeds a generator of torch."""

_SEED_STRIDE = 0x9E3779B97F4A7C15
"""Number added per frame to the seed: 2⁶⁴ over the golden ratio, so that neighbouring seeds share no frame's grain."""


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
    rows, columns = (-(-(side + 2 * GRAIN.reach) // GRAIN.block) * GRAIN.block for side in (height, width))
    white = torch.randn(3, rows, columns, generator=generator)
    response = _response(model.autocorrelation, rows, columns)
    field = torch.fft.irfft2(torch.fft.rfft2(white) * response, s=(rows, columns))
    mixing = _root(model.covariance)
    return torch.einsum("cd,dhw->chw", mixing, field[:, :height, :width])


def _response(autocorrelation: Tensor, rows: int, columns: int) -> Tensor:
    """Frequency response of the filter that gives white noise an autocorrelation, (rows, columns // 2 + 1)."""
    shifts = torch.arange(-GRAIN.reach, GRAIN.reach + 1)
    # Measured far shifts are noise; fading them out keeps the spectrum smooth.
    taper = torch.cos(math.pi / 2 * (shifts.abs() / (GRAIN.reach + 1)).clamp(max=1)).square()
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
    brightness = gaussian((luma(frame) / 255.0)[None], _BRIGHTNESS_SIGMA)[0].clamp(0, 1) * (GRAIN.levels - 1)
    left = brightness.floor().long().clamp(max=GRAIN.levels - 2)
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
