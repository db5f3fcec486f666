"""Still pictures that hold for every frame of a film: where no damage is to be found, or where there is some."""

import os

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import FilmFileError
from ..video.info import FilmInfo


def read_protection(path: str | os.PathLike[str], info: FilmInfo) -> Tensor:
    """Read a mask picture for a film.

    Args:
        path: Picture of the film's size; what is brighter than half white is protected.
        info: The film.

    Returns:
        (H, W) bool.

    Raises:
        FilmFileError: It cannot be read or has another size than the film.
    """
    return read_grey(path, info) > 0.5


def read_grey(path: str | os.PathLike[str], info: FilmInfo) -> Tensor:
    """Read a picture of a film's size, of 8 or 16 bits.

    Args:
        path: The picture.
        info: The film.

    Returns:
        (H, W) float32, 0 black … 1 white.

    Raises:
        FilmFileError: It cannot be read or has another size than the film.
    """
    picture = cv2.imread(os.fspath(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    if picture is None or not np.issubdtype(picture.dtype, np.integer):
        raise FilmFileError(f"{path} cannot be read as a picture; give a PNG of the film's size, black and white")
    height, width = picture.shape[:2]
    if (height, width) != (info.height, info.width):
        raise FilmFileError(
            f"{path} is {width}×{height}, the film {info.width}×{info.height}; give a mask of the film's size"
        )
    return torch.from_numpy(picture.astype(np.float32) / np.iinfo(picture.dtype.name).max)
