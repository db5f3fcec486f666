"""Which stretches of which films belong to which era: from the names of folders, or from tables of shots.

A folder with a subfolder for each era, such as `1900s/`, `1990s/`, `8mm amateur/` or `newsreel/`, says it by its names.
A film that a table of shots lies beside (`FILM.csv` or `FILM.json`, as `describe` writes it) says it shot by shot; its
amateur films and newsreels are eras of their own, too.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import FilmFileError
from ...files.suffixes import FILM_SUFFIXES
from ...semantics.table.description import UNKNOWN
from ...semantics.table.table_files import read_table

_TABLES = (".csv", ".json")
_ONE_IN = 8
_MEDIA = ("8mm amateur", "newsreel")
"""Kinds of film with a look of their own, whatever their decade."""


@dataclass(frozen=True, kw_only=True, order=True)
class EraReel:
    """A stretch of a film.

    Attributes:
        film: File.
        first: First frame.
        last: The frame behind the last one; None is to the end.
    """

    film: Path
    first: int = 0
    last: int | None = None


@dataclass(frozen=True, kw_only=True)
class EraReels:
    """The stretches of one era.

    Attributes:
        training: What is trained on.
        validation: What a training is judged by.
    """

    training: tuple[EraReel, ...]
    validation: tuple[EraReel, ...]


def era_reels(data: Path) -> Mapping[str, EraReels]:
    """Find the films of every era.

    Args:
        data: Folder with a subfolder for each era, or with films that have tables of shots beside them.

    Returns:
        By era. One in eight films of an era is for validation, and at least one; of a single film with several shots,
        one in eight shots, likewise.

    Raises:
        FilmFileError: There are no films of any era, or an era has a single film without shots, which leaves nothing to
            validate on.
    """
    if not data.is_dir():
        raise FilmFileError(f"{data} is not a folder; give one with a subfolder for each era")
    found: dict[str, list[EraReel]] = {}
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        for film in _films(folder):
            found.setdefault(folder.name, []).append(EraReel(film=film))
    for film in _films(data):
        for era, reel in _of_table(film):
            found.setdefault(era, []).append(reel)
    if not found:
        raise FilmFileError(
            f"{data} has no subfolders with films, such as 1900s/ or newsreel/, and no films with tables of shots "
            "beside them; sort films into folders by era, or run describe on them"
        )
    return {era: _split(era, reels) for era, reels in sorted(found.items())}


def _films(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in FILM_SUFFIXES and path.is_file())


def _of_table(film: Path) -> list[tuple[str, EraReel]]:
    table = next((film.with_suffix(suffix) for suffix in _TABLES if film.with_suffix(suffix).is_file()), None)
    if table is None:
        return []
    found = []
    for shot in read_table(table):
        names = ([] if shot.era == UNKNOWN else [shot.era]) + ([shot.medium] if shot.medium in _MEDIA else [])
        found += [(name, EraReel(film=film, first=shot.first, last=shot.last)) for name in names]
    return found


def _split(era: str, reels: Sequence[EraReel]) -> EraReels:
    """Split by film where there are several, else by shot."""
    films = sorted({reel.film for reel in reels})
    if len(films) > 1:
        kept = set(_drawn(films))
        return EraReels(
            training=tuple(reel for reel in reels if reel.film not in kept),
            validation=tuple(reel for reel in reels if reel.film in kept),
        )
    if len(reels) < 2:
        raise FilmFileError(
            f"the era {era!r} has {films[0].name} alone, which leaves nothing to validate on; add another film, or a "
            "table of its shots"
        )
    numbers = {reel: Path(f"{reel.film.name} {reel.first}") for reel in reels}
    chosen = set(_drawn(sorted(numbers.values())))
    return EraReels(
        training=tuple(reel for reel in reels if numbers[reel] not in chosen),
        validation=tuple(reel for reel in reels if numbers[reel] in chosen),
    )


def _drawn(names: Sequence[Path]) -> list[Path]:
    """Draw by names alone: the same files give the same split wherever they lie."""
    order = sorted(names, key=lambda path: hashlib.sha256(path.name.encode()).digest())
    return order[: max(1, len(names) // _ONE_IN)]
