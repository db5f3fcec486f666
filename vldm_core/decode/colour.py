"""Give decoded pictures back the colours of the film, without giving them its flicker.

A diffusion prior and a VAE shift colours. Three corrections are customary, each against a reference, the picture as it
was before the prior:

- *wavelet*: the low frequencies of the reference, the high ones of the result (à-trous wavelets, 5 levels);
- *AdaIN*: mean and standard deviation per channel (X. Huang, S. Belongie, "Arbitrary Style Transfer in Real-Time with
  Adaptive Instance Normalization", ICCV 2017, equation 8);
- *Lab*: the distributions of L*, a* and b* (histogram specification, Gonzalez and Woods).

Taken frame by frame, as usual, each of them copies the brightness flicker and the stains of the reference into a
restored film. So the statistics here are those of the *shot*:

- AdaIN pools mean and variance over the frames of the shot (the variance within frames: a flickering mean is none of
  it). Lab averages the quantiles of the frames: histograms that were simply added would be broadened by flicker, and
  raise the contrast. Both give one curve per shot.
- The wavelet correction of a frame is one picture, low(reference) − low(result). Over the shot it is fitted, place by
  place, by a line with knots a ``period`` apart (least squares, so without lag or bias at the cuts). What changes
  slowly, a cast or a fade, passes; what changes from frame to frame does not. No motion is followed: the correction is
  already blurred over some 30 pixels, and where the scene moves only a part of the *difference* is smeared, which is
  small where the prior kept the colours.

Statistics are gathered in one pass over the shot and applied in a second, at memory that grows with the knots only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import SettingsError
from ..progress import Progress, Pulse, silent
from ..video.luma import COLOURED, luma
from ..video.shots import Shot, covering_shots
from .lab_curves import follow_curves, matching_curves, quantiles_of


@dataclass(frozen=True, kw_only=True)
class ColourFit:
    """How low frequencies and spreads are measured.

    Attributes:
        levels: Levels of the wavelet, as is customary: together a blur about 13 pixels wide (sigma).
        step: Pixels from one kept pixel of such a blur to the next: every other one holds all of it.
        variance_floor: Of [0, 1]², added to a variance before its root is divided by; AdaIN's customary value.
    """

    levels: int = 5
    step: int = 2
    variance_floor: float = 1e-5


_FIT = ColourFit()

Method = Literal["off", "wavelet", "adain", "lab"]


@dataclass(frozen=True, kw_only=True)
class ColourSettings:
    """How colours are corrected.

    Attributes:
        method: What is taken from the reference: its low frequencies, mean and spread, or distributions; "off" nothing.
        statistics: "shot" pools them over each shot; "frame" takes each frame for itself and re-imports its flicker.
        strength: Share of the correction that is applied, 0 … 1.
        period: Frames between the knots of the wavelet correction under shot statistics, 2 or more. Changes much
            faster than this are not taken over.
        lightness: Whether "lab" corrects L* too; False leaves brightness and contrast as they are.
        monochrome: "on" makes the result exactly grey, "auto" does so when the reference has no colour, "off" never.
    """

    method: Method = "wavelet"
    statistics: Literal["shot", "frame"] = "shot"
    strength: float = 1.0
    period: int = 48
    lightness: bool = True
    monochrome: Literal["auto", "on", "off"] = "auto"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("method", ("off", "wavelet", "adain", "lab")),
            ("statistics", ("shot", "frame")),
            ("monochrome", ("auto", "on", "off")),
        ):
            if getattr(self, name) not in allowed:
                raise SettingsError(f"colour {name} is {getattr(self, name)!r}; use one of {', '.join(allowed)}")
        if not 0 <= self.strength <= 1:
            raise SettingsError(f"colour strength is {self.strength}; use 0 … 1")
        if self.period < 2:
            raise SettingsError(f"colour period is {self.period}; use 2 frames or more")


def low_frequencies(frames: Tensor, levels: int = _FIT.levels) -> Tensor:
    """Blur with the à-trous wavelet: [1 2 1]⊗[1 2 1]/16, spread 1, 2, 4, … pixels, borders repeated.

    Args:
        frames: (T, C, H, W).
        levels: How often.

    Returns:
        (T, C, H, W); frames minus this are the high frequencies.
    """
    for level in range(levels):
        frames = _spread_blur(_spread_blur(frames, 2**level, -1), 2**level, -2)
    return frames


def _spread_blur(frames: Tensor, reach: int, dim: int) -> Tensor:
    """Mean of a pixel (half) and those ``reach`` before and after it (a quarter each)."""
    length = frames.shape[dim]
    places = torch.arange(length, device=frames.device)
    before = frames.index_select(dim, (places - reach).clamp(min=0))
    after = frames.index_select(dim, (places + reach).clamp(max=length - 1))
    return frames.mul(0.5).add_(before.add_(after), alpha=0.25)


def wavelet_fix(content: Tensor, style: Tensor) -> Tensor:
    """High frequencies of ``content`` and low ones of ``style``, frame by frame; not clamped.

    Args:
        content: (T, 3, H, W), the result.
        style: Same shape, the reference.
    """
    return content - low_frequencies(content) + low_frequencies(style)


def adain_fix(content: Tensor, style: Tensor) -> Tensor:
    """Give ``content`` the mean and standard deviation of ``style``, per frame and channel; not clamped.

    The variance is the unbiased one, plus 1e-5.

    Args:
        content: (T, 3, H, W), the result.
        style: Same shape, the reference.
    """
    mean, deviation = _moments(content)
    wanted_mean, wanted_deviation = _moments(style)
    return (content - mean) / deviation * wanted_deviation + wanted_mean


def _moments(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per frame and channel, each (T, C, 1, 1)."""
    variance, mean = (part[..., None, None] for part in _spread(frames))
    return mean, (variance + _FIT.variance_floor).sqrt()


