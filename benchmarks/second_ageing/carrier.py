"""What a whole frame goes through in the second ageing model: print, weave, flicker, grain, scan and codec."""

import io
from dataclasses import dataclass

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from .layers import WHITE
from .settings import CarrierDraws
from .textures import Plane

_ZOOM = 1.02
"""Times by which the scene is enlarged, so that weave brings no border into the frame."""

_DENSEST = 2.0
"""Optical density of the darkest emulsion."""

_CELLS = (5, 4)
"""Columns and rows of the parts of a frame that flicker apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Carrier:
    """The draws of one film.

    Attributes:
        black: Grey level of the scene's black.
        white: Grey level of its white.
        gamma: Exponent of the print.
        place: (T, 2) pixels by which the scene is displaced, across and down.
        gain: (T,) brightness of the frames, 1 = even.
        bow: (T,) exponents of the frames, 1 = even.
        field: (T, rows, columns) brightness of parts of the frames, 1 = even.
        grain: Standard deviation in the mid-tones after the scan, grey levels.
        clump: Standard deviation of the coarser half of the grain, pixels.
        scan: Standard deviation of the blur of the scan, pixels.
        codec: "h264" or "jpeg".
        quality: Constant rate factor or quality.
    """

    black: float
    white: float
    gamma: float
    place: NDArray[np.float64]
    gain: NDArray[np.float64]
    bow: NDArray[np.float64]
    field: NDArray[np.float64]
    grain: float
    clump: float
    scan: float
    codec: str
    quality: int

    def scene(self, clean: Plane, index: int) -> Plane:
        """Print a clean frame, (H, W) in [0, 1], and lay it into the gate of frame `index`; grey levels."""
        height, width = clean.shape
        tones = self.black + (self.white - self.black) * np.power(np.clip(clean, 0, 1), self.gamma)
        dx, dy = self.place[index]
        matrix = np.array(
            [[_ZOOM, 0, (1 - _ZOOM) * width / 2 + dx], [0, _ZOOM, (1 - _ZOOM) * height / 2 + dy]], dtype=np.float64
        )
        moved = cv2.warpAffine(
            tones.astype(np.float32), matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        return np.asarray(np.clip(moved, 0, WHITE), dtype=np.float32)

    def lit(self, picture: Plane, index: int) -> Plane:
        """Give a picture the brightness of frame `index`."""
        height, width = picture.shape
        field = cv2.resize(self.field[index].astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        bowed = np.power(np.clip(picture / WHITE, 0, 1), np.float32(self.bow[index])) * np.float32(WHITE)
        return bowed * (field * np.float32(self.gain[index]))

    def scanned(self, picture: Plane) -> Plane:
        """Blur a picture as the scan does."""
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), self.scan, borderType=cv2.BORDER_REFLECT), np.float32)

    def grain_sigma(self, picture: Plane) -> Plane:
        """Tell the standard deviation of the grain after the scan for every grey level of a picture, grey levels."""
        return np.float32(self.grain) * _sensitivity(picture)

    def grained(self, picture: Plane, stream: np.random.Generator) -> Plane:
        """Give a picture grain: noise of two sizes in optical density, whose variance grows with the density.

        What the scan will blur is made up for beforehand.
        """
        fine = stream.standard_normal(picture.shape).astype(np.float32)
        coarse = stream.standard_normal(picture.shape).astype(np.float32)
        clumps = np.asarray(cv2.GaussianBlur(coarse, (0, 0), self.clump), np.float32)
        mixed: Plane = np.float32(0.7) * (fine + _unit(clumps, self.clump))
        left = float(np.std(cv2.GaussianBlur(mixed, (0, 0), self.scan)))
        return picture + mixed * (np.float32(self.grain / max(left, 1e-3)) * _sensitivity(picture))

    def coded(self, film: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Send a film (T, H, W) through its codec."""
        if self.codec == "jpeg":
            options = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
            files = [cv2.imencode(".jpg", picture, options)[1] for picture in film]
            return np.stack([np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE), np.uint8) for file in files])
        return _h264(film, self.quality)


def _sensitivity(picture: Plane) -> Plane:
    """Grain over grey level, 1 in mid-grey.

    Density noise of variance proportional to density D = -log10 I gives a picture noise of I·√D.
    """
    light = np.clip(picture / WHITE, 10**-_DENSEST, 1.0)
    noise = light * np.sqrt(0.05 - np.log10(light))
    middle = 0.5 * np.sqrt(0.05 - np.log10(0.5))
    return (noise / middle).astype(np.float32)


def _unit(plane: Plane, sigma: float) -> Plane:
    """Bring white noise that was blurred to a standard deviation of 1."""
    return np.asarray(plane * np.float32(2 * np.sqrt(np.pi) * sigma), dtype=np.float32)


def _h264(film: NDArray[np.uint8], crf: int) -> NDArray[np.uint8]:
    # With its macroblock tree and B-frames, libx264 gives the same film differently now and then.
    options = {"crf": str(crf), "preset": "veryfast", "x264-params": "mbtree=0"}
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=24, options=options)
        stream.height, stream.width, stream.pix_fmt = *film.shape[1:], "gray"
        stream.thread_count = 1
        for picture in film:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])


def draw_carrier(stream: np.random.Generator, draws: CarrierDraws, count: int, height: int) -> Carrier:
    """Draw what one film goes through."""
    scale = height / 480
    h264 = bool(stream.random() < 0.75)
    low, high = draws.crf if h264 else draws.jpeg
    field = 1 + stream.uniform(*draws.field) * stream.standard_normal((count, _CELLS[1], _CELLS[0]))
    return Carrier(
        black=float(stream.uniform(*draws.black)),
        white=float(stream.uniform(*draws.white)),
        gamma=float(stream.uniform(*draws.gamma)),
        place=_weave(stream, stream.uniform(*draws.weave) * scale, draws.jump, count),
        gain=1 + stream.uniform(*draws.gain) * stream.standard_normal(count),
        bow=1 + stream.uniform(*draws.bow) * stream.standard_normal(count),
        field=field,
        grain=float(stream.uniform(*draws.grain)),
        clump=float(stream.uniform(*draws.clump)),
        scan=float(stream.uniform(*draws.scan)),
        codec="h264" if h264 else "jpeg",
        quality=int(stream.integers(low, high + 1)),
    )


def _weave(stream: np.random.Generator, sigma: float, jump: float, count: int) -> NDArray[np.float64]:
    """Draw the place of the scene: three swings of a worn claw, trembling, and jumps that stay."""
    time = np.arange(count)
    place = np.zeros((count, 2))
    for axis, amount in enumerate((sigma, 1.5 * sigma)):
        for _ in range(3):
            swing = np.sin(2 * np.pi * time * stream.uniform(0.02, 0.45) + stream.uniform(0, 2 * np.pi))
            place[:, axis] += amount * 0.7 * swing
        place[:, axis] += 0.4 * amount * stream.standard_normal(count)
        jumps = (stream.random(count) < jump) * stream.uniform(-3, 3, count) * amount
        place[:, axis] += np.cumsum(jumps)
    return np.asarray(np.clip(place, -6 * sigma, 6 * sigma))
