"""Names of image sequences: which paths are one, and which pictures belong together."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...errors import FilmFileError
from ..writing.encoding import CONTAINERS

DECODERS = {
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".jpg": "mjpeg",
    ".jpeg": "mjpeg",
    ".webp": "webp",
    ".bmp": "bmp",
    ".dpx": "dpx",
    ".exr": "exr",
    ".jp2": "jpeg2000",
}
"""Suffixes of pictures that are read → FFmpeg's decoder."""

_NUMBERED = re.compile(r"%0?(\d*)d")
_DEFAULT_PATTERN = "frame_%06d.png"


def is_sequence(path: str | os.PathLike[str]) -> bool:
    """Whether a source names an image sequence: a folder, or a pattern such as ``scan_%06d.png``.

    A file that exists is no pattern, whatever its name, and neither is the name of a film file.
    """
    path = Path(path)
    if path.suffix.lower() in CONTAINERS or path.is_file():
        return path.is_dir()
    return path.is_dir() or _NUMBERED.search(path.name) is not None


def names_sequence(path: str | os.PathLike[str]) -> bool:
    """Whether an output path asks for an image sequence: also a name without suffix or with a trailing slash."""
    return os.fspath(path).endswith(("/", os.sep)) or Path(path).suffix == "" or is_sequence(path)


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key by which ``frame2`` comes before ``frame10``."""
    return tuple(
        (0, int(p), "") if p.isdecimal() and p.isascii() else (1, 0, p.lower())
        for p in re.split(r"([0-9]+)", name)
        if p
    )


def refuse_pictures(path: Path) -> None:
    """Refuse to write among pictures of the same kind of name.

    Args:
        path: A folder, or a pattern in one, as for ``open_writer``.

    Raises:
        FilmFileError: There are such pictures.
    """
    folder, pattern = split_pattern(path)
    if pictures_like(folder, pattern):
        raise FilmFileError(
            f"{folder} already holds pictures named like {pattern}; name another folder, or ask for --overwrite"
        )


def pictures_like(folder: Path, pattern: str) -> list[Path]:
    """The pictures of a folder whose names follow a pattern."""
    names = _name_expression(pattern)
    return [f for f in folder.iterdir() if names.fullmatch(f.name)] if folder.is_dir() else []


def split_pattern(path: Path) -> tuple[Path, str]:
    """Return the folder of an output path, and the pattern of the names in it."""
    if _NUMBERED.search(path.name):
        return path.parent, path.name
    return path, _DEFAULT_PATTERN


def _name_expression(pattern: str) -> re.Pattern[str]:
    """Turn a file-name pattern into a regular expression."""
    before, _, after = _NUMBERED.split(pattern, maxsplit=1)
    return re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")


def sequence_files(path: Path) -> list[Path]:
    """Return the pictures of a sequence in natural order of their names.

    Args:
        path: A folder, or a pattern such as ``scan_%06d.png``.

    Raises:
        FilmFileError: There is no folder or no picture, or several sequences share the folder.
    """
    folder = path if path.is_dir() else path.parent
    try:
        names = sorted((f for f in folder.iterdir() if f.suffix.lower() in DECODERS), key=lambda f: natural_key(f.name))
    except FileNotFoundError as error:
        raise FilmFileError(f"the folder {folder} does not exist; check the path") from error
    except OSError as error:
        raise FilmFileError(f"the folder {folder} cannot be read: {error.strerror or error}") from error
    files = [f for f in names if not f.name.startswith(".") and f.is_file()]
    if not path.is_dir():
        pattern = _name_expression(path.name)
        files = [f for f in files if pattern.fullmatch(f.name)]
    if not files:
        what = path.name if not path.is_dir() else ", ".join(DECODERS)
        raise FilmFileError(f"{folder} holds no pictures ({what}); give the folder of an image sequence")
    series: dict[str, int] = {}
    for file in files:
        series.setdefault(_series(file), 0)
        series[_series(file)] += 1
    numbered = {name: count for name, count in series.items() if "#" in name}
    if len(numbered) > 1 or (numbered and len(numbered) < len(series)):
        listed = ", ".join(f"{name} ({count})" for name, count in list(series.items())[:4])
        raise FilmFileError(
            f"{folder} holds more than one sequence: {listed}; give one as a pattern such as scan_%06d.png"
        )
    return files


def _series(file: Path) -> str:
    """The name with its last number replaced by ``#``."""
    return re.sub(r"[0-9]+(?=[^0-9]*$)", "#", file.stem) + file.suffix.lower()


def number_of(file: Path) -> int | None:
    """The last number in the name of a picture."""
    found = re.findall(r"[0-9]+", file.stem)
    return int(found[-1]) if found else None


def named(pattern: str, number: int) -> str:
    """The name that a pattern gives to a number."""
    return _NUMBERED.sub(lambda found: f"{number:0{found[1] or 1}d}", pattern)