def _spread(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Unbiased variance and mean of every channel, (T, C) each; a single pixel does not vary."""
    several = frames.shape[-2] * frames.shape[-1] > 1
    variance, mean = torch.var_mean(frames, dim=(-2, -1), correction=int(several))
    return variance, mean


@dataclass(frozen=True, kw_only=True)
class ColourTrack:
    """The measured correction of one shot.

    Attributes:
        settings: How it was measured.
        frames: Frames in the shot.
        knots: Wavelet: (K, 3, h, w) correction at the knots, on every other pixel; else None.
        gain: AdaIN: (3,) factor on each channel, and
        offset: (3,) what is added after it; else None.
        curves: Lab: (3, bins + 1) new values at the edges of the bins; else None.
        coloured: Share of the reference that has colour, 0 … 1.
    """

    settings: ColourSettings
    frames: int
    knots: Tensor | None = None
    gain: Tensor | None = None
    offset: Tensor | None = None
    curves: Tensor | None = None
    coloured: float = 1.0

    @property
    def monochrome(self) -> bool:
        """Whether the reference has no colour to speak of."""
        return self.coloured < COLOURED.share


class ColourAnalyser:
    """First pass over a shot: what distinguishes the reference from the result.

    Args:
        settings: Method and statistics.
        frames: Frames in the shot.
    """

    def __init__(self, settings: ColourSettings, frames: int) -> None:
        self._settings = settings
        self._frames = frames
        self._done = 0
        self._blocks = self._coloured_blocks = 0
        self._sums: list[Tensor] | None = None
        self._knots = 1 + round((frames - 1) / settings.period)

    def update(self, content: Tensor, style: Tensor) -> None:
        """Take the next frame of the shot.

        Args:
            content: (3, H, W), the result.
            style: Same shape, the reference.
        """
        self._count_colour(style)
        if self._settings.statistics == "shot":
            found = self._measure(content[None], style[None])
            if self._sums is None:
                self._sums = [torch.zeros_like(item) for item in found]
            for total, item in zip(self._sums, found, strict=True):
                total.add_(item)
        self._done += 1

    def _count_colour(self, style: Tensor) -> None:
        means = functional.avg_pool2d(style[None], COLOURED.block, ceil_mode=True)[0]
        spread = means.amax(dim=0) - means.amin(dim=0)
        self._blocks += spread.numel()
        self._coloured_blocks += int((spread > COLOURED.spread).sum())

    def _measure(self, content: Tensor, style: Tensor) -> list[Tensor]:
        """Return what is summed over the shot."""
        method = self._settings.method
        if method == "wavelet":
            difference = _reduced(low_frequencies(style - content))
            return [_hats(self._done, self._frames, self._knots)[:, None, None, None].to(difference) * difference]
        if method == "adain":
            return [part for frame in (content, style) for part in _spread(frame.double())]
        if method == "lab":
            return [quantiles_of(content), quantiles_of(style)]
        return []

    def finish(self) -> ColourTrack:
        """Return the correction of the shot.

        Raises:
            SettingsError: Another number of frames came than was said.
        """
        if self._done != self._frames:
            raise SettingsError(
                f"colour was measured on {self._done} frames of a shot of {self._frames}; pass them all"
            )
        coloured = self._coloured_blocks / max(self._blocks, 1)
        empty = ColourTrack(settings=self._settings, frames=self._frames, coloured=coloured)
        if not self._sums:
            return empty
        fields: dict[str, Tensor] = {}
        if self._settings.method == "wavelet":
            fields["knots"] = self._solve(self._sums[0])
        elif self._settings.method == "adain":
            variance, mean, wanted_variance, wanted_mean = (total[0] / self._done for total in self._sums)
            gain = ((wanted_variance + _FIT.variance_floor) / (variance + _FIT.variance_floor)).sqrt()
            fields |= {"gain": gain.float(), "offset": (wanted_mean - gain * mean).float()}
        else:
            fields["curves"] = matching_curves(self._sums[0] / self._done, self._sums[1] / self._done)
        return ColourTrack(settings=self._settings, frames=self._frames, coloured=coloured, **fields)

    def _solve(self, sums: Tensor) -> Tensor:
        """Fit the line through the knots by least squares from the sums of hat · difference."""
        hats = torch.stack([_hats(t, self._frames, self._knots) for t in range(self._frames)])
        gram = hats.T @ hats
        return torch.linalg.solve(gram, sums.double().flatten(1)).reshape(sums.shape).float()


def _hats(frame: int, frames: int, knots: int) -> Tensor:
    """Share of each knot in a frame: linear interpolation, (knots,) float64; the shares sum to 1."""
    position = torch.tensor(0.0 if frames == 1 else frame * (knots - 1) / (frames - 1), dtype=torch.float64)
    return (1 - (torch.arange(knots) - position).abs()).clamp(min=0)


def _reduced(low: Tensor) -> Tensor:
    """Keep every few pixels of a blurred picture, averaged."""
    return functional.avg_pool2d(low, _FIT.step, ceil_mode=True, count_include_pad=False)


def _enlarged(reduced: Tensor, height: int, width: int) -> Tensor:
    """Interpolate a reduced picture; the centres of the blocks stay where they were."""
    whole = functional.interpolate(reduced, scale_factor=_FIT.step, mode="bilinear", align_corners=False)
    return whole[..., :height, :width]


def apply_colour(
    content: Tensor, style: Tensor, track: ColourTrack, index: int, *, monochrome: bool | None = None
) -> Tensor:
    """Second pass: correct one frame.

    Args:
        content: (3, H, W), the result.
        style: Same shape, the reference; only read under frame statistics.
        track: The correction of the shot.
        index: Number of the frame within the shot.
        monochrome: Whether the film has no colour; None goes by the shot.

    Returns:
        (3, H, W), in [0, 1].
    """
    settings = track.settings
    frame, reference = content[None], style[None]
    if settings.method != "off" and settings.strength > 0:
        if settings.statistics == "frame":
            fixed = _fix_frame(frame, reference, settings)
        else:
            fixed = _fix_by_track(frame, track, index)
        frame = torch.lerp(frame, fixed, settings.strength).clamp(0, 1)
    without_colour = track.monochrome if monochrome is None else monochrome
    if settings.monochrome == "on" or (settings.monochrome == "auto" and without_colour):
        frame = (luma(frame) / 255.0).clamp(0, 1)[:, None].expand(-1, 3, -1, -1)
    return frame[0]


def _fix_frame(frame: Tensor, reference: Tensor, settings: ColourSettings) -> Tensor:
    if settings.method == "wavelet":
        return wavelet_fix(frame, reference)
    if settings.method == "adain":
        return adain_fix(frame, reference)
    return follow_curves(frame, matching_curves(quantiles_of(frame), quantiles_of(reference)), settings.lightness)


def _fix_by_track(frame: Tensor, track: ColourTrack, index: int) -> Tensor:
    if track.knots is not None:
        hats = _hats(index, track.frames, len(track.knots)).to(track.knots)
        correction = torch.einsum("k,kchw->chw", hats, track.knots)[None]
        return frame + _enlarged(correction, *frame.shape[-2:])
    if track.gain is not None and track.offset is not None:
        return frame * track.gain[:, None, None] + track.offset[:, None, None]
    assert track.curves is not None
    return follow_curves(frame, track.curves, track.settings.lightness)


def match_colour(
    frames: Tensor,
    reference: Tensor,
    settings: ColourSettings | None = None,
    *,
    shots: Sequence[Shot] | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Give frames the colours of the film.

    Whether the film is monochrome is decided once, over all frames; all other statistics keep to their shot.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1], the result.
        reference: Same shape: the film before the prior, on the same frames.
        settings: Method, statistics, strength.
        shots: Shots that cover the frames; None is one shot.
        progress: Called once per frame and pass.

    Returns:
        (T, 3, H, W), in [0, 1].

    Raises:
        SettingsError: Frames and reference differ in shape, or the shots do not cover them.
    """
    settings = settings or ColourSettings()
    if frames.shape != reference.shape or frames.ndim != 4 or frames.shape[1] != 3:
        raise SettingsError(
            f"frames {tuple(frames.shape)} and reference {tuple(reference.shape)} must be alike, (T, 3, H, W); "
            "use the film as it went into the prior, at the same size"
        )
    parts = covering_shots(shots, len(frames))
    measuring = Pulse(progress, "match colour: measure", len(frames))
    applying = Pulse(progress, "match colour", len(frames))
    tracks = []
    for shot in parts:
        analyser = ColourAnalyser(settings, shot.last - shot.first)
        for t in range(shot.first, shot.last):
            analyser.update(frames[t], reference[t])
            measuring.step()
        tracks.append(analyser.finish())
    coloured = sum(track.coloured * track.frames for track in tracks) / len(frames)
    result = torch.empty(frames.shape, dtype=torch.float32)
    for shot, track in zip(parts, tracks, strict=True):
        for t in range(shot.first, shot.last):
            result[t] = apply_colour(
                frames[t], reference[t], track, t - shot.first, monochrome=coloured < COLOURED.share
            )
            applying.step(result[t])
    return result
