"""Render docs/damage_gallery.png: a picture of every simulated defect and of every preset.

Usage: python scripts/make_gallery.py [--out PNG] [--textures DIR]

The scene is ``skimage.data.astronaut()``, Eileen Collins by NASA, in the public domain; it comes inside the
scikit-image wheel, so nothing is downloaded. The camera pans slowly over it. Of defects that come and go the frame is
shown where most is seen; what changes from frame to frame is shown as slices of successive frames side by side.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vldm_core.ageing import (
    MASK_KINDS,
    PRESETS,
    ApertureModel,
    BlotchModel,
    CadenceModel,
    CodecModel,
    CueModel,
    DirtModel,
    EmulsionModel,
    FadingModel,
    FlickerModel,
    GrainModel,
    HairModel,
    LineModel,
    MixingModel,
    SimulationSettings,
    Simulator,
    SoftnessModel,
    SpliceModel,
    StainModel,
    TearModel,
    VignetteModel,
    WeaveModel,
    age_stream,
)

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT, FRAMES = 480, 360, 36
TILE_WIDTH, TILE_HEIGHT, CAPTION, COLUMNS = 288, 216, 20, 6
SEED = 7

# Strong cases: one tile has to show what a film shows in minutes.
DEFECTS: dict[str, SimulationSettings] = {
    "camera_weave": SimulationSettings(camera_weave=WeaveModel(horizontal=4, vertical=9, rotation=0.1)),
    "lens": SimulationSettings(lens=SoftnessModel(blur=(2, 2), scale=(0.7, 0.7))),
    "vignette": SimulationSettings(vignette=VignetteModel(strength=(0.4, 0.4))),
    "flicker": SimulationSettings(flicker=FlickerModel(gain=0.1, gamma=0.05, spatial=0.09)),
    "emulsion": SimulationSettings(emulsion=EmulsionModel(response="orthochromatic", contrast=0.6, halation=0.25)),
    "fading": SimulationSettings(fading=FadingModel(contrast=(0.55, 0.85, 0.8), offset=(-0.02, 0.08, 0.05))),
    "aperture": SimulationSettings(aperture=ApertureModel(border=(0.01, 0.04), roughness=1.0)),
    "lines": SimulationSettings(lines=LineModel(count=5, depth=(30, 60))),
    "tears": SimulationSettings(tears=TearModel(count=1.2)),
    "blotches": SimulationSettings(blotches=BlotchModel(rate=2.5, opacity=(0.25, 0.6))),
    "stains": SimulationSettings(stains=StainModel(rate=0.15, area=(0.05, 0.15), opacity=(0.3, 0.45))),
    "dirt": SimulationSettings(dirt=DirtModel(rate=45)),
    "hair": SimulationSettings(hair=HairModel(transient_rate=1.5, gate_count=1.5)),
    "splices": SimulationSettings(splices=SpliceModel(rate=0.06)),
    "cues": SimulationSettings(cues=CueModel(rate=0.004)),
    "grain": SimulationSettings(grain=GrainModel(sigma=8, correlation=1.6, density=True)),
    "scanner_weave": SimulationSettings(scanner_weave=WeaveModel(horizontal=5, vertical=7, rotation=0.2)),
    "cadence": SimulationSettings(cadence=CadenceModel(duplicates=0.5)),
    "mixing": SimulationSettings(mixing=MixingModel(kind="fields", probability=1)),
    "softness": SimulationSettings(softness=SoftnessModel(blur=(1.6, 1.6), scale=(0.5, 0.5))),
    "codec": SimulationSettings(codec=CodecModel(codec="mpeg2", quality=(24, 24))),
}
SLICED = ("camera_weave", "flicker", "scanner_weave", "cadence")


def scene() -> Tensor:
    """Return the clean clip, (T, 3, H, W): a slow pan over the photograph."""
    photograph = skimage.data.astronaut().astype(np.float32) / 255
    frames = []
    for number in range(FRAMES):
        matrix = np.array([[1.0, 0, -2 - 0.8 * number], [0, 1.0, -4 - 0.15 * number]])
        frames.append(cv2.warpAffine(photograph, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR))
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()


def picture(clip: Tensor, settings: SimulationSettings, name: str) -> NDArray[np.float32]:
    """Return the most telling picture (H, W, 3) of a clip under some settings."""
    aged = list(age_stream(Simulator(settings, SEED, HEIGHT, WIDTH), clip))
    if name in SLICED:
        at = [WIDTH * part // 4 for part in range(5)]
        chosen = aged[8:12]
        slices = [one.frame[:, :, at[part] : at[part + 1]] for part, one in enumerate(chosen)]
        return torch.cat(slices, dim=2).permute(1, 2, 0).numpy()
    seen = [sum(float(one.masks[kind].mean()) for kind in MASK_KINDS) for one in aged]
    if name in PRESETS:
        order = sorted(range(len(aged)), key=seen.__getitem__)
        best = order[len(order) * 2 // 3]  # a frame with somewhat more than the usual damage
    else:
        best = max(range(len(aged)), key=seen.__getitem__)
    return aged[best].frame.permute(1, 2, 0).numpy()


def tile(image: NDArray[np.float32], caption: str) -> Image.Image:
    """Return a picture at the size of a tile, with its name below."""
    small = cv2.resize(image, (TILE_WIDTH, TILE_HEIGHT), interpolation=cv2.INTER_AREA)
    framed = Image.new("RGB", (TILE_WIDTH, TILE_HEIGHT + CAPTION), (24, 24, 24))
    framed.paste(Image.fromarray(np.round(small * 255).astype(np.uint8)))
    ImageDraw.Draw(framed).text((6, TILE_HEIGHT + 3), caption, fill=(230, 230, 230), font=ImageFont.load_default(13))
    return framed


def main() -> None:
    """Render the gallery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "damage_gallery.png", help="picture to write")
    parser.add_argument("--textures", type=Path, help="folder with shapes for dirt, hair and stains")
    parser.add_argument("--full", type=Path, help="also write every picture in full size into this folder")
    options = parser.parse_args()
    clip = scene()
    jobs = {name: settings.only(name) for name, settings in DEFECTS.items()} | dict(PRESETS)
    tiles = []
    for name, settings in jobs.items():
        image = picture(clip, replace(settings, textures=options.textures), name)
        tiles.append(tile(image, name.replace("_", " ")))
        if options.full:
            options.full.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.round(image * 255).astype(np.uint8)).save(options.full / f"{name}.png")
    gap = 4
    rows = -(-len(tiles) // COLUMNS)
    size = (COLUMNS * (TILE_WIDTH + gap) - gap, rows * (TILE_HEIGHT + CAPTION + gap) - gap)
    gallery = Image.new("RGB", size, (24, 24, 24))
    for number, one in enumerate(tiles):
        gallery.paste(
            one, ((number % COLUMNS) * (TILE_WIDTH + gap), (number // COLUMNS) * (TILE_HEIGHT + CAPTION + gap))
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    gallery.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(options.out, optimize=True)
    print(f"{options.out}: {len(tiles)} pictures, {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
