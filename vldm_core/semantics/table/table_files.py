"""Files of the table of shots: .json and .csv, whole or not at all."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import FilmFileError, SettingsError
from ...files.temporary import written_whole
from ...files.text import read_text
from .automatic import refreshed
from .table import ShotTable


def read_table(path: str | os.PathLike[str]) -> ShotTable:
    """Read a table from a .json or .csv file: UTF-8, or UTF-16 as spreadsheets write it.

    Prompts that were made automatically of captions or tags which a person has changed since are made again.

    Raises:
        SettingsError: The file cannot be read, its letters were lost on the way, or its contents make no sense.
    """
    path = Path(path)
    read = _by_suffix(path, {".json": ShotTable.from_json, ".csv": ShotTable.from_csv})
    text = read_text(path, "the shot table")
    try:
        return refreshed(read(text))
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def write_table(table: ShotTable, path: str | os.PathLike[str]) -> None:
    """Write a table to a .json or .csv file; it appears only when it is complete.

    A .csv with letters beyond English begins with a byte order mark: without one, Excel reads other letters in their
    place and saves those.

    Raises:
        SettingsError: The suffix is another, or the file cannot be written.
    """
    path = Path(path)
    text = _by_suffix(path, {".json": table.to_json, ".csv": table.to_csv})()
    encoding = "utf-8" if text.isascii() or path.suffix.lower() == ".json" else "utf-8-sig"
    try:
        with written_whole(path) as part:
            part.write_bytes(text.encode(encoding))
    except (OSError, FilmFileError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"the shot table {path} cannot be written ({reason})") from error


def check_table_path(path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Check that a table can be written under this name.

    Args:
        path: Where.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        SettingsError: The suffix is neither .json nor .csv, there is no such folder, or there is such a file.
    """
    _by_suffix(Path(path), {".json": None, ".csv": None})
    if not Path(path).absolute().parent.is_dir():
        raise SettingsError(f"there is no folder {Path(path).parent} for the shot table; make it or name another")
    if Path(path).exists() and not overwrite:
        raise SettingsError(
            f"{path} exists already, perhaps with corrections of yours; name another, or ask for --overwrite"
        )


def _by_suffix(path: Path, choices: Mapping[str, Any]) -> Any:
    try:
        return choices[path.suffix.lower()]
    except KeyError:
        raise SettingsError(f"a shot table ends in .json or .csv; {path.name} does not") from None
