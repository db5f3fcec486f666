"""Frames of one shot for the repair, with the flows between them; everything is computed once, when first asked for.

Motion is measured twice: quickly on frames whose holes are filled smoothly, which is good enough to fill the holes
roughly; then finely on the frames so filled. Several threads may ask at a time.

What is held is bounded in bytes: flows at the size they are measured at, frames for as long as there is room.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...arrays import BoolArray, Plane
from ...video.buffers.keyed_cache import Once
from ...video.buffers.pictures import Clip
from ...video.flow import FlowSettings, PreparedLuma, enlarged, estimate_reduced, fill_masked, prepare_luma
from ...video.luma import LUMA_WEIGHTS
from .atlas import Atlas

SHRINK = 4
"""Brightness is compared on frames reduced by this factor."""

_ROUGH_FLOW = FlowSettings(quality="fast")
_FLOW = FlowSettings(quality="fine", spike_threshold=0.0)
# The foot of a defect is fainter than any mask shows; brightness is matched on pixels farther than this from it.
_FOOT = np.ones((9, 9), np.uint8)
_REACHED = np.ones((3, 3), np.uint8)
_RIM = np.ones((5, 5), np.uint8)
# Bytes that may be held; and planes of a very large frame, below which the same things would be made again and again.
_MOST_HELD = 384 << 20
_LEAST_PLANES = 30


class RepairWindow:
    """Frames of one shot, their holes, and what was measured on them."""

    def __init__(
        self, frames: Tensor | Clip, mask: Tensor, fill_roughly: Callable[["RepairWindow", int], Plane]
    ) -> None:
        """Hold the frames of a shot.

        Args:
            frames: (T, C, H, W) in [0, 1].
            mask: (T, H, W); above 0.5 is damaged.
            fill_roughly: Gives the luma (N,) of the holes of a frame, from `rough_flow` alone.
        """
        self._frames = frames
        self._fill_roughly = fill_roughly
        self.holes: BoolArray = mask.detach().cpu().numpy() > 0.5
        plane = 4 * self.holes[0].size
        self._once = Once(max(_MOST_HELD, _LEAST_PLANES * plane))

    def __len__(self) -> int:
        return len(self.holes)

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.holes.shape[1:]
        return height, width

    def forget(self, before: int) -> None:
        """Give the memory back that frames before this one hold; they may still be asked for."""
        self._once.forget(lambda key: min(key[1:]) < before)

    def colour(self, index: int) -> Plane:
        """Frame as it came, (H, W, C) grey levels."""

        def compute() -> Plane:
            planes = self._frames[index].detach().cpu().float().numpy()
            result = np.empty((*planes.shape[1:], len(planes)), np.float32)
            np.multiply(planes.transpose(1, 2, 0), np.float32(255), out=result)
            return result

        return self._once.get(("colour", index), compute)

    def grey(self, index: int) -> Plane:
        """Luma as it came, (H, W)."""

        def compute() -> Plane:
            picture = self.colour(index)
            if picture.shape[-1] == 1:
                return np.ascontiguousarray(picture[..., 0])
            return cv2.transform(picture, np.array([LUMA_WEIGHTS], np.float32))

        return self._once.get(("grey", index), compute)

    def reduced(self, index: int) -> tuple[Plane, BoolArray]:
        """Luma (H / 4, W / 4), and where it is free of damage and its foot."""

        def compute() -> tuple[Plane, BoolArray]:
            height, width = self.holes[index].shape
            size = (max(1, width // SHRINK), max(1, height // SHRINK))
            foot = cv2.dilate(self.holes[index].astype(np.uint8), _FOOT).astype(np.float32)
            small = cv2.resize(self.grey(index), size, interpolation=cv2.INTER_AREA)
            return small, cv2.resize(foot, size, interpolation=cv2.INTER_AREA) == 0

        return self._once.get(("reduced", index), compute)

    def damage(self, index: int) -> Plane:
        """The holes and the pixel around them that interpolation would mix in, float32, to be looked up."""

        def compute() -> NDArray:
            return cv2.dilate(self.holes[index].astype(np.uint8), _REACHED)

        return self._once.get(("damage", index), compute).astype(np.float32)

    def atlas(self, index: int) -> Atlas:
        """Boxes around the holes of a frame that has some."""
        return self._once.get(("atlas", index), lambda: Atlas.of(self.holes[index]))

    def smooth(self, index: int) -> Plane:
        """Luma with the holes filled smoothly, (H, W)."""
        return fill_masked(self.grey(index), self.holes[index])

    def rough(self, index: int) -> Plane:
        """Luma with the holes filled along the quick flow: good enough to measure motion on."""
        if not self.holes[index].any():
            return self.grey(index)
        luma = self.grey(index).copy()
        luma[self.atlas(index).place] = self._fill_roughly(self, index)
        return luma

    def rough_flow(self, here: int, there: int) -> Plane:
        """Quick flow (H, W, 2) that lives on one frame and looks up another."""

        def prepared(index: int) -> PreparedLuma:
            return self._once.get(("prepared", index), lambda: prepare_luma(self.smooth(index), settings=_ROUGH_FLOW))

        def compute() -> Plane:
            return estimate_reduced(prepared(here), prepared(there), settings=_ROUGH_FLOW)

        return enlarged(self._once.get(("rough flow", here, there), compute), self._size)

    def flow(self, here: int, there: int) -> Plane:
        """Fine flow (H, W, 2) that lives on one frame and looks up another."""

        def prepared(index: int) -> PreparedLuma:
            return self._once.get(("filled", index), lambda: prepare_luma(self.rough(index), settings=_FLOW))

        def compute() -> Plane:
            return estimate_reduced(prepared(here), prepared(there), settings=_FLOW)

        return enlarged(self._once.get(("flow", here, there), compute), self._size)

    def carried(self, here: int, there: int) -> Plane:
        """Fine flow, carried into the holes from around them: what chains over several frames are made of."""
        flow = self.flow(here, there)
        if not self.holes[here].any():
            return flow

        def compute() -> tuple[NDArray[np.int32], Plane]:
            around = cv2.dilate(self.holes[here].astype(np.uint8), _RIM) > 0
            place = np.flatnonzero(around)
            carried = [fill_masked(np.ascontiguousarray(flow[..., axis]), around).ravel()[place] for axis in (0, 1)]
            return place.astype(np.int32), np.stack(carried, axis=1)

        # Only what the holes have changed is held.
        place, values = self._once.get(("carried", here, there), compute)
        flow = flow.copy()
        flow.reshape(-1, 2)[place] = values
        return flow
