"""Boxes that a person has drawn: what lies in them is damage, or is none, whatever the search says of it."""

import base64
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ..errors import SettingsError

FixKind = Literal["dirt", "scratch", "around", "keep"]
"""Filled from the neighbours in time; freed of the profile of a scratch; filled from the picture around it in the same
frame, where the neighbours show something else; or left as it came, for what was repaired is no damage."""

FIX_KINDS: tuple[FixKind, ...] = get_args(FixKind)

_FIX = re.compile(r"(\d+)(?:-(\d+))?@(\d+),(\d+),(\d+)x(\d+)(?:=([a-z]+))?(?:#([\w-]+))?")
FORM = "120-131@40,60,80x50"
"""How a fix is typed: first and last frame, left, top, width × height; ``=KIND`` behind it for another than dirt. A
shape that is no box follows as ``#`` and the text of `shape_text`."""


@dataclass(frozen=True, kw_only=True)
class BoxFix:
    """A box in some frames that is repaired in any case, or left alone.

    Attributes:
        first: First frame, counted from 0 in the film.
        last: Last frame.
        left: Column of its left edge.
        top: Row of its upper edge.
        width: Pixels, 1 or more.
        height: Pixels, 1 or more.
        kind: What is done there.
        shape: Which pixels of the box are meant, from `shape_text`; empty is all of them.
    """

    first: int
    last: int
    left: int
    top: int
    width: int
    height: int
    kind: FixKind = "dirt"
    shape: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise SettingsError(f"fix {self}: the last frame lies before the first, or that before 0")
        if min(self.left, self.top) < 0 or min(self.width, self.height) < 1:
            raise SettingsError(f"fix {self}: give left and top from 0, width and height from 1 pixel")
        if self.kind not in FIX_KINDS:
            raise SettingsError(f"fix {self}: the kind is one of {', '.join(FIX_KINDS)}")
        if self.shape:
            _shape_of(self.shape, self.height, self.width)

    def __str__(self) -> str:
        frames = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        kind = "" if self.kind == "dirt" else f"={self.kind}"
        shape = f"#{self.shape}" if self.shape else ""
        return f"{frames}@{self.left},{self.top},{self.width}x{self.height}{kind}{shape}"

    def touches(self, first: int, last: int) -> bool:
        """Whether it lies in a frame from a first to one before a last."""
        return self.first < last and first <= self.last

    def pixels(self) -> Tensor:
        """Return which pixels of the box are meant, (height, width) bool."""
        if not self.shape:
            return torch.ones(self.height, self.width, dtype=torch.bool)
        return _shape_of(self.shape, self.height, self.width)


def shape_text(pixels: Tensor) -> str:
    """Write the shape of a fix as text that a file name, a key and a command can hold.

    Args:
        pixels: (height, width) bool of the box; one that is full gives an empty text.
    """
    if bool(pixels.all()):
        return ""
    bits = np.packbits(pixels.numpy().reshape(-1))
    return base64.urlsafe_b64encode(zlib.compress(bits.tobytes(), 9)).decode().rstrip("=")


@lru_cache(maxsize=64)
def _shape_of(text: str, height: int, width: int) -> Tensor:
    wanted = -(-height * width // 8)
    try:
        unpacker = zlib.decompressobj()
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        # No more than belongs to the box, whatever the text promises.
        data = unpacker.decompress(packed, wanted + 1)
    except (ValueError, zlib.error) as error:
        raise SettingsError(
            f"a fix has a shape that cannot be read ({error}); leave it out, or copy it whole"
        ) from error
    if len(data) != wanted or not unpacker.eof:
        raise SettingsError(f"a fix has the shape of another box than {width}×{height} pixels")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=height * width)
    return torch.from_numpy(bits.reshape(height, width)).bool()


def fix_of_mask(mask: Tensor, first: int, last: int, kind: FixKind = "dirt") -> BoxFix | None:
    """Return the fix of what is painted in a mask, (H, W), above 0.5; None where nothing is.

    Args:
        mask: Of the film's size.
        first: First frame, counted from 0 in the film.
        last: Last frame.
        kind: What is done there.
    """
    painted = mask > 0.5
    rows, columns = painted.any(dim=1).nonzero()[:, 0], painted.any(dim=0).nonzero()[:, 0]
    if not len(rows):
        return None
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return BoxFix(
        first=first,
        last=last,
        left=left,
        top=top,
        width=right - left,
        height=bottom - top,
        kind=kind,
        shape=shape_text(painted[top:bottom, left:right].cpu()),
    )


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
                f"a fix is written like {FORM} (first-last@left,top,width and height), with =scratch, =around or =keep "
                f"behind it for another kind; got {part!r}"
            )
        first, last, left, top, width, height, kind, shape = found.groups()
        fixes.append(
            BoxFix(
                first=int(first),
                last=int(last or first),
                left=int(left),
                top=int(top),
                width=int(width),
                height=int(height),
                kind=kind or "dirt",  # type: ignore[arg-type]
                shape=shape or "",
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
    """What fixes mark in a frame, (H, W) of zeros and ones for each kind; where two meet the later counts."""
    marks: dict[str, Tensor] = {}
    for fix in fixes:
        if fix.first <= frame <= fix.last:
            place = slice(fix.top, fix.top + fix.height), slice(fix.left, fix.left + fix.width)
            meant = fix.pixels()
            for mask in marks.values():
                mask[place].masked_fill_(meant, 0)
            marks.setdefault(fix.kind, torch.zeros(height, width))[place].masked_fill_(meant, 1)
    return {kind: mask for kind, mask in marks.items() if mask.any()}
