"""Fill transient defects with what the neighbours in time show at the same place of the scene.

Flow is estimated on frames whose masked pixels have been filled first, so that a defect neither moves nor holds motion
back. Neighbours that show the place undamaged are averaged, each weighted by how well it fits the undamaged
surroundings, after its local brightness has been matched to them. Where a neighbour is itself damaged, or hidden, the
next one on that side is asked; what no neighbour shows is inpainted.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import SettingsError
from ..progress import Progress, silent
from ..video.flow import FloatArray, FlowSettings, estimate_pair, fill_masked, inside_array, to_luma, warp_array

BoolArray = NDArray[np.bool_]

_REACH_LIMIT = 3
RADIUS = _REACH_LIMIT
"""The repair of a frame depends on this many frames on each side."""

_FLOW = FlowSettings(quality="fine", spike_threshold=0.0)


@dataclass(frozen=True, kw_only=True)
class DirtRepairSettings:
    """How dirt is filled.

    Attributes:
        reach: How many frames away on each side a place may be looked up, when nearer frames are damaged there too.
            1 … 3.
        feather: Width of the seam in pixels over which the fill takes over, inside the mask. 0 … 8.
    """

    reach: int = 3
    feather: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.reach <= _REACH_LIMIT:
            raise SettingsError(f"dirt repair reach is {self.reach}; use 1 … {_REACH_LIMIT} frames")
        if not 0 <= self.feather <= 8:
            raise SettingsError(f"dirt repair feather is {self.feather}; use 0 … 8 pixels")


def repair_dirt(
    frames: Tensor,
    mask: Tensor,
    settings: DirtRepairSettings | None = None,
    *,
    keep: slice | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Fill masked pixels; every other pixel leaves bit-equal.

    Args:
        frames: (T, 3, H, W) RGB or (T, 1, H, W), [0, 1], all of one shot.
        mask: (T, H, W); above 0.5 is damaged.
        settings: Defaults to `DirtRepairSettings()`.
        keep: The frames wanted repaired; the others only serve as neighbours and return as they came. None is all.
        progress: Called once per frame.

    Returns:
        (T, C, H, W) like `frames`.

    Raises:
        SettingsError: `frames` or `mask` has the wrong shape.
    """
    settings = settings or DirtRepairSettings()
    if frames.ndim != 4 or frames.shape[1] not in (1, 3) or 0 in frames.shape:
        raise SettingsError(f"dirt repair needs frames (T, 3, H, W) with T ≥ 1; got {tuple(frames.shape)}")
    count, _, height, width = frames.shape
    if tuple(mask.shape) != (count, height, width):
        raise SettingsError(
            f"the dirt mask is {tuple(mask.shape)}, the frames need {(count, height, width)}; "
            "use the mask that was made from these frames"
        )
    window = _Window(frames, mask)
    result = frames.clone()
    for index in range(count)[keep or slice(None)]:
        damaged = window.damaged[index]
        if damaged.any():
            filled = window.fill(index, settings)
            where = torch.from_numpy(damaged).to(frames.device)
            values = torch.from_numpy(filled.transpose(2, 0, 1)).to(result)
            result[index] = torch.where(where, values.clamp(0, 1), result[index])
        progress("repair dirt", index + 1, count)
    return result


class _Window:
    """Frames of one shot, their masks, and the flows between them."""

    def __init__(self, frames: Tensor, mask: Tensor) -> None:
        self.colour = np.ascontiguousarray(frames.detach().cpu().float().numpy().transpose(0, 2, 3, 1)) * 255
        self.damaged: BoolArray = mask.detach().cpu().numpy() > 0.5
        luma = to_luma(frames)
        self.luma = np.stack([fill_masked(frame, hole) for frame, hole in zip(luma, self.damaged, strict=True)])
        self._flows: dict[tuple[int, int], FloatArray] = {}

    def flow(self, here: int, there: int) -> FloatArray:
        """Flow living on `here`; over several frames the steps are chained."""
        if (here, there) not in self._flows:
            step = 1 if there > here else -1
            if abs(there - here) == 1:
                flow = estimate_pair(self.luma[here], self.luma[there], settings=_FLOW)
            else:
                before = self.flow(here, there - step)
                flow = before + warp_array(self.flow(there - step, there), before)
            self._flows[here, there] = flow
        return self._flows[here, there]

    def fill(self, index: int, settings: DirtRepairSettings) -> FloatArray:
        """Return the frame with its damaged pixels filled, (H, W, C), grey levels."""
        damaged = self.damaged[index]
        total = np.zeros_like(self.colour[index])
        weight = np.zeros(damaged.shape, np.float32)
        for step in (-1, 1):
            missing = damaged.copy()
            for distance in range(1, settings.reach + 1):
                other = index + step * distance
                if not 0 <= other < len(self.colour) or not missing.any():
                    break
                flow = self.flow(index, other)
                unseen = warp_array(self.damaged[other].astype(np.float32), flow) > 0
                seen = missing & ~unseen & inside_array(flow)
                if seen.any():
                    look = warp_array(self.colour[other], flow).reshape(self.colour[other].shape)
                    total += np.where(seen, 1.0, 0.0)[..., None].astype(np.float32) * look
                    weight += seen
                missing &= ~seen
        filled = np.where(weight[..., None] > 0, total / np.maximum(weight, 1)[..., None], self.colour[index])
        rest = damaged & (weight == 0)
        if rest.any():
            picture = np.clip(np.rint(filled), 0, 255).astype(np.uint8)
            painted = cv2.inpaint(picture, rest.astype(np.uint8), 3, cv2.INPAINT_NS).reshape(filled.shape)
            filled = np.where(rest[..., None], painted, filled)
        return (filled / 255.0).astype(np.float32)
