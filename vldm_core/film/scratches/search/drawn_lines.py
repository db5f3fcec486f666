"""Drawn lines: the cross hairs of a countdown, the border of a title, the rules of a chart.

A drawn line is as thin, as straight and as still as a scratch, and runs through everything. But who draws one line
upright draws another one level: a cross hair and a border come in both directions, with the same pen. Film is scratched
along its length only. So a line that stands still and upright is taken for drawn where a level line of its kind runs
across the frame and meets it.
"""

from collections import deque
from collections.abc import Iterable

import cv2
import numpy as np

from ....arrays import FloatArray
from ..tracks import ScratchTrack

_PARTS = 16
"""Parts of a row that are looked at by themselves."""
_FLANK = 4
"""Rows between a level line and what it is held against, as for scratches."""
_WEAVE = 2
"""Rows by which a level line may move from frame to frame."""
_LEAST_DEPTH = 4.0
"""Grey levels: a fainter level line is not looked for."""
_ACROSS = 0.8
"""Share of a row on which a level line is seen; figures and what moves hide the rest."""
_LASTING = 0.8
"""Share of the frames in which it is seen."""
_DEPTH_RATIO = 4.0
"""Lines of one pen differ in depth by this factor at most: the depth of a line in a flat picture is measured badly."""
_STILL = 0.6
"""Pixels of the working size that a drawn line moves at most, from its usual place."""
_UPRIGHT = 1.5
"""Pixels of the working size by which a drawn line leans at most, over the height of the frame."""


class LevelLines:
    """The level lines of the last frames of a shot.

    Args:
        frames: How many frames are remembered.
    """

    def __init__(self, frames: int) -> None:
        self._depths: deque[FloatArray] = deque(maxlen=frames)

    def update(self, luma: FloatArray) -> None:
        """Take the next frame, (H, W) grey levels at the working size."""
        parts = cv2.resize(luma, (_PARTS, luma.shape[0]), interpolation=cv2.INTER_AREA)
        padded = cv2.copyMakeBorder(parts, _FLANK, _FLANK, 0, 0, cv2.BORDER_REPLICATE)
        above, below = parts - padded[: -2 * _FLANK], parts - padded[2 * _FLANK :]
        depth = np.where(above * below > 0, np.sign(above) * np.minimum(np.abs(above), np.abs(below)), 0)
        # Over most of the row, of one sign: what is left of a line that many parts must show.
        ordered = np.sort(depth, axis=1)
        hidden = int((1 - _ACROSS) * _PARTS)
        both = np.maximum(np.stack((ordered[:, hidden], -ordered[:, -1 - hidden])), 0)
        self._depths.append(np.asarray(cv2.dilate(both, np.ones((1, 2 * _WEAVE + 1), np.uint8)), np.float32))

    def drawn(self, tracks: Iterable[ScratchTrack], scale: float) -> list[bool]:
        """Tell which lines of the remembered frames are drawn.

        Args:
            tracks: Lines found in those frames.
            scale: Full-frame pixels per working pixel.
        """
        tracks = list(tracks)
        if not tracks or not self._depths:
            return [False] * len(tracks)
        hidden = int((1 - _LASTING) * len(self._depths))
        lasting = np.sort(np.stack(self._depths), axis=0)[hidden]
        return [self._is_drawn(track, lasting, scale) for track in tracks]

    @staticmethod
    def _is_drawn(track: ScratchTrack, lasting: FloatArray, scale: float) -> bool:
        height = lasting.shape[1]
        still = float(np.abs(track.x - np.median(track.x)).max()) <= _STILL * scale
        upright = abs(float(np.median(track.tilt))) * height <= _UPRIGHT
        if not (still and upright):
            return False
        bands = np.flatnonzero(track.present.mean(axis=0) > 0.5)
        if len(bands) == 0:
            return False
        # Where the line is, and the band beyond either end: a border is met at its corners.
        count = track.present.shape[1]
        first, last = (max(bands[0] - 1, 0) * height // count, min(bands[-1] + 2, count) * height // count)
        depths = lasting[0 if track.depth > 0 else 1, first:last]
        own = abs(track.depth)
        alike = (depths >= _LEAST_DEPTH) & (depths >= own / _DEPTH_RATIO) & (depths <= own * _DEPTH_RATIO)
        return bool(alike.any())
