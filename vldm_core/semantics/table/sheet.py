"""A picture of the table of shots: for every shot its key frames, what it shows, and when it was shot.

Shots stand below each other as rows, the key frames to the left of the text, under a strip that shows how long the
shots are and where the key frames lie. A long table goes on on the next page; all pages have one size. Letters that the
built-in font lacks are drawn with fonts of the machine; where none has them, the page says so.
"""

import logging
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...errors import SettingsError
from ...wording import counted
from .description import UNKNOWN, ShotDescription
from .lettering import Lettering, scripts_of
from .table import ShotTable

logger = logging.getLogger(__name__)

_BACKGROUND = (24, 24, 26)
_TEXT = (225, 225, 225)
_FAINT = (140, 140, 146)
_RULE = (58, 58, 62)
_TITLE = (240, 190, 95)
_NEGATIVE = (226, 142, 128)
# Of neighbouring shots in the strip, elsewhere and on this page.
_STRIP = ((62, 66, 74), (84, 89, 99))
_STRIP_HERE = ((70, 112, 148), (96, 146, 186))

_ELLIPSIS = "…"
# Share of the width that the key frames take.
_PICTURES = 0.36
_PICTURES_IN_LINE = 2


@dataclass(frozen=True, kw_only=True)
class SheetSettings:
    """How the picture is laid out.

    Attributes:
        width: Of a page, pixels.
        max_height: Of a page, pixels. A page ends earlier where the next shot does not fit; a single shot that is
            higher makes the page higher.
        text_size: Height of the letters, pixels.
        key_frames: Key frames shown of a shot; how many more there are is said.
        lines: Lines that caption, tags, prompt and negative prompt may take each; longer text ends in "…".
    """

    width: int = 1280
    max_height: int = 1600
    text_size: int = 18
    key_frames: int = 4
    lines: int = 3

    def __post_init__(self) -> None:
        if not 8 <= self.text_size <= 64:
            raise SettingsError(f"text_size is {self.text_size}; use 8 to 64 pixels")
        if self.width < 30 * self.text_size or self.max_height < 10 * self.text_size:
            raise SettingsError(
                f"width is {self.width} and max_height {self.max_height}; text_size {self.text_size} needs a "
                f"page of at least {30 * self.text_size}×{10 * self.text_size}"
            )
        if self.key_frames < 1 or self.lines < 1:
            raise SettingsError(f"key_frames is {self.key_frames} and lines {self.lines}; use 1 or more")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of text.

    Attributes:
        text: What is written.
        colour: RGB.
        label: Name of the field that begins with this line; written in front.
        indented: Whether the text leaves room for a label.
    """

    text: str
    colour: tuple[int, int, int]
    label: str = ""
    indented: bool = True


@dataclass(frozen=True, kw_only=True)
class Row:
    """A shot on the sheet.

    Attributes:
        index: Of the shot in the table.
        lines: Text, from top to bottom.
        boxes: (left, top, width, height) of every shown key frame, from the row's upper left corner.
        hidden: Key frames that are not shown.
        height: Pixels.
    """

    index: int
    lines: tuple[Line, ...]
    boxes: tuple[tuple[int, int, int, int], ...]
    hidden: int
    height: int


def draw_sheet(
    table: ShotTable, pictures: Mapping[int, Tensor] | None = None, settings: SheetSettings | None = None
) -> Tensor:
    """Draw the table.

    Args:
        table: The table.
        pictures: Frames (3, h, w), [0, 1], by their number in the film; key frames that are missing here are drawn as
            empty boxes with their number. None draws them all so.
        settings: Defaults to `SheetSettings()`.

    Returns:
        (P, 3, H, W): the pages, at least one.

    Raises:
        SettingsError: A picture has another layout.
    """
    settings = settings or SheetSettings()
    frames = {frame: _image(frame, picture) for frame, picture in (pictures or {}).items()}
    sheet = _Sheet(table, frames, settings)
    rows = [sheet.row(index) for index in range(len(table))]
    pages = paginate([row.height for row in rows], settings.max_height - sheet.head)
    height = sheet.head + max(sum(rows[index].height for index in page) for page in pages)
    return torch.stack(
        [
            _tensor(sheet.page([rows[index] for index in page], height, number, len(pages)))
            for number, page in enumerate(pages, start=1)
        ]
    )


def paginate(heights: Sequence[int], space: int) -> list[range]:
    """Break rows into pages, in order.

    Args:
        heights: Of the rows.
        space: Height of a page; a row that is higher has a page to itself.

    Returns:
        Ranges of rows that follow each other and cover all; none is empty.
    """
    pages, first, used = [], 0, 0
    for index, height in enumerate(heights):
        if index > first and used + height > space:
            pages.append(range(first, index))
            first, used = index, 0
        used += height
    pages.append(range(first, len(heights)))
    return pages


def wrapped(text: str, width: float, lines: int, length: Callable[[str], float]) -> list[str]:
    """Break text into lines, between words where it can.

    Args:
        text: With any white space; line breaks count as blanks.
        width: Of a line.
        lines: At most so many; the last one ends in "…" where something is left out.
        length: Tells how wide a piece of text is.

    Returns:
        The lines, none wider than `width`; empty for empty text.
    """
    rows: list[str] = []
    words = text.split()
    while words:
        word = words.pop(0)
        if rows and length(f"{rows[-1]} {word}") <= width:
            rows[-1] = f"{rows[-1]} {word}"
            continue
        if len(rows) == lines:
            rows[-1] = _shortened(f"{rows[-1]} {word}", width, length)
            break
        fitting = _fitting(word, width, length)
        rows.append(fitting)
        if fitting != word:
            words.insert(0, word[len(fitting) :])
    return rows


def kind_of_film(described: ShotDescription) -> str:
    """Say in one line when and on what a shot was filmed, each with its confidence."""
    parts = []
    for name in ("era", "medium", "sound", "colour"):
        value, sure = getattr(described, name), getattr(described, f"{name}_confidence")
        shown = f"{name} unknown" if value == UNKNOWN else value
        parts.append(f"{shown} ({sure:.0%})" if sure > 0 else shown)
    return "  ·  ".join(parts)


class _Sheet:
    """The measures that all rows share, and the pen."""

    def __init__(self, table: ShotTable, frames: Mapping[int, Image.Image], settings: SheetSettings) -> None:
        self._table, self._frames, self._settings = table, frames, settings
        size = settings.text_size
        self._font = ImageFont.load_default(size)
        self._letters = Lettering((text for row in table for text in _texts_of(row)), size)
        self._small = ImageFont.load_default(max(8, round(size * 0.72)))
        self._margin, self._pitch = size, round(size * 1.4)
        self._text_left = self._margin + round(settings.width * _PICTURES) + self._margin
        self._label = round(self._font.getlength("negative")) + self._margin // 2
        missing = self._letters.missing
        self._notice = _about_missing(missing) if missing else ""
        if missing:
            logger.warning("the picture of the table: %s", self._notice)
        self._notice_lines = wrapped(self._notice, settings.width - 2 * self._margin, 3, self._font.getlength)
        self.head = self._margin * 2 + round(size * 2.6) + self._pitch * len(self._notice_lines)

    def row(self, index: int) -> Row:
        """Lay out a shot."""
        described, settings = self._table[index], self._settings
        count = described.last - described.first
        span = f"frames {described.first} to {described.last - 1}" if count > 1 else f"frame {described.first}"
        lines = [
            Line(text=f"Shot {index + 1}  ·  {span}  ·  {counted(count, 'frame')}", colour=_TITLE, indented=False),
            *(
                Line(text=part, colour=_FAINT, indented=False)
                for part in self._wrapped(kind_of_film(described), indented=False)
            ),
        ]
        fields = (
            ("caption", described.caption, _TEXT),
            ("tags", ", ".join(described.tags), _TEXT),
            ("prompt", described.prompt, _TEXT),
            ("negative", described.negative, _NEGATIVE),
        )
        for label, text, colour in fields:
            for number, part in enumerate(self._wrapped(text, indented=True)):
                lines.append(Line(text=part, colour=colour, label="" if number else label))
        shown = described.key_frames[: settings.key_frames]
        boxes = self._boxes(shown)
        bottom = max((top + height for _, top, _, height in boxes), default=0)
        inside = max(len(lines) * self._pitch, bottom)
        return Row(
            index=index,
            lines=tuple(lines),
            boxes=tuple(boxes),
            hidden=len(described.key_frames) - len(shown),
            height=inside + 2 * self._margin,
        )

    def page(self, rows: Sequence[Row], height: int, number: int, count: int) -> Image.Image:
        """Draw some rows as page `number` of `count`."""
        page = Image.new("RGB", (self._settings.width, height), _BACKGROUND)
        draw = ImageDraw.Draw(page)
        self._draw_head(draw, number, count)
        self._draw_strip(draw, {row.index for row in rows})
        top = self.head
        for row in rows:
            draw.line((self._margin, top, self._settings.width - self._margin, top), fill=_RULE)
            self._draw_row(page, draw, row, top + self._margin)
            top += row.height
        return page

    def _wrapped(self, text: str, *, indented: bool) -> list[str]:
        width = self._settings.width - self._margin - self._text_left - (self._label if indented else 0)
        return wrapped(self._letters.written(text), width, self._settings.lines, self._letters.length)

    def _boxes(self, key_frames: Sequence[int]) -> list[tuple[int, int, int, int]]:
        """Place the key frames two in a line; a single one is larger."""
        if not key_frames:
            return []
        column, gap = self._text_left - 2 * self._margin, self._margin // 3
        in_line = min(_PICTURES_IN_LINE, len(key_frames))
        width = (column - gap * (_PICTURES_IN_LINE - 1)) // _PICTURES_IN_LINE
        if in_line == 1:
            width = round(width * 1.4)
        boxes, top = [], 0
        for first in range(0, len(key_frames), in_line):
            sizes = [self._fit(frame, width) for frame in key_frames[first : first + in_line]]
            boxes += [(position * (width + gap), top, *size) for position, size in enumerate(sizes)]
            top += max(height for _, height in sizes) + gap
        return boxes

    def _fit(self, frame: int, width: int) -> tuple[int, int]:
        """Fit a picture into a box of 4:3."""
        picture = self._frames.get(frame)
        across, down = (4, 3) if picture is None else picture.size
        scale = min(width / across, 0.75 * width / down)
        return max(1, round(across * scale)), max(1, round(down * scale))

    def _draw_row(self, page: Image.Image, draw: ImageDraw.ImageDraw, row: Row, top: int) -> None:
        described = self._table[row.index]
        for frame, (left, down, width, height) in zip(described.key_frames, row.boxes, strict=False):
            corner = (self._margin + left, top + down)
            picture = self._frames.get(frame)
            if picture is None:
                draw.rectangle((*corner, corner[0] + width - 1, corner[1] + height - 1), outline=_RULE)
            else:
                page.paste(picture.resize((width, height), Image.Resampling.LANCZOS), corner)
            more = f"   + {row.hidden} more" if row.hidden and (left, down, width, height) == row.boxes[-1] else ""
            self._draw_number(draw, corner, f"{frame}{more}")
        if not row.boxes:
            draw.text((self._margin, top), "no key frame", font=self._font, fill=_FAINT)
        for number, line in enumerate(row.lines):
            height = top + number * self._pitch
            if line.label:
                draw.text((self._text_left, height), line.label, font=self._font, fill=_FAINT)
            left = self._text_left + (self._label if line.indented else 0)
            self._letters.draw(draw, (left, height), line.text, line.colour)

    def _draw_number(self, draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str) -> None:
        _left, _top, right, bottom = draw.textbbox((corner[0] + 5, corner[1] + 4), text, font=self._small)
        draw.rectangle((corner[0], corner[1], right + 4, bottom + 4), fill=_BACKGROUND)
        draw.text((corner[0] + 5, corner[1] + 4), text, font=self._small, fill=_TEXT)

    def _draw_head(self, draw: ImageDraw.ImageDraw, number: int, count: int) -> None:
        top = round(0.8 * self._margin)
        text = f"{counted(len(self._table), 'shot')}, {counted(self._table.frames, 'frame')}"
        draw.text((self._margin, top), text, font=self._font, fill=_TEXT)
        if count > 1:
            right = self._settings.width - self._margin
            draw.text((right, top), f"page {number} of {count}", font=self._font, fill=_FAINT, anchor="ra")
        for line, text in enumerate(self._notice_lines, start=1):
            draw.text((self._margin, top + line * self._pitch), text, font=self._font, fill=_NEGATIVE)

    def _draw_strip(self, draw: ImageDraw.ImageDraw, here: set[int]) -> None:
        """Draw the film as a strip: shots by turns lighter and darker, key frames as marks."""
        left, right = self._margin, self._settings.width - self._margin
        bottom = self.head - self._margin
        top = bottom - self._settings.text_size

        def place(frame: int) -> int:
            return left + round((right - left) * frame / self._table.frames)

        for index, described in enumerate(self._table):
            colours = _STRIP_HERE if index in here else _STRIP
            first, last = place(described.first), max(place(described.first), place(described.last) - 1)
            draw.rectangle((first, top, last, bottom), fill=colours[index % 2])
        for described in self._table:
            for frame in described.key_frames:
                middle = (place(frame) + place(frame + 1)) // 2
                draw.line((middle, top, middle, bottom), fill=_TITLE, width=2)


def _texts_of(described: ShotDescription) -> tuple[str, ...]:
    """Return all that is written about a shot."""
    fields = (described.caption, *described.tags, described.prompt, described.negative)
    return (*fields, kind_of_film(described), f"Shot frames {_ELLIPSIS}")


def _about_missing(letters: Sequence[str]) -> str:
    scripts = ", ".join(scripts_of(letters))
    return (
        f"no installed font has {counted(len(letters), 'letter')} of these captions ({scripts}), shown by their "
        "numbers in brackets; install a font that has them, such as Noto Sans"
    )


def _fitting(word: str, width: float, length: Callable[[str], float]) -> str:
    """Return the longest beginning of a word that fits, at least a letter."""
    return word[: max(1, bisect_right(range(1, len(word) + 1), width, key=lambda count: length(word[:count])))]


def _shortened(text: str, width: float, length: Callable[[str], float]) -> str:
    """Return the longest beginning that fits together with an ellipsis."""
    fits = bisect_right(range(1, len(text) + 1), width, key=lambda count: length(text[:count] + _ELLIPSIS))
    return text[:fits].rstrip() + _ELLIPSIS


def _image(frame: int, picture: Tensor) -> Image.Image:
    if picture.ndim != 3 or picture.shape[0] != 3 or 0 in picture.shape:
        raise SettingsError(f"the picture of frame {frame} must be (3, height, width); got {tuple(picture.shape)}")
    levels = picture.detach().cpu().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(np.ascontiguousarray(levels.permute(1, 2, 0).numpy()))


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
