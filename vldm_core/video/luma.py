"""The one place that turns RGB frames into luma, and says what counts as colour beside it.

Every film stage measures on luma in grey levels (0..255), because thresholds of the film literature are stated so.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from .buffers.keyed_cache import Once
from .buffers.pictures import Clip
from .flow import LUMA_WEIGHTS as LUMA_WEIGHTS
from .flow import to_luma


@dataclass(frozen=True, kw_only=True)
class ColourTest:
    """What tells a film in colour from a monochrome one.

    Attributes:
        block: Pixels on each side of the blocks whose mean channels are compared; noise averages out before.
        spread: Of [0, 1], by which the channels of a coloured block differ at least: five grey levels, above what
            codecs leave of colour in grey.
        share: Share of the blocks that are coloured in a film in colour at least. Lower takes stains for colour.
    """

    block: int = 8
    spread: float = 5.0 / 255.0
    share: float = 0.005


COLOURED = ColourTest()


def luma(frames: Tensor) -> Tensor:
    """Return the luma of RGB frames.

    Args:
        frames: (..., 3, H, W) floating point RGB in [0, 1].

    Returns:
        (..., H, W) of the same dtype and device, in grey levels 0..255.

    Raises:
        ValueError: The third dimension from the end is not 3.
    """
    if frames.dim() < 3 or frames.shape[-3] != 3:
        raise ValueError(f"luma needs RGB frames (..., 3, H, W), got shape {tuple(frames.shape)}; convert to RGB first")
    red, green, blue = frames.unbind(dim=-3)
    result = red * (255.0 * LUMA_WEIGHTS[0])
    result += green * (255.0 * LUMA_WEIGHTS[1])
    result += blue * (255.0 * LUMA_WEIGHTS[2])
    return result


def luma_array(image: Tensor | npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the luma of one RGB image as a contiguous float32 array, ready for OpenCV.

    Args:
        image: (3, H, W) RGB in [0, 1], tensor on any device or array.

    Returns:
        (H, W) float32 in grey levels 0..255.

    Raises:
        ValueError: The image is not (3, H, W).
    """
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(
            f"luma_array needs one RGB image (3, H, W), got shape {tuple(image.shape)}; pass frames singly"
        )
    planes = image.detach().cpu().numpy() if isinstance(image, Tensor) else image
    # NumPy rather than torch: at frame size the threads of torch cost more than the sums.
    red, green, blue = (plane.astype(np.float32, copy=False) for plane in planes)
    result = red * np.float32(255.0 * LUMA_WEIGHTS[0])
    result += green * np.float32(255.0 * LUMA_WEIGHTS[1])
    result += blue * np.float32(255.0 * LUMA_WEIGHTS[2])
    return result


class LumaFrames:
    """The luma of frames, each made when it is first looked at and held until it is forgotten; several threads may ask.

    Attributes:
        shape: (T, H, W).
    """

    def __init__(self, frames: Tensor | Clip) -> None:
        """Look at frames (T, 3, H, W) RGB or (T, 1, H, W), [0, 1]."""
        self._frames = frames
        self._once = Once()
        self.shape = (frames.shape[0], *frames.shape[2:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> npt.NDArray[np.float32]:
        """Return the luma of a frame, (H, W), grey levels 0..255."""
        return self._once.get((index,), lambda: to_luma(self._frames[index]))

    def forget(self, before: int) -> None:
        """Give the memory back that frames before this one hold; they may still be asked for."""
        self._once.forget(lambda key: key[0] < before)
