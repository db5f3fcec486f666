"""Textbook detectors of vertical line scratches, and the subtractive repair that goes with one of them.

Written from their published formulas; see `benchmarks.baselines.dirt` for conventions.
"""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from vldm_core.video.luma import luma

LINE_INTEGRAL_THRESHOLD = 6.0
"""|z| from which a column is a candidate of the line integral."""

LEAST_DIFFERENCE = 5.0
"""Grey levels by which a local extremum must stand out on either side."""

_SIDE = 4
"""Pixels on either side of a column whose median is the background of the line integral."""

_BLUR_ROWS = 16
_HALF_WIDTH = 2
_OUTER_WIDTH = 3
_LARGEST_ASYMMETRY = 10.0
_LARGEST_GAP = 3
_LEAST_LENGTH = 100
_LARGEST_ANGLE = 5.0
_REFERENCE_HEIGHT = 480


def detect_line_integral(frames: Tensor, *, threshold: float = LINE_INTEGRAL_THRESHOLD, vote: float = 0.6) -> Tensor:
    """Detect full-height lines by a column integral per frame and a vote over the shot.

    Per frame the luma minus the median of its horizontal surroundings is averaged down each column; with the robust
    pixel noise σ and H rows, z = mean · √H / σ. A column is a candidate where |z| exceeds the threshold and is the
    largest within ±2 px; a line where at least the share `vote` of the frames has a candidate within ±1 px.

    Args:
        frames: (T, 3, H, W), one shot.
        threshold: Least |z|.
        vote: Least share of frames, 0 … 1.

    Returns:
        (T, H, W) float {0, 1}: lines three pixels wide over the whole height, the same in all frames.
    """
    peaks = _column_peaks(frames)
    candidates = peaks > threshold
    near = cv2.dilate(candidates.astype(np.uint8), np.ones((1, 3), np.uint8))
    share = near.mean(axis=0)
    # Of neighbouring columns that all pass, the one most often the candidate itself is the centre of the line.
    strength = np.where(share >= vote, candidates.mean(axis=0) + 1e-3 * share, 0.0)
    centres = (strength > 0) & (strength >= cv2.dilate(strength[None].astype(np.float64), np.ones((1, 5), np.uint8))[0])
    return _columns_drawn(centres.astype(np.float32), frames)


def line_integral_strength(frames: Tensor, *, vote: float = 0.6) -> Tensor:
    """Return the largest threshold at which the vote of `detect_line_integral` still passes, per column.

    Args:
        frames: (T, 3, H, W), one shot.
        vote: Least share of frames, 0 … 1.

    Returns:
        (T, H, W) |z|, ≥ 0, three pixels wide around each column whose strength is the largest within ±2 px.
    """
    near = cv2.dilate(_column_peaks(frames), np.ones((1, 3), np.uint8))
    needed = max(1, math.ceil(vote * len(near) - 1e-9))
    passing = np.sort(near, axis=0)[len(near) - needed]
    largest = cv2.dilate(passing[None], np.ones((1, 5), np.uint8))[0]
    return _columns_drawn(np.where(passing >= largest, passing, 0).astype(np.float32), frames)


def detect_local_extremum(frames: Tensor) -> Tensor:
    """Detect line scratches frame by frame as vertically connected row extrema, the rule used by DeScratch filters.

    With s the luma averaged over 16 rows, a pixel is a candidate if it is darker (or brighter) than s(±2) by more
    than 5 levels, the surroundings agree, |s(-3) - s(+3)| ≤ 10, and the step is sharp: s(±2) differs more from the
    pixel than s(±3) from s(±2). Candidates at least 100 rows long (at 480 rows), with gaps up to 3 rows, tilted by at
    most 5°, are lines.

    Args:
        frames: (T, 3, H, W).

    Returns:
        (T, H, W) float {0, 1}.
    """
    return (local_extremum_strength(frames) > LEAST_DIFFERENCE).float()


def local_extremum_strength(frames: Tensor) -> Tensor:
    """Return the largest difference that `detect_local_extremum` could ask for and still mark the pixel.

    Its morphology is flat, so on grey values it gives for all thresholds at once what it gives on binary ones.

    Args:
        frames: (T, 3, H, W).

    Returns:
        (T, H, W) grey levels, ≥ 0.
    """
    strength = torch.zeros(frames.shape[0], *frames.shape[2:])
    for index, plane in enumerate(luma(frames).numpy()):
        smooth = _vertical_blur(plane)
        found = np.maximum(_connected(_extrema(smooth, -1.0)), _connected(_extrema(smooth, 1.0)))
        # A candidate is the core of the line; the profile it was tested against is one pixel wider on either side.
        strength[index] = torch.from_numpy(cv2.dilate(found, np.ones((1, _HALF_WIDTH + 1), np.uint8)))
    return strength


def subtract_local_extremum(frames: Tensor, mask: Tensor) -> Tensor:
    """Lift line scratches to the level of their surroundings and keep their detail.

    out = in + (blurred surroundings - blurred line), with the vertical blur of `detect_local_extremum` and the
    surroundings interpolated between the nearest unmasked pixels left and right.

    Args:
        frames: (T, 3, H, W).
        mask: (T, H, W), changed where above 0.5.

    Returns:
        (T, 3, H, W), bit-equal to the input outside the mask.
    """
    output = frames.clone()
    for index in range(frames.shape[0]):
        inside = mask[index].numpy() > 0.5
        if not inside.any():
            continue
        for channel in range(frames.shape[1]):
            plane = frames[index, channel].numpy()
            smooth = _vertical_blur(plane)
            lifted = np.clip(plane + _bridge(smooth, inside) - smooth, 0.0, 1.0)
            output[index, channel] = torch.from_numpy(np.where(inside, lifted, plane))
    return output


