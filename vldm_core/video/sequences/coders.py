"""What makes a file of a picture: PNG, TIFF, DPX and OpenEXR, all without loss at the depth they are written in."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from ...errors import FilmFileError
from ..colour import at_depth, layout_of
from ..info import FilmInfo
from ..scene_linear import coded, light_of, light_of_srgb
from .dpx import DpxHeader, carried_over, described
from .exr import attributes_of, bits_of, of_timecode, with_attributes
from .pictures import PictureDecoder, is_light, light_in
from .timecode import Timecode


class PicturePlace(NamedTuple):
    """Where a picture stands: its number from 0, and the picture file of the source that it was made of, if any."""

    number: int
    source: Path | None


class Coder:
    """Makes picture files.

    Args:
        info: The film.
        bits: Bits per sample that were asked for, or None.
        source: First picture of the sequence that the film is read from, or None.
        grey: Whether the film is grey; a picture of it that has colour is written in colour.

    Attributes:
        bits: Bits per sample that are written; 8, or more for pictures that are given as uint16.
        warnings: What is left out.
    """

    depths: tuple[int, ...] = (8, 16)
    """Bits per sample that this kind of picture has."""
    name = "pictures"
    """What messages call them."""
    encoder = ""
    """FFmpeg's name."""
    holds_light = False
    """Whether they hold scene-linear light."""

    def __init__(self, info: FilmInfo, bits: int | None, source: Path | None) -> None:
        self.info, self.warnings = info, list[str]()
        if bits is not None and bits not in self.depths:
            known = " or ".join(map(str, self.depths))
            raise FilmFileError(f"{self.name} are of {known} bits, not {bits}; ask for one of these, or for none")
        self.grey = layout_of(info.pix_fmt).model == "gray"
        self.bits = bits or self._depth(source)
        self._contexts: dict[str, av.CodecContext] = {}
        if info.scene_linear and not self.holds_light:
            self.warnings.append(
                f"{self.name} are written without scene-linear light; 0 to 1 becomes sRGB and what is brighter white: "
                "write .exr pictures to keep it"
            )
        self._timecode = None if info.timecode is None else Timecode.of(info.timecode)

    def _depth(self, source: Path | None) -> int:
        """The least depth that holds the film."""
        return next(depth for depth in self.depths if depth >= self.info.bit_depth)

    def encode(self, image: np.ndarray, place: PicturePlace) -> bytes:
        """Return the contents of a file.

        Args:
            image: (H, W, 3), or (H, W, 4) with transparency: uint8, or uint16 over the full range, as `bits` has it.
            place: Where it stands.
        """
        raise NotImplementedError

    def timecode_at(self, number: int) -> Timecode | None:
        """Timecode of a picture, counted from that of the first."""
        return None if self._timecode is None else self._timecode.after(number, self.info.frame_rate)

    def _is_grey(self, image: np.ndarray) -> bool:
        if not self.grey or image.shape[2] != 3:
            return False
        return bool(np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 1], image[..., 2]))

    def _coded(self, picture: av.VideoFrame, options: Mapping[str, str]) -> bytes:
        pixel_format = picture.format.name
        context = self._contexts.get(pixel_format)
        if context is None:
            context = av.CodecContext.create(self.encoder, "w")
            context.width, context.height, context.pix_fmt = picture.width, picture.height, pixel_format
            context.time_base, context.thread_count = Fraction(1, 25), 1
            context.sample_aspect_ratio = self.info.sample_aspect_ratio or Fraction(1)
            context.options = dict(options)
            self._contexts[pixel_format] = context
        picture.pts = None
        return b"".join(bytes(packet) for packet in context.encode(picture))


class _ForScreens(Coder):
    """PNG and TIFF."""

    order = "be"
    """Order of the bytes of deep samples."""
    options: Mapping[str, str] = {}

    def __init__(self, info: FilmInfo, bits: int | None, source: Path | None) -> None:
        super().__init__(info, bits, source)
        if info.timecode is not None:
            self.warnings.append(
                f"{self.name} hold no timecode; the film's, which starts at {info.timecode}, is left out: .dpx and "
                ".exr pictures keep it"
            )

    def encode(self, image: np.ndarray, place: PicturePlace) -> bytes:
        deep, alpha = self.bits > 8, image.shape[2] == 4
        if self._is_grey(image):
            picture = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(image[..., 0]), format=f"gray16{self.order}" if deep else "gray"
            )
        else:
            name = f"rgb{'a64' if alpha else '48'}{self.order}" if deep else f"rgb{'a' if alpha else '24'}"
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=name)
        return self._coded(picture, self.options)


class PngCoder(_ForScreens):
    """PNG, of 8 or 16 bits."""

    name, encoder = "PNG pictures", "png"


class TiffCoder(_ForScreens):
    """TIFF, of 8 or 16 bits, LZW."""

    name, encoder, order = "TIFF pictures", "tiff", "le"
    options: Mapping[str, str] = {"compression_algo": "lzw"}


