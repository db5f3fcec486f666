"""How a film is stored: codec, quality, and the pixel format that keeps what the source has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

import av

from ...errors import FilmFileError, SettingsError
from ..colour import RANGE_LIMITED, PixelLayout, layout_of, working_matrix
from ..info import FilmInfo

CONTAINERS = {".mkv": "matroska", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}
_ENCODERS = {"ffv1": "ffv1", "h264": "libx264", "h265": "libx265", "prores": "prores_ks"}
_MAX_CRF = 51

Codec = Literal["auto", "ffv1", "h264", "h265", "prores"]
CODECS: tuple[Codec, ...] = get_args(Codec)

DEPTHS = (8, 10, 12, 16, 32)
"""Bits per sample that can be asked for; each codec and kind of picture has some of them."""


@dataclass(frozen=True, kw_only=True)
class WriteSettings:
    """How to encode a film.

    Attributes:
        codec: ``"ffv1"`` is lossless; ``"h264"``, ``"h265"`` and ``"prores"`` (.mov, .mkv) are lossy; ``"auto"`` takes
            FFV1 for .mkv and H.264 for .mp4 and .mov. Image sequences ignore it and are always lossless.
        quality: Constant rate factor of H.264 and H.265: 0 (largest) … 51 (worst); 16 looks like the source.
            The others ignore it.
        bits: Bits per sample to write, or None to keep the source's as far as the format allows. FFV1 has 8, 10, 12 and
            16, H.264 8 and 10, H.265 8, 10 and 12, ProRes 10; PNG and TIFF pictures 8 and 16, DPX 8, 10, 12 and 16, EXR
            16 (half floats) and 32 (floats).
        pix_fmt: FFmpeg's name of the pixel format to write, or None to keep the source's as far as the codec allows:
            FFV1 keeps it exactly (RGB stays RGB, gray stays gray); H.264 and H.265 keep subsampling and 8 or 10 bits
            (H.265 also 12) and store RGB and gray as 4:2:0; ProRes is 4444 for RGB, 4:4:4 and films with alpha, else
            422 HQ. Image sequences ignore it.
        overwrite: Whether a file or pictures of the output's name may be replaced, when the new ones are complete.
        intermediate: Whether the film is read again by this package and not shown: scene-linear light keeps the values
            that the stages work on.
        quick: Whether H.264 and H.265 save time and memory rather than bytes: they look fewer frames ahead. For copies
            to look at.
    """

    codec: Codec = "auto"
    quality: int = 16
    bits: int | None = None
    pix_fmt: str | None = None
    overwrite: bool = False
    intermediate: bool = False
    quick: bool = False

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise SettingsError(f"codec is {self.codec!r}; use one of {', '.join(CODECS)}")
        if not 0 <= self.quality <= _MAX_CRF:
            raise SettingsError(f"quality is 0 (best) … {_MAX_CRF} (worst), got {self.quality}")
        if self.bits is not None and self.bits not in DEPTHS:
            raise SettingsError(f"bits is {self.bits}; use one of {', '.join(map(str, DEPTHS))}")
        if self.bits is not None and self.pix_fmt is not None:
            raise SettingsError(f"bits {self.bits} and pix_fmt {self.pix_fmt!r} both say the depth; leave one out")
        if self.pix_fmt is not None:
            try:
                av.VideoFormat(self.pix_fmt, 16, 16)
            except ValueError as error:
                raise SettingsError(f"pix_fmt {self.pix_fmt!r} is unknown to FFmpeg; try 'yuv420p' or None") from error


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Everything an encoder is opened with.

    Attributes:
        codec: ``"ffv1"``, ``"h264"``, ``"h265"`` or ``"prores"``.
        encoder: FFmpeg's encoder name.
        muxer: FFmpeg's muxer name.
        pix_fmt: Pixel format written.
        options: Encoder options.
        colour_range: FFmpeg's number, as written.
        colour_matrix: FFmpeg's number, as written.
    """

    codec: str
    encoder: str
    muxer: str
    pix_fmt: str
    options: dict[str, str]
    colour_range: int
    colour_matrix: int