def _column_peaks(frames: Tensor) -> np.ndarray:
    """|z| of every column that is the largest within ±2 px, 0 elsewhere, (T, W) float32."""
    peaks = []
    for plane in luma(frames).numpy():
        score = np.abs(_column_scores(plane)).astype(np.float32)
        largest = cv2.dilate(score[None], np.ones((1, 5), np.uint8))[0]
        peaks.append(np.where(score >= largest - 1e-6, score, 0))
    return np.stack(peaks).astype(np.float32)


def _columns_drawn(values: np.ndarray, frames: Tensor) -> Tensor:
    """Draw columns (W,) three pixels wide over the whole height of all frames, (T, H, W)."""
    broad = cv2.dilate(values[None], np.ones((1, 3), np.uint8))[0]
    return torch.from_numpy(broad).expand(frames.shape[0], *frames.shape[2:]).clone()


def _column_scores(plane: np.ndarray) -> np.ndarray:
    """Return z per column for one luma plane."""
    padded = np.pad(plane, ((0, 0), (_SIDE, _SIDE)), mode="reflect")
    width = plane.shape[1]
    # The two pixels next to the column belong to the line itself when it is three pixels wide.
    offsets = [*range(0, _SIDE - 1), *range(_SIDE + 2, 2 * _SIDE + 1)]
    surroundings = np.median(np.stack([padded[:, offset : offset + width] for offset in offsets]), axis=0)
    residual = plane - surroundings
    noise = 1.4826 * float(np.median(np.abs(residual - np.median(residual)))) + 1e-3
    clipped = np.clip(residual, -4 * noise, 4 * noise)
    return clipped.mean(axis=0) * math.sqrt(plane.shape[0]) / noise


def _vertical_blur(plane: np.ndarray) -> np.ndarray:
    return cv2.blur(plane, (1, _BLUR_ROWS), borderType=cv2.BORDER_REFLECT)


def _extrema(smooth: np.ndarray, sign: float) -> np.ndarray:
    """How far a row extremum stands out from ±2 pixels, of one polarity; 0 where it is none. (H, W) float32.

    Sign -1 finds dark lines, +1 bright ones.
    """
    values = sign * smooth
    padded = np.pad(values, ((0, 0), (_OUTER_WIDTH, _OUTER_WIDTH)), mode="edge")
    width = smooth.shape[1]

    def at(offset: int) -> np.ndarray:
        return padded[:, _OUTER_WIDTH + offset : _OUTER_WIDTH + offset + width]

    left, right = values - at(-_HALF_WIDTH), values - at(_HALF_WIDTH)
    asymmetry = np.abs(at(-_OUTER_WIDTH) - at(_OUTER_WIDTH))
    sharp = (left > at(-_HALF_WIDTH) - at(-_OUTER_WIDTH)) & (right > at(_HALF_WIDTH) - at(_OUTER_WIDTH))
    agree = asymmetry <= _LARGEST_ASYMMETRY
    return np.where(agree & sharp, np.maximum(np.minimum(left, right), 0), 0).astype(np.float32)


def _connected(candidates: np.ndarray) -> np.ndarray:
    """Keep candidates that form long, nearly vertical runs: close gaps, then open with a long segment, per tilt.

    Args:
        candidates: (H, W) float32, strength, 0 for none.

    Returns:
        (H, W) float32: the strength up to which a pixel belongs to such a run.
    """
    height, width = candidates.shape
    length = max(8, round(_LEAST_LENGTH * min(1.0, height / _REFERENCE_HEIGHT)))
    reach = math.ceil(math.tan(math.radians(_LARGEST_ANGLE)) * length / 2)
    keep = np.zeros_like(candidates)
    if not candidates.any():
        return keep
    margin = math.ceil(math.tan(math.radians(_LARGEST_ANGLE)) * height / 2) + 1
    wide = cv2.dilate(np.pad(candidates, ((0, 0), (margin, margin))), np.ones((1, 3), np.uint8))
    gap = np.ones((_LARGEST_GAP + 1, 1), np.uint8)
    segment = np.ones((length, 1), np.uint8)
    rows = np.arange(height)
    for step in range(-reach, reach + 1):
        shift = np.round((rows - height / 2) * step * 2 / length).astype(int)
        index = np.clip(np.arange(width + 2 * margin)[None] + shift[:, None], 0, width + 2 * margin - 1)
        sheared = np.take_along_axis(wide, index, axis=1)
        # Beyond the picture counts as empty for opening and closing, so that a stub at the border is not extended.
        closed = cv2.morphologyEx(sheared, cv2.MORPH_CLOSE, gap, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, segment, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        back = np.clip(np.arange(width + 2 * margin)[None] - shift[:, None], 0, width + 2 * margin - 1)
        keep = np.maximum(keep, np.take_along_axis(opened, back, axis=1)[:, margin : margin + width])
    # The runs were widened to bridge a pixel of sway; hand back the line itself, gaps included.
    return np.minimum(keep, cv2.morphologyEx(candidates, cv2.MORPH_CLOSE, gap))


def _bridge(smooth: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Interpolate each row linearly across its masked runs; a row that is all masked stays as it is."""
    bridged = smooth.copy()
    columns = np.arange(smooth.shape[1])
    for row in np.flatnonzero(inside.any(axis=1)):
        hidden = inside[row]
        if not hidden.all():
            bridged[row, hidden] = np.interp(columns[hidden], columns[~hidden], smooth[row, ~hidden])
    return bridged
