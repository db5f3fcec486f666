"""The table of shots: what every shot shows, to be exported, edited by hand and loaded again.

In memory a shot ends before frame `last`, as :class:`vldm_core.video.shots.Shot` does. In JSON and CSV `last` is the
shot's last frame itself, as `python -m vldm_core shots` prints it; key frames are numbers of the film there too.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, overload

from ...errors import FilmFileError, SettingsError
from ...files.temporary import written_whole
from ...files.text import check_letters, read_text
from ...video.shots import Shot, covering_shots
from ...wording import counted
from .automatic import check_record, refreshed
from .spreadsheet import read_rows, write_rows

UNKNOWN = "unknown"
"""Said of an era, a medium, sound or colour that is not sure enough."""

_FORMAT = "vldm.shot_table"
_VERSION = 1
_WHOLE = ("first", "last")
_NUMBERS = ("era_confidence", "medium_confidence", "sound_confidence", "colour_confidence")
_KINDS = ("era", "medium", "sound", "colour")
_SEPARATORS = re.compile(r"[,;]")


@dataclass(frozen=True, kw_only=True)
class ShotDescription:
    """What one shot shows.

    Attributes:
        first: First frame, counted from 0 in the film.
        last: The frame after the last one.
        key_frames: Frames that stand for the shot, film numbers, ascending; empty where none could be chosen.
        caption: What a captioner said of them; empty without one.
        tags: Words for what is seen, the surest first; without commas and semicolons.
        era: A decade such as "1920s", or "unknown".
        era_confidence: How sure that is, 0 … 1; also told of an unknown one: how sure the likeliest was.
        medium: A kind of film such as "newsreel" or "8mm amateur", or "unknown".
        medium_confidence: Likewise.
        sound: "silent", "sound" or "unknown".
        sound_confidence: Likewise.
        colour: "monochrome", a colour process such as "technicolor", or "unknown".
        colour_confidence: Likewise.
        prompt: What the prior is to show.
        negative: What it is not to show.
        automatic: Record of the words that models wrote, see :mod:`.automatic`; empty where a person wrote all of them.
    """

    first: int
    last: int
    key_frames: tuple[int, ...] = ()
    caption: str = ""
    tags: tuple[str, ...] = ()
    era: str = UNKNOWN
    era_confidence: float = 0.0
    medium: str = UNKNOWN
    medium_confidence: float = 0.0
    sound: str = UNKNOWN
    sound_confidence: float = 0.0
    colour: str = UNKNOWN
    colour_confidence: float = 0.0
    prompt: str = ""
    negative: str = ""
    automatic: str = ""

    def __post_init__(self) -> None:
        for name in _WHOLE:
            _whole(getattr(self, name), name)
        if not 0 <= self.first < self.last:
            raise SettingsError(f"first is {self.first} and last {self.last}; a shot needs 0 ≤ first < last")
        object.__setattr__(self, "key_frames", tuple(_whole(frame, "key_frames") for frame in self.key_frames))
        if any(after <= before for before, after in zip(self.key_frames[:-1], self.key_frames[1:], strict=True)):
            raise SettingsError(f"key_frames are {_listed(self.key_frames)}; give each once, in ascending order")
        if outside := [frame for frame in self.key_frames if not self.first <= frame < self.last]:
            raise SettingsError(
                f"key_frames has {outside[0]}; the shot goes from frame {self.first} to {self.last - 1}"
            )
        if isinstance(self.tags, str):
            raise SettingsError(f"tags are a sequence of words; got the text {self.tags!r}")
        object.__setattr__(self, "tags", tuple(_tag(tag) for tag in self.tags))
        for name in _KINDS:
            if not _text(getattr(self, name), name).strip():
                raise SettingsError(f'{name} is empty; write "{UNKNOWN}" where it is not known')
        for name in ("caption", "prompt", "negative", "automatic"):
            _text(getattr(self, name), name)
        check_record(self.automatic)
        for name in _NUMBERS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise SettingsError(f"{name} is {value!r}; give a number from 0 to 1")
            object.__setattr__(self, name, float(value))

    @property
    def shot(self) -> Shot:
        """Where the shot lies in the film."""
        return Shot(self.first, self.last)


FIELDS = tuple(field.name for field in fields(ShotDescription))
"""Names of a description's fields, in the order in which tables have them."""


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


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{name} is {value!r}; give text")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise SettingsError(f"{name} holds half a character ({value!r}); write it again")
    return value


def _tag(value: object) -> str:
    text = _text(value, "tags")
    if not text or text != text.strip() or _SEPARATORS.search(text) or not text.isprintable():
        raise SettingsError(
            f"tags has {text!r}; a tag is a word or a few, without commas, semicolons, line breaks and outer blanks"
        )
    return text


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise SettingsError(f"the shot table gives {key!r} twice in one place; remove one")
        table[key] = value
    return table
