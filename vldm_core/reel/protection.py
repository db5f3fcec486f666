"""A still picture that says where no damage is to be found."""

import os

import cv2
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
    picture = cv2.imread(os.fspath(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise FilmFileError(f"{path} cannot be read as a picture; give a PNG of the film's size, white = protected")
    height, width = picture.shape[:2]
    if (height, width) != (info.height, info.width):
        raise FilmFileError(
            f"{path} is {width}×{height}, the film {info.width}×{info.height}; give a mask of the film's size"
        )
    return torch.from_numpy(picture > 127)
