"""Pixel formats, and exact conversion between a film's own samples and full-range RGB.

8-bit YUV goes through swscale with accurate rounding. Deeper YUV is converted here, because swscale's 16-bit RGB
is scaled by 2^(16-n) instead of to the full range, an error of up to 0.4 % (BT.601-7, BT.709-6, BT.2020-2: the
matrix is given by the luma weights of red and blue; ITU-R BT.2100-2 table 9 gives the integer ranges).

Unspecified colour matrices are read as players do: up to 576 lines and below 1280 columns BT.601, above it BT.709.
An unspecified range is limited for YUV and full for RGB and gray.
"""

from __future__ import annotations

import functools
import threading

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from ..errors import FilmFileError

RANGE_LIMITED = 1
RANGE_FULL = 2
MATRIX_RGB = 0
MATRIX_BT709 = 1
MATRIX_BT601 = 6

# FFmpeg's AVColorSpace number -> (swscale's number, luma weight of red, luma weight of blue).
_MATRICES: dict[int, tuple[int, float, float]] = {
    1: (1, 0.2126, 0.0722),
    4: (4, 0.30, 0.11),
    5: (5, 0.299, 0.114),
    6: (5, 0.299, 0.114),
    7: (7, 0.212, 0.087),
    9: (9, 0.2627, 0.0593),
}
_SUBSAMPLING = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411", (4, 4): "410"}
_SCALING = (
    Interpolation.BILINEAR
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)


