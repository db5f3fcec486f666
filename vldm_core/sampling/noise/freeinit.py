"""FreeInit: start noise whose slow and coarse part comes from a first result (arXiv:2312.07537).

A clip is sampled, noised back to the first step and sampled again, each time from noise that keeps the low
frequencies of the result in time and space and has fresh high ones: equation 5-7 of the paper,

    z' = IFFT(FFT(z_T) · H) + IFFT(FFT(η) · (1 - H)).

Each round costs one whole sampling. Frequencies are counted in units of the Nyquist frequency, and each shot is
transformed by itself. Latents are those of the variance-preserving convention, of unit variance; :func:`renoise` makes
them from a result and the first sigma.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...errors import SettingsError
from ...video.shots import Shot, covering_shots

FILTERS = ("gaussian", "butterworth", "ideal")


@dataclass(frozen=True, kw_only=True)
class FreeInitSettings:
    """What the next round keeps of the last.

    Attributes:
        iterations: How often the clip is sampled; 1 is plain sampling.
        filter: "gaussian" exp(-ρ²/2), "butterworth" 1 / (1 + ρ^(2·order)) or "ideal" ρ ≤ 1, where ρ² is the sum of
            (frequency / cutoff)² over time, rows and columns.
        spatial_cutoff: Share of the Nyquist frequency across the picture, above 0.
        temporal_cutoff: Share of the Nyquist frequency in time, above 0.
        order: Steepness, for "butterworth".
    """

    iterations: int = 3
    filter: Literal["gaussian", "butterworth", "ideal"] = "butterworth"
    spatial_cutoff: float = 0.25
    temporal_cutoff: float = 0.25
    order: int = 4

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise SettingsError(f"FreeInit iterations is {self.iterations}; use 1 (off) or more")
        if self.filter not in FILTERS:
            raise SettingsError(f"FreeInit filter is {self.filter!r}; use one of {', '.join(FILTERS)}")
        for name in ("spatial_cutoff", "temporal_cutoff"):
            if not 0 < getattr(self, name) <= 2:
                raise SettingsError(f"FreeInit {name} is {getattr(self, name)}; use more than 0, up to 2")
        if self.order < 1:
            raise SettingsError(f"FreeInit order is {self.order}; use 1 or more")


def low_pass(frames: int, height: int, width: int, settings: FreeInitSettings) -> Tensor:
    """Return the low-pass response at the bins of a three-dimensional FFT.

    Args:
        frames: T.
        height: h.
        width: w.
        settings: Which filter.

    Returns:
        (T, h, w) float32 in [0, 1], laid out as ``torch.fft.fftn`` orders its bins.
    """
    time = torch.fft.fftfreq(frames, dtype=torch.float64)[:, None, None] * 2 / settings.temporal_cutoff
    row = torch.fft.fftfreq(height, dtype=torch.float64)[:, None] * 2 / settings.spatial_cutoff
    column = torch.fft.fftfreq(width, dtype=torch.float64) * 2 / settings.spatial_cutoff
    radius = time.square() + row.square() + column.square()
    if settings.filter == "gaussian":
        response = torch.exp(-radius / 2)
    elif settings.filter == "butterworth":
        response = 1 / (1 + radius**settings.order)
    else:
        response = (radius <= 1).double()
    return response.float()


def reinitialise(
    z_T: Tensor,  # noqa: N803 - the paper's name
    fresh_noise: Tensor,
    settings: FreeInitSettings,
    shots: Sequence[Shot] | None = None,
) -> Tensor:
    """Join the low frequencies of a noised result with the high ones of fresh noise.

    Args:
        z_T: (T, C, h, w), the last result noised to the first step, unit variance (see :func:`renoise`).
        fresh_noise: (T, C, h, w), standard normal.
        settings: Which frequencies.
        shots: The shots of the clip; None where it is one.

    Returns:
        (T, C, h, w), like `z_T`, close to unit variance: a bin has H² + (1 - H)², which is below 1 only on the
        filter's slope.

    Raises:
        SettingsError: The shapes differ or the shots do not cover the clip.
    """
    if z_T.shape != fresh_noise.shape or z_T.ndim != 4:
        raise SettingsError(
            f"z_T is {tuple(z_T.shape)} and fresh_noise {tuple(fresh_noise.shape)}; give both as (T, C, h, w)"
        )
    axes = (0, 2, 3)
    parts: list[Tensor] = []
    for shot in covering_shots(shots, z_T.shape[0]):
        old, new = z_T[shot.first : shot.last].float(), fresh_noise[shot.first : shot.last].to(z_T.device).float()
        response = low_pass(len(shot), z_T.shape[2], z_T.shape[3], settings).to(z_T.device)[:, None]
        # LPF(old) + HPF(new) = new + LPF(old - new), because LPF + HPF = 1: one transform instead of two.
        spectrum = torch.fft.fftn(old - new, dim=axes) * response
        parts.append(new + torch.fft.ifftn(spectrum, dim=axes).real)
    return torch.cat(parts).to(z_T.dtype)


def renoise(x0: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Noise a result back to the first step, in the variance-preserving convention.

    FreeInit uses the same noise in every round, so that the low frequencies settle.

    Args:
        x0: (T, C, h, w), the last result.
        noise: (T, C, h, w), the noise the first round began with.
        sigma: First sigma of the schedule.

    Returns:
        (T, C, h, w): (x0 + sigma · noise) / √(1 + sigma²) = √ᾱ x0 + √(1 - ᾱ) noise.
    """
    return (x0 + sigma * noise) / (1 + sigma**2) ** 0.5
