"""Which LoRA file belongs to which era of film, and which files every shot of a film gets.

The map is a small JSON file that a restorer writes by hand:

    {
      "1900s":    {"file": "film/1900s.safetensors", "strength": 0.8},
      "newsreel": {"file": "film/newsreel.safetensors"}
    }

Files are named as below the LoRA folders of the host, so the same map serves the graph and the headless pipeline.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any

from ...errors import SettingsError
from ...files.text import read_text
from ...video.shots import Shot
from ...wording import counted
from .keys import check_strength


@dataclass(frozen=True, kw_only=True)
class LoraChoice:
    """A LoRA file and how strongly it is used.

    Attributes:
        file: Path below a LoRA folder, with forward slashes; a .safetensors file.
        strength: Between -10 and 10; 0 is off.
    """

    file: str
    strength: float = 1.0

    def __post_init__(self) -> None:
        _check_file(self.file)
        check_strength(self.strength, repr(self.file))


@dataclass(frozen=True, kw_only=True)
class EraLoras:
    """LoRA files by era.

    Attributes:
        eras: What each era uses. Names are told apart without regard to case and surrounding blanks.
    """

    eras: Mapping[str, LoraChoice]

    def __post_init__(self) -> None:
        table: dict[str, LoraChoice] = {}
        for name, choice in self.eras.items():
            key = _plain(name)
            if not key:
                raise SettingsError("an era needs a name; got an empty one")
            if key in table:
                raise SettingsError(f"the era {name!r} is listed twice")
            table[key] = choice
        object.__setattr__(self, "eras", MappingProxyType(table))

    def __getitem__(self, era: str) -> LoraChoice:
        """Return what an era uses.

        Raises:
            SettingsError: The map does not know the era.
        """
        try:
            return self.eras[_plain(era)]
        except KeyError:
            known = ", ".join(self.eras) or "none"
            raise SettingsError(f"the era map has no era {era!r}; it has {known}") from None


@dataclass(frozen=True, kw_only=True)
class LorasOfShot:
    """What a shot uses; no file twice, none at strength 0."""

    shot: Shot
    loras: tuple[LoraChoice, ...]


def read_era_loras(path: Path) -> EraLoras:
    """Read an era map.

    Raises:
        SettingsError: The file is missing, no JSON, or says something that makes no sense.
    """
    text = read_text(path, "the era map").removeprefix("\ufeff")
    try:
        return parse_era_loras(text)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def parse_era_loras(text: str) -> EraLoras:
    """Read an era map from text.

    Raises:
        SettingsError: The text is no JSON or says something that makes no sense.
    """
    try:
        return era_loras_from(json.loads(text, object_pairs_hook=_without_doubles))
    except json.JSONDecodeError as error:
        raise SettingsError(f"the era map is not JSON: {error.msg} in line {error.lineno}") from error
    except SettingsError as error:
        raise SettingsError(f"the era map: {error}") from error


def era_loras_from(values: object) -> EraLoras:
    """Make an era map from plain values.

    Raises:
        SettingsError: Something in it makes no sense.
    """
    if not isinstance(values, dict):
        raise SettingsError(f"an era map is a table of eras; got a {type(values).__name__}")
    eras = {}
    for era, value in values.items():
        if not isinstance(value, dict):
            raise SettingsError(f'the era {era!r} needs {{"file": …, "strength": …}}; got {value!r}')
        if unknown := sorted(value.keys() - {"file", "strength"}):
            raise SettingsError(f"the era {era!r} has {unknown[0]!r}, but only file and strength are known")
        if "file" not in value:
            raise SettingsError(f"the era {era!r} names no file")
        try:
            eras[era] = LoraChoice(**value)
        except SettingsError as error:
            raise SettingsError(f"the era {era!r}: {error}") from error
    return EraLoras(eras=eras)


def find_lora(file: str, folders: Sequence[Path]) -> Path:
    """Return where a LoRA file lies: in the first of the folders that has it.

    Links inside the folders are followed; the name itself cannot leave them.

    Raises:
        SettingsError: The name is not one below a folder, or no folder has the file.
    """
    parts = _check_file(file).parts
    for folder in folders:
        path = folder.joinpath(*parts)
        if path.is_file():
            return path
    where = ", ".join(map(str, folders)) or "no folders"
    raise SettingsError(f"there is no LoRA file {file!r} in {where}; put it there or correct the name")


def plan_loras(
    shots: Sequence[Shot],
    eras: Sequence[Sequence[str]],
    loras: EraLoras,
    *,
    strengths: Sequence[float] | None = None,
) -> tuple[LorasOfShot, ...]:
    """Say which LoRA files every shot uses.

    Args:
        shots: Shots of the film.
        eras: Names of the eras of every shot; an empty sequence uses none.
        loras: The map. Where two eras of a shot share a file, it is used once, at the larger strength.
        strengths: Factor per shot on the strengths of the map; None is 1 for all.

    Returns:
        One entry per shot, in order.

    Raises:
        SettingsError: The lengths differ, an era is unknown, or a resulting strength is out of range.
    """
    factors = [1.0] * len(shots) if strengths is None else list(strengths)
    if not len(shots) == len(eras) == len(factors):
        raise SettingsError(
            f"{counted(len(shots), 'shot')} need as many eras and strengths; got {len(eras)} and {len(factors)}"
        )
    plan = []
    for shot, names, factor in zip(shots, eras, factors, strict=True):
        if isinstance(names, str):
            raise SettingsError(f"the eras of a shot are a sequence of names; got the text {names!r}")
        strongest: dict[str, float] = {}
        for choice in (loras[name] for name in names):
            strength = choice.strength * factor
            if abs(strength) > abs(strongest.get(choice.file, 0.0)):
                strongest[choice.file] = strength
        chosen = tuple(LoraChoice(file=file, strength=strength) for file, strength in strongest.items())
        plan.append(LorasOfShot(shot=shot, loras=chosen))
    return tuple(plan)


def _plain(era: str) -> str:
    return " ".join(era.split()).casefold()


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise SettingsError(f"{key!r} is given twice")
        table[key] = value
    return table


def _check_file(file: object) -> PurePosixPath:
    """Check that a name stays below the folder it is looked up in, on every operating system."""
    if not isinstance(file, str) or not file.strip():
        raise SettingsError(f"a LoRA file must be named by text; got {file!r}")
    posix, windows = PurePosixPath(file), PureWindowsPath(file)
    # A colon in any part may name a drive or a hidden stream on Windows.
    outside = posix.is_absolute() or windows.drive or windows.root or ":" in file or "\0" in file
    if outside or ".." in windows.parts:
        raise SettingsError(f"the LoRA file {file!r} must lie below the LoRA folders: a relative name without '..'")
    if "\\" in file:
        raise SettingsError(f"write the LoRA file {file!r} with forward slashes")
    if posix.suffix.lower() != ".safetensors":
        raise SettingsError(f"the LoRA file {file!r} does not end in .safetensors")
    return posix
