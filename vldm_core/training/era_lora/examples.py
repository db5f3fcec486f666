"""Pictures of an era, cut from its films as they are: with the grain, tones and lenses of their time."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import ByteArray
from ...data.stretches import Stretches
from ...errors import FilmFileError, SettingsError
from ...progress import Progress, silent
from ..example_files import claim, make_missing
from .reels import EraReel


@dataclass(frozen=True, kw_only=True)
class EraPictureSettings:
    """How pictures are cut.

    Attributes:
        pictures: How many there are of an era to train on.
        validation_pictures: How many to validate on.
        side: Height and width, px, a multiple of 8.
        reduction: Largest number of film pixels that become one pixel of a picture: what is seen lies between a square
            of `side` film pixels and one of `side` times this.
        lines: Length to which the shorter side of films is reduced before anything else, px.
        seed: Another seed gives other pictures.
    """

    pictures: int = 400
    validation_pictures: int = 48
    side: int = 512
    reduction: float = 2.0
    lines: int = 1080
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.pictures, self.validation_pictures) < 1 or self.seed < 0 or self.lines < 64:
            raise SettingsError(
                "an era needs 1 picture or more of each kind, a seed from 0 and films of 64 lines or more"
            )
        if self.side < 64 or self.side % 64:
            raise SettingsError(f"pictures of {self.side} px were asked for; use a multiple of 64")
        if not 1 <= self.reduction <= 16:
            raise SettingsError(f"pictures are reduced by up to {self.reduction}; use 1 … 16")


def make_pictures(
    reels: Sequence[EraReel],
    folder: Path,
    settings: EraPictureSettings,
    *,
    validation: bool,
    progress: Progress = silent,
) -> list[Path]:
    """Cut the pictures that are not there yet, as films of one frame.

    Args:
        reels: Of one era.
        folder: Where they lie; it belongs to these settings and films alone.
        settings: How they are cut.
        validation: Whether they are to validate on.
        progress: Called once per picture.

    Returns:
        Files as `training.prerestorer.examples.make_films` makes them.

    Raises:
        FilmFileError: A film cannot be read, or is smaller than a picture.
        SettingsError: The folder holds pictures that were cut in another way.
    """
    passing = ("pictures", "validation_pictures")
    made_as = repr({name: value for name, value in asdict(settings).items() if name not in passing})
    claim(folder, f"era pictures {made_as} {[(r.film.name, r.first, r.last) for r in reels]}", (r.film for r in reels))
    stretches = Stretches(film_lines=settings.lines, photo_side=settings.lines, memory=1 << 29)
    count = settings.validation_pictures if validation else settings.pictures
    files = [folder / f"{number:05d}.npz" for number in range(count)]

    def make(number: int) -> Mapping[str, NDArray]:
        stream = np.random.default_rng([settings.seed, number])
        reel = reels[int(stream.integers(len(reels)))]
        end = stretches.count(reel.film) if reel.last is None else min(reel.last, stretches.count(reel.film))
        if end <= reel.first:
            raise FilmFileError(f"{reel.film} has {end} frames; its table of shots names frame {reel.first}")
        frame = stretches.frames(reel.film, [int(stream.integers(reel.first, end))])[0]
        picture = _cut(frame, stream, settings, reel.film)[None]
        return {"frames": picture, "target": picture, "masks": np.zeros((1, *picture.shape[-2:]), np.bool_)}

    make_missing(files, make, progress=progress)
    return files


def _cut(frame: ByteArray, stream: np.random.Generator, settings: EraPictureSettings, film: Path) -> ByteArray:
    """Return a square of a frame (H, W, 3) as (3, side, side)."""
    height, width = frame.shape[:2]
    largest = min(height, width, round(settings.side * settings.reduction))
    if largest < settings.side:
        raise FilmFileError(
            f"{film} is {width}×{height}, smaller than pictures of {settings.side} px; use a smaller side"
        )
    extent = int(stream.integers(settings.side, largest + 1))
    top, left = int(stream.integers(height - extent + 1)), int(stream.integers(width - extent + 1))
    square = frame[top : top + extent, left : left + extent]
    small = cv2.resize(square, (settings.side, settings.side), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small.transpose(2, 0, 1))
