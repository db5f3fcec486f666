"""What a film is and what one of its frames is, independent of the file it lies in."""

from __future__ import annotations

import enum
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import SettingsError

UNSPECIFIED = 2
"""FFmpeg's number for an unspecified colour matrix, primaries or transfer characteristic."""


class FieldOrder(enum.Enum):
    """How the lines of a frame lie in time."""

    PROGRESSIVE = "progressive"
    TOP_FIRST = "tff"
    BOTTOM_FIRST = "bff"


@dataclass(frozen=True, kw_only=True)
class FilmInfo:
    """Properties of a film that hold for every frame.

    Attributes:
        path: Where the film was read from; a placeholder for a film in memory.
        width: Width of the frames as delivered, pixels. The display rotation is not applied to the pixels.
        height: Height of the frames as delivered, pixels.
        frame_rate: Exact frames per second; the mean for a film with a variable rate.
        time_base: Seconds per timestamp unit of ``FilmFrame.pts`` and ``FilmFrame.duration``.
        frame_count: Number of frames as far as the container tells, else an estimate from the duration, else None.
        bit_depth: Bits per sample of the source, 8 … 16. Frames of more than 8 bits are delivered as uint16.
        pix_fmt: FFmpeg's name of the source's pixel format.
        codec: FFmpeg's name of the source's codec.
        colour_range: FFmpeg's number: 0 unspecified, 1 limited, 2 full.
        colour_matrix: FFmpeg's number; 2 is unspecified.
        colour_primaries: FFmpeg's number; 2 is unspecified.
        colour_transfer: FFmpeg's number; 2 is unspecified.
        rotation: Degrees by which a player turns the picture counter-clockwise.
        display_matrix: The container's nine-number display matrix, or None where it has none.
        sample_aspect_ratio: Width over height of a pixel, or None when unknown.
        has_audio: Whether the file holds sound.
        field_order: Field order the film was deinterlaced with, or PROGRESSIVE.
        deinterlaced: Whether the frames delivered have been deinterlaced.
        duration: Length in seconds, or None when unknown.
        constant_rate: Whether the first timestamps are those of the frame rate, up to rounding to the time base (a
            Matroska file of 24000/1001 frames per second holds whole milliseconds).
        start_number: Number of the first file of an image sequence.
        timecode: Timecode of the first frame, such as ``01:00:00:00``, or None.
        scene_linear: Whether the film holds the light of the scene, and the frames delivered are coded as
            :mod:`vldm_core.video.scene_linear` says.
    """

    path: str
    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    frame_count: int | None
    bit_depth: int
    pix_fmt: str
    codec: str
    colour_range: int = 0
    colour_matrix: int = UNSPECIFIED
    colour_primaries: int = UNSPECIFIED
    colour_transfer: int = UNSPECIFIED
    rotation: int = 0
    display_matrix: tuple[int, ...] | None = None
    sample_aspect_ratio: Fraction | None = None
    has_audio: bool = False
    field_order: FieldOrder = FieldOrder.PROGRESSIVE
    deinterlaced: bool = False
    duration: float | None = None
    constant_rate: bool = False
    start_number: int = 1
    timecode: str | None = None
    scene_linear: bool = False

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise SettingsError(f"film size {self.width}x{self.height} is not positive; give the size in pixels")
        if self.frame_rate <= 0:
            raise SettingsError(f"frame_rate {self.frame_rate} is not positive; give frames per second")
        if self.time_base <= 0:
            raise SettingsError(f"time_base {self.time_base} is not positive; give seconds per timestamp unit")
        if not 8 <= self.bit_depth <= 16:
            raise SettingsError(f"bit_depth {self.bit_depth} is outside 8 … 16")

    @classmethod
    def of_frames(
        cls,
        width: int,
        height: int,
        frame_rate: Fraction | int,
        *,
        frame_count: int | None = None,
        bit_depth: int = 8,
        pix_fmt: str | None = None,
    ) -> FilmInfo:
        """Describe a film that is made of RGB frames in memory and comes from no file.

        Args:
            width: Pixels.
            height: Pixels.
            frame_rate: Frames per second, exact.
            frame_count: Number of frames, when known.
            bit_depth: 8, or 16 for uint16 frames.
            pix_fmt: Pixel format to write by default; RGB of the bit depth when None.
        """
        rate = Fraction(frame_rate)
        return cls(
            path="<frames>",
            width=width,
            height=height,
            frame_rate=rate,
            time_base=1 / rate if rate > 0 else Fraction(1),
            frame_count=frame_count,
            bit_depth=bit_depth,
            pix_fmt=pix_fmt or ("gbrp" if bit_depth == 8 else "gbrp16le"),
            codec="rawvideo",
            duration=None if frame_count is None or rate <= 0 else float(frame_count / rate),
        )


