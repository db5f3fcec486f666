"""Boxes that a person has drawn: what lies in them is damage, whatever the search says of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import SettingsError

FixKind = Literal["dirt", "scratch"]
"""Filled from the neighbours in time, or freed of the profile of a scratch."""

_FIX = re.compile(r"(\d+)(?:-(\d+))?@(\d+),(\d+),(\d+)x(\d+)(?:=(\w+))?")
FORM = "120-131@40,60,80x50"
"""How a fix is typed: first and last frame, left, top, width × height; ``=scratch`` behind it for a scratch."""


@dataclass(frozen=True, kw_only=True)
class BoxFix:
    """A box in some frames that is repaired in any case.

    Attributes:
        first: First frame, counted from 0 in the film.
        last: Last frame.
        left: Column of its left edge.
        top: Row of its upper edge.
        width: Pixels, 1 or more.
        height: Pixels, 1 or more.
        kind: How it is repaired.
    """

    first: int
    last: int
    left: int
    top: int
    width: int
    height: int
    kind: FixKind = "dirt"

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise SettingsError(f"fix {self}: the last frame lies before the first, or that before 0")
        if min(self.left, self.top) < 0 or min(self.width, self.height) < 1:
            raise SettingsError(f"fix {self}: give left and top from 0, width and height from 1 pixel")
        if self.kind not in get_args(FixKind):
            raise SettingsError(f"fix {self}: the kind is one of {', '.join(get_args(FixKind))}")

    def __str__(self) -> str:
        frames = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        kind = "" if self.kind == "dirt" else f"={self.kind}"
        return f"{frames}@{self.left},{self.top},{self.width}x{self.height}{kind}"

    def touches(self, first: int, last: int) -> bool:
        """Whether it lies in a frame from a first to one before a last."""
        return self.first < last and first <= self.last


def parse_fixes(text: str) -> tuple[BoxFix, ...]:
    """Read fixes as they are typed, parted by semicolons, blanks or line ends; see `FORM`.

    Raises:
        SettingsError: One of them is none.
    """
    fixes = []
    for part in text.replace(";", " ").split():
        found = _FIX.fullmatch(part)
        if found is None:
            raise SettingsError(
                f"a fix is written like {FORM} (first-last@left,top,width and height) or {FORM}=scratch; got {part!r}"
            )
        first, last, left, top, width, height, kind = found.groups()
        fixes.append(
            BoxFix(
                first=int(first),
                last=int(last or first),
                left=int(left),
                top=int(top),
                width=int(width),
                height=int(height),
                kind=kind or "dirt",  # type: ignore[arg-type]
            )
        )
    return tuple(fixes)


def check_fixes(fixes: Sequence[BoxFix], frames: int, height: int, width: int) -> None:
    """Check that fixes lie in a film.

    Raises:
        SettingsError: One lies beyond its frames or its picture.
    """
    for fix in fixes:
        if fix.last >= frames:
            raise SettingsError(f"fix {fix}: the film has the frames 0 to {frames - 1}")
        if fix.left + fix.width > width or fix.top + fix.height > height:
            raise SettingsError(f"fix {fix}: the film is {width}×{height}, and the box ends beyond it")


def fixed_marks(fixes: Sequence[BoxFix], frame: int, height: int, width: int) -> dict[str, Tensor]:
    """What fixes mark in a frame, (H, W) of zeros and ones for each kind that does."""
    marks: dict[str, Tensor] = {}
    for fix in fixes:
        if fix.first <= frame <= fix.last:
            mask = marks.setdefault(fix.kind, torch.zeros(height, width))
            mask[fix.top : fix.top + fix.height, fix.left : fix.left + fix.width] = 1
    return marks
