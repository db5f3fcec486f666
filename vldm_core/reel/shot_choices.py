"""Settings of single shots: a table that a person edits, with a row for each shot or range of frames that differs.

In memory a range ends before frame `last`, as a shot does. In JSON and CSV `last` is the last frame itself, as
`python -m vldm_core shots` prints it. Where a row begins or ends within a shot, the shot is parted there: what a stage
learns of a shot it learns of each part alone.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import FilmFileError, SettingsError
from ..files.temporary import written_whole
from ..files.text import read_text
from ..semantics.table.description import FIELDS
from ..semantics.table.spreadsheet import read_rows, write_rows
from ..stages.plan import StagePlan
from ..stages.preset import FORMAT as SETTINGS_FORMAT
from ..stages.preset import settings_from, settings_text
from ..stages.settings import QUALITIES, StageSettings
from ..stages.stage import StageModels
from ..video.shots import Shot
from .with_prior.shot_prior import PRIOR, WORDS, PriorOfShot

FORMAT = "vldm shot settings"
"""What a JSON table says that it is."""

_OWN = ("first", "last", "skip", "quality")
_SWITCHES = tuple(field.name for field in fields(StageSettings) if field.metadata.get("switch"))
_SAID = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_STRENGTHS = ("flicker.strength", "average.strength", "average.keep_grain", "prerestore.strength")
"""Settings that have a column in a new table; every other one can be given a column too."""


@dataclass(frozen=True, kw_only=True)
class ShotRow:
    """What is done otherwise to some frames.

    Attributes:
        first: The first one.
        last: The one after the last.
        skip: Whether they are left as they came.
        quality: Level of effort in the place of all that the film's settings say, or None.
        changes: JSON of what else is otherwise, named as in a file of settings: `false` or null switches a stage off,
            `true` switches it on.
        prior: What a prior does otherwise.
    """

    first: int
    last: int
    skip: bool = False
    quality: str | None = None
    changes: str = "{}"
    prior: PriorOfShot = PriorOfShot()

    @property
    def said(self) -> dict[str, Any]:
        """What is otherwise, as JSON holds it."""
        return {**json.loads(self.changes), **self.prior.said}

    def settings(self, base: StageSettings) -> StageSettings:
        """Return the settings of these frames.

        Args:
            base: Those of the film.

        Raises:
            SettingsError: There is no such setting, level or value.
        """
        if self.skip:
            return StageSettings.no_stages()
        try:
            if self.quality is not None:
                base = StageSettings.of_quality(
                    self.quality, given_dirt=base.given_dirt, given_scratch=base.given_scratch
                )
            wanted = _merged(json.loads(settings_text(base)), json.loads(self.changes))
            made = settings_from(json.dumps({**wanted, "format": SETTINGS_FORMAT}))
        except SettingsError as error:
            raise SettingsError(f"{self}: {error}") from error
        return replace(made, given_dirt=base.given_dirt, given_scratch=base.given_scratch)

    def __str__(self) -> str:
        return f"frames {self.first} to {self.last - 1} of the table of shots"


@dataclass(frozen=True, kw_only=True)
class ShotChoices:
    """Rows in the order of the film, without overlap; frames between them have the film's settings.

    Attributes:
        rows: The rows.
    """

    rows: tuple[ShotRow, ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if not 0 <= row.first < row.last:
                raise SettingsError(
                    f"the table of shots has a row from frame {row.first} to {row.last - 1}; give first and last, "
                    "counted from 0"
                )
        for one, other in pairwise(self.rows):
            if other.first < one.last:
                raise SettingsError(
                    f"the table of shots says frame {other.first} twice, or out of order; give each frame one row"
                )

    def check(self, base: StageSettings) -> None:
        """Refuse names and values that there are not, before any work.

        Raises:
            SettingsError: A row says something that makes no sense.
        """
        for row in self.rows:
            row.settings(base)

    def check_no_prior(self) -> None:
        """Refuse what is said of a prior, where there is none.

        Raises:
            SettingsError: A row says something of it.
        """
        for row in self.rows:
            if row.prior.said:
                raise SettingsError(f"{row}: {row.prior} is for a restoration with a prior; restore with --prior too")

    def without_prior(self) -> "ShotChoices":
        """The same table with nothing said of a prior."""
        return ShotChoices(rows=tuple(replace(row, prior=PriorOfShot()) for row in self.rows))

    def parted(self, shots: Sequence[Shot]) -> tuple[Shot, ...]:
        """Return the shots of the film, parted where rows begin and end.

        Raises:
            SettingsError: A row reaches beyond the film.
        """
        end = shots[-1].last
        for row in self.rows:
            if row.last > end:
                raise SettingsError(f"{row}: the film has frames 0 to {end - 1}; correct the row")
        edges = {edge for row in self.rows for edge in (row.first, row.last)} | {shot.first for shot in shots} | {end}
        return tuple(Shot(first=first, last=last) for first, last in pairwise(sorted(edges)))

    def at(self, frame: int) -> ShotRow | None:
        """The row of a frame."""
        return next((row for row in self.rows if row.first <= frame < row.last), None)

    def to_json(self) -> str:
        """Return the table as JSON text; `from_json` gives back an equal one."""
        rows = [
            {"first": row.first, "last": row.last - 1, "skip": row.skip, "quality": row.quality}
            | {"settings": row.said}
            for row in self.rows
        ]
        return json.dumps({"format": FORMAT, "shots": rows}, ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ShotChoices":
        """Read a table from JSON text.

        Raises:
            SettingsError: It is no such table.
        """
        try:
            table = json.loads(text.removeprefix("\ufeff"))
        except json.JSONDecodeError as error:
            raise SettingsError(f"the table of shots is not JSON ({error})") from error
        if not isinstance(table, dict) or table.get("format") != FORMAT or not isinstance(table.get("shots"), list):
            raise SettingsError(f'the table of shots has not the form {{"format": "{FORMAT}", "shots": [ … ]}}')
        return cls(rows=tuple(_row(number, said) for number, said in enumerate(table["shots"], start=1)))

    @classmethod
    def from_csv(cls, text: str) -> "ShotChoices":
        """Read a table from CSV text with a header: columns as `ShotRow` has them, and any setting by its dotted name.

        An empty cell says nothing. Columns of the table that `describe` writes are passed over.

        Raises:
            SettingsError: It is no such table.
        """
        sheet = read_rows(text, "the table of shots")
        names = [name.strip() for name in sheet[0]] if sheet else []
        if not {"first", "last"} <= set(names) or len(set(names)) < len(names):
            raise SettingsError("the table of shots needs a header with first and last, and each column once")
        rows = []
        for number, cells in enumerate(sheet[1:], start=1):
            if len(cells) != len(names):
                raise SettingsError(f"row {number} has {len(cells)} cells for {len(names)} columns")
            said: dict[str, Any] = {}
            for name, cell in zip(names, cells, strict=True):
                if cell.strip() and (name in _OWN or name not in FIELDS):
                    said[name] = _value(name, cell.strip())
            own = {name: said.pop(name) for name in _OWN if name in said}
            rows.append(_row(number, {**own, "settings": _nested(number, said)}))
        return cls(rows=tuple(rows))


def read_choices(path: str | os.PathLike[str]) -> ShotChoices:
    """Read a table from a .csv or .json file.

    Raises:
        SettingsError: The file cannot be read, or what it says makes no sense.
    """
    path = Path(path)
    _check_suffix(path)
    text = read_text(path, "the table of shots")
    try:
        return ShotChoices.from_json(text) if path.suffix.lower() == ".json" else ShotChoices.from_csv(text)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def write_template(shots: Sequence[Shot], path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a table with a row for every shot of a film that says nothing yet, to be edited.

    Args:
        shots: The shots.
        path: A .csv or .json file.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        SettingsError: It cannot be written there.
    """
    path = Path(path)
    _check_suffix(path)
    if path.exists() and not overwrite:
        raise SettingsError(
            f"{path} exists already, perhaps with choices of yours; name another, or ask for --overwrite"
        )
    if path.suffix.lower() == ".json":
        text = ShotChoices(rows=tuple(ShotRow(first=shot.first, last=shot.last) for shot in shots)).to_json()
    else:
        names = (*_OWN, *_SWITCHES, *_STRENGTHS)
        empty = [""] * (len(names) - 2)
        text = write_rows([names, *([str(shot.first), str(shot.last - 1), *empty] for shot in shots)])
    try:
        with written_whole(path) as part:
            part.write_text(text, encoding="utf-8")
    except (OSError, FilmFileError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"the table of shots {path} cannot be written ({reason})") from error


