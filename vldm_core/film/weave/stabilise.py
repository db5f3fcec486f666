"""Gate weave: the frame does not lie in the same place from frame to frame.

The motion of the scene from frame to frame is summed up to a path. Its slow part (:mod:`.trend`) is the camera's own
movement and stays; the rest is weave, and every frame is moved back by it. The border that a moved frame leaves open is
filled from the neighbours that see it, aligned by the same path, so nothing is cropped.

The idea of taking the camera path as few straight pieces is that of M. Grundmann, V. Kwatra, I. Essa, "Auto-Directed
Video Stabilization with Robust L1 Optimal Camera Paths", CVPR 2011; unlike there the path is fitted, not replaced, so a
real camera move is kept.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...arrays import DoubleArray, FloatArray
from ...errors import SettingsError
from ...progress import Progress, silent
from ...video.buffers.pictures import Clip, copied
from ..motion.scene import FrameMotion
from ..robust import robust_sigma
from .border import SUBPIXEL, fill_from, open_strips, opening_of, resample
from .trend import slow_part

RADIUS = 3
"""Neighbours on each side from which an open border is filled."""


@dataclass(frozen=True, kw_only=True)
class WeaveMeasure:
    """How far a measured motion is believed.

    Attributes:
        least_confidence: Agreement (0 … 1) of a frame's motion below which a new piece of the path begins. Lower chains
            frames across motion that was not really measured; higher breaks the path in dark or empty scenes.
        shift_floor: Pixels, the least noise assumed in a path, lest a shot without any be fitted with hundreds of
            knots; the alignment is exact to a few hundredths of a pixel.
        angle_floor: Degrees, the same for rotation: at the edge of a frame 480 pixels wide 0.02 of a pixel.
        shift_noise: Pixels, standard deviation of the error of a measured shift: when all of the frame agrees, and what
            is added as agreement goes to nothing. Larger moves frames less.
        angle_noise: Degrees, likewise.
        splice: A ratio: a frame displaced by this many times the least weave is moved even in a steady shot:
            a splice jumps by pixels, and that is seen.
    """

    least_confidence: float = 0.1
    shift_floor: float = 0.03
    angle_floor: float = 0.005
    shift_noise: tuple[float, float] = (0.03, 0.2)
    angle_noise: tuple[float, float] = (0.004, 0.03)
    splice: float = 10.0


_WEAVE = WeaveMeasure()


@dataclass(frozen=True, kw_only=True)
class StabiliseSettings:
    """How gate weave is taken out.

    Attributes:
        strength: Share of the weave that is taken out, 0..1; 0 leaves the frames bit-identical.
        period: Movements that take longer than this many frames are the camera's own and stay, 4..1000.
        max_shift: Largest correction in pixels, per axis, 0..200.
        max_angle: Largest correction in degrees, 0..5.
        least_weave: A shot that weaves less than this, in pixels (standard deviation), is left bit-identical, because
            resampling would cost more sharpness than it gains, 0..5.

    Raises:
        SettingsError: A value is out of its range.
    """

    strength: float = 1.0
    period: float = 24.0
    max_shift: float = 20.0
    max_angle: float = 1.0
    least_weave: float = 0.08

    def __post_init__(self) -> None:
        limits = {"strength": (0, 1), "period": (4, 1000), "max_shift": (0, 200), "max_angle": (0, 5)}
        for name, (low, high) in {**limits, "least_weave": (0, 5)}.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"stabilise {name} must lie in {low}..{high}, got {value}")


@dataclass(frozen=True, kw_only=True, eq=False)
class WeaveTrack:
    """Where every frame of a shot lies and how it is moved. Columns: x and y in pixels, angle in degrees.

    Positive is to the right, downwards and clockwise on the screen, about the centre of the frame.

    Attributes:
        path: (T, 3) float64, where the scene lies in every frame, relative to the start of its piece.
        correction: (T, 3) float64, how every frame is moved.
        piece: (T,) int32; paths can be compared within a piece only.
    """

    path: DoubleArray
    correction: DoubleArray
    piece: npt.NDArray[np.int32]

    @property
    def frame_count(self) -> int:
        """Frames in the shot."""
        return len(self.path)


class WeaveAnalyser:
    """Sums up the path of ONE shot; keeps three numbers per frame.

    Args:
        settings: How gate weave is taken out.
    """

    def __init__(self, settings: StabiliseSettings | None = None) -> None:
        self._settings = settings or StabiliseSettings()
        self._path: list[DoubleArray] = []
        self._piece: list[int] = []
        self._doubt: list[float] = []

    def update(self, motion: FrameMotion | None) -> None:
        """Take the motion from the frame before to this one; None for the first frame or where it is not known."""
        known = motion is not None and motion.confidence >= _WEAVE.least_confidence
        if motion is None or not known or not self._path:
            self._piece.append(self._piece[-1] + 1 if self._piece else 0)
            self._path.append(np.zeros(3))
            self._doubt.append(1.0)
            return
        self._piece.append(self._piece[-1])
        self._path.append(self._path[-1] + (motion.dx, motion.dy, motion.angle))
        self._doubt.append(1.0 - min(motion.confidence, 1.0))

    @property
    def count(self) -> int:
        """Frames taken."""
        return len(self._path)

    @property
    def pending(self) -> int:
        """Frames that are judged together: all of the shot."""
        return self.count

    def skip(self) -> None:
        """Take a frame that could not be measured: a new piece begins."""
        self.update(None)

    def finish(self) -> WeaveTrack:
        """Close the shot and return how every frame is moved."""
        path = np.array(self._path, dtype=np.float64).reshape(-1, 3)
        piece = np.array(self._piece, dtype=np.int32)
        correction = np.zeros_like(path)
        for index in np.unique(piece):
            inside = piece == index
            doubt = float(np.median(np.array(self._doubt)[inside]))
            correction[inside] = _weave(path[inside], doubt, self._settings)
        return WeaveTrack(path=path, correction=correction, piece=piece)


def _weave(path: DoubleArray, doubt: float, settings: StabiliseSettings) -> DoubleArray:
    """Return how the frames of a piece are moved.

    Args:
        path: (T, 3).
        doubt: 0..1, the share of the frame that did not agree with the measured motion.
        settings: How gate weave is taken out.
    """
    correction = np.zeros_like(path)
    limits = (settings.max_shift, settings.max_shift, settings.max_angle)
    floors = (_WEAVE.shift_floor, _WEAVE.shift_floor, _WEAVE.angle_floor)
    for axis, (least, more) in enumerate((_WEAVE.shift_noise, _WEAVE.shift_noise, _WEAVE.angle_noise)):
        weave = slow_part(path[:, axis], period=settings.period, floor=floors[axis]) - path[:, axis]
        # Wiener's gain: what the measurement may have made up is not put into the picture. It is judged by the steps,
        # because the error of a path grows with its length.
        energy = np.maximum(robust_sigma(np.diff(weave)) ** 2, np.square(weave))
        weave *= np.maximum(0, 1 - (least + more * doubt) ** 2 / np.maximum(energy, 1e-12))
        correction[:, axis] = np.clip(weave, -limits[axis], limits[axis])
    if np.hypot(robust_sigma(correction[:, 0]), robust_sigma(correction[:, 1])) < settings.least_weave:
        # Only the frames that stand out (a splice) are moved.
        still = np.hypot(correction[:, 0], correction[:, 1]) < _WEAVE.splice * settings.least_weave
        correction[still] = 0
    return correction * settings.strength


def _placement(values: npt.ArrayLike, height: int, width: int) -> DoubleArray:
    """Return the matrix (3, 3) that rotates about the centre and then shifts, values (x, y, degrees)."""
    x, y, degrees = np.asarray(values, dtype=np.float64)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    return np.array(
        [
            [cos, -sin, centre_x - cos * centre_x + sin * centre_y + x],
            [sin, cos, centre_y - sin * centre_x - cos * centre_y + y],
            [0.0, 0.0, 1.0],
        ]
    )


def _is_still(correction: npt.ArrayLike, height: int, width: int) -> bool:
    """Whether a correction moves no pixel by an amount that could be resampled."""
    x, y, degrees = np.abs(np.asarray(correction, dtype=np.float64))
    return bool(max(x, y) + math.radians(degrees) * max(height, width) / 2 < SUBPIXEL)


def apply_stabilise(
    frames: Tensor | Clip,
    track: WeaveTrack,
    first: int = 0,
    *,
    box: tuple[int, int, int, int] | None = None,
    keep: slice | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Move some frames of a shot back to where they belong.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1]; a frame depends on RADIUS neighbours on each side. A tensor, or a `Clip` that
            makes its frames when they are needed.
        track: From :meth:`WeaveAnalyser.finish`.
        first: Index in the shot of the first of these frames.
        box: First row, row after the last, first column, column after the last of the picture: it is moved by itself,
            as if the frame ended there, and what lies around it stays. None is the whole frame.
        keep: The frames wanted; the others only serve as neighbours and return as they came. None is all.
        progress: Called once per frame.

    Returns:
        (T, 3, H, W) in [0, 1]; a frame that need not move is bit-identical.

    Raises:
        SettingsError: The frames are not (T, 3, H, W) or reach beyond the track.
        ArithmeticError: The track holds values that are not finite for a wanted frame.
    """
    if frames.ndim != 4 or frames.shape[1] != 3:
        raise SettingsError(f"stabilising needs frames (T, 3, H, W), got {tuple(frames.shape)}")
    _check_range(len(frames), track, first)
    full = frames.shape[-2:]
    top, bottom, left, right = box or (0, full[0], 0, full[1])
    height, width = bottom - top, right - left
    wanted = range(len(frames))[keep or slice(None)]
    result = copied(frames, wanted).detach().float().cpu().numpy()
    images: dict[int, FloatArray] = {}

    def image(t: int) -> FloatArray:
        if t not in images:
            source = frames[t - first].detach().float().cpu().numpy()[:, top:bottom, left:right]
            planes = [np.ascontiguousarray(plane) for plane in source]
            images[t] = np.asarray(cv2.merge(planes), np.float32)
        return images[t]

    # Measured about the centre of the whole frame.
    to_box = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])

    def placement(values: npt.ArrayLike) -> DoubleArray:
        return np.asarray(to_box @ _placement(values, *full) @ np.linalg.inv(to_box))

    for number, t in enumerate((first + index for index in wanted), 1):
        progress("stabilise", number, len(wanted))
        images.pop(t - RADIUS - 1, None)
        if not np.isfinite(track.correction[t]).all():
            raise ArithmeticError(f"the weave of frame {t} of the shot is not finite")
        if _is_still(track.correction[t], *full):
            continue
        move = placement(track.correction[t])
        moved = resample(image(t), move, (0, height), (0, width), cv2.INTER_LANCZOS4)
        neighbours = [
            s
            for distance in range(1, RADIUS + 1)
            for s in (t - distance, t + distance)
            if first <= s < first + len(frames) and track.piece[s] == track.piece[t]
        ]
        for rows, columns in open_strips(move, height, width):
            opening = opening_of(move, rows, columns, height, width)
            for s in neighbours:
                if opening.max() == 0:
                    break
                place = move @ placement(track.path[t] - track.path[s])
                opening = fill_from(moved[slice(*rows), slice(*columns)], opening, image(s), place, rows, columns)
        for channel in range(3):
            np.clip(moved[..., channel], 0, 1, out=result[t - first, channel, top:bottom, left:right])
    values = torch.from_numpy(result)
    return values.to(frames) if isinstance(frames, Tensor) else values.to(frames.device)


