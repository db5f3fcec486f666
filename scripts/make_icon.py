"""Draw the icon and the banner that the ComfyUI registry shows beside the pack.

Usage: python scripts/make_icon.py [--out DIR]

Without options it writes assets/icon.png (400×400) and assets/banner.png (1260×540, 21:9), the sizes that the registry
asks for. Everything is drawn here: a strip of film with a landscape, worn on one side and clean on the other. The same
version of Pillow draws the same pictures.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

ROOT = Path(__file__).resolve().parents[1]
ICON_SIDE = 400
BANNER_SIZE = (1260, 540)
# Everything is drawn larger by this factor and made smaller at the end, which softens the edges.
OVERSAMPLING = 3
SEED = 1895

GROUND = (24, 26, 34)
CELLULOID = (9, 9, 12)
PERFORATION = (226, 220, 204)
EDGE = (255, 196, 92)
TITLE = (245, 240, 228)
SUBTITLE = (178, 172, 160)

# Shares of the frame's height: hills from the farthest to the nearest, each with its height, swell, waves and colour.
HILLS = (
    (0.60, 0.055, 1.3, 0.4, (88, 138, 156)),
    (0.70, 0.060, 0.9, 2.1, (64, 134, 96)),
    (0.83, 0.045, 1.1, 4.4, (38, 96, 62)),
)
SKY_TOP, SKY_BOTTOM = (58, 128, 196), (250, 208, 156)
SUN = (255, 236, 170)
WALL, ROOF, TRUNK, LEAVES = (238, 226, 200), (176, 62, 46), (78, 54, 38), (30, 82, 44)
# Of a frame that is worn out: how far it is moved (share of its height), how much darker it is, and its grain.
WEAVE, FLICKER, GRAIN = 0.02, 0.3, 0.05

Picture = NDArray[np.float32]


def landscape(width: int, height: int) -> Picture:
    """Draw a house below hills in the evening, (height, width, 3) in [0, 1]."""
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    sky = (1 - rows) * np.array(SKY_TOP, dtype=np.float32) + rows * np.array(SKY_BOTTOM, dtype=np.float32)
    image = Image.fromarray(np.broadcast_to(sky, (height, width, 3)).round().astype(np.uint8))
    draw = ImageDraw.Draw(image)
    disc(draw, (0.70 * width, 0.33 * height), 0.13 * height, SUN)
    columns = np.linspace(0, 1, width // 4)
    for level, swell, waves, phase, colour in HILLS:
        crest = height * (level + swell * np.sin(2 * np.pi * waves * columns + phase))
        outline = list(zip(columns * width, crest, strict=True))
        draw.polygon([(0, height), *outline, (width, height)], fill=colour)
    house(draw, (0.30 * width, 0.80 * height), 0.20 * height)
    for x, size in ((0.80, 0.24), (0.90, 0.17), (0.12, 0.15)):
        tree(draw, (x * width, 0.84 * height), size * height)
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def disc(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, colour: tuple[int, int, int]) -> None:
    """Draw a filled circle."""
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def house(draw: ImageDraw.ImageDraw, foot: tuple[float, float], size: float) -> None:
    """Draw a house of a height that stands on a point."""
    x, y = foot
    draw.rectangle((x - 0.6 * size, y - 0.6 * size, x + 0.6 * size, y), fill=WALL)
    draw.polygon(
        [(x - 0.75 * size, y - 0.58 * size), (x, y - 1.1 * size), (x + 0.75 * size, y - 0.58 * size)], fill=ROOF
    )
    draw.rectangle((x - 0.12 * size, y - 0.36 * size, x + 0.12 * size, y), fill=TRUNK)
    for side in (-0.36, 0.36):
        left = x + (side - 0.1) * size
        draw.rectangle((left, y - 0.42 * size, left + 0.2 * size, y - 0.22 * size), fill=SKY_TOP)


def tree(draw: ImageDraw.ImageDraw, foot: tuple[float, float], size: float) -> None:
    """Draw a tree of a height that stands on a point."""
    x, y = foot
    draw.rectangle((x - 0.06 * size, y - 0.5 * size, x + 0.06 * size, y), fill=TRUNK)
    for across, up, radius in ((0, 0.75, 0.27), (-0.17, 0.55, 0.2), (0.17, 0.55, 0.2)):
        disc(draw, (x + across * size, y - up * size), radius * size, LEAVES)


def worn(picture: Picture, amount: float, random: np.random.Generator) -> Picture:
    """Give a picture the damage that the pack undoes: weave, flicker, grain, scratches, dust and a hair.

    Its colours stay what they are, since the pack does not change those either.

    Args:
        picture: (H, W, 3) in [0, 1].
        amount: 0 leaves it as it is, 1 wears it out.
        random: Decides where the damage lies.
    """
    height, width = picture.shape[:2]
    down = round(WEAVE * amount * height)
    moved = np.pad(picture, ((down, 0), (0, 0), (0, 0)), mode="edge")[:height]
    aged = moved * (1 - FLICKER * amount)
    grain = random.normal(0, GRAIN * amount, (height // 4, width // 4)).astype(np.float32)
    aged = aged + np.asarray(Image.fromarray(grain).resize((width, height), Image.Resampling.BILINEAR))[..., None]
    for drawn, tone in damage_masks(width, height, amount, random):
        cover = np.asarray(drawn.filter(ImageFilter.GaussianBlur(height / 600)), dtype=np.float32)[..., None] / 255
        aged = aged + cover * (tone - aged)
    return np.clip(aged, 0, 1).astype(np.float32)


def damage_masks(
    width: int, height: int, amount: float, random: np.random.Generator
) -> Sequence[tuple[Image.Image, float]]:
    """Draw what lies on a worn film: a mask for what is bright and one for what is dark, each with its tone."""
    masks = []
    for tone, scratches, specks, hairs in ((0.96, 3, 14, 0), (0.05, 2, 16, 1)):
        mask = Image.new("L", (width, height))
        draw = ImageDraw.Draw(mask)
        for _ in range(round(scratches * amount)):
            x, lean = random.uniform(0.06, 0.94) * width, random.normal(0, 0.006) * width
            draw.line(
                [(x, 0), (x + lean, height)], fill=210, width=max(1, round(random.uniform(0.005, 0.011) * height))
            )
        for _ in range(round(specks * amount)):
            blob(
                draw,
                (random.uniform(0, width), random.uniform(0, height)),
                random.uniform(0.006, 0.022) * height,
                random,
            )
        for _ in range(round(hairs * amount)):
            steps = np.cumsum(random.normal(0, 0.35, 24) + 0.06) + random.uniform(0, 6)
            path = np.cumsum(np.stack([np.cos(steps), np.sin(steps)], 1) * 0.02 * height, axis=0)
            start = np.array([random.uniform(0.2, 0.7) * width, random.uniform(0.25, 0.6) * height])
            draw.line([tuple(point) for point in start + path], fill=230, width=max(1, round(0.008 * height)))
        masks.append((mask, tone))
    return masks


def blob(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, random: np.random.Generator) -> None:
    """Draw a speck of dust."""
    angles = np.sort(random.uniform(0, 2 * np.pi, 9))
    reach = radius * random.uniform(0.45, 1, 9)
    points = zip(centre[0] + reach * np.cos(angles), centre[1] + reach * np.sin(angles), strict=True)
    draw.polygon(list(points), fill=255)


def pasted(canvas: Image.Image, picture: Picture, corner: tuple[int, int]) -> None:
    """Lay a picture on a canvas."""
    canvas.paste(Image.fromarray((255 * picture).round().astype(np.uint8)), corner)


def perforations(
    draw: ImageDraw.ImageDraw, start: float, stop: float, count: int, across: float, size: float, *, upright: bool
) -> None:
    """Punch a row of holes along a strip of film.

    Args:
        draw: The canvas.
        start: Where the row begins along the film.
        stop: Where it ends.
        count: Holes.
        across: Middle of the row across the film.
        size: Length of a hole along the film.
        upright: Whether the film runs upright.
    """
    for index in range(count):
        along = start + (index + 0.5) * (stop - start) / count
        box = (along - size / 2, across - 0.65 * size, along + size / 2, across + 0.65 * size)
        if upright:
            box = (box[1], box[0], box[3], box[2])
        draw.rounded_rectangle(box, radius=0.22 * size, fill=PERFORATION)


def icon() -> Image.Image:
    """Draw the icon: an upright strip, its frame worn on the left and clean on the right."""
    side = ICON_SIDE * OVERSAMPLING
    unit = side / 100
    canvas = Image.new("RGB", (side, side), GROUND)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((8 * unit, 0, 92 * unit, side), fill=CELLULOID)
    for across in (14.5, 85.5):
        perforations(draw, -2 * unit, 102 * unit, 8, across * unit, 6 * unit, upright=True)
    width, height = round(58 * unit), round(64 * unit)
    left, top = round(21 * unit), round(18 * unit)
    clean = landscape(width, height)
    aged = worn(clean, 1, np.random.default_rng(SEED))
    both = clean.copy()
    both[:, : width // 2] = aged[:, : width // 2]
    # The frames before and after, as far as they are in the picture.
    for offset in (-height - round(4 * unit), 0, height + round(4 * unit)):
        pasted(canvas, both, (left, top + offset))
    middle = left + width // 2
    draw.rectangle((middle - 0.5 * unit, top - 2 * unit, middle + 0.5 * unit, top + height + 2 * unit), fill=EDGE)
    knob = top + 0.5 * height
    disc(draw, (middle, knob), 4.6 * unit, EDGE)
    for turn in (-1, 1):
        tip, back = middle + turn * 3.1 * unit, middle + turn * 1.1 * unit
        draw.polygon([(tip, knob), (back, knob - 1.8 * unit), (back, knob + 1.8 * unit)], fill=CELLULOID)
    return canvas.resize((ICON_SIDE, ICON_SIDE), Image.Resampling.LANCZOS)


def banner() -> Image.Image:
    """Draw the banner: a strip of four frames, worn to clean, above the name."""
    width, height = (length * OVERSAMPLING for length in BANNER_SIZE)
    unit = height / 100
    canvas = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 8 * unit, width, 66 * unit), fill=CELLULOID)
    for across in (12.5, 61.5):
        perforations(draw, 0, width, 28, across * unit, 3.6 * unit, upright=False)
    amounts = (1.0, 0.62, 0.3, 0.0)
    gap = round(2 * unit)
    wide, tall = (width - gap * (len(amounts) + 1)) // len(amounts), round(40 * unit)
    scene = landscape(wide, tall)
    for index, amount in enumerate(amounts):
        frame = worn(scene, amount, np.random.default_rng(SEED + index))
        pasted(canvas, frame, (gap + index * (wide + gap), round(17 * unit)))
    draw.text((width / 2, 79 * unit), "VLDM Film Restoration", TITLE, ImageFont.load_default(11.5 * unit), anchor="mm")
    said = "dirt, scratches, flicker and weave, over whole reels, in ComfyUI"
    draw.text((width / 2, 91 * unit), said, SUBTITLE, ImageFont.load_default(5.2 * unit), anchor="mm")
    return canvas.resize(BANNER_SIZE, Image.Resampling.LANCZOS)


def main() -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "assets", metavar="DIR", help="where the pictures go")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in (("icon.png", icon()), ("banner.png", banner())):
        picture.save(folder / name, optimize=True)
        print(folder / name)


if __name__ == "__main__":
    main()
