"""Some frames of a shot, their luma, and the motion between them: what the stages that look at neighbours work on."""

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...arrays import BoolArray, FloatArray
from ...video.buffers.keyed_cache import Once
from ...video.buffers.pictures import Clip
from ...video.luma import LUMA_WEIGHTS, LumaFrames
from .field import MotionField
from .prediction import grain_of, sampled_difference
from .shot import ShotMotion

_MOST_HELD = 384 << 20
"""Bytes of frames that may be held as numbers: some 30 planes of a 2K scan."""
_LEAST_PLANES = 30
"""Planes of a very large frame that may be held in any case: with fewer the same ones are made again and again."""


class FrameWindow:
    """Frames of one shot, counted from the start of the window; several threads may ask at a time.

    Args:
        frames: (T, 3, H, W) RGB or (T, 1, H, W), [0, 1]: a tensor, or a `Clip` that makes its frames when they are
            needed.
        motion: Of the shot that they are part of; None measures that of the window alone.
        first: Position in the shot of the first of them, where its motion is given.
        holes: (T, H, W), above 0.5 where damage is known, for motion that is measured here; None knows of none.

    Attributes:
        luma: Of the frames, (T, H, W), grey levels, made one by one.
    """

    def __init__(
        self,
        frames: Tensor | Clip,
        *,
        motion: ShotMotion | None = None,
        first: int = 0,
        holes: Tensor | None = None,
    ) -> None:
        self._frames = frames
        self._motion = ShotMotion.of(frames, holes) if motion is None else motion
        self._first = 0 if motion is None else first
        self.luma = LumaFrames(frames)
        self._once = Once(max(_MOST_HELD, _LEAST_PLANES * 4 * self.size[0] * self.size[1]))

    def __len__(self) -> int:
        return len(self.luma)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames."""
        height, width = self.luma.shape[1:]
        return height, width

    def between(self, here: int, there: int) -> MotionField:
        """The motion from one frame to another; see `ShotMotion.between`."""
        return self._motion.between(self._first + here, self._first + there)

    def directly(self, here: int, there: int) -> MotionField:
        """The motion from one frame to another that passes frames which show something else."""
        return self._motion.directly(self._first + here, self._first + there)

    def quick(self, here: int, there: int) -> MotionField:
        """The first estimate of a motion; see `ShotMotion.quick`."""
        return self._motion.quick(self._first + here, self._first + there)

    def whole(self, here: int, there: int) -> NDArray[np.float32]:
        """How most of the picture moves from one frame to another, (2,) pixels."""
        return self._motion.whole(self._first + here, self._first + there)

    def holds(self, here: int, there: int) -> BoolArray:
        """Where the motion is confirmed by the opposite one, (h, w) of its grid."""
        return self._motion.holds(self._first + here, self._first + there)

    def without_plain_damage(self, index: int) -> FloatArray:
        """The luma of a frame without what is plainly damage, as a reference for others; see `cleaning`."""
        return self._motion.plain_damage(self._first + index).taken_off(self.luma[index])

    def grain(self, index: int) -> float:
        """Deviation of the grain in the difference of a frame to a neighbour, the noisier one: one may be a copy."""

        def compute() -> float:
            others = [other for other in (index - 1, index + 1) if 0 <= other < len(self)]
            return max(
                grain_of(sampled_difference(self.luma[index], self.luma[other], self.quick(index, other)))
                for other in others
            )

        return self._once.get(("grain", index), compute)

    def colour(self, index: int) -> FloatArray:
        """A frame as it came, (H, W, C) grey levels."""

        def compute() -> FloatArray:
            planes = self._frames[index].detach().cpu().float().numpy()
            result = np.empty((*planes.shape[1:], len(planes)), np.float32)
            np.multiply(planes.transpose(1, 2, 0), np.float32(255), out=result)
            return result

        return self._once.get(("colour", index), compute)

    def chroma(self, index: int) -> FloatArray:
        """R − Y and B − Y of a frame, (H, W, 2) grey levels."""

        def compute() -> FloatArray:
            planes = self._frames[index].detach().cpu().float().numpy()
            luma, white = self.luma[index], np.full(1, 255.0)
            parts = [cv2.subtract(cv2.multiply(planes[channel], white), luma) for channel in (0, 2)]
            return np.asarray(cv2.merge(parts), np.float32)

        return self._once.get(("chroma", index), compute)

    def grey(self, index: int) -> FloatArray:
        """Its luma, (H, W), for who looks at its colours too."""

        def compute() -> FloatArray:
            picture = self.colour(index)
            if picture.shape[-1] == 1:
                return np.ascontiguousarray(picture[..., 0])
            return np.asarray(cv2.transform(picture, np.array([LUMA_WEIGHTS], np.float32)), np.float32)

        return self._once.get(("grey", index), compute)

    def forget(self, before: int) -> None:
        """Give the memory back that frames before this one hold here; they may still be asked for."""
        self.luma.forget(before)
        self._once.forget(lambda key: key[0] != "grain" and key[1] < before)
