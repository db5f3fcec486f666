"""Make the demonstration film: two shots of an old newsreel, aged by this package's own damage simulation.

Usage: python scripts/make_demo_film.py [--out FILM] [--clean FILM] [--masks DIR]

Without options it writes assets/demo_film.mp4: 72 frames of 480x360 at 16 frames per second, H.264, with the ticking of
a projector as AAC sound. ``--clean`` keeps the film before ageing (lossless, .mkv), ``--masks`` the truth about the
damage (``dirt.mkv``, ``scratch.mkv``, ``tears.mkv`` …). The same versions of the libraries give the same pictures and
masks; x264's rate control may spend a few bits differently from run to run.

The pictures are two photographs that come inside the scikit-image wheel, so nothing is downloaded:

- ``skimage.data.camera()``: a man with a camera, by Lav Varshney, CC0;
- ``skimage.data.rocket()``: Falcon 9 with DSCOVR on the pad, by SpaceX, released into the public domain.

In the first shot the camera pans past the man while a rocket climbs behind the skyline; in the second, after a hard
cut, it follows the rocket off the pad.
"""

import argparse
import io
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from vldm_core.ageing import (
    BlotchModel,
    DirtModel,
    FlickerModel,
    GrainModel,
    HairModel,
    LineModel,
    ScratchLine,
    SimulationSettings,
    WeaveModel,
)
from vldm_core.reel.masks import simulate_film
from vldm_core.video.info import FilmFrame, FilmInfo
from vldm_core.video.writing.writer import WriteSettings, open_writer

Picture = NDArray[np.float32]

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT, RATE = 480, 360, 16
FIRST_SHOT, SECOND_SHOT = 40, 32  # frames
FRAMES = FIRST_SHOT + SECOND_SHOT
SAMPLE_RATE = 44100
SEED = 1906
QUALITY = 15

# Outline of the rocket in skimage.data.rocket(), px.
ROCKET = np.array(
    [(323, 126), (328, 131), (332, 138), (334, 148), (334, 176), (331, 184), (331, 406), (313, 406), (314, 184)]
    + [(311, 176), (311, 148), (313, 138), (318, 131)]
)
ROCKET_TOP, ROCKET_BOTTOM, ROCKET_CENTRE = 126, 406, 322.5

DAMAGE = SimulationSettings(
    camera_weave=WeaveModel(horizontal=0.5, vertical=0.9, rotation=0.03, rho=0.4),
    flicker=FlickerModel(gain=0.045, gamma=0.02, spatial=0.03, rho=0.4),
    fading=None,
    lines=LineModel(
        count=0.8,
        depth=(6, 25),
        width=(1, 3),
        pinned=(
            ScratchLine(key=1, kind="fixed", x=151.3, depth=-34, width=2.2, first=0, last=FRAMES, jitter=0.3),
            ScratchLine(
                key=2, kind="fixed", x=431.6, depth=32, width=1.8, tilt=0.4, first=9, last=FRAMES, jitter=0.3, gaps=0.15
            ),
            ScratchLine(key=3, kind="fixed", x=262.0, depth=-9, width=1.6, first=0, last=FRAMES, jitter=0.3),
            ScratchLine(key=4, kind="drifting", x=60.0, depth=20, width=1.5, drift=0.35, first=22, last=FRAMES),
        ),
    ),
    blotches=BlotchModel(rate=0.25, size=(18, 60), opacity=(0.2, 0.5)),
    dirt=DirtModel(rate=22, white_share=0.45),
    hair=HairModel(transient_rate=0.5, gate_count=0.0),
    grain=GrainModel(sigma=2.2, correlation=1.2),
)


def ease(share: float) -> float:
    """Return a share of the way with a soft start and a soft stop."""
    return share * share * (3 - 2 * share)


