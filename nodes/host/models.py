"""The pack's model folders in the host."""

from pathlib import Path

import folder_paths

from ...vldm_core.errors import SettingsError
from ...vldm_core.files.weights import ALSO_PICKLED, SUFFIXES

TEMPORAL = "vldm_temporal"
MOTION = "animatediff_models"
"""The folder that other packs use for AnimateDiff's motion modules, so that nobody needs them twice."""

PRERESTORE = "vldm_prerestore"
CONTROL = "vldm_control"
"""Restoration controls of published systems, in their own layouts."""

FUSION = "vldm_fusion"
"""Fusions that users trained."""

ONE_STEP = "vldm_onestep"
"""One-step restorers, in their own layouts."""

CONTROLNETS = "controlnet"
UNETS = "diffusion_models"
CHECKPOINTS = "checkpoints"
"""The host's own folders, where users of such systems may have their files already."""

LORAS = "loras"
UPSCALERS = "upscale_models"
"""The host's folder of still-image models."""

CAPTIONERS = "vldm_captioners"
CLIPS = "vldm_clip"
"""Models of transformers: each is a folder of its own below these."""


def register_folders() -> None:
    """Tell the host about the folders; those that it knows already keep their places."""
    for name in (TEMPORAL, MOTION, PRERESTORE, CONTROL, FUSION, ONE_STEP):
        folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name))
        paths, extensions = folder_paths.folder_names_and_paths[name]
        folder_paths.folder_names_and_paths[name] = (
            paths,
            set(extensions) | set(SUFFIXES) | (set(ALSO_PICKLED) if name == ONE_STEP else set()),
        )
    for name in (CAPTIONERS, CLIPS):
        folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name))


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


def model_folders(kind: str) -> list[str]:
    """List the models that are folders, by name."""
    found = {path.name for folder in folders_of(kind) if folder.is_dir() for path in folder.iterdir() if path.is_dir()}
    return sorted(found)


def model_folder(name: str, kind: str) -> Path:
    """Return where a model that is a folder lies, or where it would have to lie.

    Raises:
        SettingsError: The name is not one of a folder.
    """
    if not name or name in (".", "..") or Path(name).name != name or "\\" in name:
        raise SettingsError(f"{name!r} is not a model; put its folder into models/{kind}, refresh and choose it")
    places = [folder / name for folder in folders_of(kind)]
    return next((place for place in places if place.is_dir()), places[0])


def folder_state(name: str, kind: str) -> str:
    """Return what changes when a file of a model's folder does, for the host's cache."""
    try:
        files = sorted(path for path in model_folder(name, kind).iterdir() if path.is_file())
        return ";".join(f"{path.name}:{path.stat().st_mtime_ns}:{path.stat().st_size}" for path in files)
    except (SettingsError, OSError):
        return "missing"
