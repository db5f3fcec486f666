"""The pack's model folders in the host."""

from pathlib import Path

import folder_paths

from ..vldm_core.errors import SettingsError
from ..vldm_core.weight_files import SUFFIXES

TEMPORAL = "vldm_temporal"
MOTION = "animatediff_models"
"""The folder that other packs use for AnimateDiff's motion modules, so that nobody needs them twice."""

LORAS = "loras"


def register_folders() -> None:
    """Tell the host about the folders; those that it knows already keep their places."""
    for name in (TEMPORAL, MOTION):
        folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name))
        paths, extensions = folder_paths.folder_names_and_paths[name]
        folder_paths.folder_names_and_paths[name] = (paths, set(extensions) | set(SUFFIXES))


def model_files(*folders: str) -> list[str]:
    """List the files of some model folders, without repetition."""
    found: dict[str, None] = {}
    for folder in folders:
        found |= dict.fromkeys(folder_paths.get_filename_list(folder))
    return list(found)


def model_path(name: str, *folders: str) -> Path:
    """Find a file by the name that `model_files` lists.

    Raises:
        SettingsError: None of the folders has it.
    """
    for folder in folders:
        path = folder_paths.get_full_path(folder, name)
        if path is not None:
            return Path(path)
    places = " or ".join(f"models/{folder}" for folder in folders)
    raise SettingsError(f"{name!r} is in none of the model folders; put it into {places} and refresh")


def no_such_file(name: str | None, *folders: str) -> str | None:
    """Return a message when none of the folders has a file; the host does not check V3 combos itself."""
    if name is None:
        return None
    try:
        model_path(name, *folders)
    except SettingsError as error:
        return str(error)
    return None


def file_state(name: str, *folders: str) -> str:
    """Return what changes when a file does, for the host's cache."""
    try:
        status = model_path(name, *folders).stat()
    except SettingsError:
        return "missing"
    return f"{status.st_mtime_ns}:{status.st_size}"


def folders_of(name: str) -> list[Path]:
    """Return where the host looks for a kind of model."""
    return [Path(path) for path in folder_paths.get_folder_paths(name)]
