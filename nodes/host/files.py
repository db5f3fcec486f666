"""Files of the host's input folder that are no media: found, told apart when they change, never left."""

from pathlib import Path

import folder_paths

from ...vldm_core.errors import SettingsError


def input_files(*suffixes: str) -> list[str]:
    """List the files of the input folder with one of these endings, sorted."""
    folder = Path(folder_paths.get_input_directory())
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file())


def input_file(name: str) -> Path:
    """Find a file of the input folder.

    Raises:
        SettingsError: There is none of that name, or the name leads out of the folder.
    """
    folder = Path(folder_paths.get_input_directory()).resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        raise SettingsError(f"{name!r} is not in the input folder; put the file there and refresh")
    return path


def input_state(name: str) -> str:
    """Return what changes when a file of the input folder does, for the host's cache."""
    try:
        status = input_file(name).stat()
    except (SettingsError, OSError):
        return "missing"
    return f"{status.st_mtime_ns}:{status.st_size}"
