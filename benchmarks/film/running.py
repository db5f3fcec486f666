"""Runs methods on films, as processes, and reads what they made."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vldm_core.errors import FilmFileError, VLDMError
from vldm_core.video.luma import luma
from vldm_core.video.writing.clip import write_clip

from ..common.material import read_film
from ..common.measured_run import Spent, run_measured
from ..common.peers import filled
from .clips import Film, Mask
from .methods import Method
from .scores import Marks, Pictures

_RATE = Fraction(24)

_MARKED = 127.5
"""Grey level of a mask film from which on a pixel is marked."""

_MASK_NAMES: Mapping[str, tuple[str, ...]] = {
    "dirt": ("dirt",),
    "lines": ("scratch", "scratches"),
    "standing": ("standing", "gate"),
}
"""Mask → names of the films that may hold it; one that is not there is empty."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RestoredFilm:
    """What a method made of a film.

    Attributes:
        film: (T, H, W) grey levels.
        spent: What that took, by the whole process.
        marks: Its masks, or None where it has none.
    """

    film: Pictures
    spent: Spent
    marks: Marks | None

    @property
    def dirt_share(self) -> float | None:
        """Share of the pixels marked as dirt."""
        return None if self.marks is None else float(self.marks.dirt.mean())

    @property
    def line_share(self) -> float | None:
        """Share of the pixels marked as scratches."""
        return None if self.marks is None else float(self.marks.lines.mean())


def write_grey(path: Path, film: Film) -> None:
    """Write a grey film without loss, as RGB of equal channels."""
    frames = torch.from_numpy(film)[:, None].expand(-1, 3, -1, -1).float() / 255
    write_clip(path, frames.contiguous(), _RATE)


def read_grey(path: Path) -> Pictures:
    """Read a film as (T, H, W) grey levels.

    Raises:
        FilmFileError: It cannot be read.
    """
    return np.asarray(luma(read_film(path)).numpy(), dtype=np.float32)


Known = dict[tuple[str, ...], Marks]
"""Command that finds damage → what it found in a film: methods may have it in common."""


def run_method(method: Method, film: Film, *, masks: bool = True, known: Known | None = None) -> RestoredFilm:
    """Let a method restore a film, and mark what it finds in it.

    Args:
        method: The method.
        film: (T, H, W) uint8.
        masks: Whether its masks are wanted.
        known: Masks of this film that another method has found by the same command; those found now are added.

    Raises:
        VLDMError: It failed, or gave back a film of another size or length.
    """
    with tempfile.TemporaryDirectory(prefix="vldm-film-") as folder:
        source, target, found = (Path(folder) / name for name in ("in.mkv", "out.mkv", "masks"))
        write_grey(source, film)
        spent = run_measured(filled(method.film, source, target), environment=method.environment)
        restored = read_grey(target)
        if restored.shape != film.shape:
            raise VLDMError(f"{method.name} made a film of {restored.shape} of one of {film.shape}")
        marks = None
        if masks and method.masks is not None:
            known = {} if known is None else known
            command = (*method.masks, *method.environment.values())
            if command not in known:
                found.mkdir()
                run_measured(filled(method.masks, source, found), environment=method.environment)
                known[command] = read_marks(found, film.shape)
            marks = known[command]
        return RestoredFilm(film=restored, spent=spent, marks=marks)


def read_marks(folder: Path, shape: tuple[int, ...]) -> Marks:
    """Read the mask films of a folder.

    Raises:
        FilmFileError: One cannot be read, or has another size or length than `shape`.
    """
    return Marks(**{name: _mask(folder, names, shape) for name, names in _MASK_NAMES.items()})


def _mask(folder: Path, names: tuple[str, ...], shape: tuple[int, ...]) -> Mask:
    path = next((path for name in names if (path := folder / f"{name}.mkv").is_file()), None)
    if path is None:
        return np.zeros(shape, bool)
    mask: NDArray[np.bool_] = read_grey(path) > _MARKED
    if mask.shape != tuple(shape):
        raise FilmFileError(f"{path} is a mask of {mask.shape} for a film of {tuple(shape)}")
    return mask
