"""What can be measured on real old film, of which no clean version exists.

One thing is known for certain: `san_francisco_1906.mkv` has a dark line at x = 287 … 288 over about 308 of its 368
rows, in nearly all of its frames, while the scene drifts behind it. Everything else is no-reference: brightness flicker
and warp error before and after, along the same flow.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vldm_core.metrics.temporal import flicker_index, warp_error
from vldm_core.video.luma import luma

from ...common.material import motion_of, read_film
from ..methods import METHODS

SAN_FRANCISCO = "san_francisco_1906"

LINE_COLUMNS = (287, 288)
LINE_ROWS = (30, 338)
"""First row of the line, and the row after its last one."""

COVERED_SHARE = 1 / 3
"""Share of those rows that a mask must touch for the frame to count: the line fades in the lower third."""

_SIDE = (3, 5)
"""Nearest and farthest distance, in columns, of the surroundings on either side of the line."""


@dataclass(frozen=True, kw_only=True)
class LineRemoval:
    """The real line before and after.

    Attributes:
        frames: Frames of the film.
        frames_detected: Frames in which the mask covers the line.
        rows_covered: Mean share of the rows of the line that the mask touches.
        mask_share: Share of the whole picture that the line mask covers; marking everything would detect it, too.
        depth_before: Mean over the frames of how much darker the line is than its surroundings, grey levels.
        depth_after: The same after repair.
        depth_ratio: Size of the second over the first.
    """

    frames: int
    frames_detected: int
    rows_covered: float
    mask_share: float
    depth_before: float
    depth_after: float
    depth_ratio: float


@dataclass(frozen=True, kw_only=True)
class RealFilmResult:
    """What our restoration does to one real film.

    Attributes:
        film: Its name.
        method: Which of our methods restored it.
        frames: Frames it has.
        flicker_before: Overall flicker index of the film, as a fraction.
        flicker_after: The same after repair and deflicker.
        local_flicker_before: Local flicker index of the film.
        local_flicker_after: The same after repair and deflicker.
        warp_error_before: Grey levels.
        warp_error_after: The same after repair and deflicker.
        dirt_share: Share of the picture found dirty.
        line_share: Share of the picture found scratched.
        line: The known line, in the film that has it.
    """

    film: str
    method: str
    frames: int
    flicker_before: float
    flicker_after: float
    local_flicker_before: float
    local_flicker_after: float
    warp_error_before: float | None
    warp_error_after: float | None
    dirt_share: float
    line_share: float
    line: LineRemoval | None


def line_depths(frames: Tensor, columns: tuple[int, int], rows: tuple[int, int]) -> Tensor:
    """Measure per frame how much darker a vertical line is than its surroundings.

    Per row the mean of the line's columns is compared with the mean of three columns on either side, two columns away;
    the median over the rows keeps dirt and crossing edges out. Scene structure adds to a single frame's figure and
    averages out over frames in which the scene moves.

    Args:
        frames: (T, 3, H, W) in [0, 1].
        columns: First and last column of the line.
        rows: First row, and the row after the last.

    Returns:
        (T,) grey levels; positive = dark line.
    """
    band = luma(frames)[:, rows[0] : rows[1]]
    first, last = columns
    near, far = _SIDE
    left = band[..., first - far : first - near + 1].mean(-1)
    right = band[..., last + near : last + far + 1].mean(-1)
    line = band[..., first : last + 1].mean(-1)
    return ((left + right) / 2 - line).quantile(0.5, dim=-1)


def rows_touched(mask: Tensor, columns: tuple[int, int], rows: tuple[int, int]) -> Tensor:
    """Return per frame the share of rows in which a mask touches the line's columns, one column of tolerance.

    Args:
        mask: (T, H, W), 1 = line.
        columns: First and last column of the line.
        rows: First row, and the row after the last.

    Returns:
        (T,) in [0, 1].
    """
    band = mask[:, rows[0] : rows[1], columns[0] - 1 : columns[1] + 2] > 0.5
    return band.any(-1).float().mean(-1)


def measure_line(before: Tensor, after: Tensor, mask: Tensor) -> LineRemoval:
    """Measure what became of the line of the San Francisco film.

    Args:
        before: The film, (T, 3, 368, 480) in [0, 1].
        after: The repaired film, same shape.
        mask: Line mask (T, 368, 480).
    """
    touched = rows_touched(mask, LINE_COLUMNS, LINE_ROWS)
    depth_before = float(line_depths(before, LINE_COLUMNS, LINE_ROWS).mean())
    depth_after = float(line_depths(after, LINE_COLUMNS, LINE_ROWS).mean())
    return LineRemoval(
        frames=len(mask),
        frames_detected=int((touched >= COVERED_SHARE).sum()),
        rows_covered=float(touched.mean()),
        mask_share=float((mask > 0.5).float().mean()),
        depth_before=depth_before,
        depth_after=depth_after,
        depth_ratio=abs(depth_after) / max(abs(depth_before), 1e-6),
    )


def measure_real_film(name: str, path: Path) -> RealFilmResult:
    """Restore one real film with one of our methods and measure it.

    Args:
        name: One of `methods.METHODS`, with detectors, repair and deflicker.
        path: The film.

    Raises:
        FilmFileError: The film cannot be read.
    """
    method, film = METHODS[name], read_film(path)
    assert method.detect is not None and method.repair is not None and method.deflicker is not None
    masks = method.detect(film)
    assert masks.dirt is not None and masks.lines is not None
    output = method.repair(film, masks)
    even = method.deflicker(output)
    damaged = torch.maximum(masks.dirt, masks.lines)
    flow, visible = motion_of(film, masks=damaged)
    before, after = flicker_index(film, flow, visible), flicker_index(even, flow, visible)
    return RealFilmResult(
        film=path.stem,
        method=name,
        frames=len(film),
        flicker_before=before.overall,
        flicker_after=after.overall,
        local_flicker_before=before.local,
        local_flicker_after=after.local,
        warp_error_before=warp_error(film, flow, visible),
        warp_error_after=warp_error(even, flow, visible),
        dirt_share=float(masks.dirt.mean()),
        line_share=float(masks.lines.mean()),
        line=measure_line(film, output, masks.lines) if path.stem == SAN_FRANCISCO else None,
    )
