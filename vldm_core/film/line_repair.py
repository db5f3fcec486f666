"""Undo persistent line scratches by subtracting what they add, where the mask says they are.

A faint scratch hides nothing: it adds its cross-profile to a picture that is still there. Inpainting would throw that
picture away. So every line in the mask is straightened, its deviation from both sides is collected over the rows and
the neighbouring frames, where the scene averages out, and explained as

    deviation(t, y, u) = strength(y) · shape(u) + scene,

u being the distance from the line's centre. Shape is a robust mean over the whole line, strength a robust regression in
a window of rows, pulled to zero where it is not significant, so that a mask without a line changes nothing. Only rows
in which the line leaves no picture behind (clipped or opaque) are filled from both sides.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import SettingsError

FloatArray = NDArray[np.float32]

RADIUS = 5
"""A repaired frame depends on so many frames on each side."""

_FLANK_GAP = 1
_FLANK_WIDTH = 4
_MAX_WIDTH = 24
_MIN_ROWS = 4


@dataclass(frozen=True, kw_only=True)
class LineRepairSettings:
    """How to undo line scratches.

    Attributes:
        rows: Height of the window over which a line may change its strength, pixels; 8 … 400. Smaller follows quick
            changes, larger is steadier on faint lines.
    """

    rows: int = 40

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 8 <= self.rows <= 400:
            raise SettingsError(f"line repair rows must be 8 to 400, got {self.rows}; 40 suits most films")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Strand:
    """A piece of the mask that has one run of pixels on each of its rows.

    Attributes:
        top: First row.
        start: (n,) first masked column of every row.
        stop: (n,) column after the last.
        centre: (n,) smoothed middle.
    """

    top: int
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    centre: FloatArray

    @property
    def rows(self) -> NDArray[np.int64]:
        return np.arange(self.top, self.top + len(self.start))

    @property
    def half_width(self) -> float:
        return float(np.percentile(self.stop - self.start, 90)) / 2


def repair_lines(frames: Tensor, scratch_mask: Tensor, settings: LineRepairSettings | None = None) -> Tensor:
    """Undo line scratches.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1], consecutive frames of one shot.
        scratch_mask: (T, H, W), > 0.5 = scratch. It alone says where to work, so it may be edited by hand.
        settings: How to.

    Returns:
        (T, 3, H, W). Pixels outside the mask are bit-equal to the input.

    Raises:
        SettingsError: The shapes do not match.
    """
    settings = settings or LineRepairSettings()
    if frames.dim() != 4 or scratch_mask.shape != (frames.shape[0], *frames.shape[-2:]):
        raise SettingsError(
            f"line repair needs frames (T, C, H, W) and a mask (T, H, W), got {tuple(frames.shape)} and "
            f"{tuple(scratch_mask.shape)}"
        )
    masks = (scratch_mask > 0.5).cpu().numpy()
    if not masks.any():
        return frames
    images = frames.detach().float().cpu().permute(0, 2, 3, 1).contiguous().numpy()
    strands = [_strands(mask) for mask in masks]
    result = frames.clone()
    for t in range(len(images)):
        if not strands[t]:
            continue
        repaired = images[t].copy()
        for strand in strands[t]:
            _mend(repaired, images, strands, t, strand, settings)
        inside = torch.as_tensor(masks[t], device=frames.device)
        mended = torch.as_tensor(repaired, device=frames.device, dtype=frames.dtype).permute(2, 0, 1)
        result[t] = torch.where(inside, mended, frames[t])
    return result


def _strands(mask: NDArray[np.bool_]) -> list[_Strand]:
    """Split a mask into strands, following its runs from row to row."""
    edge = np.diff(mask.astype(np.int8), axis=1, prepend=0, append=0)
    run_rows, starts = np.nonzero(edge == 1)
    stops = np.nonzero(edge == -1)[1]
    finished: list[list[tuple[int, int, int]]] = []
    open_strands: list[list[tuple[int, int, int]]] = []
    first = 0
    for row in range(mask.shape[0] + 1):
        last = first
        while last < len(run_rows) and run_rows[last] == row:
            last += 1
        runs = [(row, int(starts[i]), int(stops[i])) for i in range(first, last)]
        first = last
        following: list[list[tuple[int, int, int]]] = []
        touched = [[o for o in open_strands if o[-1][1] <= run[2] and run[1] <= o[-1][2]] for run in runs]
        for run, before in zip(runs, touched, strict=True):
            # Where lines meet or part, new strands begin.
            alone = len(before) == 1 and sum(before[0] is other for group in touched for other in group) == 1
            width = run[2] - run[1]
            if alone and abs(width - (before[0][-1][2] - before[0][-1][1])) <= 3:
                before[0].append(run)
                following.append(before[0])
            else:
                following.append([run])
        finished += [strand for strand in open_strands if not any(strand is other for other in following)]
        open_strands = following
    return [_strand(runs) for runs in finished]


def _strand(runs: list[tuple[int, int, int]]) -> _Strand:
    table = np.array(runs, np.int64)
    middle = (table[:, 1] + table[:, 2] - 1) / 2
    # Masks are drawn in whole pixels: a local straight line through the middles brings back the fraction.
    reach = min(12, (len(middle) - 1) // 2)
    padded = np.concatenate(
        (2 * middle[0] - middle[1 : reach + 1][::-1], middle, 2 * middle[-1] - middle[-reach - 1 : -1][::-1])
    )
    kernel = np.ones(2 * reach + 1) / (2 * reach + 1)
    return _Strand(
        top=int(table[0, 0]),
        start=table[:, 1],
        stop=table[:, 2],
        centre=np.convolve(padded, kernel, mode="valid").astype(np.float32),
    )


def _counterpart(strand: _Strand, others: list[_Strand]) -> _Strand | None:
    """The strand of another frame that shows the same line."""
    best, most = None, 0
    for other in others:
        top, bottom = max(strand.top, other.top), min(strand.top + len(strand.start), other.top + len(other.start))
        if bottom - top <= most:
            continue
        theirs = other.centre[top - other.top : bottom - other.top]
        apart = theirs - strand.centre[top - strand.top : bottom - strand.top]
        if abs(float(np.median(apart))) <= 3.0 + strand.half_width:
            best, most = other, bottom - top
    return best


def _mend(
    repaired: FloatArray,
    images: FloatArray,
    strands: list[list[_Strand]],
    t: int,
    strand: _Strand,
    settings: LineRepairSettings,
) -> None:
    """Subtract one line from one frame."""
    if len(strand.start) < _MIN_ROWS or strand.half_width > _MAX_WIDTH / 2:
        return
    core = int(np.ceil(strand.half_width)) + 1
    reach = core + _FLANK_GAP + _FLANK_WIDTH
    offsets = np.arange(-reach, reach + 1)
    deviations, known = [], []
    for k in range(max(0, t - RADIUS), min(len(images), t + RADIUS + 1)):
        other = strand if k == t else _counterpart(strand, strands[k])
        if other is None:
            continue
        deviation, marked = _straightened(images[k], strand, other, offsets)
        deviations.append(deviation)
        known.append(marked)
    shape, strength = _explain(np.stack(deviations), np.stack(known), settings.rows)

    rows = strand.rows
    columns = np.arange(int(strand.start.min()), int(strand.stop.max()))
    u = columns[None] - strand.centre[:, None]
    for channel in range(repaired.shape[2]):
        profile = np.interp(u, offsets, shape[:, channel], left=0.0, right=0.0)
        repaired[rows[:, None], columns[None], channel] -= (strength[:, channel, None] * profile).astype(np.float32)
    np.clip(repaired, 0.0, 1.0, out=repaired)


def _straightened(
    image: FloatArray, strand: _Strand, other: _Strand, offsets: NDArray[np.int64]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Deviation of a straightened line from both its sides, on the rows of ``strand``: (n, u, channels)."""
    height, width = image.shape[:2]
    rows = strand.rows
    at = rows - other.top
    known = (at >= 0) & (at < len(other.start))
    centre = other.centre[np.clip(at, 0, len(other.start) - 1)]
    x = np.clip(centre[:, None] + offsets, 0, width - 1.001)
    base = x.astype(np.int64)
    part = (x - base)[..., None].astype(np.float32)
    picture = image[rows[:, None], base] * (1 - part) + image[rows[:, None], base + 1] * part
    left = picture[:, :_FLANK_WIDTH].mean(axis=1, keepdims=True)
    right = picture[:, -_FLANK_WIDTH:].mean(axis=1, keepdims=True)
    middle = (_FLANK_WIDTH - 1) / 2
    share = np.clip((np.arange(len(offsets)) - middle) / (len(offsets) - 1 - 2 * middle), 0, 1)[None, :, None]
    return (picture - (left * (1 - share) + right * share)).astype(np.float32), known


