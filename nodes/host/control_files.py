"""Where files of restoration controls lie in the host: in their own folder, and where users have them already."""

from pathlib import Path

from ...vldm_core.errors import SettingsError
from ...vldm_core.files.weights import SUFFIXES
from .models import (
    CHECKPOINTS,
    CONTROL,
    CONTROLNETS,
    UNETS,
    file_state,
    folders_of,
    model_files,
    model_folder,
    model_path,
)

NO_FILE = "none"
"""Stands for no second file."""

_FOLDERS = (CONTROL, CONTROLNETS, UNETS, CHECKPOINTS)
_FOLDER_END = "/"


def control_files() -> list[str]:
    """List weight files that may belong to a control, after folders that may hold one; folders end in a slash."""
    files = [name for name in model_files(*_FOLDERS) if name.lower().endswith(SUFFIXES)]
    return [*_control_folders(), *files]


def control_paths(*names: str) -> list[Path]:
    """Find what `control_files` lists; `NO_FILE` is left out.

    Raises:
        SettingsError: A file or folder is not there, or is given twice.
    """
    paths = [_path(name) for name in names if name != NO_FILE]
    if not paths:
        raise SettingsError("no file is chosen; choose the file of a restoration control")
    if len(set(paths)) < len(paths):
        raise SettingsError(f"{names[0]} is chosen twice; choose its other file, or {NO_FILE}")
    return paths


def control_state(*names: str) -> str:
    """Return what changes when a file does, for the host's cache."""
    return ";".join(_state(name) for name in names if name != NO_FILE)


def _control_folders() -> list[str]:
    found = {
        f"{folder.name}{_FOLDER_END}"
        for place in folders_of(CONTROL)
        if place.is_dir()
        for folder in place.iterdir()
        if folder.is_dir() and _weights_below(folder)
    }
    return sorted(found)


def _weights_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _path(name: str) -> Path:
    if not name.endswith(_FOLDER_END):
        return model_path(name, *_FOLDERS)
    path = model_folder(name.removesuffix(_FOLDER_END), CONTROL)
    if not path.is_dir():
        raise SettingsError(f"{name!r} is not a folder below models/{CONTROL}; put it there and refresh")
    return path


def _state(name: str) -> str:
    if not name.endswith(_FOLDER_END):
        return file_state(name, *_FOLDERS)
    try:
        files = _weights_below(_path(name))
        return ",".join(f"{file.name}:{file.stat().st_mtime_ns}:{file.stat().st_size}" for file in files)
    except (SettingsError, OSError):
        return "missing"