def plan_encoding(path: Path, info: FilmInfo, settings: WriteSettings) -> Encoding:
    """Choose codec, container and pixel format.

    Raises:
        FilmFileError: The suffix names no container this package writes, the encoder is missing, or the codec does not
            have the pixel format or depth.
    """
    suffix = path.suffix.lower()
    if suffix not in CONTAINERS:
        raise FilmFileError(
            f"cannot write {path.name}: {suffix!r} is none of {', '.join(CONTAINERS)}; choose one of them, or a folder "
            "for an image sequence"
        )
    codec = settings.codec if settings.codec != "auto" else "ffv1" if suffix == ".mkv" else "h264"
    encoder = _ENCODERS[codec]
    try:
        offered = {f.name for f in av.Codec(encoder, "w").video_formats or ()}
    except ValueError as error:
        raise FilmFileError(
            f"this FFmpeg build has no {codec} encoder ({encoder}); install PyAV from PyPI or choose codec 'ffv1'"
        ) from error
    if codec == "prores" and suffix in (".mp4", ".m4v"):
        raise FilmFileError(f"{suffix} cannot hold ProRes; name a .mov or .mkv file, or choose codec 'h264'")
    pix_fmt = settings.pix_fmt or _kept_format(codec, info, offered, settings.bits)
    if pix_fmt not in offered:
        raise FilmFileError(f"{codec} cannot store pixel format {pix_fmt!r}; leave pix_fmt at None or choose 'yuv420p'")
    source, target = layout_of(info.pix_fmt), layout_of(pix_fmt)
    colour_range, matrix = info.colour_range, info.colour_matrix
    if target.model == "yuv" and source.model != "yuv":
        colour_range, matrix = RANGE_LIMITED, working_matrix(2, info.width, info.height)
    elif target.model == "rgb" and source.model != "rgb":
        colour_range, matrix = 2, 0
    elif codec == "prores":
        # Nothing in the file says the range, and every reader takes it for limited.
        colour_range = RANGE_LIMITED
    return Encoding(
        codec=codec,
        encoder=encoder,
        muxer=CONTAINERS[suffix],
        pix_fmt=pix_fmt,
        options=_options(codec, info, settings, target),
        colour_range=colour_range,
        colour_matrix=matrix,
    )


def _options(codec: str, info: FilmInfo, settings: WriteSettings, target: PixelLayout) -> dict[str, str]:
    if codec == "ffv1":
        # Version 3 with a checksum per slice, every frame on its own: what archives ask for.
        slices = "4" if info.height <= 576 else "12"
        return {"level": "3", "slicecrc": "1", "slices": slices, "g": "1"}
    if codec == "prores":
        # Editing programs look at the maker's mark, and take files with another one for damaged.
        options = {"profile": "4444" if target.step == (1, 1) else "hq", "vendor": "apl0"}
        return {**options, "alpha_bits": "16"} if target.alpha else options
    options = {"crf": str(settings.quality), "preset": "veryfast" if settings.quick else "medium"}
    if codec == "h265":
        options["x265-params"] = "log-level=error"
    return options