class PixelLayout:
    """The properties of a pixel format that matter here.

    Attributes:
        name: FFmpeg's name.
        model: ``"gray"``, ``"yuv"`` or ``"rgb"``.
        bits: Bits per sample (8 for less).
        alpha: Whether it has an alpha component.
        step: Luma columns and rows per chroma sample.
        full_range: Whether the format itself says full range (the ``yuvj`` family).
    """

    def __init__(self, name: str) -> None:
        pixel_format = av.VideoFormat(name, 64, 64)
        components = pixel_format.components
        colours = [c for c in components if not c.is_alpha]
        self.name = name
        self.alpha = len(colours) < len(components) or name == "pal8"
        self.bits = max(8, max((c.bits for c in colours), default=8))
        self.step = (1, 1)
        self.full_range = name.startswith("yuvj")
        if pixel_format.is_rgb or name == "pal8":
            self.model = "rgb"
        elif len(colours) == 1:
            self.model = "gray"
        else:
            self.model = "yuv"
            self.step = (64 // colours[1].width, 64 // colours[1].height)

    @property
    def canonical(self) -> str:
        """The planar little-endian format with the same samples."""
        return self.planar(self.bits)

    def planar(self, bits: int) -> str:
        """Name of the planar little-endian format of the same kind with so many bits per sample."""
        depth = "" if bits == 8 else f"{bits}le"
        if self.model == "gray":
            return f"gray{depth}"
        if self.model == "rgb":
            return f"gbr{'a' if self.alpha else ''}p{depth}"
        letter = "a" if self.alpha and _SUBSAMPLING[self.step] in ("420", "422", "444") else ""
        return f"yuv{letter}{_SUBSAMPLING[self.step]}p{depth}"


@functools.lru_cache(maxsize=64)
def layout_of(name: str) -> PixelLayout:
    """Return the layout of an FFmpeg pixel format.

    Raises:
        FilmFileError: The format is unknown, holds floats or is of a kind that cannot be converted exactly.
    """
    try:
        layout = PixelLayout(name)
    except ValueError as error:
        raise FilmFileError(f"unknown pixel format {name!r}") from error
    if (layout.model == "yuv" and layout.step not in _SUBSAMPLING) or "f16" in name or "f32" in name:
        raise FilmFileError(
            f"pixel format {name!r} is not supported; convert the film to an integer RGB, YUV or gray format"
        )
    return layout


def working_matrix(colour_matrix: int, width: int, height: int) -> int:
    """Return the colour matrix (FFmpeg's number) to convert with.

    An unspecified matrix, and the RGB tag on YUV samples, are resolved by the picture size.

    Raises:
        FilmFileError: The matrix is not a linear Y'CbCr matrix.
    """
    if colour_matrix in _MATRICES:
        return colour_matrix
    if colour_matrix in (0, 2, 3):
        return MATRIX_BT601 if width < 1280 and height <= 576 else MATRIX_BT709
    raise FilmFileError(
        f"colour matrix {colour_matrix} (FFmpeg's number) is not supported; convert the film to BT.601, BT.709 or "
        "BT.2020 non-constant luminance"
    )


def sample_view(frame: av.VideoFrame, plane: int) -> np.ndarray:
    """Return the samples of one plane of a canonical planar frame, (h, w), without a copy."""
    part = frame.planes[plane]
    dtype = np.dtype("u1") if layout_of(frame.format.name).bits == 8 else np.dtype("<u2")
    return np.ndarray((part.height, part.width), dtype, buffer=part, strides=(part.line_size, dtype.itemsize))


class ColourConverter:
    """Converts the frames of one film between its own samples and full-range RGB.

    Args:
        width: Frame width, pixels.
        height: Frame height, pixels.
        colour_matrix: FFmpeg's number of the film's matrix; see ``working_matrix``.
        colour_range: FFmpeg's number of the film's range; 0 is the format's usual range.
    """

    def __init__(self, width: int, height: int, colour_matrix: int, colour_range: int) -> None:
        self.width = width
        self.height = height
        self._matrix = _MATRICES[working_matrix(colour_matrix, width, height)]
        self._range = colour_range
        # One reformatter per conversion: each keeps its scaler for as long as its parameters stay the same.
        self._scalers: dict[tuple[str, str], VideoReformatter] = {}
        self._one_at_a_time = threading.Lock()

    def is_full(self, layout: PixelLayout) -> bool:
        """Whether samples of this layout use the full integer range in this film."""
        if layout.model == "rgb" or layout.full_range:
            return True
        if layout.model == "gray":
            return self._range != RANGE_LIMITED
        return self._range == RANGE_FULL

    def reformat(self, frame: av.VideoFrame, target: str) -> av.VideoFrame:
        """Change the pixel format; RGB is full range, YUV and gray keep the film's range."""
        source_name = frame.format.name
        if source_name == target:
            return frame
        scaler = self._scalers.setdefault((source_name, target), VideoReformatter())
        ranges = [ColorRange.JPEG if self.is_full(layout_of(n)) else ColorRange.MPEG for n in (source_name, target)]
        # Frames are converted when they are looked at, in whatever thread that is; a scaler is for one at a time.
        with self._one_at_a_time:
            return scaler.reformat(
                frame,
                format=target,
                src_colorspace=self._matrix[0],
                dst_colorspace=self._matrix[0],
                src_color_range=ranges[0],
                dst_color_range=ranges[1],
                interpolation=_SCALING,
                threads=1,
            )

    def rgb(self, frame: av.VideoFrame) -> np.ndarray:
        """Return the frame as (H, W, 3) RGB, full range: uint8, or uint16 for more than 8 bits."""
        layout = layout_of(frame.format.name)
        if layout.model == "gray":
            plain = self.reformat(frame, layout.canonical)
            return cv2.merge([_decode_table(layout.bits, self.is_full(layout))[sample_view(plain, 0)]] * 3)
        if layout.bits == 8:
            packed = self.reformat(frame, "rgb24")
            plane = packed.planes[0]
            rows = np.ndarray((self.height, plane.line_size), np.uint8, buffer=plane)[:, : self.width * 3]
            # The picture never shares memory with the source frame, which the writer still needs as it was.
            image = np.array(rows) if packed is frame else np.ascontiguousarray(rows)
            return image.reshape(self.height, self.width, 3)
        if layout.model == "rgb":
            planar = self.reformat(frame, layout.canonical)
            table = _decode_table(layout.bits, True)
            return cv2.merge([table[sample_view(planar, p)] for p in (2, 0, 1)])
        planar = self.reformat(frame, f"yuv444p{layout.bits}le")
        samples = cv2.merge([sample_view(planar, p) for p in range(3)])
        return cv2.transform(samples, _to_rgb_matrix(self._matrix[1:], layout.bits, self.is_full(layout)))

    def frame(self, image: np.ndarray, target: str, alpha: np.ndarray | None = None) -> av.VideoFrame:
        """Return an RGB picture as a frame of the film.

        Args:
            image: (H, W, 3) RGB, full range, uint8 or uint16, contiguous.
            target: Canonical planar pixel format, or ``bgr0`` / ``bgra``.
            alpha: (H, W) samples for the target's alpha, at the target's depth; opaque when None.
        """
        layout = layout_of(target)
        if layout.bits > 8 and image.dtype == np.uint8:
            image = image.astype(np.uint16) * 257
        if layout.bits == 8 and image.dtype == np.uint16:
            image = ((image.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        if target in ("bgr0", "bgra"):
            frame = self._packed(image, target, alpha)
        elif layout.model == "gray":
            frame = av.VideoFrame(self.width, self.height, target)
            grey = self._grey(image)
            sample_view(frame, 0)[...] = _encode_table(layout.bits, self.is_full(layout))[grey]
        elif layout.model == "rgb":
            frame = av.VideoFrame(self.width, self.height, target)
            for plane, channel in ((2, 0), (0, 1), (1, 2)):
                sample_view(frame, plane)[...] = _encode_table(layout.bits, True)[image[..., channel]]
        elif layout.bits == 8:
            frame = self.reformat(av.VideoFrame.from_ndarray(image, format="rgb24"), target)
        else:
            full = av.VideoFrame(self.width, self.height, f"yuv444p{layout.bits}le")
            samples = cv2.transform(image, _from_rgb_matrix(self._matrix[1:], layout.bits, self.is_full(layout)))
            top = (1 << layout.bits) - 1
            for plane in range(3):
                np.minimum(samples[..., plane], top, out=sample_view(full, plane))
            frame = self.reformat(full, target)
        if layout.alpha and target != "bgra":
            sample_view(frame, 3)[...] = (1 << layout.bits) - 1 if alpha is None else alpha
        return frame

    def _packed(self, image: np.ndarray, target: str, alpha: np.ndarray | None) -> av.VideoFrame:
        frame = av.VideoFrame(self.width, self.height, target)
        plane = frame.planes[0]
        rows = np.ndarray((self.height, self.width, 4), np.uint8, buffer=plane, strides=(plane.line_size, 4, 1))
        rows[...] = cv2.cvtColor(image, cv2.COLOR_RGB2BGRA)
        if target == "bgr0":
            rows[..., 3] = 0
        elif alpha is not None:
            rows[..., 3] = alpha
        return frame

    def _grey(self, image: np.ndarray) -> np.ndarray:
        red, green, blue = cv2.split(image)
        if np.array_equal(red, green) and np.array_equal(green, blue):
            return green
        weight_red, weight_blue = self._matrix[1:]
        return cv2.transform(image, np.array([[weight_red, 1 - weight_red - weight_blue, weight_blue]]))


def alpha_of(frame: av.VideoFrame, converter: ColourConverter) -> np.ndarray | None:
    """Return the alpha samples (H, W) of a frame at its own depth, or None where the format has none."""
    layout = layout_of(frame.format.name)
    if not layout.alpha:
        return None
    # Gray with alpha has no planar form of its own.
    grey = "gbrap" if layout.bits == 8 else "gbrap16le"
    planar = converter.reformat(frame, grey if layout.model == "gray" else layout.canonical)
    return sample_view(planar, 3)


def at_depth(samples: np.ndarray, bits: int, wanted: int) -> np.ndarray:
    """Return full-range samples of some bits over the full range of as many others, as uint8 or uint16."""
    if bits == wanted:
        return samples
    spread: np.ndarray = _depth_table(bits, wanted)[samples]
    return spread


@functools.lru_cache(maxsize=32)
def _depth_table(bits: int, wanted: int) -> np.ndarray:
    values = np.arange(1 << bits, dtype=np.float64)
    scaled = np.rint(values * ((1 << wanted) - 1) / ((1 << bits) - 1))
    return scaled.astype(np.uint8 if wanted == 8 else np.uint16)


def deepened(frame: av.VideoFrame, target: PixelLayout, converter: ColourConverter) -> av.VideoFrame | None:
    """Return the samples of a frame with more bits and nothing else changed, or None where that is not what is asked.

    Args:
        frame: The frame.
        target: Its own layout, but deeper.
        converter: Knows its range; limited samples are shifted (ITU-R BT.2100-2, table 9), others spread.
    """
    layout = layout_of(frame.format.name)
    if layout.planar(target.bits) != target.canonical or layout.bits > target.bits or layout.model == "rgb":
        return None
    if layout.model == "yuv" and converter.is_full(layout):
        # The middle of chroma is no multiple of what full range is spread by.
        return None
    plain = converter.reformat(frame, layout.canonical)
    made = av.VideoFrame(plain.width, plain.height, target.canonical)
    for plane in range(len(made.planes)):
        samples = sample_view(plain, plane)
        full = plane == 3 or converter.is_full(layout)
        wide = samples.astype(np.uint16) << (target.bits - layout.bits)
        sample_view(made, plane)[...] = at_depth(samples, layout.bits, target.bits) if full else wide
    return made


@functools.lru_cache(maxsize=32)
def _decode_table(bits: int, full: bool) -> np.ndarray:
    """Sample value to full-range RGB value, for formats without a matrix."""
    top = (1 << bits) - 1
    out_top, dtype = (255, np.uint8) if bits == 8 else (65535, np.uint16)
    values = np.arange(top + 1, dtype=np.float64)
    low, span = (0, top) if full else (16 << (bits - 8), 219 << (bits - 8))
    table = np.clip(np.rint((values - low) * out_top / span), 0, out_top).astype(dtype)
    # A decoder may leave bits above the format's depth set; the table covers the whole of the container type.
    size = 256 if bits == 8 else 65536
    return np.concatenate([table, np.full(size - table.size, out_top, dtype)])


@functools.lru_cache(maxsize=32)
def _encode_table(bits: int, full: bool) -> np.ndarray:
    """Full-range RGB value to sample value; the inverse of ``_decode_table`` at the same depth."""
    top = (1 << bits) - 1
    in_top, dtype = (255, np.uint8) if bits == 8 else (65535, np.uint16)
    low, span = (0, top) if full else (16 << (bits - 8), 219 << (bits - 8))
    return np.rint(low + np.arange(in_top + 1, dtype=np.float64) * span / in_top).astype(dtype)


@functools.lru_cache(maxsize=32)
def _from_rgb_matrix(weights: tuple[float, float], bits: int, full: bool) -> np.ndarray:
    """The 3x4 matrix from full-range 16-bit RGB to integer Y'CbCr samples."""
    red, blue = weights
    green = 1 - red - blue
    unit = np.array(
        [
            [red, green, blue],
            [-red / (2 * (1 - blue)), -green / (2 * (1 - blue)), 0.5],
            [0.5, -green / (2 * (1 - red)), -blue / (2 * (1 - red))],
        ]
    )
    scale = 1 << (bits - 8)
    top = (1 << bits) - 1
    gain = np.array([top, top, top] if full else [219 * scale, 224 * scale, 224 * scale], float)
    offset = np.array([0 if full else 16 * scale, 128 * scale, 128 * scale], float)
    return np.hstack([unit * (gain / 65535)[:, None], offset[:, None]])


@functools.lru_cache(maxsize=32)
def _to_rgb_matrix(weights: tuple[float, float], bits: int, full: bool) -> np.ndarray:
    """The 3x4 matrix from integer Y'CbCr samples to full-range 16-bit RGB."""
    forward = _from_rgb_matrix(weights, bits, full)
    inverse = np.linalg.inv(forward[:, :3])
    return np.hstack([inverse, -inverse @ forward[:, 3:]])
