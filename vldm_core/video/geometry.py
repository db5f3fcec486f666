"""Fit frames to the sizes a diffusion prior works on, and the exact way back.

Stable Diffusion was trained at a short side of 512 and up, and its UNet and VAE halve the picture six times, so both
sides must be divisible by 64.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """What size a frame has to become.

    Attributes:
        short_side: Least length of the shorter side, px; smaller frames are enlarged.
        multiple: Both sides become divisible by this.
        mode: How the last pixels up to the multiple are made: ``"pad"`` mirrors the border outwards and keeps every
            pixel; ``"resize"`` stretches to the nearest size that fits, by less than one multiple.
    """

    short_side: int = 512
    multiple: int = 64
    mode: Literal["pad", "resize"] = "pad"

    def __post_init__(self) -> None:
        if self.short_side < 1 or self.multiple < 1:
            raise SettingsError(
                f"short_side is {self.short_side} and multiple is {self.multiple}; both are at least 1 pixel"
            )
        if self.mode not in ("pad", "resize"):
            raise SettingsError(f"fit mode is {self.mode!r}; use 'pad' or 'resize'")


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """How frames of one size are fitted.

    Attributes:
        height: Height of the frames before, px.
        width: Width of the frames before, px.
        scaled_height: Height after resizing, before padding.
        scaled_width: Width after resizing, before padding.
        fitted_height: Height after padding, divisible by the multiple.
        fitted_width: Width after padding, divisible by the multiple.
        top: Rows mirrored above the picture; the rest is below.
        left: Columns mirrored left of the picture; the rest is right.
    """

    height: int
    width: int
    scaled_height: int
    scaled_width: int
    fitted_height: int
    fitted_width: int
    top: int
    left: int

    @property
    def resizes(self) -> bool:
        """Whether pixels are resampled; if not, the way back is bit-exact by itself."""
        return (self.scaled_height, self.scaled_width) != (self.height, self.width)


def plan_fit(height: int, width: int, settings: FitSettings | None = None) -> FitPlan:
    """Plan how frames of one size are fitted.

    Args:
        height: Frame height, px, ≥ 1.
        width: Frame width, px, ≥ 1.
        settings: Wanted size; defaults to :class:`FitSettings`.

    Raises:
        SettingsError: A side is less than one pixel.
    """
    settings = settings or FitSettings()
    if height < 1 or width < 1:
        raise SettingsError(f"a frame of {width}×{height} pixels cannot be fitted; both sides are at least 1")
    multiple = settings.multiple
    short = min(height, width)
    # Whole-number arithmetic: a factor of exactly short_side / short must give exactly short_side.
    scaled = [
        side if short >= settings.short_side else (side * settings.short_side + short // 2) // short
        for side in (height, width)
    ]
    if settings.mode == "pad":
        fitted = [_up(side, multiple) for side in scaled]
        margins = [(full - side) // 2 for full, side in zip(fitted, scaled, strict=True)]
    else:
        least = _up(settings.short_side, multiple)
        fitted = [max(least, multiple * round(side / multiple)) for side in scaled]
        scaled, margins = fitted, [0, 0]
    return FitPlan(
        height=height,
        width=width,
        scaled_height=scaled[0],
        scaled_width=scaled[1],
        fitted_height=fitted[0],
        fitted_width=fitted[1],
        top=margins[0],
        left=margins[1],
    )


def fit(frames: Tensor, plan: FitPlan) -> Tensor:
    """Bring frames or masks to the planned size.

    Args:
        frames: Frames (T, C, H, W) in [0, 1], or masks (T, H, W). Masks that hold only 0 and 1 keep to them, and no
            marked place is lost.
        plan: From :func:`plan_fit` for this size.

    Returns:
        The same layout at (fitted_height, fitted_width).

    Raises:
        SettingsError: The frames have another size than the plan.
    """
    _check(frames, plan.height, plan.width, "fit")
    scaled = _resized(frames, plan.scaled_height, plan.scaled_width)
    if frames.ndim == 4 and plan.resizes:
        scaled = scaled.clamp(0, 1)
    rows = _mirrored(plan.scaled_height, plan.top, plan.fitted_height).to(frames.device)
    columns = _mirrored(plan.scaled_width, plan.left, plan.fitted_width).to(frames.device)
    return scaled.index_select(-2, rows).index_select(-1, columns)


def unfit(frames: Tensor, plan: FitPlan, original: Tensor | None = None) -> Tensor:
    """Take fitted frames or masks back to the size they had.

    Where the plan does not resize, this is a crop, and ``unfit(fit(x)) == x`` bit for bit. Where it does, a picture
    comes back slightly softer; given ``original``, only what changed since the fit is brought back
    (original + resize(frames − fit(original))), so an untouched picture is again bit-equal.

    Args:
        frames: Frames (T, C, H, W) or masks (T, H, W) at the fitted size.
        plan: The plan they were fitted with.
        original: The frames before the fit, same layout; None takes the fitted frames alone.

    Returns:
        The same layout at (height, width).

    Raises:
        SettingsError: The frames have another size than the plan fits to, or original another than it fits from.
    """
    _check(frames, plan.fitted_height, plan.fitted_width, "unfit")
    if original is not None:
        frames = frames - fit(original, plan)
    bottom, right = plan.top + plan.scaled_height, plan.left + plan.scaled_width
    result = _resized(frames[..., plan.top : bottom, plan.left : right], plan.height, plan.width)
    if original is not None:
        result = original + result
    return result.clamp(0, 1) if frames.ndim == 4 and plan.resizes else result


def _up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def _check(frames: Tensor, height: int, width: int, what: str) -> None:
    if frames.ndim not in (3, 4) or tuple(frames.shape[-2:]) != (height, width):
        raise SettingsError(
            f"cannot {what} {tuple(frames.shape)}: this plan takes (T, C, {height}, {width}) or "
            f"(T, {height}, {width}); use the plan made for these frames"
        )


def _resized(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize frames by antialiased bicubic interpolation, masks so that no marked place is lost."""
    if tuple(frames.shape[-2:]) == (height, width):
        return frames
    if frames.ndim == 4:
        return functional.interpolate(frames, (height, width), mode="bicubic", antialias=True, align_corners=False)
    old_height, old_width = frames.shape[-2:]
    # Enlarging repeats samples; shrinking takes the maximum of those that fall together.
    repeated = functional.interpolate(frames[:, None], (max(height, old_height), max(width, old_width)), mode="nearest")
    return functional.adaptive_max_pool2d(repeated, (height, width))[:, 0]


def _mirrored(side: int, before: int, total: int) -> Tensor:
    """Indices that continue 0 … side − 1 by reflection about the border samples, as often as needed."""
    period = max(2 * (side - 1), 1)
    positions = (torch.arange(total) - before) % period
    return torch.minimum(positions, period - positions) if side > 1 else torch.zeros(total, dtype=torch.long)
