"""Fit frames to the sizes a Stable Diffusion prior works on, and lead them back to exactly the size they had.

The prior wants a short side of at least 512 pixels and both sides divisible by 64. `plan_fit` decides once per film how
that is reached, `fit` does it and `unfit` undoes it. Nothing is ever reduced, so nothing is lost on the way in:

- Large enough frames are only padded, in mode "pad", by mirroring at the border. The way back is a crop:
  `unfit(fit(x)) == x`, bit for bit.
- Small frames are enlarged first, and in mode "resize" all frames are stretched to the divisible size instead of being
  padded. The way back is an antialiased reduction followed by back-projection (M. Irani, S. Peleg, "Improving
  Resolution by Image Registration", CVGIP 1991), which gives back most of the sharpness that resampling twice costs; a
  picture nobody touched comes back closely (see `unfit`). With the original at hand the way back is exact again: only
  the *change* made to the fitted picture is reduced and added to the original.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import SettingsError

LARGEST_ASPECT = 4
"""A frame is not enlarged beyond a long side of this many short sides; what is then missing is padded or stretched."""

# Two steps halve the error of the reduction; more would sharpen what the fitted picture was given in between.
_BACK_PROJECTIONS = 2


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """What a fitted frame must be like.

    Attributes:
        short_side: Least length of the shorter side, pixels. Smaller frames are enlarged to it.
        multiple: Both sides become divisible by this.
        mode: "pad" mirrors the border outwards and keeps the aspect ratio; "resize" stretches to the divisible size.
    """

    short_side: int = 512
    multiple: int = 64
    mode: Literal["pad", "resize"] = "pad"

    def __post_init__(self) -> None:
        if self.short_side < 1:
            raise SettingsError(f"fit short_side is {self.short_side}; use 1 pixel or more")
        if self.multiple < 1:
            raise SettingsError(f"fit multiple is {self.multiple}; use 1 or more, 64 for Stable Diffusion")
        if self.mode not in ("pad", "resize"):
            raise SettingsError(f"fit mode is {self.mode!r}; use 'pad' or 'resize'")


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """How frames of one size are fitted; all in pixels.

    Attributes:
        height: Of the original frame.
        width: Of the original frame.
        content_height: Of the picture inside the fitted frame, the original or its enlargement.
        content_width: The same.
        top: Rows of padding above the content.
        left: Columns of padding left of it.
        fitted_height: Of the fitted frame.
        fitted_width: Of the fitted frame.
    """

    height: int
    width: int
    content_height: int
    content_width: int
    top: int
    left: int
    fitted_height: int
    fitted_width: int

    @property
    def resized(self) -> bool:
        """Whether pixels are interpolated; False means that the way back is a crop and exact."""
        return (self.content_height, self.content_width) != (self.height, self.width)

    @property
    def scale(self) -> tuple[float, float]:
        """Enlargement of the content, down and across; 1 or more."""
        return self.content_height / self.height, self.content_width / self.width


def plan_fit(height: int, width: int, settings: FitSettings | None = None) -> FitPlan:
    """Plan how frames of one size are fitted.

    Args:
        height: Of the frames, 1 or more.
        width: Of the frames, 1 or more.
        settings: Defaults to `FitSettings()`.

    Returns:
        The plan. Its fitted sides are divisible by `multiple` and at least `short_side`.

    Raises:
        SettingsError: A side is less than 1.
    """
    settings = settings or FitSettings()
    if height < 1 or width < 1:
        raise SettingsError(f"cannot fit frames of {width}×{height}; both sides must be 1 or more")
    short, long = min(height, width), max(height, width)
    # Numerator and denominator of the enlargement, so that sides which need none stay whole.
    grow, by = (settings.short_side, short) if short < settings.short_side else (1, 1)
    longest = max(LARGEST_ASPECT * settings.short_side, long)
    if long * grow > longest * by:
        grow, by = longest, long
    content = [max(side, (2 * side * grow + by) // (2 * by)) for side in (height, width)]
    fitted = [-(-max(side, settings.short_side) // settings.multiple) * settings.multiple for side in content]
    if settings.mode == "resize":
        content = list(fitted)
    return FitPlan(
        height=height,
        width=width,
        content_height=content[0],
        content_width=content[1],
        top=(fitted[0] - content[0]) // 2,
        left=(fitted[1] - content[1]) // 2,
        fitted_height=fitted[0],
        fitted_width=fitted[1],
    )


def fit(frames: Tensor, plan: FitPlan) -> Tensor:
    """Bring frames or masks to the fitted size.

    Frames are enlarged bicubically and clamped to [0, 1], masks bilinearly; a mask frame of only 0 and 1 is enlarged by
    its nearest pixels and stays so. Padding mirrors at the border pixel, again and again where it is wider than the
    picture.

    Args:
        frames: Frames (T, C, H, W) in [0, 1], or masks (T, H, W), of the plan's original size.
        plan: From `plan_fit`.

    Returns:
        The same layout and dtype in the fitted size.

    Raises:
        SettingsError: The frames have another size than the plan is for.
    """
    _check(frames, plan.height, plan.width, "fit")
    content = _resize(frames, plan.content_height, plan.content_width)
    rows = _mirror(plan.content_height, plan.top, plan.fitted_height, frames.device)
    columns = _mirror(plan.content_width, plan.left, plan.fitted_width, frames.device)
    if len(rows) == plan.content_height and len(columns) == plan.content_width:
        return content.clone() if content is frames else content
    return content.index_select(-2, rows).index_select(-1, columns)


def unfit(frames: Tensor, plan: FitPlan, original: Tensor | None = None) -> Tensor:
    """Bring fitted frames or masks back to the original size.

    Where the plan only padded, this is a crop, and untouched pixels come back bit for bit. Where it resized, an
    untouched photograph comes back to 0.003 on average and 0.07 in all but a thousandth of its pixels; white noise,
    the hardest case, to 0.06 on average. With `original`, pixels out of reach of any change (about 8 pixels) come back
    bit for bit here too. Masks of only 0 and 1 always come back as they were.

    Args:
        frames: Frames (T, C, H, W) or masks (T, H, W) of the fitted size.
        plan: The plan they were fitted with.
        original: Frames (T, C, H, W) as they went into `fit`. The result is then
            original + reduce(frames - fit(original)), clamped to [0, 1] where it changed. It keeps the finest detail of
            the original, which enlarging and reducing would lose, also where the fitted picture changed.

    Returns:
        The same layout and dtype in the original size.

    Raises:
        SettingsError: The frames have another size than the plan's, or `original` does not belong to them.
    """
    _check(frames, plan.fitted_height, plan.fitted_width, "unfit")
    if original is not None and (frames.ndim == 3 or original.shape[:-2] != frames.shape[:-2]):
        raise SettingsError(
            f"unfit got frames {tuple(frames.shape)} with an original {tuple(original.shape)}; "
            "give the same number of frames, and no original for masks"
        )
    inner = (
        ...,
        slice(plan.top, plan.top + plan.content_height),
        slice(plan.left, plan.left + plan.content_width),
    )
    if original is None or not plan.resized:
        if frames.ndim == 4 and plan.resized:
            return _reduce(frames[inner], plan).clamp(0, 1)
        return _resize(frames[inner], plan.height, plan.width).clone()
    reduced = _reduce(frames[inner] - fit(original, plan)[inner], plan)
    return torch.where(reduced == 0, original, (original + reduced).clamp(0, 1))


def _check(frames: Tensor, height: int, width: int, what: str) -> None:
    if frames.ndim not in (3, 4) or tuple(frames.shape[-2:]) != (height, width):
        raise SettingsError(
            f"{what} needs frames (T, C, {height}, {width}) or masks (T, {height}, {width}) for this plan; "
            f"got {tuple(frames.shape)}; make a plan for this size"
        )


def _mirror(content: int, before: int, total: int, device: torch.device) -> Tensor:
    """Indices that mirror 0 … content - 1 outwards without repeating the border pixel."""
    period = max(2 * (content - 1), 1)
    position = torch.arange(-before, total - before, device=device).remainder(period)
    return torch.minimum(position, period - position) if content > 1 else torch.zeros_like(position)


def _resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize frames (T, C, H, W) or masks (T, H, W); returns the argument itself where the size is right."""
    if tuple(frames.shape[-2:]) == (height, width):
        return frames
    if frames.ndim == 4:
        return _interpolate(frames, height, width, "bicubic").clamp(0, 1)
    nearest = frames.index_select(-2, _nearest(frames.shape[-2], height, frames.device))
    nearest = nearest.index_select(-1, _nearest(frames.shape[-1], width, frames.device))
    binary = ((frames == 0) | (frames == 1)).flatten(1).all(1)
    if bool(binary.all()):
        return nearest
    soft = _interpolate(frames[:, None], height, width, "bilinear")[:, 0].clamp(0, 1)
    return torch.where(binary[:, None, None], nearest, soft)


def _reduce(content: Tensor, plan: FitPlan) -> Tensor:
    """Find the frames (T, C, H, W) of original size whose enlargement is close to `content`."""
    reduced = _interpolate(content, plan.height, plan.width, "bicubic")
    for _ in range(_BACK_PROJECTIONS):
        missing = content - _interpolate(reduced, plan.content_height, plan.content_width, "bicubic")
        reduced = reduced + _interpolate(missing, plan.height, plan.width, "bicubic")
    return reduced


def _nearest(size: int, target: int, device: torch.device) -> Tensor:
    """Index of the pixel whose area holds the centre of each target pixel; exact, in whole numbers."""
    return (2 * torch.arange(target, device=device) + 1) * size // (2 * target)


def _interpolate(frames: Tensor, height: int, width: int, mode: str) -> Tensor:
    return torch.nn.functional.interpolate(frames, (height, width), mode=mode, align_corners=False, antialias=True)
