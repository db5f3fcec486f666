"""Which clips, photographs and textures of damage are for validation: split by file, so none is trained and judged on.

The project's own data names its validation files. They hold what detectors stumble over: a locked-off camera with a
moving subject (`01_dog`), static upright structure behind fast motion (`bedroom`), and fast crossings with occlusion
(`seeking`). Of any other folder one file in eight is kept, chosen by the files' names alone: the same files give the
same split wherever they lie, and one file more changes little.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files.suffixes import FILM_SUFFIXES, PHOTO_SUFFIXES

VALIDATION: frozenset[str] = frozenset(
    {"01_dog", "bedroom", "seeking", "kait-herzog-8242", "samuel-zeller-337041", "sean-afnan-244576"}
)
"""Names, without suffix, of the clips and photographs that figures are measured on and nothing is trained on."""

_ONE_IN = 8
_FOLDERS = ("clips", "photos")


@dataclass(frozen=True, kw_only=True)
class Split:
    """The files of a data folder.

    Attributes:
        training: What may be trained on, sorted.
        validation: What figures are measured on, sorted; empty where there is one file only.
    """

    training: tuple[Path, ...]
    validation: tuple[Path, ...]


def material_files(roots: Iterable[Path]) -> list[Path]:
    """List the films and pictures of some folders, or the files themselves, sorted.

    Of a folder, the files in it and in its subfolders `clips` and `photos` are taken; other subfolders may hold damaged
    films.
    """
    found: set[Path] = set()
    for root in roots:
        if root.is_dir():
            for folder in (root, *(root / name for name in _FOLDERS)):
                found.update(folder.glob("*"))
        else:
            found.add(root)
    return sorted(path for path in found if path.suffix.lower() in FILM_SUFFIXES + PHOTO_SUFFIXES and path.is_file())


def split_files(files: Sequence[Path]) -> Split:
    """Split files into those to train on and those to validate on.

    Where a file bears one of the names in `VALIDATION`, these are for validation and all others for training. Else one
    in eight of the clips and of the photographs is, and at least one file where there are two.
    """
    kept = {path for path in files if path.stem in VALIDATION}
    if not kept:
        kinds = [[path for path in files if path.suffix.lower() in suffixes] for suffixes in _KINDS]
        kept = {path for kind in kinds for path in _drawn(kind, max(len(kind) // _ONE_IN, min(1, len(kind) // 2)))}
        # One clip and one photograph: neither kind has one to spare.
        if not kept and len(files) > 1:
            kept = set(_drawn(files, 1))
    return Split(training=tuple(sorted(path for path in files if path not in kept)), validation=tuple(sorted(kept)))


def is_validation_texture(path: Path) -> bool:
    """Tell whether a texture of film damage is for validation, by its file's name alone: about half of them are.

    Nothing is trained on these: the shapes that damage is measured with shall be as strange to a network as the film.
    """
    return hashlib.sha256(path.name.encode()).digest()[0] % 2 == 1


_KINDS = (FILM_SUFFIXES, PHOTO_SUFFIXES)


def _drawn(files: Sequence[Path], count: int) -> list[Path]:
    """Draw files by their names."""
    return sorted(files, key=lambda path: (hashlib.sha256(path.name.encode()).digest(), path))[:count]