def _explain(deviation: FloatArray, known: NDArray[np.bool_], window: int) -> tuple[FloatArray, FloatArray]:
    """Explain a straightened line by one shape and its strength per row.

    Args:
        deviation: (k, n, u, channels).
        known: (k, n) rows on which the line is marked.
        window: Rows over which the strength may change.

    Returns:
        Shape (u, channels) and strength (n, channels).
    """
    frames, rows, reach, channels = deviation.shape
    shape = np.median(deviation[known], axis=0)
    taper = np.clip((reach // 2 - np.abs(np.arange(reach) - reach // 2)) / _FLANK_WIDTH, 0, 1)
    shape = (shape * taper[:, None]).astype(np.float32)
    energy = np.square(shape).sum(axis=0) + 1e-12
    # One noisy reading of the strength per row and frame, then a median over the window.
    reading = np.einsum("knuc,uc->knc", deviation, shape) / energy
    reading[~known] = np.nan
    half = max(1, window // 2)
    blocks = max(1, round(rows / half))
    edges = np.linspace(0, rows, blocks + 1).round().astype(int)
    value = np.zeros((blocks, channels), np.float32)
    for number in range(blocks):
        piece = reading[:, max(0, edges[number] - half // 2) : edges[number + 1] + half // 2].reshape(-1, channels)
        piece = piece[~np.isnan(piece[:, 0])]
        if len(piece) == 0:
            continue
        middle = np.median(piece, axis=0)
        error = 1.4826 * np.median(np.abs(piece - middle), axis=0) * 1.25 / np.sqrt(len(piece))
        value[number] = middle * np.clip(1 - np.square(2 * error / np.maximum(np.abs(middle), 1e-9)), 0, 1)
    centres = (edges[:-1] + edges[1:] - 1) / 2
    strength = np.stack([np.interp(np.arange(rows), centres, value[:, c]) for c in range(channels)], axis=1)
    return shape, strength.astype(np.float32)