def warp_masks(masks: Tensor, track: WeaveTrack, first: int = 0) -> Tensor:
    """Move masks like their frames, so that they still lie on the same damage.

    Args:
        masks: (T, H, W), 0..1.
        track: The track that the frames were moved by.
        first: Index in the shot of the first of these masks.

    Returns:
        (T, H, W), bilinear; 0 in the border that opens.

    Raises:
        SettingsError: The masks are not (T, H, W) or reach beyond the track.
    """
    if masks.dim() != 3:
        raise SettingsError(f"stabilising needs masks (T, H, W), got {tuple(masks.shape)}")
    _check_range(len(masks), track, first)
    height, width = masks.shape[-2:]
    result = masks.clone()
    for index in range(len(masks)):
        correction = track.correction[first + index]
        if _is_still(correction, height, width):
            continue
        mask = np.ascontiguousarray(masks[index].float().cpu().numpy())
        matrix = _placement(correction, height, width)[:2]
        moved = cv2.warpAffine(mask, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        result[index] = torch.from_numpy(moved).to(masks)
    return result


def _check_range(count: int, track: WeaveTrack, first: int) -> None:
    if first < 0 or first + count > track.frame_count:
        raise SettingsError(
            f"stabilising was asked for frames {first}..{first + count - 1} of a shot, "
            f"but the track has {track.frame_count}; analyse the same shot first"
        )
