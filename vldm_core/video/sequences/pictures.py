"""Single pictures: decoding whatever FFmpeg reads, and scene-linear light as frames of whole numbers."""

from pathlib import Path

import av
import numpy as np

from ...errors import FilmFileError
from ..colour import sample_view
from ..scene_linear import coded
from .names import DECODERS

_LIGHT = {"grayf": "gray16le", "gbrpf": "gbrp16le", "gbrapf": "gbrap16le"}
"""What the names of floating pixel formats begin with → the format of their codes."""


class PictureDecoder:
    """Decodes picture files, of several kinds by turns."""

    def __init__(self) -> None:
        self._decoders: dict[str, av.CodecContext] = {}

    def decode(self, file: Path) -> av.VideoFrame | None:
        """Return the picture of a file; None where it cannot be decoded.

        Raises:
            FilmFileError: The file cannot be read.
        """
        kind = DECODERS[file.suffix.lower()]
        try:
            data = file.read_bytes()
        except OSError as error:
            raise FilmFileError(f"{file} cannot be read: {error.strerror or error}") from error
        if not data:
            return None
        decoder = self._decoders.get(kind)
        if decoder is None:
            decoder = self._decoders[kind] = av.CodecContext.create(kind, "r")
            decoder.thread_count = 1
        packet = av.Packet(data)
        # Without this the PNG decoder takes the picture for a difference to the one before.
        packet.is_keyframe = True
        try:
            frames = decoder.decode(packet)
        except av.FFmpegError:
            del self._decoders[kind]
            return None
        return frames[0] if frames else None


def is_light(picture: av.VideoFrame) -> bool:
    """Whether a picture holds floats."""
    return "f16" in picture.format.name or "f32" in picture.format.name


def light_in(picture: av.VideoFrame) -> np.ndarray:
    """Return the samples of a picture of floats, (H, W, C) float32: grey, RGB or RGBA."""
    dtype = np.dtype("<f2" if "f16" in picture.format.name else "<f4")
    planes = [
        np.ndarray((plane.height, plane.width), dtype, buffer=plane, strides=(plane.line_size, dtype.itemsize))
        for plane in picture.planes
    ]
    # FFmpeg's planes are green, blue and red.
    order = (0,) if len(planes) == 1 else (2, 0, 1, 3)[: len(planes)]
    light: np.ndarray = np.stack([planes[number] for number in order], axis=-1).astype(np.float32)
    return light


def as_coded(picture: av.VideoFrame, name: str) -> av.VideoFrame:
    """Return a picture of floats as codes of 16 bits, see `scene_linear`, and any other as it is.

    Args:
        picture: The picture.
        name: Of its file, for messages.

    Raises:
        FilmFileError: It has an unusual set of channels.
    """
    if not is_light(picture):
        return picture
    target = next((codes for begins, codes in _LIGHT.items() if picture.format.name.startswith(begins)), None)
    if target is None:
        raise FilmFileError(f"{name} holds channels of the kind {picture.format.name}; give pictures in RGB, RGBA or Y")
    light = light_in(picture)
    made = av.VideoFrame(picture.width, picture.height, target)
    for plane, channel in zip(range(light.shape[2]), (0,) if light.shape[2] == 1 else (1, 2, 0, 3), strict=False):
        samples = light[..., channel]
        if channel == 3:
            share = np.clip(np.nan_to_num(samples), 0, 1)
            sample_view(made, plane)[...] = np.rint(share * 65535)
        else:
            sample_view(made, plane)[...] = coded(samples)
    return made
