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
from .trend import robust_sigma, slow_part

RADIUS = 3
"""Neighbours on each side from which an open border is filled."""

Span = tuple[int, int]
"""First row or column, and one past the last."""

_LEAST_CONFIDENCE = 0.1
_SHIFT_FLOOR = 0.03
_ANGLE_FLOOR = 0.005
_SHIFT_NOISE = (0.03, 0.2)
_ANGLE_NOISE = (0.004, 0.03)
"""Error of a measured motion, standard deviation: when all of the frame agrees, and what is added as agreement goes."""
_SUBPIXEL = 1 / 64
"""OpenCV resamples in steps of 1/32 px: a smaller correction than half of that would only soften the frame."""
_SPLICE = 10.0
"""A frame displaced by this many times the least weave is moved even in a steady shot."""
_SEAM = 3
"""A filled border passes into the frame over about twice as many pixels."""
_LEAST_SEAM = 30
_LARGEST_OFFSET = 0.1


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
        known = motion is not None and motion.confidence >= _LEAST_CONFIDENCE
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
    floors = (_SHIFT_FLOOR, _SHIFT_FLOOR, _ANGLE_FLOOR)
    for axis, (least, more) in enumerate((_SHIFT_NOISE, _SHIFT_NOISE, _ANGLE_NOISE)):
        weave = slow_part(path[:, axis], period=settings.period, floor=floors[axis]) - path[:, axis]
        # Wiener's gain: what the measurement may have made up is not put into the picture. It is judged by the steps,
        # because the error of a path grows with its length.
        energy = np.maximum(robust_sigma(np.diff(weave)) ** 2, np.square(weave))
        weave *= np.maximum(0, 1 - (least + more * doubt) ** 2 / np.maximum(energy, 1e-12))
        correction[:, axis] = np.clip(weave, -limits[axis], limits[axis])
    if np.hypot(robust_sigma(correction[:, 0]), robust_sigma(correction[:, 1])) < settings.least_weave:
        # Only the frames that stand out (a splice) are moved.
        still = np.hypot(correction[:, 0], correction[:, 1]) < _SPLICE * settings.least_weave
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
    return bool(max(x, y) + math.radians(degrees) * max(height, width) / 2 < _SUBPIXEL)


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
        moved = _resample(image(t), move, (0, height), (0, width), cv2.INTER_LANCZOS4)
        neighbours = [
            s
            for distance in range(1, RADIUS + 1)
            for s in (t - distance, t + distance)
            if first <= s < first + len(frames) and track.piece[s] == track.piece[t]
        ]
        for rows, columns in _open_strips(move, height, width):
            opening = _opening(move, rows, columns, height, width)
            for s in neighbours:
                if opening.max() == 0:
                    break
                place = move @ placement(track.path[t] - track.path[s])
                opening = _fill(moved[slice(*rows), slice(*columns)], opening, image(s), place, rows, columns)
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


def _resample(image: FloatArray, matrix: DoubleArray, rows: Span, columns: Span, interpolation: int) -> FloatArray:
    """Return a part of the moved image; beyond its border it is mirrored."""
    shifted = matrix[:2].copy()
    shifted[:, 2] -= columns[0], rows[0]
    size = (columns[1] - columns[0], rows[1] - rows[0])
    return np.asarray(
        cv2.warpAffine(image, shifted, size, flags=interpolation, borderMode=cv2.BORDER_REFLECT_101), dtype=np.float32
    )


def _inside(matrix: DoubleArray, rows: Span, columns: Span, height: int, width: int) -> FloatArray:
    """Return how many pixels the source of every pixel lies inside its frame; negative outside."""
    inverse = np.linalg.inv(matrix)
    x = np.arange(*columns, dtype=np.float32)
    y = np.arange(*rows, dtype=np.float32)[:, None]
    source_x = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
    source_y = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
    inside = np.minimum(np.minimum(source_x, width - 1 - source_x), np.minimum(source_y, height - 1 - source_y))
    return np.asarray(inside, dtype=np.float32)


def _open_strips(matrix: DoubleArray, height: int, width: int) -> list[tuple[Span, Span]]:
    """Return rows and columns of the strips along the edges that the moved frame leaves open, seams included."""
    corners = matrix @ np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]])
    left, right = corners[0, [0, 2]].max(), width - 1 - corners[0, [1, 3]].min()
    top, bottom = corners[1, [0, 1]].max(), height - 1 - corners[1, [2, 3]].min()

    def reach(depth: float, size: int) -> int:
        return min(size, math.ceil(depth) + 2 * _SEAM + 1) if depth > _SUBPIXEL else 0

    strips = [
        ((0, height), (0, reach(left, width))),
        ((0, height), (width - reach(right, width), width)),
        ((0, reach(top, height)), (0, width)),
        ((height - reach(bottom, height), height), (0, width)),
    ]
    return [(rows, columns) for rows, columns in strips if rows[0] < rows[1] and columns[0] < columns[1]]


def _opening(matrix: DoubleArray, rows: Span, columns: Span, height: int, width: int) -> FloatArray:
    """Return how much of every pixel must come from elsewhere: 1 in the open border, fading out within _SEAM."""
    outside = (_inside(matrix, rows, columns, height, width) < -_SUBPIXEL).astype(np.float32)
    kernel = np.ones((2 * _SEAM + 1, 2 * _SEAM + 1), np.uint8)
    return np.asarray(cv2.blur(cv2.dilate(outside, kernel), kernel.shape, borderType=cv2.BORDER_REPLICATE))


def _fill(
    part: FloatArray, opening: FloatArray, source: FloatArray, place: DoubleArray, rows: Span, columns: Span
) -> FloatArray:
    """Fill the opening of a part of a frame, in place, from another frame; return what is still open.

    The other frame takes on the brightness of this one along the seam, which the flicker between them has changed.
    """
    height, width = source.shape[:2]
    other = _resample(source, place, rows, columns, cv2.INTER_CUBIC)
    seen = _inside(place, rows, columns, height, width) >= 0
    seam = seen & (opening > 0) & (opening < 1)
    if np.count_nonzero(seam) >= _LEAST_SEAM:
        other += np.clip(np.median((part - other)[seam], axis=0), -_LARGEST_OFFSET, _LARGEST_OFFSET)
    alpha = (opening * seen)[..., None]
    part += alpha * (other - part)
    return np.where(seen, np.float32(0), opening)