def settings_of_shots(
    choices: ShotChoices | None, base: StageSettings, shots: Sequence[Shot]
) -> tuple[StageSettings, ...]:
    """Return what is done to each shot.

    Args:
        choices: The table, which the shots follow, or None.
        base: What is done to the film.
        shots: Its shots.
    """
    if choices is None:
        return (base,) * len(shots)
    made = {row: row.settings(base) for row in choices.rows}
    rows = (choices.at(shot.first) for shot in shots)
    return tuple(base if row is None else made[row] for row in rows)


def plans_of_shots(settings: Sequence[StageSettings], models: StageModels | None = None) -> tuple[StagePlan, ...]:
    """Return the plan of each shot; shots with the same settings share one."""
    made: dict[str, StagePlan] = {}
    plans = []
    for each in settings:
        key = settings_text(each) + each.given_dirt + each.given_scratch
        if key not in made:
            made[key] = StagePlan.from_settings(each, models)
        plans.append(made[key])
    return tuple(plans)


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in (".csv", ".json"):
        raise SettingsError(f"a table of shots ends in .csv or .json; {path.name} does not")


def _row(number: int, said: object) -> ShotRow:
    if not isinstance(said, dict):
        raise SettingsError(f"row {number} is {said!r}; give a table of fields")
    if unknown := sorted(said.keys() - {*_OWN, "settings"}):
        raise SettingsError(f"row {number} has {unknown[0]!r}; known are {', '.join(_OWN)} and settings")
    for name in ("first", "last"):
        if isinstance(said.get(name), bool) or not isinstance(said.get(name), int):
            raise SettingsError(f"row {number}: {name} is {said.get(name)!r}; give the whole number of a frame")
    skip, quality, changes = said.get("skip", False), said.get("quality"), said.get("settings", {})
    if not isinstance(skip, bool):
        raise SettingsError(f"row {number}: skip is {skip!r}; give yes or no")
    if quality is not None and quality not in QUALITIES:
        raise SettingsError(f"row {number}: quality is {quality!r}; use one of {', '.join(QUALITIES)}")
    if not isinstance(changes, dict):
        raise SettingsError(f"row {number}: settings is {changes!r}; give settings by their names")
    if skip and (changes or quality):
        raise SettingsError(f"row {number} is to be skipped, and says settings; leave one out")
    try:
        prior = PriorOfShot.of(changes.get(PRIOR, True))
    except SettingsError as error:
        raise SettingsError(f"row {number}: {error}") from error
    return ShotRow(
        first=said["first"],
        last=said["last"] + 1,
        skip=skip,
        quality=quality,
        changes=json.dumps({name: value for name, value in changes.items() if name != PRIOR}, sort_keys=True),
        prior=prior,
    )


