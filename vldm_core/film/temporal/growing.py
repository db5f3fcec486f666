"""The frames of a shot as a stream brings them: a window that grows at one end and is forgotten at the other."""

import torch

from ...video.buffers.pictures import Clip, Picture, Whole
from ..motion.shot import ShotMotion
from ..motion.window import FrameWindow

_GONE = Whole(torch.empty(0))


class GrowingWindow(FrameWindow):
    """Frames of one shot from its start on, counted as the motion of the shot does.

    Args:
        first: The first frame.
        motion: Of the shot.
    """

    def __init__(self, first: Picture, motion: ShotMotion) -> None:
        self._pictures = [first]
        self._kept = 0
        super().__init__(Clip(self._pictures), motion=motion)

    def add(self, picture: Picture) -> None:
        """Take the next frame."""
        self._pictures.append(picture)
        self.luma.shape = (len(self._pictures), *self.luma.shape[1:])

    def forget(self, before: int) -> None:
        """Let go of the frames before one; they cannot be asked for any more."""
        super().forget(before)
        for index in range(self._kept, before):
            self._pictures[index] = _GONE
        self._kept = max(self._kept, before)
