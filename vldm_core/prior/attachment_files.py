"""A pipeline's attachments on disk: one folder with the weights, and one file that says how they are used."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..files.weights import WeightFileError, read_contents, read_header
from .attachment import Attachment
from .temporal.animatediff import MotionModules, MotionModuleSettings
from .temporal.animatediff_files import read_motion_modules, save_motion_modules
from .temporal.attention import AttentionWindows
from .temporal.files import METADATA_KEY, read_temporal_layers, save_temporal_layers
from .temporal.layers import TemporalLayers

_LOG = logging.getLogger(__name__)

_WINDOWS = AttentionWindows()

FOLDER = "attachments"
_INDEX = "attachments.json"


def read_attachment(
    path: Path, *, strength: float = 1.0, windows: AttentionWindows | None = _WINDOWS
) -> TemporalLayers | MotionModules:
    """Read temporal layers or AnimateDiff motion modules; the file says which it holds.

    Args:
        path: The file.
        strength: Factor on what the layers add; 0 is off.
        windows: Attention windows for shots longer than their length; None attends over a whole shot.

    Raises:
        WeightFileError: The file is unreadable or holds neither.
    """
    if path.suffix.lower() == ".safetensors":
        temporal = METADATA_KEY in read_header(path).metadata
    else:
        temporal = METADATA_KEY in read_contents(path)
    if temporal:
        return read_temporal_layers(path, windows=windows, strength=strength)
    return read_motion_modules(path, MotionModuleSettings(strength=strength, windows=windows))


def save_attachments(attachments: Mapping[str, Attachment], folder: Path) -> None:
    """Write temporal layers and motion modules with their settings.

    A LoRA with a strength per frame belongs to one clip and is left out, with a line in the log.

    Args:
        attachments: By name.
        folder: Made if missing. It stays unmade where there is nothing to write.

    Raises:
        SettingsError: An attachment of another kind.
    """
    index: dict[str, dict[str, Any]] = {}
    for name, attachment in attachments.items():
        file = f"{name}.safetensors"
        if isinstance(attachment, TemporalLayers):
            folder.mkdir(parents=True, exist_ok=True)
            save_temporal_layers(attachment, folder / file)
            windows = None if attachment.windows is None else asdict(attachment.windows)
            index[name] = {"kind": "temporal", "file": file, "strength": attachment.strength, "windows": windows}
        elif isinstance(attachment, MotionModules):
            folder.mkdir(parents=True, exist_ok=True)
            save_motion_modules(attachment, folder / file)
            index[name] = {
                "kind": "motion",
                "file": file,
                "version": attachment.config.version,
                "settings": asdict(attachment.settings),
            }
        elif type(attachment).__name__ == "ShotLora":
            _LOG.warning("%s is not saved: a LoRA with a strength per frame belongs to one clip", name)
        else:
            raise SettingsError(f"{type(attachment).__name__} cannot be saved; detach it first")
    if index:
        (folder / _INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def load_attachments(folder: Path) -> dict[str, Attachment]:
    """Read what :func:`save_attachments` wrote; nothing where the folder holds nothing of it.

    Raises:
        WeightFileError: The folder holds something else, or a file is damaged.
    """
    path = folder / _INDEX
    if not path.is_file():
        return {}
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return {name: _read(folder, entry) for name, entry in index.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightFileError(f"{path} makes no sense ({error}); save the pipeline again") from error


def _read(folder: Path, entry: Mapping[str, Any]) -> Attachment:
    file = folder / Path(entry["file"]).name
    if entry["kind"] == "temporal":
        return read_temporal_layers(file, windows=_windows(entry["windows"]), strength=entry["strength"])
    if entry["kind"] == "motion":
        values = dict(entry["settings"])
        values["windows"] = _windows(values["windows"])
        if values["frame_strengths"] is not None:
            values["frame_strengths"] = tuple(values["frame_strengths"])
        return read_motion_modules(file, MotionModuleSettings(**values), version=entry["version"])
    raise WeightFileError(f"attachments of kind {entry['kind']!r} are not known; update the pack")


def _windows(values: Mapping[str, int] | None) -> AttentionWindows | None:
    return None if values is None else AttentionWindows(**values)