def _kept_format(codec: str, info: FilmInfo, offered: set[str], bits: int | None) -> str:
    """The pixel format that keeps most of a film.

    Args:
        codec: The codec.
        info: The film.
        offered: Pixel formats that the encoder takes.
        bits: Bits per sample that were asked for, or None for those of the film.
    """
    layout = layout_of(info.pix_fmt)
    if codec == "ffv1":
        depth = bits or layout.bits
        if layout.model == "rgb" and depth == 8:
            return "bgra" if layout.alpha else "bgr0"
        if layout.planar(depth) not in offered:
            if bits is not None:
                raise FilmFileError(f"FFV1 cannot store {info.pix_fmt!r} with {bits} bits; ask for 16, or for none")
            raise FilmFileError(f"FFV1 cannot store pixel format {info.pix_fmt!r}; set pix_fmt, for example 'yuv444p'")
        return layout.planar(depth)
    # Full-chroma and unusual layouts go to the nearest one that the lossy codecs know.
    shape = {(2, 1): "422", (4, 1): "422", (1, 1): "444", (1, 2): "444"}.get(layout.step, "420")
    if codec == "prores":
        # It has no 4:2:0; what has more chroma, or alpha, needs its second family.
        full = layout.alpha or layout.model == "rgb" or (shape == "444" and layout.model == "yuv") or info.width % 2
        if bits not in (None, 10):
            raise FilmFileError(f"ProRes stores 10 bits, not {bits}; leave bits out, or choose codec 'ffv1'")
        return f"yuv{'a' if layout.alpha else ''}{'444' if full else '422'}p10le"
    if layout.model != "yuv":
        shape = "420"
    if (shape == "420" and info.height % 2) or (shape != "444" and info.width % 2):
        shape = "444"
    near = (12, 10) if layout.bits > 10 else (layout.bits,) if layout.bits in (8, 10) else (10,)
    for depth in near if bits is None else (bits,):
        name = f"yuv{shape}p" if depth == 8 else f"yuv{shape}p{depth}le"
        if name in offered:
            return name
    if bits is not None:
        raise FilmFileError(f"{codec} has no {bits} bits; ask for {'8, 10 or 12' if codec == 'h265' else '8 or 10'}")
    raise FilmFileError(f"{codec} cannot store {layout.bits}-bit {info.pix_fmt!r} in this FFmpeg build; choose 'ffv1'")


class OutputClock:
    """Turns the timestamps of a source into those of the output, exactly.

    The output counts in the source's time base. One case differs: a constant rate in a Matroska source is rounded to
    milliseconds there, and in MP4 and MOV the frames are put back on the exact grid of the rate.

    Args:
        info: The source.
        muxer: FFmpeg's name of the output container.
    """

    def __init__(self, info: FilmInfo, muxer: str) -> None:
        self.time_base = info.time_base
        self._info = info
        self._grid = False
        fine = _common_time_base(info.time_base, 1 / info.frame_rate)
        if info.constant_rate and fine != info.time_base and muxer != "matroska" and fine.denominator < 1 << 31:
            self._grid = True
            self.time_base = fine
        self._period = 1 / (info.frame_rate * self.time_base)
        self._origin: int | None = None
        self._last: int | None = None
        self._count = 0
        self.moved = 0

    def place(self, pts: int | None, duration: int | None) -> tuple[int, int]:
        """Return timestamp and duration of the next frame in ``time_base`` units; timestamps always rise."""
        scale = self._info.time_base / self.time_base
        length = self._period if duration is None or self._grid else duration * scale
        if pts is None:
            # Counting from the start does not add up rounding; after a gap in known timestamps it goes on from there.
            known = self._origin is not None and self._last is not None
            stamp = (self._last or 0) + round(self._period) if known else round(self._count * self._period)
        else:
            exact = pts * scale
            if self._origin is None:
                self._origin = round(exact)
            if self._grid:
                step = round((exact - self._origin) / self._period)
                on_grid = self._origin + step * self._period
                if abs(on_grid - exact) <= scale:
                    exact = on_grid
            stamp = round(exact)
        if self._last is not None and stamp <= self._last:
            stamp = self._last + 1
            self.moved += 1
        self._last = stamp
        self._count += 1
        return stamp, max(1, round(length))

    @property
    def end(self) -> Fraction:
        """Time in seconds up to which frames have been placed."""
        return Fraction(0) if self._last is None else (self._last + self._period) * self.time_base


def _common_time_base(first: Fraction, second: Fraction) -> Fraction:
    """The coarsest time base that counts in whole multiples of neither less exactly than both."""
    denominator = math.lcm(first.denominator, second.denominator)
    numerator = math.gcd(
        first.numerator * denominator // first.denominator, second.numerator * denominator // second.denominator
    )
    return Fraction(numerator, denominator)
