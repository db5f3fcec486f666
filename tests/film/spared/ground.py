"""What clean contents are drawn on: grounds, lettering and grain; planes (H, W) in grey levels."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Plane = np.ndarray
Content = tuple[list[np.ndarray], list[np.ndarray]]
"""Frames (H, W, 3) uint8, and for each of them where the content at risk is, (H, W) bool."""

SIZE = (272, 480)


def landscape(height: int, width: int, seed: int) -> Plane:
    """Hills, walls and windows, with detail at every scale."""
    stream = np.random.default_rng(seed)
    ground = np.zeros((height, width), np.float32)
    for cells in (3, 6, 13, 28, 60):
        noise = stream.standard_normal((cells, 2 * cells)).astype(np.float32)
        ground += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * (60 / cells**0.6)
    ground = 120 + ground - np.linspace(-25, 45, height, dtype=np.float32)[:, None]
    for _ in range(8):
        x, y = stream.integers(0, width - 20), stream.integers(height // 4, height - 20)
        w, h = stream.integers(width // 14, width // 5), stream.integers(height // 7, height // 3)
        level = stream.integers(40, 190)
        wall = ground[y : y + h, x : x + w]
        wall[:] = 0.35 * wall + 0.65 * level
        for column in range(6, wall.shape[1] - 8, 15):
            for row in range(7, wall.shape[0] - 10, 19):
                wall[row : row + 8, column : column + 6] = stream.integers(15, 70)
    return np.clip(ground, 10, 235)


def panned(wide: Plane, x: float, y: float, size: tuple[int, int] = SIZE) -> Plane:
    """The part of a larger plane that begins at a place between its pixels."""
    height, width = size
    way = np.array([[1, 0, -x], [0, 1, -y]], np.float64)
    return cv2.warpAffine(wide, way, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def panning(
    count: int, *, seed: int, speed: tuple[float, float] = (1.4, 0.0), size: tuple[int, int] = SIZE
) -> list[Plane]:
    """A landscape under a pan."""
    height, width = size
    margin = int(max(abs(part) for part in speed) * count) + 8
    wide = landscape(height + 2 * margin, width + 2 * margin, seed)
    return [panned(wide, margin + speed[0] * t, margin + speed[1] * t, size) for t in range(count)]


@cache
def typeface(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A DejaVu font."""
    return ImageFont.truetype(f"{name}.ttf", size)


def lettered(
    text: str,
    at: tuple[float, float],
    *,
    size: int,
    face: str = "DejaVuSans",
    anchor: str = "mm",
    frame: tuple[int, int] = SIZE,
) -> Plane:
    """How much of each pixel letters cover, 0 … 1; `at` is x, y and may lie between pixels downwards."""
    height, width = frame
    sheet = Image.new("L", (width, height), 0)
    ImageDraw.Draw(sheet).text((at[0], int(np.floor(at[1]))), text, font=typeface(face, size), fill=255, anchor=anchor)
    cover = np.asarray(sheet, np.float32) / 255
    rest = at[1] - np.floor(at[1])
    if rest:
        way = np.array([[1, 0, 0], [0, 1, rest]], np.float64)
        cover = np.asarray(cv2.warpAffine(cover, way, (width, height)), np.float32)
    return cover


def laid_over(ground: Plane, cover: Plane, level: float | Plane) -> Plane:
    """Lay a level over a ground where it covers it."""
    return ground * (1 - cover) + np.float32(level) * cover


def widened(mask: Plane, by: int) -> np.ndarray:
    """Widen a mask by some pixels."""
    return cv2.dilate((mask > 0.3).astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0


def filmed(planes: list[Plane], *, grain: float = 4.0, seed: int = 1, where: Plane | None = None) -> list[np.ndarray]:
    """Make frames of planes, under a grain of a deviation in levels; `where` (H, W) 0 … 1 scales it."""
    stream = np.random.default_rng(seed)
    tint = np.array([1.02, 1.0, 0.95], np.float32)
    frames = []
    for plane in planes:
        noise = cv2.GaussianBlur(stream.standard_normal(plane.shape).astype(np.float32), (0, 0), 0.7)
        noise = noise * np.float32(grain / float(noise.std()))
        noisy = plane + (noise if where is None else noise * where)
        frames.append(np.clip(np.rint(noisy[..., None] * tint), 0, 255).astype(np.uint8))
    return frames


def drawn(count: int, paint: Callable[[int], tuple[Plane, np.ndarray]], **film: float) -> Content:
    """Make a content frame by frame: `paint` gives a plane and what is at risk in it."""
    made = [paint(t) for t in range(count)]
    return filmed([plane for plane, _ in made], **film), [risk for _, risk in made]  # type: ignore[arg-type]


FONTS_MISSING = not any(
    (Path(folder) / "DejaVuSans.ttf").exists()
    for folder in ("/usr/share/fonts/truetype/dejavu", "/usr/share/fonts/dejavu", "/usr/share/fonts/TTF")
)
