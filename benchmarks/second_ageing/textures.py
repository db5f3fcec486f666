"""Textures of film damage: alpha masks that are placed as they are, and which of them are for which use."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vldm_core.data.split import is_validation_texture
from vldm_core.errors import FilmFileError

Plane = NDArray[np.float32]

Half = Literal["development", "validation"]

_SEEN = 0.1
"""Share of full cover from which on a pixel of a texture is within its box."""


@dataclass(frozen=True, kw_only=True)
class Textures:
    """Files of alpha masks by class, of one half.

    Attributes:
        half: Which half.
        classes: Name of the class → its files, sorted.
    """

    half: Half
    classes: Mapping[str, tuple[Path, ...]]

    def draw(self, stream: np.random.Generator, classes: Iterable[str]) -> Plane:
        """Draw a mask of some classes: (h, w) in [0, 1], cut to what is in it.

        Raises:
            FilmFileError: A file cannot be read, or holds nothing.
        """
        names = [name for name in classes if self.classes.get(name)]
        if not names:
            raise FilmFileError(f"the textures hold none of the classes {', '.join(classes)}; give the whole set")
        files = self.classes[names[int(stream.integers(len(names)))]]
        return load_mask(files[int(stream.integers(len(files)))])


def find_textures(folder: Path, half: Half) -> Textures:
    """List one half of the textures in `folder/<class>/*.png`.

    Raises:
        FilmFileError: There are none.
    """
    classes: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*/*.png")):
        if is_validation_texture(path) == (half == "validation"):
            classes[path.parent.name].append(path)
    if not classes:
        raise FilmFileError(f"{folder} holds no <class>/*.png textures of film damage; pass the folder of the classes")
    return Textures(half=half, classes={name: tuple(files) for name, files in classes.items()})


def load_mask(path: Path) -> Plane:
    """Read the alpha channel of a texture, (h, w) in [0, 1], cut to what is in it.

    Raises:
        FilmFileError: It cannot be read, has no alpha channel, or nothing is in it.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4:
        raise FilmFileError(f"{path} is not a picture with an alpha channel; replace it or leave it out")
    mask: Plane = picture[..., 3].astype(np.float32) / np.float32(255)
    rows, columns = np.nonzero(mask > _SEEN)
    if not len(rows):
        raise FilmFileError(f"{path} is empty; replace it or leave it out")
    return mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def turned(mask: Plane, size: float, degrees: float, *, mirror: bool = False) -> Plane:
    """Scale a mask so that its longer side is `size` pixels, and turn it; (h, w) large enough to hold it."""
    if mirror:
        mask = np.ascontiguousarray(mask[:, ::-1])
    scale = size / max(mask.shape)
    reduced = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    small = np.asarray(cv2.resize(mask, reduced, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))
    height, width = small.shape
    side = int(np.ceil(np.hypot(height, width))) + 2
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    turn[:, 2] += ((side - width) / 2, (side - height) / 2)
    return np.asarray(cv2.warpAffine(small, turn, (side, side), flags=cv2.INTER_LINEAR), dtype=np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Spot:
    """A shape within a frame.

    Attributes:
        top: First row.
        left: First column.
        cover: (h, w), 0 = nothing; may be empty.
    """

    top: int
    left: int
    cover: Plane

    @property
    def rows(self) -> slice:
        """Its rows of the frame."""
        return slice(self.top, self.top + self.cover.shape[0])

    @property
    def columns(self) -> slice:
        """Its columns of the frame."""
        return slice(self.left, self.left + self.cover.shape[1])


def placed(mask: Plane, height: int, width: int, x: float, y: float) -> Spot:
    """Lay a mask into a frame, its centre at (x, y), to a fraction of a pixel; what lies outside is cut off."""
    left, top = int(np.floor(x - mask.shape[1] / 2)), int(np.floor(y - mask.shape[0] / 2))
    shift = np.array([[1, 0, x - mask.shape[1] / 2 - left], [0, 1, y - mask.shape[0] / 2 - top]], dtype=np.float64)
    size = (mask.shape[1] + 1, mask.shape[0] + 1)
    moved = np.asarray(cv2.warpAffine(mask, shift, size, flags=cv2.INTER_LINEAR), dtype=np.float32)
    return cut(moved, height, width, top, left)


def cut(cover: Plane, height: int, width: int, top: int, left: int) -> Spot:
    """Cut a shape whose corner lies at (top, left), perhaps outside, to what of it is in the frame."""
    first_row, first_column = max(0, -top), max(0, -left)
    kept = cover[first_row : max(first_row, height - top), first_column : max(first_column, width - left)]
    return Spot(top=min(max(0, top), height), left=min(max(0, left), width), cover=kept)
