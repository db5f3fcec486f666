"""Photographed or painted shapes of defects, taken from a folder instead of being drawn.

Besides shapes that stand for a single speck or hair, whole scans are laid over a frame as they are. What lies together
on a film was made together: dust in a heap, scratches in one direction, a stain with its splashes. Specks that are
strewn one by one show none of that.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np

from ...arrays import FloatArray
from ...errors import SettingsError
from ..randomness import generator, log_uniform
from ..units import line_scale
from ..validation import require_span, require_within
from .marks import box_around, draw_blend, require_blends, stamp

TextureKind = Literal["dirt", "hair", "stain", "scratch"]

# Subfolders that hold each kind, in the order of the scans of the FilmDamageSimulator data set.
_SUBFOLDERS: dict[TextureKind, tuple[str, ...]] = {
    "dirt": ("dirt", "dots", "spots", "sprinkles", "smut"),
    "hair": ("hair", "hair-short", "lint"),
    "stain": ("stain", "smut"),
    "scratch": ("scratches",),
}
_CACHED = 64  # pictures; 400 x 400 each in the known sets, cropped far below that
_FAINTEST = 12  # of 255; fainter parts do not count for the extent of a shape


class TextureFolder:
    """Shapes in a folder with one subfolder of PNG files per kind, for example ``dirt/``, ``hair/`` and ``stain/``.

    The alpha channel of a picture is the opacity of the defect; without one, dark is opaque.
    """

    def __init__(self, path: Path) -> None:
        """Look at a folder.

        Args:
            path: The folder. Files are taken in the order of their names, so the same files give the same damage.

        Raises:
            SettingsError: When no subfolder of a known kind holds a PNG file.
        """
        self._files: dict[TextureKind, list[Path]] = {
            kind: [file for name in names for file in sorted((Path(path) / name).glob("*.png"))]
            for kind, names in _SUBFOLDERS.items()
        }
        if not any(self._files.values()):
            known = ", ".join(sorted({name for names in _SUBFOLDERS.values() for name in names}))
            raise SettingsError(
                f"The textures folder {path} has no PNG files in subfolders named {known}; choose a folder that has, "
                "or none to draw the shapes."
            )
        self._load = lru_cache(maxsize=_CACHED)(_read)

    def has(self, kind: TextureKind) -> bool:
        """Return whether there are shapes of a kind; the others are drawn."""
        return bool(self._files[kind])

    def longest_side(self, kind: TextureKind, choice: float) -> int:
        """Return the longest side, px of its own, of the shape that a number selects; see :meth:`stamp`."""
        return max(self._shape(kind, choice).shape)

    def _shape(self, kind: TextureKind, choice: float) -> FloatArray:
        files = self._files[kind]
        return self._load(files[int(choice / 256 * len(files)) % len(files)])

    def stamp(
        self,
        kind: TextureKind,
        choice: float,
        *,
        centre: tuple[float, float],
        size: float,
        angle: float,
        height: int,
        width: int,
    ) -> tuple[slice, slice, FloatArray] | None:
        """Place one shape on a frame.

        Args:
            kind: ``"dirt"``, ``"hair"``, ``"stain"`` or ``"scratch"``.
            choice: Number in 0 … 256 that selects the file.
            centre: (x, y) of its middle, px.
            size: Longest side of the shape, px.
            angle: Turn, radians.
            height: Frame height, px.
            width: Frame width, px.

        Returns:
            Rows, columns and the coverage there in [0, 1]; None when it lies outside the frame.

        Raises:
            SettingsError: When the file is not a readable picture.
        """
        shape = self._shape(kind, choice)
        zoom = size / max(shape.shape)
        if zoom < 0.5:  # warping samples at points: without this, thin hairs would fall between them
            small = (max(round(shape.shape[1] * zoom), 1), max(round(shape.shape[0] * zoom), 1))
            shape, zoom = cv2.resize(shape, small, interpolation=cv2.INTER_AREA).astype(np.float32), 1.0
        reach = 0.5 * zoom * math.hypot(*shape.shape) + 2
        box = box_around(*centre, reach, height, width)
        if box is None:
            return None
        rows, columns = box
        cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
        x, y = (shape.shape[1] - 1) / 2, (shape.shape[0] - 1) / 2
        matrix = np.array(
            [
                [cos, -sin, centre[0] - columns.start - cos * x + sin * y],
                [sin, cos, centre[1] - rows.start - sin * x - cos * y],
            ]
        )
        extent = columns.stop - columns.start, rows.stop - rows.start
        coverage = cv2.warpAffine(shape, matrix, extent, flags=cv2.INTER_LINEAR)
        return rows, columns, np.clip(coverage, 0, 1).astype(np.float32)


def _read(path: Path) -> FloatArray:
    """Read the opacity of a shape, (H, W), without its empty surroundings."""
    data = np.fromfile(path, dtype=np.uint8)  # cv2.imread does not open every path on Windows
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if picture is None:
        raise SettingsError(f"The texture {path} cannot be read as a picture; replace it or remove it.")
    levels = picture.astype(np.float32) / (65535 if picture.dtype == np.uint16 else 255)
    if picture.ndim == 3 and picture.shape[2] == 4:
        alpha = levels[..., 3]
    else:
        alpha = 1 - (levels if picture.ndim == 2 else levels.mean(axis=2))
    seen = alpha > _FAINTEST / 255
    if seen.any():
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        alpha = alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # An empty rim, so that the outline is anti-aliased on all sides.
    return np.pad(alpha, 1).astype(np.float32)


TEXTURE_KINDS: tuple[TextureKind, ...] = get_args(TextureKind)

SHEET_KINDS: dict[TextureKind, str] = {"dirt": "dirt", "hair": "hair", "stain": "blotches", "scratch": "cinches"}
"""Mask that scans of each kind of shape count for."""


@dataclass(frozen=True, kw_only=True)
class SheetModel:
    """How many scans are laid over a frame.

    Attributes:
        rates: Mean number per frame (Poisson) of scans of dirt, of hair, of stains and of scratches, 0 … 20 each.
        zoom: Smallest and largest enlargement of a scan, on a frame of 480 lines; drawn log-uniformly.
        opacity: Smallest and largest opacity; drawn log-uniformly.
        white_share: Share of light ones.
        blends: Shares of the ways in which they mix with the picture, see :data:`~.marks.BLENDS`.
    """

    rates: tuple[float, float, float, float] = (0.3, 0.2, 0.1, 0.1)
    zoom: tuple[float, float] = (0.25, 1.2)
    opacity: tuple[float, float] = (0.2, 1.0)
    white_share: float = 0.5
    blends: tuple[float, ...] = (0.5, 0.25, 0.25)

    def __post_init__(self) -> None:
        for rate in self.rates:
            require_within("sheets.rates", rate, 0, 20)
        require_span("sheets.zoom", self.zoom, 0.01, 10)
        require_span("sheets.opacity", self.opacity, 0.01, 1)
        require_within("sheets.white_share", self.white_share, 0, 1)
        require_blends("sheets.blends", self.blends)


class SheetLayer:
    """Draws the scans of one kind on any frame."""

    def __init__(
        self, model: SheetModel, seed: int, height: int, width: int, textures: TextureFolder, kind: TextureKind
    ) -> None:
        self._model, self._seed, self._height, self._width = model, seed, height, width
        self._textures, self._kind = textures, kind
        self._rate = model.rates[list(SHEET_KINDS).index(kind)]

    def apply(self, index: int, image: FloatArray) -> FloatArray:
        """Return the image (H, W, 3) of frame ``index`` with scans on it; the image itself where there are none."""
        model = self._model
        stream = generator(self._seed, f"{self._kind} sheets", index)
        count = stream.poisson(self._rate)
        if not count:
            return image
        image = image.copy()
        for _ in range(count):
            choice = stream.uniform(0, 256)
            size = self._textures.longest_side(self._kind, choice) * log_uniform(stream, *model.zoom)
            patch = self._textures.stamp(
                self._kind,
                choice,
                centre=(stream.uniform(0, self._width), stream.uniform(0, self._height)),
                size=size * line_scale(self._height),
                angle=stream.uniform(0, 2 * np.pi),
                height=self._height,
                width=self._width,
            )
            opacity = log_uniform(stream, *model.opacity)
            white, place = bool(stream.random() < model.white_share), stream.random()
            if patch is not None:
                blend = draw_blend(model.blends, place)
                stamp(image, *patch, opacity, white=white, blend=blend)
        return image
