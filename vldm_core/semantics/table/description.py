"""What one shot shows: words and numbers, and what makes sense as each of them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
)

from ...errors import SettingsError
from ...video.shots import Shot
from .record import read_record

UNKNOWN = "unknown"
"""Said of an era, a medium, sound or colour that is not sure enough."""

_SEPARATORS = re.compile(r"[,;]")
# What to give instead of a value that makes no sense, by what pydantic says of it.
_SHARE, _LIST = "give a number from 0 to 1", "give a list"
_ADVICE = {
    "int_type": "give the whole number of a frame",
    "float_type": _SHARE,
    "greater_than_equal": _SHARE,
    "less_than_equal": _SHARE,
    "string_type": "give text",
    "tuple_type": _LIST,
}


def _items(value: Any) -> Any:
    """Take any sequence for a tuple, but no text for one of letters."""
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else value


def _whole_letters(value: str, info: ValidationInfo) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise SettingsError(f"{info.field_name} holds half a character ({value!r}); write it again")
    return value


def _kind(value: str, info: ValidationInfo) -> str:
    if not value.strip():
        raise SettingsError(f'{info.field_name} is empty; write "{UNKNOWN}" where it is not known')
    return value


def _tag(value: str) -> str:
    if not value or value != value.strip() or _SEPARATORS.search(value) or not value.isprintable():
        raise SettingsError(
            f"tags has {value!r}; a tag is a word or a few, without commas, semicolons, line breaks and outer blanks"
        )
    return value


Frame = Annotated[int, Field(strict=True)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Text = Annotated[str, Field(strict=True), AfterValidator(_whole_letters)]
Kind = Annotated[Text, AfterValidator(_kind)]
Tag = Annotated[Text, AfterValidator(_tag)]


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
        automatic: Record of the words that models wrote, see :mod:`.record`; empty where a person wrote all of them.
    """

    first: Frame
    last: Frame
    key_frames: Annotated[tuple[Frame, ...], BeforeValidator(_items)] = ()
    caption: Text = ""
    tags: Annotated[tuple[Tag, ...], BeforeValidator(_items)] = ()
    era: Kind = UNKNOWN
    era_confidence: Share = 0.0
    medium: Kind = UNKNOWN
    medium_confidence: Share = 0.0
    sound: Kind = UNKNOWN
    sound_confidence: Share = 0.0
    colour: Kind = UNKNOWN
    colour_confidence: Share = 0.0
    prompt: Text = ""
    negative: Text = ""
    automatic: Text = ""

    def __post_init__(self) -> None:
        try:
            checked = _checker()(**vars(self))
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "value_error":
                raise first["ctx"]["error"] from None
            advice = _ADVICE.get(first["type"], first["msg"])
            raise SettingsError(f"{first['loc'][0]} is {first['input']!r}; {advice}") from None
        for name in FIELDS:
            object.__setattr__(self, name, getattr(checked, name))
        if not 0 <= self.first < self.last:
            raise SettingsError(f"first is {self.first} and last {self.last}; a shot needs 0 ≤ first < last")
        if any(after <= before for before, after in pairwise(self.key_frames)):
            listed = ", ".join(map(str, self.key_frames))
            raise SettingsError(f"key_frames are {listed}; give each once, in ascending order")
        if outside := [frame for frame in self.key_frames if not self.first <= frame < self.last]:
            raise SettingsError(
                f"key_frames has {outside[0]}; the shot goes from frame {self.first} to {self.last - 1}"
            )
        read_record(self.automatic)

    @property
    def shot(self) -> Shot:
        """Where the shot lies in the film."""
        return Shot(self.first, self.last)


FIELDS = tuple(field.name for field in fields(ShotDescription))
"""Names of a description's fields, in the order in which tables have them."""


@cache
def _checker() -> type[BaseModel]:
    """Return a model with the fields of a description, which checks them one by one."""
    kinds: dict[str, Any] = {
        name: (kind, ...) for name, kind in get_type_hints(ShotDescription, include_extras=True).items()
    }
    return create_model("ShotDescriptionFields", **kinds)
