"""Restore a film and show it before and after as a moving picture: docs/before_after.gif, for the README.

Usage: python scripts/make_before_after.py [--film FILM] [--out GIF] [--first N] [--last N]

The film is restored by the command line with its defaults, as anybody would run it. In the picture a line wipes over
the playing film: left of it is the film as it came, right of it the restored one. The picture gets smaller until it
fits into ``--megabytes``. Without options it shows the demonstration film.
"""

import argparse
import io
import math
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vldm_core import open_film

ROOT = Path(__file__).resolve().parents[1]
COLOURS = 64  # of the palette; more makes grain cost more bytes than it shows
SMALLER = 0.9  # factor from one try to the next
LEAST_WIDTH = 240  # pixels
SWING = 0.36  # how far the line goes from the middle, as a share of the width
LINE = (235, 235, 235)
BACKGROUND = (24, 24, 26)


def pictures(path: Path, first: int, last: int | None) -> list[Image.Image]:
    """Return the frames ``first`` … ``last`` (included) of a film."""
    with open_film(path) as film:
        wanted = (frame for frame in film if frame.index >= first and (last is None or frame.index <= last))
        return [Image.fromarray((255 * f.tensor()).round().byte().permute(1, 2, 0).numpy()) for f in wanted]


def label(picture: Image.Image, text: str, right: bool) -> None:
    """Write a word into an upper corner."""
    size = max(11, picture.height // 22)
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(picture)
    left, top, end, bottom = draw.textbbox((0, 0), text, font=font)
    x, y = (picture.width - (end - left) - size if right else size), size
    draw.rectangle((x - size // 2, y - size // 2, x + end - left + size // 2, y + bottom), fill=BACKGROUND)
    draw.text((x, y - top), text, font=font, fill=LINE)


def wiped(before: Image.Image, after: Image.Image, share: float) -> Image.Image:
    """Return one picture, left of the line the one frame, right of it the other."""
    left, right = before.copy(), after.copy()
    label(left, "before", right=False)
    label(right, "after", right=True)
    at = round(share * before.width)
    right.paste(left.crop((0, 0, at, left.height)), (0, 0))
    ImageDraw.Draw(right).line((at, 0, at, right.height), fill=LINE, width=2)
    return right


def moving(before: list[Image.Image], after: list[Image.Image], width: int, rate: float) -> bytes:
    """Return a GIF of that width in which the line goes over the film and back once."""
    size = (width, round(before[0].height * width / before[0].width))
    frames = []
    for number, pair in enumerate(zip(before, after, strict=True)):
        share = 0.5 + SWING * math.cos(2 * math.pi * number / len(before))
        left, right = (one.resize(size, Image.Resampling.LANCZOS) for one in pair)
        frames.append(wiped(left, right, share))
    # One palette for all frames, from the first, the middle and the last: a palette of each would flicker.
    sheet = Image.new("RGB", (size[0], 3 * size[1]))
    for row, number in enumerate((0, len(frames) // 2, len(frames) - 1)):
        sheet.paste(frames[number], (0, row * size[1]))
    palette = sheet.quantize(COLOURS)
    reduced = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    written = io.BytesIO()
    reduced[0].save(
        written, "GIF", save_all=True, append_images=reduced[1:], duration=round(1000 / rate), loop=0, optimize=False
    )
    return written.getvalue()


def main() -> int:
    """Restore the film and write the picture; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", type=Path, default=ROOT / "assets" / "demo_film.mp4", help="film to restore")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "before_after.gif", help="picture to write")
    parser.add_argument("--first", type=int, default=0, help="number of the first frame to show, from 0")
    parser.add_argument("--last", type=int, help="number of the last frame to show; without it, the film's")
    parser.add_argument("--megabytes", type=float, default=3.0, help="largest size of the picture's file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vldm-before-after-") as folder:
        restored = Path(folder) / "restored.mkv"
        command = [sys.executable, "-m", "vldm_core", "restore", str(options.film), str(restored)]
        if code := subprocess.run(command).returncode:
            return code
        before, after = (pictures(path, options.first, options.last) for path in (options.film, restored))
    if not before:
        print(f"error: {options.film} has no frame {options.first}; choose a smaller --first", file=sys.stderr)
        return 1
    with open_film(options.film) as film:
        rate = float(film.info.frame_rate)
    width = before[0].width
    while len(written := moving(before, after, width, rate)) > 1e6 * options.megabytes:
        width = round(SMALLER * width)
        if width < LEAST_WIDTH:
            print(f"error: {len(before)} frames are too many for {options.megabytes} MB; show fewer", file=sys.stderr)
            return 1
    options.out.write_bytes(written)
    print(f"{options.out}: {len(before)} frames, {width} pixels wide, {len(written) / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
