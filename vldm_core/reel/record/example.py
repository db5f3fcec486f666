"""Pictures of a shot before and after, of the frame in which most was repaired."""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from torch import Tensor

from ...stages.stage_frame import StageFrame
from ...video.info import FilmFrame, image_from_tensor
from .repairs import Array

_LONGEST_SIDE = 720
"""Pixels: enough to see what was done, and a reel of a thousand shots stays a file that a browser opens."""
_QUALITY = 85
"""Of JPEG, 0 … 100."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A frame before and after.

    Attributes:
        frame: Its number in the film.
        changed: Pixels that were repaired in it.
        before: JPEG of the frame as it came, at most 720 pixels long.
        after: JPEG of the frame as it was written.
    """

    frame: int
    changed: int
    before: bytes
    after: bytes

    def arrays(self) -> dict[str, Array]:
        """All of it by name, for a file."""
        return {
            "example": np.array([self.frame, self.changed]),
            "before": np.frombuffer(self.before, np.uint8),
            "after": np.frombuffer(self.after, np.uint8),
        }

    @classmethod
    def of_arrays(cls, arrays: dict[str, Array]) -> Self:
        """Take an example from what `arrays` gave."""
        frame, changed = arrays["example"]
        return cls(
            frame=int(frame), changed=int(changed), before=arrays["before"].tobytes(), after=arrays["after"].tobytes()
        )


def better_example(best: Example | None, frame: StageFrame[FilmFrame]) -> Example:
    """Return the example of the frames so far: the one with more repaired pixels, the earlier of two alike.

    Args:
        best: Of the frames before; None for the first of a shot.
        frame: The next frame, restored, with its repairs.
    """
    changed = 0 if frame.repairs is None else int(frame.repairs.changed.sum())
    if best is not None and changed <= best.changed:
        return best
    before, after = frame.origin.image, frame.image
    return Example(
        frame=frame.origin.index,
        changed=changed,
        before=_jpeg(_eight_bits(before)),
        after=picture_of(after),
    )


def picture_of(image: Tensor | FilmFrame) -> bytes:
    """JPEG of a frame, at most 720 pixels long.

    Args:
        image: (3, H, W), [0, 1], or a frame.
    """
    return _jpeg(_eight_bits(image.image) if isinstance(image, FilmFrame) else image_from_tensor(image, np.uint8))


def _eight_bits(image: Array) -> Array:
    return image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)


def _jpeg(image: Array) -> bytes:
    height, width = image.shape[:2]
    scale = _LONGEST_SIDE / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, coded = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    assert done, "every picture of 8 bits can be a JPEG"
    return coded.tobytes()
