"""Working sizes: how frames are brought to the size that a restorer is to work at, and back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from torch import Tensor

from vldm_core.video.geometry import FitPlan, FitSettings, fit, plan_fit, unfit

Way = Literal["resized", "padded", "fitted"]
WAYS: tuple[Way, ...] = get_args(Way)

WAY_MEANINGS: dict[Way, str] = {
    "resized": "scaled until the short side is that long, and scaled back (area downwards, Lanczos upwards)",
    "padded": "kept as it is and mirrored outwards until the short side is that long; cut out again",
    "fitted": (
        "as the pack fits frames to a prior: enlarged until the short side is that long, mirrored outwards to a "
        "multiple of 64; only the change comes back"
    ),
}

_FITTED_MULTIPLE = 64


@dataclass(frozen=True, kw_only=True)
class WorkingSize:
    """A size to work at.

    Attributes:
        way: How frames are brought to it.
        short_side: The size that was asked for.
        height: Of the frames that the restorer gets.
        width: The same.
        there: Frames (T, 3, H, W) or masks (T, H, W) → that size.
        back: Restored frames and the frames that went in → (T, 3, H, W).
    """

    way: Way
    short_side: int
    height: int
    width: int
    there: Callable[[Tensor], Tensor]
    back: Callable[[Tensor, Tensor], Tensor]


def working_size(height: int, width: int, short_side: int, way: Way, multiple: int) -> WorkingSize | None:
    """Plan a working size.

    Args:
        height: Of the frames.
        width: Of the frames.
        short_side: The shorter side to work at.
        way: How frames are brought there.
        multiple: Both sides become divisible by this.

    Returns:
        The size; None where the frames are larger already and the way only enlarges.
    """
    if way == "resized":
        return _resized(height, width, short_side, multiple)
    if short_side < min(height, width):
        return None
    if way == "padded":
        plan = _padding(height, width, short_side, multiple)
    else:
        plan = plan_fit(height, width, FitSettings(short_side=short_side, multiple=max(multiple, _FITTED_MULTIPLE)))
    return WorkingSize(
        way=way,
        short_side=short_side,
        height=plan.fitted_height,
        width=plan.fitted_width,
        there=lambda frames: fit(frames, plan),
        back=lambda restored, original: unfit(restored, plan, original),
    )


def _resized(height: int, width: int, short_side: int, multiple: int) -> WorkingSize:
    scale = short_side / min(height, width)
    size = tuple(max(multiple, round(side * scale / multiple) * multiple) for side in (height, width))

    def there(frames: Tensor) -> Tensor:
        return _scaled(frames, size[0], size[1])

    def back(restored: Tensor, _original: Tensor) -> Tensor:
        return _scaled(restored, height, width)

    return WorkingSize(way="resized", short_side=short_side, height=size[0], width=size[1], there=there, back=back)


def _padding(height: int, width: int, short_side: int, multiple: int) -> FitPlan:
    """Mirror outwards, without scaling."""
    fitted = [-(-max(side, short_side) // multiple) * multiple for side in (height, width)]
    return FitPlan(
        height=height,
        width=width,
        content_height=height,
        content_width=width,
        top=(fitted[0] - height) // 2,
        left=(fitted[1] - width) // 2,
        fitted_height=fitted[0],
        fitted_width=fitted[1],
    )


def _scaled(frames: Tensor, height: int, width: int) -> Tensor:
    """Scale frames (T, 3, H, W) or masks (T, H, W); of a mask every touched pixel is marked."""
    if tuple(frames.shape[-2:]) == (height, width):
        return frames
    smaller = height * width < frames.shape[-2] * frames.shape[-1]
    kernel = cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4 if frames.ndim == 4 else cv2.INTER_LINEAR
    planes = frames if frames.ndim == 4 else frames[:, None]
    scaled = []
    for picture in planes.numpy():
        made = cv2.resize(np.ascontiguousarray(picture.transpose(1, 2, 0)), (width, height), interpolation=kernel)
        scaled.append(np.atleast_3d(made).transpose(2, 0, 1))
    result = torch.from_numpy(np.ascontiguousarray(np.stack(scaled)))
    return result.clamp(0, 1) if frames.ndim == 4 else (result[:, 0] > 0).float()