def _value(name: str, cell: str) -> Any:
    """Read a cell: a number, yes or no, or text."""
    if name in WORDS:
        return cell
    if cell.lower() in _SAID and name != "quality":
        return _SAID[cell.lower()]
    if name in ("skip", PRIOR, *_SWITCHES) and cell in ("0", "1"):
        return cell == "1"
    try:
        # Spreadsheets of many languages write a decimal comma.
        number = float(cell.replace(",", "."))
    except ValueError:
        return cell
    return int(cell) if cell.lstrip("-").isdigit() else number


def _nested(number: int, said: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted names into tables within tables."""
    tree: dict[str, Any] = {}
    for name in sorted(said):
        *parents, own = name.split(".")
        place = tree
        for parent in parents:
            below = place.setdefault(parent, {})
            if below is True:
                below = place[parent] = {}
            if not isinstance(below, dict):
                raise SettingsError(f"row {number} switches {parent} off and says {name}; leave one out")
            place = below
        place[own] = said[name]
    return tree


def _merged(known: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with changes: of stages that were off, what is not said has its default."""
    made = dict(known)
    for name, value in changes.items():
        if isinstance(value, dict):
            below = made.get(name)
            made[name] = _merged(below if isinstance(below, dict) else {}, value)
        elif name in _SWITCHES and isinstance(value, bool):
            made[name] = (made.get(name) or {}) if value else None
        else:
            made[name] = value
    return made
