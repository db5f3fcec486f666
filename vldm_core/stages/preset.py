"""Settings of the stages as a file: what suits one film, kept beside it and used again in a graph or a terminal."""

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..errors import FilmFileError, SettingsError
from ..files.temporary import written_whole
from ..files.text import read_text
from .settings import StageSettings

FORMAT = "vldm film settings"
"""What the file says that it is."""

SUFFIX = ".json"

_SETTINGS: TypeAdapter[StageSettings] = TypeAdapter(StageSettings)
_OWN = tuple(field.name for field in fields(StageSettings) if not field.name.startswith("given_"))


def settings_text(settings: StageSettings) -> str:
    """Write settings as JSON: every stage with all that it is set to, null where it is off.

    Args:
        settings: Of the stages; what a reel adds, such as files and codec, is left out.
    """
    own = StageSettings(**{name: getattr(settings, name) for name in _OWN})
    plain = _SETTINGS.dump_python(own, mode="json", include=set(_OWN))
    return json.dumps({"format": FORMAT, **plain}, indent=2, ensure_ascii=False) + "\n"


def settings_from(text: str) -> StageSettings:
    """Read settings from JSON; what it does not say has its default.

    Raises:
        SettingsError: It is no such JSON, or a name or value is wrong; every one is named.
    """
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"this is not JSON ({error}); give a file of settings that this program wrote") from error
    if not isinstance(given, dict) or given.pop("format", None) != FORMAT:
        raise SettingsError(f'these are no film settings: "format" has to be "{FORMAT}"')
    try:
        settings = _SETTINGS.validate_python(given)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(str(part) for part in each['loc'])}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        ]
        raise SettingsError("; ".join(wrong)) from error
    if unknown := sorted(_unknown(given, _SETTINGS.dump_python(settings))):
        raise SettingsError(f"there is no setting {', '.join(unknown)}; leave it out")
    return settings


def _unknown(given: Any, known: Any, place: str = "") -> list[str]:
    """Names in what was given that the settings do not have."""
    if not isinstance(given, dict) or not isinstance(known, dict):
        return []
    names = []
    for name, value in given.items():
        if name not in known:
            names.append(place + name)
        else:
            names += _unknown(value, known[name], f"{place}{name}.")
    return names


def read_settings(path: str | os.PathLike[str]) -> StageSettings:
    """Read a file of settings.

    Raises:
        SettingsError: The file cannot be read, or what it says makes no sense.
    """
    text = read_text(Path(path), "the file of settings")
    try:
        return settings_from(text)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def check_settings_path(path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Check that settings can be written under this name.

    Raises:
        SettingsError: The suffix is another than .json, there is no such folder, or a file that may not be replaced.
    """
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise SettingsError(f"{path} has the suffix {path.suffix or 'of nothing'!r}; settings are written as {SUFFIX}")
    if not path.parent.is_dir():
        raise SettingsError(f"there is no folder {path.parent} for the settings; make it, or name another")
    if path.exists() and not overwrite:
        raise SettingsError(f"{path} is there already; name another file, or allow it to be replaced")


def write_settings(settings: StageSettings, path: str | os.PathLike[str]) -> None:
    """Write settings to a file, which appears only when it is complete.

    Raises:
        SettingsError: The file cannot be written.
    """
    check_settings_path(path)
    try:
        with written_whole(Path(path)) as part:
            part.write_text(settings_text(settings), encoding="utf-8")
    except (OSError, FilmFileError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"the settings {path} cannot be written ({reason})") from error