class _Image:
    """The picture of a frame: an array, or what makes one when it is looked at."""

    def __get__(self, frame: FilmFrame | None, owner: type | None = None) -> np.ndarray:
        if frame is None:
            # To the dataclass: there is no default.
            raise AttributeError("image")
        given = frame.__dict__["_given"]
        if isinstance(given, np.ndarray):
            return given
        made = frame.__dict__.get("_made")
        image = None if made is None else made()
        if image is None:
            image = given()
            # As long as somebody holds it, it is not made again.
            frame.__dict__["_made"] = weakref.ref(image)
        return image

    def __set__(self, frame: FilmFrame, value: np.ndarray | Callable[[], np.ndarray]) -> None:
        frame.__dict__["_given"] = value


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmFrame:
    """One frame of a film.

    A film file gives its samples in less room than they take as RGB, so a frame that waits in a stream holds these, and
    makes ``image`` from them whenever it is asked for.

    Attributes:
        index: Frame number, from 0, without gaps.
        pts: Presentation time in units of ``FilmInfo.time_base``, or None: the writer then counts on.
        duration: Display time in the same units, or None when unknown.
        image: (H, W, 3) RGB, full range, contiguous: uint8, or uint16 over the full 16 bits for deeper sources. A frame
            is made with the array or with a function that gives the same one every time.
        source: The decoded frame in the source's pixel format, or None. The writer takes unchanged samples from it.
        substitute: Whether this is a copy of a neighbour, in the place of a frame that could not be decoded.
        number: Number in the name of its picture file, for a frame of a numbered image sequence.
    """

    index: int
    image: _Image = _Image()  # a descriptor is shared by all frames
    pts: int | None = None
    duration: int | None = None
    source: av.VideoFrame | None = None
    substitute: bool = False
    number: int | None = None

    def tensor(self) -> Tensor:
        """Return the frame as a float32 tensor (3, H, W), RGB in [0, 1].

        Rounding the tensor times 255 (or 65535) gives ``image`` back exactly.
        """
        image = self.image
        planar = np.empty((3, *image.shape[:2]), image.dtype)
        # Three times as fast as NumPy's copy of the transposed array.
        cv2.split(image, [planar[0], planar[1], planar[2]])
        if planar.dtype == np.uint8:
            return torch.from_numpy(planar).to(torch.float32).div_(255.0)
        return torch.from_numpy(planar.astype(np.float32)).div_(65535.0)

    def placed_as(self, other: FilmFrame) -> FilmFrame:
        """Return this picture in the place of another frame: with its number, time and name."""
        return FilmFrame(
            index=other.index,
            pts=other.pts,
            duration=other.duration,
            image=lambda: self.image,
            source=self.source,
            substitute=other.substitute,
            number=other.number,
        )


def image_from_tensor(restored: Tensor, dtype: np.dtype | type) -> np.ndarray:
    """Round a restored frame to integer RGB.

    Args:
        restored: (3, H, W) or (1, H, W) float tensor in [0, 1]; values outside are clipped.
        dtype: uint8 or uint16.

    Returns:
        (H, W, 3) contiguous RGB of that type, full range.

    Raises:
        SettingsError: The tensor has another shape or holds NaN.
    """
    if restored.ndim != 3 or restored.shape[0] not in (1, 3):
        raise SettingsError(f"a restored frame has shape (3, H, W), got {tuple(restored.shape)}")
    top = float(np.iinfo(dtype).max)
    values = restored.detach().to(device="cpu", dtype=torch.float32)
    scaled = values.mul(top).round_().clamp_(0.0, top)
    if math.isnan(float(scaled.sum())):
        raise SettingsError("the restored frame holds NaN; check the stage that made it")
    planar = scaled.to(torch.int32).numpy().astype(dtype) if top > 255 else scaled.to(torch.uint8).numpy()
    if planar.shape[0] == 1:
        planar = np.broadcast_to(planar, (3, *planar.shape[1:]))
    return np.ascontiguousarray(planar.transpose(1, 2, 0))
