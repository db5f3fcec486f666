"""Compression: what JPEG and the video codecs of digital copies leave of a picture.

Everything runs in memory, on one thread, with fixed settings and a constant quantiser, so the same frames give the same
result. Video is coded in closed groups of :data:`GROUP` frames that begin at multiples of that number; no frame depends
on one of another group or on a later one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple, get_args

import av
import cv2
import numpy as np

from ..arrays import FloatArray
from ..errors import FilmFileError, SettingsError
from .randomness import generator
from .validation import require_span

CodecName = Literal["jpeg", "h264", "mpeg4", "mpeg2"]

GROUP = 12
"""Frames in a group of pictures."""


class _Kind(NamedTuple):
    encoder: str
    decoder: str
    worst: float
    best: float


_VIDEO: dict[CodecName, _Kind] = {
    "h264": _Kind("libx264", "h264", 51, 1),
    "mpeg4": _Kind("mpeg4", "mpeg4", 31, 1),
    "mpeg2": _Kind("mpeg2video", "mpeg2video", 31, 1),
}


@dataclass(frozen=True, kw_only=True)
class CodecModel:
    """How a digital copy was compressed.

    Attributes:
        codec: ``"jpeg"`` (every frame by itself), ``"h264"``, ``"mpeg4"`` or ``"mpeg2"``.
        quality: Smallest and largest quality; one value is drawn per film. For JPEG the quality, 1 … 100, of which
            40 … 95 is usual. For H.264 the constant rate factor, 1 … 51, where more is worse: 18, 24, 30 and 36 spent
            33, 18, 9 and 4 kb/s per 64 x 64 px on a clean clip of 640 x 360 px; grain multiplies that. For MPEG-2 and
            MPEG-4 the quantiser, 1 … 31.
    """

    codec: CodecName = "h264"
    quality: tuple[float, float] = (20.0, 36.0)

    def __post_init__(self) -> None:
        if self.codec not in get_args(CodecName):
            raise SettingsError(f"codec.codec is {self.codec!r}; choose one of {', '.join(get_args(CodecName))}.")
        highest = 100 if self.codec == "jpeg" else _VIDEO[self.codec].worst
        require_span("codec.quality", self.quality, 1, highest)


class CodecLayer:
    """Compresses and decompresses pictures."""

    def __init__(self, model: CodecModel, seed: int) -> None:
        self.model = model
        self.quality = round(generator(seed, "codec").uniform(*model.quality))

    @property
    def needs_groups(self) -> bool:
        """Whether frames are coded in groups, by :meth:`group`, and not alone, by :meth:`still`."""
        return self.model.codec != "jpeg"

    def still(self, image: FloatArray) -> FloatArray:
        """Return an image (H, W, 3) in [0, 1] after JPEG.

        Raises:
            FilmFileError: When OpenCV cannot code it.
        """
        levels = np.round(image[..., ::-1] * 255).astype(np.uint8)
        good, data = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        if not good:
            raise FilmFileError(f"OpenCV could not code a picture of {image.shape[1]}x{image.shape[0]} px as JPEG")
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None  # it has just been encoded
        return np.ascontiguousarray(decoded[..., ::-1]).astype(np.float32) / np.float32(255)

    def group(self, images: Sequence[FloatArray]) -> list[FloatArray]:
        """Return the images of one group, each (H, W, 3) in [0, 1], after the video codec.

        Raises:
            FilmFileError: When FFmpeg has no such encoder, or loses frames.
        """
        pictures, _ = self.encode(images)
        return pictures

    def encode(self, images: Sequence[FloatArray]) -> tuple[list[FloatArray], int]:
        """Like :meth:`group`, with the size of the coded group in bytes."""
        kind = _VIDEO[self.model.codec]
        height, width = images[0].shape[:2]
        # Chroma is stored for 2 x 2 px, so both sides have to be even.
        padding = ((0, height % 2), (0, width % 2), (0, 0))
        try:
            encoder = av.CodecContext.create(kind.encoder, "w")
        except av.error.FFmpegError as error:
            raise FilmFileError(
                f"this FFmpeg cannot write {kind.encoder}: simulate the codec mpeg4 or jpeg instead ({error})"
            ) from error
        encoder.width, encoder.height = width + width % 2, height + height % 2
        encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, 24), Fraction(24)
        encoder.gop_size, encoder.max_b_frames, encoder.thread_count = GROUP, 0, 1
        if self.model.codec == "h264":
            # Zero latency turns off lookahead and frame threads, whose decisions depend on later frames and on timing.
            encoder.options = {"crf": str(self.quality), "preset": "veryfast", "tune": "zerolatency", "threads": "1"}
        else:
            encoder.options = {"qmin": str(self.quality), "qmax": str(self.quality), "flags": "+bitexact"}
        decoder = av.CodecContext.create(kind.decoder, "r")
        decoder.thread_count = 1
        packets = []
        for number, image in enumerate(images):
            levels = np.round(np.pad(image, padding, mode="edge") * 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(cv2.cvtColor(levels, cv2.COLOR_RGB2YUV_I420), format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
        if encoder.extradata and self.model.codec != "h264":
            decoder.extradata = encoder.extradata
        frames = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
        if len(frames) != len(images):
            raise FilmFileError(
                f"{kind.encoder} gave {len(frames)} of {len(images)} frames back; simulate jpeg instead"
            )
        pictures = [cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420)[:height, :width] for frame in frames]
        return (
            [np.ascontiguousarray(picture).astype(np.float32) / np.float32(255) for picture in pictures],
            sum(packet.size for packet in packets),
        )
