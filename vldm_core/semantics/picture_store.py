"""Pictures that wait on the disk until it is known which of them are wanted."""

import math
import os
import tempfile
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

# Captioners see 384 to 768 pixels; a reel of larger pictures is not kept larger than this.
_SHORT_SIDE = 512


class PictureStore:
    """Small copies of frames of one size in a temporary file, 8 bits a sample. Use as a context manager."""

    def __init__(self) -> None:
        # Closed by __exit__; it has no name, so nothing is left after a crash.
        self._file = tempfile.TemporaryFile(prefix="vldm-key-frames-")  # noqa: SIM115
        self._shape: tuple[int, ...] = (3, 0, 0)

    def __enter__(self) -> "PictureStore":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, frame: Tensor) -> None:
        """Append a frame (3, H, W)."""
        small = _reduced(frame.detach().float())
        levels = (small.clamp(0, 1) * 255).round().byte().cpu().contiguous()
        self._shape = tuple(levels.shape)
        self._file.write(levels.numpy().tobytes())

    def take(self, rows: Sequence[int]) -> Tensor:
        """Return frames by their numbers in here, (K, 3, h, w) float32, [0, 1]."""
        size = math.prod(self._shape)
        found = []
        for row in rows:
            self._file.seek(row * size, os.SEEK_SET)
            levels = np.frombuffer(self._file.read(size), np.uint8).reshape(self._shape)
            found.append(torch.from_numpy(levels.copy()).float() / 255)
        return torch.stack(found) if found else torch.zeros(0, *self._shape)


def _reduced(frame: Tensor) -> Tensor:
    """Make a large frame smaller."""
    height, width = frame.shape[-2:]
    factor = _SHORT_SIDE / min(height, width)
    if factor >= 1:
        return frame
    sides = (round(height * factor), round(width * factor))
    return interpolate(frame[None], size=sides, mode="bilinear", antialias=True)[0]
