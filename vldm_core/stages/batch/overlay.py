"""Masks painted over frames."""

from typing import Literal

from torch import Tensor
from torch.nn.functional import max_pool2d


def overlay(
    frames: Tensor,
    dirt: Tensor,
    scratch: Tensor,
    *,
    strength: float = 0.7,
    style: Literal["overlay", "outline"] = "overlay",
) -> Tensor:
    """Paint the masks over the frames: dirt red, scratches cyan.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        dirt: (T, H, W), 0 … 1.
        scratch: (T, H, W), 0 … 1.
        strength: Opacity of the paint, 0 … 1.
        style: "overlay" paints the marks, "outline" a line of one pixel around them, so that the damage stays in sight.
    """
    result = frames
    for mask, colour in ((dirt, (1.0, 0.1, 0.1)), (scratch, (0.0, 0.9, 1.0))):
        alpha = mask.to(frames)[:, None]
        if style == "outline":
            alpha = max_pool2d((alpha > 0.5).to(frames), 3, 1, 1) * (alpha <= 0.5)
        alpha = alpha * strength
        result = result * (1 - alpha) + frames.new_tensor(colour)[None, :, None, None] * alpha
    return result
