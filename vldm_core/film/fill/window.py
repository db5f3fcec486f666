"""Frames of a shot with their holes, for the repair: boxes around the holes, and motion that leads past them."""

from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

from ...arrays import BoolArray, ByteArray, Plane
from ...video.buffers.pictures import Clip
from ...video.flow import fill_masked
from ...video.warping import inside_array, warp_array
from ..flicker.local_gain import GAIN, local_gain_of_reduced
from ..motion.field import MotionField, look_up
from ..motion.shot import ShotMotion
from ..motion.window import FrameWindow
from .atlas import Atlas


@dataclass(frozen=True, kw_only=True)
class HoleMargins:
    """How far around a hole something is of it.

    Attributes:
        foot: Pixels on each side of the square by which holes are widened before brightness is matched: the foot of a
            defect, four wide, is fainter than any mask shows, and a mean over many pixels would see it.
        reached: Pixels on each side of the square in which cubic interpolation mixes a pixel with its neighbours.
        rim: Pixels on each side of the square by which holes are widened before motion is carried into them: six, for
            the patches that motion is measured on have 16 on a side, and those that reach far into a hole are pulled by
            it. What lies between tells how well the carried motion fits.
    """

    foot: int = 9
    reached: int = 5
    rim: int = 13


_MARGINS = HoleMargins()
_FOOT, _REACHED, _RIM = (np.ones((side, side), np.uint8) for side in (_MARGINS.foot, _MARGINS.reached, _MARGINS.rim))


class HoleWindow(FrameWindow):
    """Frames of one shot and their holes, counted from the start of the window.

    Args:
        frames: (T, C, H, W) in [0, 1].
        mask: (T, H, W); above 0.5 is damaged.
        motion: Of the shot; None measures it on these frames, with the holes filled smoothly.
        first: Position in the shot of the first frame, where its motion is given.
        alone: (T, H, W); above 0.5 where no neighbour is asked; None is nowhere.

    Attributes:
        holes: (T, H, W), what is damaged.
        alone: (T, H, W), what of it no neighbour is asked for, or None.
    """

    def __init__(
        self,
        frames: Tensor | Clip,
        mask: Tensor,
        *,
        motion: ShotMotion | None = None,
        first: int = 0,
        alone: Tensor | None = None,
    ) -> None:
        super().__init__(frames, motion=motion, first=first, holes=mask)
        self.holes: BoolArray = mask.detach().cpu().numpy() > 0.5
        asked_of_none = None if alone is None else alone.detach().cpu().numpy() > 0.5
        self.alone: BoolArray | None = asked_of_none if asked_of_none is not None and asked_of_none.any() else None

    def reduced(self, index: int) -> tuple[Plane, BoolArray]:
        """Luma (H / 4, W / 4), and where it is free of damage and its foot."""

        def compute() -> tuple[Plane, BoolArray]:
            height, width = self.holes[index].shape
            size = (max(1, width // GAIN.shrink), max(1, height // GAIN.shrink))
            foot = cv2.dilate(self.holes[index].astype(np.uint8), _FOOT).astype(np.float32)
            small = cv2.resize(self.grey(index), size, interpolation=cv2.INTER_AREA)
            return small, cv2.resize(foot, size, interpolation=cv2.INTER_AREA) == 0

        return self._once.get(("reduced", index), compute)

    def damage(self, index: int) -> ByteArray:
        """The holes and the pixels around them that interpolation would mix in, to be looked up."""

        def compute() -> ByteArray:
            return np.asarray(cv2.dilate(self.holes[index].astype(np.uint8), _REACHED), np.uint8)

        return self._once.get(("damage", index), compute)

    def atlas(self, index: int) -> Atlas:
        """Boxes around the holes of a frame that has some."""
        return self._once.get(("atlas", index), lambda: Atlas.of(self.holes[index]))

    def gain(self, atlas: Atlas, index: int, other: int, motion: MotionField) -> Plane:
        """Gain (h, w), on an atlas of a frame, of that frame over another one, looked up along a motion."""
        (here, known), (there, known_there) = self.reduced(index), self.reduced(other)
        height, width = here.shape
        small = motion.resized(height, width) / np.float32(GAIN.shrink)
        looked = warp_array(np.dstack([there, known_there.astype(np.float32)]), small)
        known = known & (looked[..., 1] == 1) & inside_array(small)
        field = local_gain_of_reduced(looked[..., 0], here, known, (height, width))
        return look_up(field, atlas.x, atlas.y, self.size)

    def past_holes(self, here: int, there: int) -> MotionField:
        """The motion between two frames, chained from neighbour to neighbour where there are frames in between.

        A chain leads through holes in the same place, where motion is a guess: it is carried into them from around.
        """
        if abs(there - here) == 1:
            return self.between(here, there)
        step = 1 if there > here else -1
        motion = self.carried(here, here + step)
        for through in range(here + step, there, step):
            motion = motion.then(self.carried(through, through + step))
        return motion

    def carried(self, here: int, there: int) -> MotionField:
        """The motion between neighbours, carried into the holes of the first from around them."""
        if not self.holes[here].any():
            return self.between(here, there)

        def compute() -> MotionField:
            motion = self.between(here, there)
            height, width = motion.grid.shape[:2]
            rim = cv2.dilate(self.holes[here].astype(np.uint8), _RIM).astype(np.float32)
            around = cv2.resize(rim, (width, height), interpolation=cv2.INTER_AREA) > 0
            planes = [fill_masked(np.ascontiguousarray(motion.grid[..., axis]), around) for axis in (0, 1)]
            return MotionField(np.dstack(planes), motion.size)

        return self._once.get(("carried", here, there), compute)
