"""Before/after pictures with a caption, for a node, a report or a README."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..errors import SettingsError

Layout = Literal["side by side", "split", "stacked"]
LAYOUTS: tuple[str, ...] = get_args(Layout)

_GAP = 4
_BACKGROUND = (24, 24, 26)
_TEXT = (225, 225, 225)


def before_after(
    before: Tensor,
    after: Tensor,
    *,
    layout: Layout = "side by side",
    caption: Sequence[str] = (),
    row: Tensor | None = None,
) -> Tensor:
    """Put two frames into one labelled picture.

    Args:
        before: (3, H, W), RGB, [0, 1].
        after: Same shape.
        layout: "side by side"; "stacked": one above the other; "split": one picture, its left half from before.
        caption: Lines of text below the picture; a line that is too long is broken between words.
        row: (3, H'', W''), a picture to put between frames and caption, scaled to their width.

    Returns:
        (3, H', W').

    Raises:
        SettingsError: The frames differ in shape or the layout is unknown.
    """
    if before.ndim != 3 or before.shape[0] != 3 or before.shape != after.shape:
        shapes = f"{tuple(before.shape)} and {tuple(after.shape)}"
        raise SettingsError(f"a before/after picture needs two (3, H, W) frames of one size, got {shapes}")
    if layout not in LAYOUTS:
        raise SettingsError(f"layout {layout!r} is unknown; use one of {', '.join(LAYOUTS)}")
    old, new = _image(before), _image(after)
    width, height = old.size
    corner = {"side by side": (width + _GAP, 0), "stacked": (0, height + _GAP), "split": (0, 0)}[layout]
    picture = Image.new("RGB", (width + corner[0], height + corner[1]), _BACKGROUND)
    picture.paste(old, (0, 0))
    picture.paste(new, corner)
    if layout == "split":
        middle = width // 2
        picture.paste(old.crop((0, 0, middle, height)), (0, 0))
        ImageDraw.Draw(picture).line((middle, 0, middle, height), fill=_TEXT)
        corner = (middle, 0)
    size = max(11, min(height, width) // 18)
    _label(picture, (0, 0), "before", size)
    _label(picture, corner, "after", size)
    if row is not None:
        picture = _with_row(picture, _image(row))
    return _tensor(_with_caption(picture, caption, size))


def labelled_row(frames: Sequence[Tensor], labels: Sequence[str]) -> Tensor:
    """Put frames of one size side by side, each with a label in its corner.

    Args:
        frames: Each (3, H, W), RGB, [0, 1].
        labels: One per frame.

    Returns:
        (3, H, W').

    Raises:
        SettingsError: The frames differ in shape, or there are not as many labels.
    """
    shapes = {tuple(frame.shape) for frame in frames}
    if len(shapes) != 1 or len(labels) != len(frames):
        raise SettingsError(f"a row needs frames of one size and a label for each, got {shapes}, {len(labels)} labels")
    height, width = frames[0].shape[-2:]
    row = Image.new("RGB", (len(frames) * (width + _GAP) - _GAP, height), _BACKGROUND)
    for number, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        corner = (number * (width + _GAP), 0)
        row.paste(_image(frame), corner)
        _label(row, corner, label, max(11, min(height, width) // 24))
    return _tensor(row)


def _image(frame: Tensor) -> Image.Image:
    levels = frame.detach().cpu().clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(np.ascontiguousarray(levels.permute(1, 2, 0).numpy()))


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def _with_row(picture: Image.Image, row: Image.Image) -> Image.Image:
    height = round(row.height * picture.width / row.width)
    result = Image.new("RGB", (picture.width, picture.height + _GAP + height), _BACKGROUND)
    result.paste(picture, (0, 0))
    result.paste(row.resize((picture.width, height), Image.Resampling.LANCZOS), (0, picture.height + _GAP))
    return result


def _label(picture: Image.Image, corner: tuple[int, int], text: str, size: int) -> None:
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size)
    margin = size // 3
    left, top, right, bottom = draw.textbbox((corner[0] + 2 * margin, corner[1] + 2 * margin), text, font=font)
    draw.rectangle((left - margin, top - margin, right + margin, bottom + margin), fill=_BACKGROUND)
    draw.text((corner[0] + 2 * margin, corner[1] + 2 * margin), text, font=font, fill=_TEXT)


def _with_caption(picture: Image.Image, caption: Sequence[str], size: int) -> Image.Image:
    if not caption:
        return picture
    font = ImageFont.load_default(size)
    margin = size // 2
    rows = [row for line in caption for row in _wrapped(line, font, picture.width - 2 * margin)]
    pitch = round(size * 1.5)
    result = Image.new("RGB", (picture.width, picture.height + pitch * len(rows) + margin), _BACKGROUND)
    result.paste(picture, (0, 0))
    draw = ImageDraw.Draw(result)
    for number, row in enumerate(rows):
        draw.text((margin, picture.height + size // 3 + number * pitch), row, font=font, fill=_TEXT)
    return result


def _wrapped(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Break a line between words so that each row is at most so many pixels wide."""
    rows = [""]
    for word in line.split():
        longer = f"{rows[-1]} {word}".strip()
        if rows[-1] and font.getlength(longer) > width:
            rows.append(word)
        else:
            rows[-1] = longer
    return rows
