"""The table of shots: what every shot shows, to be exported, edited by hand and loaded again.

In memory a shot ends before frame `last`, as :class:`vldm_core.video.shots.Shot` does. In JSON and CSV `last` is the
shot's last frame itself, as `python -m vldm_core shots` prints it; key frames are numbers of the film there too.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from ...errors import SettingsError
from ...files.text import check_letters
from ...video.shots import Shot, covering_shots
from ...wording import counted
from .description import FIELDS, UNKNOWN, ShotDescription
from .spreadsheet import read_rows, write_rows

_FORMAT = "vldm.shot_table"
_VERSION = 1
_WHOLE = ("first", "last")
_NUMBERS = ("era_confidence", "medium_confidence", "sound_confidence", "colour_confidence")
_KINDS = ("era", "medium", "sound", "colour")
_SEPARATORS = re.compile(r"[,;]")


@dataclass(frozen=True, kw_only=True)
class ShotTable(Sequence[ShotDescription]):
    """Descriptions of all shots of a film, in order; the shots cover it without gaps.

    Attributes:
        descriptions: One for each shot, at least one.
    """

    descriptions: tuple[ShotDescription, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "descriptions", tuple(self.descriptions))
        if not self.descriptions:
            raise SettingsError("a shot table needs at least one shot; got none")
        position = 0
        for row, described in enumerate(self.descriptions, start=1):
            if described.first != position:
                raise SettingsError(
                    f"shot {row}: first is {described.first}, but the shots before end with frame {position - 1}; "
                    f"give {position}, so that the shots follow each other without gaps"
                )
            position = described.last

    @overload
    def __getitem__(self, index: int) -> ShotDescription: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[ShotDescription, ...]: ...

    def __getitem__(self, index: int | slice) -> ShotDescription | tuple[ShotDescription, ...]:
        return self.descriptions[index]

    def __len__(self) -> int:
        return len(self.descriptions)

    def __iter__(self) -> Iterator[ShotDescription]:
        return iter(self.descriptions)

    @property
    def frames(self) -> int:
        """Frames of the film."""
        return self.descriptions[-1].last

    @property
    def shots(self) -> tuple[Shot, ...]:
        """The shots, which cover frames 0 … `frames` - 1."""
        return tuple(described.shot for described in self.descriptions)

    @property
    def prompts(self) -> tuple[str, ...]:
        """Prompt of every shot, as `VideoRestorationPipeline` takes them together with `shots`."""
        return tuple(described.prompt for described in self.descriptions)

    @property
    def negatives(self) -> tuple[str, ...]:
        """Negative prompt of every shot, likewise."""
        return tuple(described.negative for described in self.descriptions)

    def at(self, frame: int) -> ShotDescription:
        """Return the description of the shot that a frame belongs to.

        Raises:
            SettingsError: The film has no such frame.
        """
        for described in self.descriptions:
            if described.first <= frame < described.last:
                return described
        raise SettingsError(f"there is no frame {frame}; the table covers frames 0 to {self.frames - 1}")

    def check(self, shots: Sequence[Shot] | None, count: int) -> None:
        """Check that the table is of these frames and shots.

        Args:
            shots: Shots of the film; None checks the number of frames only.
            count: Frames of the film.

        Raises:
            SettingsError: It is of other ones.
        """
        if self.frames != count:
            raise SettingsError(
                f"the shot table covers {self.frames} frames, but there are {count}; describe the same frames"
            )
        if shots is not None and (wanted := covering_shots(shots, count)) != self.shots:
            row = next(
                (i for i, (a, b) in enumerate(zip(wanted, self.shots, strict=False)) if a != b),
                min(len(wanted), len(self)),
            )
            raise SettingsError(
                f"the shot table has {counted(len(self), 'shot')} and the film {len(wanted)}, and shot "
                f"{row + 1} differs; describe the film again with the same shots, or use the shots of the table"
            )

    def to_json(self) -> str:
        """Return the table as JSON text; `from_json` gives back an equal table."""
        rows = [_plain(described) for described in self.descriptions]
        table = {"format": _FORMAT, "version": _VERSION, "frames": self.frames, "shots": rows}
        return json.dumps(table, ensure_ascii=False, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ShotTable":
        """Read a table from JSON text. Fields other than first and last may be left out.

        Raises:
            SettingsError: The text is no JSON or says something that makes no sense; names shot, field and value.
        """
        try:
            table = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_without_doubles)
        except json.JSONDecodeError as error:
            raise SettingsError(
                f"the shot table is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
            ) from error
        except RecursionError as error:
            raise SettingsError("the shot table is not JSON of the known form: it is nested too deeply") from error
        if not isinstance(table, dict) or table.get("format") != _FORMAT or not isinstance(table.get("shots"), list):
            raise SettingsError(f'the shot table has not the form {{"format": "{_FORMAT}", "shots": [ … ]}}')
        if table.get("version") != _VERSION:
            raise SettingsError(
                f"the shot table has version {table.get('version')!r}; {_VERSION} is known: export it again"
            )
        if unknown := sorted(table.keys() - {"format", "version", "frames", "shots"}):
            raise SettingsError(f"the shot table has {unknown[0]!r}, which is not known; remove it")
        found = cls(descriptions=tuple(_described(row, values) for row, values in enumerate(table["shots"], start=1)))
        if table.get("frames", found.frames) != found.frames:
            raise SettingsError(
                f"the shot table says {table['frames']!r} frames, but its shots cover {found.frames}; correct one"
            )
        return _with_letters(found)

    def to_csv(self) -> str:
        """Return the table as CSV text with a header; `from_csv` gives back an equal table.

        Cells that a spreadsheet would run as formulas are escaped, see :mod:`.spreadsheet`.
        """
        return write_rows([FIELDS, *([_cell(value) for value in _plain(row).values()] for row in self.descriptions)])

    @classmethod
    def from_csv(cls, text: str) -> "ShotTable":
        """Read a table from CSV text: with a header, separated by commas, semicolons or tabs, as spreadsheets write it.

        Columns other than first and last may be left out; lists of key frames are separated by blanks or commas, tags
        by commas or semicolons. A line `sep=…` before the header names another separator.

        Raises:
            SettingsError: The text is no such table or says something that makes no sense; names row, field and value.
        """
        rows = read_rows(text, "the shot table")
        if not rows:
            raise SettingsError("the shot table is empty; it needs a header and one row per shot")
        names, described = [name.strip() for name in rows[0]], []
        _check_header(names)
        for number, row in enumerate(rows[1:], start=1):
            if len(row) != len(names):
                raise SettingsError(
                    f"shot {number}: there are {len(row)} cells for {len(names)} columns; put text with commas, "
                    "quotes or line breaks in double quotes"
                )
            values = {name: _parsed(number, name, cell) for name, cell in zip(names, row, strict=True)}
            described.append(_described(number, values))
        return _with_letters(cls(descriptions=tuple(described)))


def _with_letters(table: ShotTable) -> ShotTable:
    """Return a table that was read, if its letters were."""
    texts = {"caption": "caption", "tags": "tags", "prompt": "prompt", "negative": "negative prompt"}
    for row, described in enumerate(table, start=1):
        for name, said in texts.items():
            value = getattr(described, name)
            try:
                check_letters([value if isinstance(value, str) else " ".join(value)])
            except SettingsError as error:
                raise SettingsError(f"shot {row}, {said}: {error}") from error
    try:
        check_letters(text for described in table for text in (described.caption, described.prompt))
    except SettingsError as error:
        raise SettingsError(f"the shot table: {error}") from error
    return table


def _plain(described: ShotDescription) -> dict[str, Any]:
    """Return the fields as files have them."""
    values = {name: getattr(described, name) for name in FIELDS}
    return {
        **values,
        "last": described.last - 1,
        "key_frames": list(described.key_frames),
        "tags": list(described.tags),
    }


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return (" " if all(isinstance(item, int) for item in value) else ", ").join(map(str, value))
    return repr(value) if isinstance(value, float) else str(value)


def _check_header(names: list[str]) -> None:
    if unknown := [name for name in names if name not in FIELDS]:
        raise SettingsError(f"the shot table has a column {unknown[0]!r}; known are {', '.join(FIELDS)}")
    if doubled := [name for name in FIELDS if names.count(name) > 1]:
        raise SettingsError(f"the shot table has the column {doubled[0]!r} twice; remove one")
    if missing := [name for name in _WHOLE if name not in names]:
        raise SettingsError(f"the shot table has no column {missing[0]!r}; it needs first and last")


def _parsed(row: int, name: str, cell: str) -> Any:
    """Read a cell."""
    try:
        if name in _WHOLE:
            return int(cell)
        if name == "key_frames":
            return [int(part) for part in re.split(r"[\s,;]+", cell.strip()) if part]
        if name in _NUMBERS:
            # Spreadsheets of many languages write a decimal comma.
            return float(cell.replace(",", ".")) if cell.strip() else 0.0
    except ValueError:
        kind = "numbers of frames" if name == "key_frames" else "a number"
        raise SettingsError(f"shot {row}: {name} is {cell!r}; give {kind}") from None
    if name == "tags":
        return [part.strip() for part in _SEPARATORS.split(cell) if part.strip()]
    return cell if name not in _KINDS or cell.strip() else UNKNOWN


def _described(row: int, values: object) -> ShotDescription:
    """Make a description from a row of a file."""
    if not isinstance(values, dict):
        raise SettingsError(f"shot {row} is {values!r}; give a table of fields")
    if unknown := sorted(values.keys() - set(FIELDS)):
        raise SettingsError(f"shot {row} has {unknown[0]!r}; known are {', '.join(FIELDS)}")
    if missing := [name for name in _WHOLE if name not in values]:
        raise SettingsError(f"shot {row} has no {missing[0]}; give its number of the frame")
    try:
        for name in ("key_frames", "tags"):
            if not isinstance(values.get(name, []), list):
                raise SettingsError(f"{name} is {values[name]!r}; give a list")
        last = _whole(values["last"], "last")
        if last < _whole(values["first"], "first"):
            raise SettingsError(f"last is {last}, before first, {values['first']}; give the shot's last frame")
        return ShotDescription(**{**values, "last": last + 1})
    except SettingsError as error:
        raise SettingsError(f"shot {row}: {error}") from error


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettingsError(f"{name} is {value!r}; give the whole number of a frame")
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise SettingsError(f"the shot table gives {key!r} twice in one place; remove one")
        table[key] = value
    return table
