"""Examples of real film, on which the truth is known where the film agrees with itself.

Where a frame and all its neighbours show the same, there is no damage, only the real thing: grain, flicker, printing,
motion. What stands out may be damage or not, nobody knows, and counts neither way. Damage of the simulation is laid
over the film, and is to be found.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...ageing import simulate
from ...data.stretches import Stretches
from ...errors import FilmFileError
from ...files.suffixes import FILM_SUFFIXES
from ...film.dirt.features import COARSE_PLANES, FINE_PLANES, SCALE, DirtFeatures
from ...film.dirt.looks import NeighbourLooks
from ...film.motion.window import FrameWindow
from ...progress import Progress, silent
from ..example_files import make_missing
from .ageing import draw_ageing
from .examples import (
    BLOTCH,
    DIRT,
    SCRATCH,
    UNKNOWN,
    DirtExampleSettings,
    ShotExamples,
    chosen_frames,
    examples_of,
    label,
)

_DAMAGE = ("blotches", "dirt", "hair", "sheets", "cinches")
"""What is laid over real film; grain, flicker and all else it has of its own."""


_MEMORY = 1 << 29  # bytes of decoded pictures


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """When nobody knows what real film shows.

    Attributes:
        pixel: Deviations of the grain beyond most neighbours from which on a pixel may be damaged.
        patch: Deviations, of what grain leaves after averaging, from which on a patch may be.
        line: Deviations of what grain gives along a line from which on a line may be there.
        around: Pixels on each side of the square around such places that count neither way.
    """

    pixel: float = 4.0
    patch: float = 10.0
    line: float = 6.0
    around: int = 5


_AGREE = Agreement()


class RealFilm:
    """Stretches of real film.

    Args:
        folder: With the films.
        lines: Length to which the shorter side is reduced, px.

    Raises:
        FilmFileError: There is no film.
    """

    def __init__(self, folder: Path, *, lines: int = 540) -> None:
        self.films = tuple(path for path in sorted(folder.iterdir()) if path.suffix.lower() in FILM_SUFFIXES)
        if not self.films:
            raise FilmFileError(f"there is no film in {folder}; name a folder with films, or none")
        self._pictures = Stretches(film_lines=lines, photo_side=lines, memory=_MEMORY)

    def shot(self, stream: np.random.Generator, frames: int) -> Tensor:
        """Return a stretch of one of the films, (T, 3, H, W) in [0, 1]."""
        film = self.films[int(stream.integers(len(self.films)))]
        first = int(stream.integers(max(1, self._pictures.count(film) - frames + 1)))
        pictures = self._pictures.frames(film, range(first, min(first + frames, self._pictures.count(film))))
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def film_examples(
    film: RealFilm, index: int, settings: DirtExampleSettings, textures: Path | None = None
) -> ShotExamples:
    """Make the examples of a stretch of real film; arguments as of `examples.shot_examples`."""
    stream = np.random.default_rng([settings.seed, index, zlib.crc32(b"real film dirt examples")])
    shot = film.shot(stream, settings.frames)
    numbers = chosen_frames(stream, len(shot), settings.end_share)
    doubt, grain = doubtful(shot, numbers)
    model = draw_ageing(
        stream,
        settings.ageing,
        textures,
        clean_share=settings.clean_share,
        texture_share=settings.texture_share,
    )
    damaged = simulate(shot, model.only(*_DAMAGE), seed=int(stream.integers(1 << 62)))
    labels = label(damaged, settings, grain)
    unknown = doubt & ((labels & (DIRT | SCRATCH | BLOTCH)) == 0)
    labels[unknown] |= UNKNOWN
    return examples_of(damaged.frames, labels, numbers, stream, settings)


def doubtful(shot: Tensor, numbers: Sequence[int]) -> tuple[NDArray[np.bool_], float]:
    """Tell where some frames of a shot (T, 3, H, W) do not agree with their neighbours, (T, H, W), and their grain.

    The grain is its deviation in grey levels, the mean over these frames; frames that are not asked for are all in
    doubt.
    """
    window = NeighbourLooks(FrameWindow(shot))
    features = DirtFeatures(window)
    found = np.ones((len(shot), *shot.shape[-2:]), bool)
    square = np.ones((_AGREE.around,) * 2, np.uint8)
    grains = []
    for number in numbers:
        features.forget(number)
        window.forget(number)
        seen = features.planes(number)
        if seen is None:
            continue
        height, width = shot.shape[-2:]
        fine = dict(zip(FINE_PLANES, seen.fine[:, :height, :width].numpy(), strict=True))
        coarse = dict(zip(COARSE_PLANES, seen.coarse.numpy(), strict=True))
        # Back from the compressed planes to deviations of the grain.
        apart = np.abs(fine["beyond most"]) > np.log1p(_AGREE.pixel / SCALE.bend)
        apart |= np.abs(fine["line"]) > np.log1p(_AGREE.line / SCALE.line_bend)
        patch = np.abs(coarse["patch"]) > np.log1p(_AGREE.patch / SCALE.bend)
        patch |= np.abs(coarse["wide patch"]) > np.log1p(_AGREE.patch / SCALE.bend)
        patch = cv2.resize(patch.astype(np.uint8), (0, 0), fx=2, fy=2, interpolation=cv2.INTER_NEAREST)[:height, :width]
        found[number] = cv2.dilate(apart.astype(np.uint8) | patch, square) > 0
        grains.append(float(np.exp(coarse["grain"][0, 0])) * SCALE.usual_grain)
    return found, float(np.mean(grains)) if grains else 0.0


def make_film_examples(
    film: RealFilm,
    folder: Path,
    settings: DirtExampleSettings,
    *,
    textures: Path | None = None,
    progress: Progress = silent,
) -> tuple[Path, ...]:
    """Make those examples of real film that are not in a folder yet; arguments as of `examples.make_examples`."""
    files = [folder / f"film-{index:05d}.npz" for index in range(settings.film_shots)]

    def make(number: int) -> dict[str, NDArray]:
        made = film_examples(film, number, settings, textures)
        return {"fine": made.fine, "coarse": made.coarse, "labels": made.labels}

    make_missing(files, make, progress=progress)
    return tuple(files)
