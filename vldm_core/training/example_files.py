"""Examples that are made once and kept as files: making them costs more than learning from them.

A folder belongs to one way of making and one set of source files. Each file is a function of its number and the seed
alone and is written whole or not at all, so making them can be interrupted, and goes on where it stopped.
"""

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FilmFileError, SettingsError
from ..files.temporary import written_whole
from ..progress import Progress, silent

_MADE_AS, _SOURCES = "settings.txt", "sources.txt"


def claim(folder: Path, made_as: str, sources: Iterable[Path]) -> None:
    """Write down what the examples of a folder are and of which files they are made, or check that it is the same.

    Files that are trained on now may have been kept for validation when other examples were made, or were of another
    film altogether.

    Args:
        folder: With the examples; made where it is missing.
        made_as: How they are made now.
        sources: What they are made of now.

    Raises:
        SettingsError: The examples there were made with other settings, or it is unknown with which.
        FilmFileError: The examples there are of other files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / _MADE_AS
    known = note.read_text(encoding="utf-8") if note.is_file() else ""
    if known != made_as and (known or any(folder.glob("*.npz"))):
        raise SettingsError(f"{folder} holds examples made with other settings; empty it or use another folder")
    names, text = folder / _SOURCES, "\n".join(sorted(path.name for path in sources))
    if names.is_file() and names.read_text(encoding="utf-8") != text:
        raise FilmFileError(f"{folder} holds what was made of other files than now; use another folder, or delete it")
    note.write_text(made_as, encoding="utf-8")
    names.write_text(text, encoding="utf-8")


def make_missing(
    files: Sequence[Path],
    make: Callable[[int], Mapping[str, NDArray]],
    *,
    part: int = 0,
    parts: int = 1,
    compressed: bool = False,
    progress: Progress = silent,
) -> None:
    """Make the files that are not there.

    Args:
        files: All of them, `.npz`.
        make: Returns what the file of a number holds.
        part: Which of `parts` shares to make, so that several processes can work side by side.
        parts: Number of shares.
        compressed: Whether the files are packed, which takes a while and pays for what repeats itself.
        progress: Called once per file.
    """
    write: Callable[..., None] = np.savez_compressed if compressed else np.savez
    numbers = range(part, len(files), parts)
    for done, number in enumerate(numbers, 1):
        if not files[number].is_file():
            with written_whole(files[number]) as part_file, part_file.open("wb") as file:
                write(file, **make(number))
        progress("make examples", done, len(numbers))


def read(path: Path, names: Iterable[str]) -> dict[str, NDArray]:
    """Read some arrays of a file.

    Raises:
        FilmFileError: It is missing or damaged, or lacks one of them.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FilmFileError(f"{path} holds no examples ({error}); delete it to have it made anew") from error
