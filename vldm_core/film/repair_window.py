"""Frames of one shot for the repair, with the flows between them; everything is computed once, when first asked for.

Motion is measured twice: quickly on frames whose holes are filled smoothly, which is good enough to fill the holes
roughly; then finely on the frames so filled. Several threads may ask at a time.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..video.flow import FlowSettings, PreparedLuma, estimate_pair, estimate_prepared, fill_masked, prepare_luma
from .dirt_evidence import Plane
from .luma import LUMA_WEIGHTS
from .once import Once
from .repair_atlas import Atlas, BoolArray

SHRINK = 4
"""Brightness is compared on frames reduced by this factor."""

_ROUGH_FLOW = FlowSettings(quality="fast")
_FLOW = FlowSettings(quality="fine", spike_threshold=0.0)
# The foot of a defect is fainter than any mask shows; brightness is matched on pixels farther than this from it.
_FOOT = np.ones((9, 9), np.uint8)
_REACHED = np.ones((3, 3), np.uint8)
_RIM = np.ones((5, 5), np.uint8)


class RepairWindow:
    """Frames of one shot, their holes, and what was measured on them."""

    def __init__(self, frames: Tensor, mask: Tensor, fill_roughly: Callable[["RepairWindow", int], Plane]) -> None:
        """Hold the frames of a shot.

        Args:
            frames: (T, C, H, W) in [0, 1].
            mask: (T, H, W); above 0.5 is damaged.
            fill_roughly: Gives the luma (N,) of the holes of a frame, from `rough_flow` alone.
        """
        self._frames = frames.detach().cpu().float()
        self._fill_roughly = fill_roughly
        self._once = Once()
        self.holes: BoolArray = mask.detach().cpu().numpy() > 0.5

    def __len__(self) -> int:
        return len(self.holes)

    def forget(self, before: int) -> None:
        """Give the memory back that frames before this one hold; they may still be asked for."""
        self._once.forget(lambda key: min(key[1:]) < before)

    def colour(self, index: int) -> Plane:
        """Frame as it came, (H, W, C) grey levels."""

        def compute() -> Plane:
            return np.ascontiguousarray(self._frames[index].numpy().transpose(1, 2, 0)) * np.float32(255)

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

        def compute() -> Plane:
            return cv2.dilate(self.holes[index].astype(np.uint8), _REACHED).astype(np.float32)

        return self._once.get(("damage", index), compute)

    def atlas(self, index: int) -> Atlas:
        """Boxes around the holes of a frame that has some."""
        return self._once.get(("atlas", index), lambda: Atlas.of(self.holes[index]))

    def smooth(self, index: int) -> Plane:
        """Luma with the holes filled smoothly, (H, W)."""
        return self._once.get(("smooth", index), lambda: fill_masked(self.grey(index), self.holes[index]))

    def rough(self, index: int) -> Plane:
        """Luma with the holes filled along the quick flow: good enough to measure motion on."""

        def compute() -> Plane:
            luma = self.smooth(index)
            if self.holes[index].any():
                luma = luma.copy()
                luma[self.atlas(index).place] = self._fill_roughly(self, index)
            return luma

        return self._once.get(("rough", index), compute)

    def _prepared(self, index: int) -> PreparedLuma:
        """A frame ready for the quick flow, which asks for it four times."""

        def compute() -> PreparedLuma:
            return prepare_luma(self.smooth(index), settings=_ROUGH_FLOW)

        return self._once.get(("prepared", index), compute)

    def rough_flow(self, here: int, there: int) -> Plane:
        """Quick flow (H, W, 2) that lives on one frame and looks up another."""

        def compute() -> NDArray[np.float32]:
            pair = self._prepared(here), self._prepared(there)
            return estimate_prepared(*pair, self.holes[here].shape, settings=_ROUGH_FLOW)

        return self._once.get(("rough flow", here, there), compute)

    def flow(self, here: int, there: int) -> Plane:
        """Fine flow (H, W, 2) that lives on one frame and looks up another."""

        def compute() -> NDArray[np.float32]:
            return estimate_pair(self.rough(here), self.rough(there), settings=_FLOW)

        return self._once.get(("flow", here, there), compute)

    def carried(self, here: int, there: int) -> Plane:
        """Fine flow, carried into the holes from around them: what chains over several frames are made of."""

        def compute() -> Plane:
            flow = self.flow(here, there)
            if not self.holes[here].any():
                return flow
            around = cv2.dilate(self.holes[here].astype(np.uint8), _RIM) > 0
            return np.dstack([fill_masked(np.ascontiguousarray(flow[..., axis]), around) for axis in (0, 1)])

        return self._once.get(("carried", here, there), compute)