def view(scene: Picture, centre: tuple[float, float], width: float) -> Picture:
    """Photograph part of a scene: ``width`` px around ``centre`` fill the frame."""
    zoom = WIDTH / width
    shift = (WIDTH - 1) / 2 - zoom * centre[0], (HEIGHT - 1) / 2 - zoom * centre[1]
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    taken = cv2.warpAffine(scene, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.clip(taken, 0, 1)


def place(scene: Picture, sprite: Picture, alpha: Picture, matrix: NDArray[np.float64], where: Picture) -> Picture:
    """Lay a cut-out on a scene through an affine map, only where ``where`` is 1."""
    size = (scene.shape[1], scene.shape[0])
    mask = cv2.warpAffine(alpha, matrix, size, flags=cv2.INTER_AREA) * where
    return scene + mask * (cv2.warpAffine(sprite, matrix, size, flags=cv2.INTER_LINEAR) - scene)


def plume(shape: tuple[int, int], x: float, y: float, length: float, breadth: float) -> Picture:
    """Brightness of an exhaust flame that hangs from (x, y)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    down = (rows - y) / length
    across = (columns - x) / (breadth * (0.6 + 0.6 * np.clip(down, 0, 1)))
    flame = np.exp(-(across**2) - 1.5 * np.maximum(down, 0) ** 2) * (down > -0.02)
    return np.asarray(flame, dtype=np.float32)


def rocket_layers() -> tuple[Picture, Picture, Picture]:
    """Return the launch pad without the rocket, the rocket, and its outline, in grey."""
    photograph = cv2.cvtColor(skimage.data.rocket(), cv2.COLOR_RGB2GRAY)
    outline = np.zeros_like(photograph)
    cv2.fillPoly(outline, [ROCKET], 255, cv2.LINE_AA)
    hole = cv2.dilate(outline, np.ones((1, 9), np.uint8))
    pad = cv2.inpaint(photograph, (hole > 0).astype(np.uint8), 5, cv2.INPAINT_TELEA)

    bright, bright_pad = (np.power(image.astype(np.float32) / 255, np.float32(0.7)) for image in (photograph, pad))
    return bright_pad, bright, outline.astype(np.float32) / 255


def first_shot() -> list[Picture]:
    """A man with a camera on a lawn; a rocket climbs behind the skyline."""
    lawn = skimage.data.camera().astype(np.float32) / 255
    _, rocket, outline = rocket_layers()
    sky = np.zeros((lawn.shape[0] + 2, lawn.shape[1] + 2), dtype=np.uint8)
    smooth = cv2.medianBlur((lawn * 255).astype(np.uint8), 5)
    cv2.floodFill(smooth, sky, (400, 20), 0, 2, 2, 4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8))
    open_sky: Picture = np.asarray(cv2.GaussianBlur(sky[1:-1, 1:-1].astype(np.float32), (3, 3), 0.6), dtype=np.float32)
    frames = []
    for number in range(FIRST_SHOT):
        share = number / (FIRST_SHOT - 1)
        scale = 0.28
        top = 190 - 125 * share**1.4
        matrix = np.array([[scale, 0, 376 - scale * ROCKET_CENTRE], [0, scale, top - scale * ROCKET_TOP]])
        scene = place(lawn, 0.35 * rocket, outline, matrix, open_sky)
        bottom = top + scale * (ROCKET_BOTTOM - ROCKET_TOP)
        glow = plume(lawn.shape, 376, bottom, 16 + 4 * np.sin(2.4 * number), 3) * open_sky
        scene = scene + 0.9 * glow * (1 - scene)
        frames.append(view(scene, (226 + 62 * ease(share), 196 - 14 * ease(share)), 430 - 30 * ease(share)))
    return frames


def second_shot() -> list[Picture]:
    """The rocket leaves the pad; the camera follows it."""
    pad, rocket, outline = rocket_layers()
    frames = []
    for number in range(SECOND_SHOT):
        share = number / (SECOND_SHOT - 1)
        rise = 190 * share**1.8
        matrix = np.array([[1, 0, 0], [0, 1, -rise]], dtype=np.float64)
        scene = place(pad, rocket, outline, matrix, np.ones_like(pad))
        length = 12 + 60 * min(share * 3, 1) + 8 * np.sin(2.1 * number)
        flame = plume(pad.shape, ROCKET_CENTRE, ROCKET_BOTTOM - rise, length, 9)
        scene = scene + flame * (1 - scene)
        frames.append(view(scene, (318 + 10 * share, 258 - 92 * ease(share)), 400 + 14 * share))
    return frames


def tone(grey: Picture) -> NDArray[np.uint8]:
    """Give a grey picture the soft contrast, the vignette and the brown of an old print; return 8-bit RGB."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    radius = np.hypot((columns - WIDTH / 2) / WIDTH, (rows - HEIGHT / 2) / HEIGHT)
    soft = cv2.GaussianBlur(grey, (0, 0), 0.6)
    print_ = (0.06 + 0.86 * soft) * (1 - 0.35 * radius**2)
    sepia = np.power(print_[..., None], np.array([0.92, 1.0, 1.14], dtype=np.float32))
    return np.round(sepia * 255).astype(np.uint8)


def projector_sound() -> io.BytesIO:
    """Return an audio file with one tick per frame over a low hum."""
    stream = np.random.Generator(np.random.PCG64(SEED))
    time = np.arange(SAMPLE_RATE * FRAMES // RATE) / SAMPLE_RATE
    since_tick = time % (1 / RATE)
    tick = np.exp(-since_tick / 0.004) * stream.standard_normal(len(time))
    hum = np.sin(2 * np.pi * 50 * time) + 0.4 * np.sin(2 * np.pi * 150 * time)
    samples = (0.22 * tick + 0.02 * hum).clip(-1, 1).astype(np.float32)
    sound = io.BytesIO()
    with av.open(sound, mode="w", format="ipod") as container:
        track = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        track.bit_rate = 64000
        length = 1024
        for start in range(0, len(samples), length):
            block = av.AudioFrame.from_ndarray(samples[None, start : start + length], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
            container.mux(track.encode(block))
        container.mux(track.encode(None))
    sound.seek(0)
    return sound


def main() -> None:
    """Make the film."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "demo_film.mp4", help="aged film to write")
    parser.add_argument("--clean", type=Path, help="also write the film before ageing (.mkv)")
    parser.add_argument("--masks", type=Path, help="also write a mask film per kind of damage into this folder")
    options = parser.parse_args()
    info = FilmInfo.of_frames(WIDTH, HEIGHT, RATE, frame_count=FRAMES)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vldm-demo-film-") as scratch:
        clean = options.clean or Path(scratch) / "clean.mkv"
        with open_writer(clean, info, settings=WriteSettings(overwrite=True), source=projector_sound()) as writer:
            for index, grey in enumerate(first_shot() + second_shot()):
                writer.write(FilmFrame(index=index, image=tone(grey)))
        write = WriteSettings(codec="h264", quality=QUALITY, overwrite=True)
        simulate_film(clean, options.out, settings=DAMAGE, seed=SEED, masks=options.masks, write=write)
    print(f"{options.out}: {FRAMES} frames, {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