class DpxCoder(Coder):
    """DPX, of 8, 10, 12 or 16 bits, with what the header of a DPX source says of film, slate, timecode and transfer.

    Values are written as they are: densities stay densities. Bytes lie as in the source, else most significant first.
    """

    depths = (8, 10, 12, 16)
    name, encoder = "DPX pictures", "dpx"

    def __init__(self, info: FilmInfo, bits: int | None, source: Path | None) -> None:
        super().__init__(info, bits, source)
        header = _dpx_header(source)
        self._order = "le" if header is not None and header.order == "<" else "be"
        if layout_of(info.pix_fmt).alpha and self.bits in (10, 12):
            if bits is not None:
                raise FilmFileError(
                    f"DPX pictures of {bits} bits hold no transparency, and the film has some; ask for 16 bits, or "
                    "for none"
                )
            self.bits = 16

    def encode(self, image: np.ndarray, place: PicturePlace) -> bytes:  # noqa: D102
        made = self._coded(self._picture(image), {})
        header = None if place.source is None else _dpx_header(place.source)
        if header is not None:
            return carried_over(made, header)
        return described(made, self.info, place.number, self.timecode_at(place.number))

    def _picture(self, image: np.ndarray) -> av.VideoFrame:
        grey, alpha = self._is_grey(image), image.shape[2] == 4
        if self.bits in (10, 12):
            made = av.VideoFrame(image.shape[1], image.shape[0], f"gbrp{self.bits}{self._order}")
            for plane, channel in enumerate((1, 2, 0)):
                _samples(made, plane, self._order)[...] = at_depth(image[..., channel], 16, self.bits)
            return made
        if grey:
            name = "gray" if self.bits == 8 else f"gray16{self._order}"
            return av.VideoFrame.from_ndarray(np.ascontiguousarray(image[..., 0]), format=name)
        name = f"rgb{'a' if alpha else '24'}" if self.bits == 8 else f"rgb{'a64' if alpha else '48'}{self._order}"
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=name)


class ExrCoder(Coder):
    """OpenEXR, of half floats (16) or floats (32), ZIP, with the attributes of an OpenEXR source.

    A scene-linear film is written as the light that its codes stand for, and as the source's own floats where these
    have the same code, so that what no stage has changed stays as it was: light above 1, negative light and all. Other
    films are taken for sRGB, and become light from 0 to 1.
    """

    depths = (16, 32)
    name, encoder, holds_light = "OpenEXR pictures", "exr", True

    def __init__(self, info: FilmInfo, bits: int | None, source: Path | None) -> None:
        super().__init__(info, bits, source)
        header = _dpx_header(source)
        if header is not None and header.is_logarithmic:
            raise FilmFileError(
                "the film holds densities (logarithmic DPX), which no fixed rule turns into light; write .dpx pictures "
                "and convert them with a colour-managed program"
            )
        self._decoder = PictureDecoder()

    def _depth(self, source: Path | None) -> int:
        is_exr = source is not None and source.suffix.lower() == ".exr"
        return bits_of(attributes_of(source)) if source is not None and is_exr else 16

    def encode(self, image: np.ndarray, place: PicturePlace) -> bytes:  # noqa: D102
        codes = image if image.dtype == np.uint16 else image.astype(np.uint16) * 257
        colour = codes[..., :3]
        light = light_of(colour) if self.info.scene_linear else light_of_srgb(colour)
        share = codes[..., 3:].astype(np.float32) / np.float32(65535)
        source = place.source if place.source is not None and place.source.suffix.lower() == ".exr" else None
        read = None if source is None else self._decoder.decode(source)
        if read is not None and is_light(read) and (read.height, read.width) == image.shape[:2]:
            own = light_in(read)
            floats = np.broadcast_to(own[..., :3], light.shape)
            light = np.where(coded(floats) == colour, floats, light)
            share = own[..., 3:] if share.size and own.shape[2] == 4 else share
        if self.bits == 16:
            # FFmpeg cuts floats off where they are to be rounded.
            light, share = (floats.astype(np.float16).astype(np.float32) for floats in (light, share))
        made = self._coded(self._picture(light, share), {"format": "half" if self.bits == 16 else "float", **_ZIP})
        more = {} if source is None else attributes_of(source)
        timecode = self.timecode_at(place.number)
        if timecode is not None and "timeCode" not in more:
            more = more | of_timecode(timecode)
        return with_attributes(made, more, image.shape[0])

    def _picture(self, light: np.ndarray, share: np.ndarray) -> av.VideoFrame:
        height, width = light.shape[:2]
        if self._is_grey(light):
            planes, name = [light[..., 0]], "grayf32le"
        else:
            planes = [light[..., 1], light[..., 2], light[..., 0], *np.moveaxis(share, -1, 0)]
            name = f"gbr{'a' if share.size else ''}pf32le"
        made = av.VideoFrame(width, height, name)
        for number, plane in enumerate(planes):
            part = made.planes[number]
            rows = np.ndarray((height, width), np.dtype("<f4"), buffer=part, strides=(part.line_size, 4))
            rows[...] = plane
        return made


_ZIP = {"compression": "zip16"}

CODERS: dict[str, type[Coder]] = {
    ".png": PngCoder,
    ".tif": TiffCoder,
    ".tiff": TiffCoder,
    ".dpx": DpxCoder,
    ".exr": ExrCoder,
}
"""Suffixes of pictures that are written. Lossless only: a restored sequence is an intermediate for further work."""


def written_bits(suffix: str, info: FilmInfo, bits: int | None) -> int:
    """Bits per sample, 8 … 16, that pictures of a kind have use for.

    Args:
        suffix: Of their names.
        info: The film.
        bits: What was asked for, or None.
    """
    return 16 if CODERS.get(suffix.lower()) is ExrCoder else bits or info.bit_depth


def _dpx_header(file: Path | None) -> DpxHeader | None:
    return DpxHeader.of_file(file) if file is not None and file.suffix.lower() == ".dpx" else None


def _samples(frame: av.VideoFrame, plane: int, order: str) -> np.ndarray:
    part = frame.planes[plane]
    dtype = np.dtype("<u2" if order == "le" else ">u2")
    return np.ndarray((part.height, part.width), dtype, buffer=part, strides=(part.line_size, 2))
