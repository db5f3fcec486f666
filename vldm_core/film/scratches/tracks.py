"""The scratches of a shot: tracks of lines through its frames, and the masks that they draw."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...arrays import BoolArray, FloatArray
from ...errors import SettingsError
from ..active_picture import ActivePicture
from .columns import ColumnRange, columns_of_frame
from .repair.row_presence import rows_present
from .search.layers import BandLayout
from .search.line_presence import MeasuredLine
from .search.line_shape import LineShape

_NEAR_FRAMES = 2
"""Frames before and after one in which a line that shows there counts as there: grain hides it for a moment."""

EDGE_SHARE = 0.025
"""Share of the picture's width, at its left and right edge, in which no line is looked for."""

_MOST_OUTSIDE = 0.2
"""Share of a line that may lie at the edge of the picture or beyond it: it may lean out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScratchTrack:
    """One scratch. Positions are in pixels of the full frame.

    Attributes:
        first: First frame of the track, counted from the start of the shot.
        x: (n,) position in the middle of the frame height, in every frame of the track.
        tilt: (n,) change of x per row.
        left: Visible extent to the left of x.
        right: Visible extent to the right of x.
        depth: Deviation from the surroundings, grey levels; negative for a dark line.
        score: Evidence of its strongest window, standard deviations.
        present: (n, bands) where the line is there.
        certainty: How sure it is that this is a scratch and no part of the scene, 0 … 1; of its surest window.
        sigma: Standard deviation of its section.
        rims: Depth of the ridges beside it over its own, 0 … 1.
        along: (bands,) its depth down the frame over ``depth``; None where it is the same all along.
    """

    first: int
    x: FloatArray
    tilt: FloatArray
    left: float
    right: float
    depth: float
    score: float
    present: BoolArray
    certainty: float = 1.0
    sigma: float = 1.0
    rims: float = 0.0
    along: FloatArray | None = None

    @property
    def last(self) -> int:
        """Frame after the last one of the track."""
        return self.first + len(self.x)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScratchMap:
    """The scratches of a shot.

    Attributes:
        height: Frame height.
        width: Frame width.
        frame_count: Frames of the shot.
        grow: Pixels to add on each side of a line.
        tracks: The scratches.
        doubtful: Lines that may be scratches or parts of the scene; nothing is done about them, unless
            `across_cuts.confirm_across_cuts` turns them into scratches.
        forced: Columns that the user calls a scratch.
        excluded: Columns in which nothing is marked.
        first: Frame of the film that the first frame of the shot is, by which these columns count.
    """

    height: int
    width: int
    frame_count: int
    grow: float
    tracks: tuple[ScratchTrack, ...]
    doubtful: tuple[ScratchTrack, ...] = ()
    forced: tuple[ColumnRange, ...] = ()
    excluded: tuple[ColumnRange, ...] = ()
    first: int = 0


def make_track(line: MeasuredLine, certainty: float, layout: BandLayout, first: int) -> ScratchTrack:
    """Turn a line of a window into a track of the full frame, from its first to its last sighting.

    Args:
        line: In the window.
        certainty: That it is a scratch.
        layout: Of the bands.
        first: First frame of the window, counted from the start of the shot.
    """
    path, present, shape = line.path, line.present, line.shape
    alive = np.flatnonzero(present.any(axis=1))
    keep = slice(int(alive[0]), int(alive[-1]) + 1)
    scale = layout.scale
    return ScratchTrack(
        first=first + path.first + keep.start,
        x=((path.x[keep] + 0.5) * scale - 0.5).astype(np.float32),
        tilt=np.full(keep.stop - keep.start, path.tilt * scale * layout.bands / layout.height, np.float32),
        left=shape.extent * scale,
        right=shape.extent * scale,
        depth=shape.depth,
        score=path.score,
        present=present[keep],
        certainty=certainty,
        sigma=shape.sigma * scale,
        rims=shape.rims,
        along=line.along,
    )


def in_order(tracks: Sequence[ScratchTrack]) -> tuple[ScratchTrack, ...]:
    """Sort tracks by their first frame, then from left to right."""
    return tuple(sorted(tracks, key=lambda track: (track.first, float(track.x[0]))))


def join_track(known: list[ScratchTrack], track: ScratchTrack) -> None:
    """Add a track, or append it to the one of an earlier window that it continues."""
    for number, earlier in enumerate(known):
        if _continues(earlier, track):
            known[number] = _joined(earlier, track)
            return
    known.append(track)


def continue_tracks(tracks: list[ScratchTrack], doubtful: list[ScratchTrack]) -> None:
    """Let scratches go on where they became doubtful: what is a scratch in one window is no scene in the next.

    Args:
        tracks: The scratches; those that go on are replaced.
        doubtful: Lines that may be scratches; those that continue one are taken out.
    """
    joined = True
    while joined:
        joined = False
        for line in list(doubtful):
            for number, track in enumerate(tracks):
                earlier, later = (track, line) if track.first <= line.first else (line, track)
                if _continues(earlier, later):
                    tracks[number] = _joined(earlier, later)
                    doubtful.remove(line)
                    joined = True
                    break


def _continues(earlier: ScratchTrack, later: ScratchTrack) -> bool:
    """Do two tracks show one line in the frames that both have?"""
    start, end = max(earlier.first, later.first), min(earlier.last, later.last)
    if np.sign(earlier.depth) != np.sign(later.depth) or end - start < 1:
        return False
    shared = earlier.x[start - earlier.first : end - earlier.first]
    apart = shared - later.x[start - later.first : end - later.first]
    return float(np.median(np.abs(apart))) < 3.0


def _joined(earlier: ScratchTrack, later: ScratchTrack) -> ScratchTrack:
    """Join two tracks of one scratch; each rules on its own side of the middle of what they share."""
    start, end = max(earlier.first, later.first), min(earlier.last, later.last)
    first, last = min(earlier.first, later.first), max(earlier.last, later.last)
    middle = (start + end) // 2
    frames = np.arange(first, last)
    from_earlier = (frames < middle) & (frames >= earlier.first) | (frames < later.first) | (frames >= later.last)

    def pick(one: NDArray, two: NDArray) -> NDArray:
        result = np.zeros((last - first, *one.shape[1:]), one.dtype)
        result[from_earlier] = one[frames[from_earlier] - earlier.first]
        result[~from_earlier] = two[frames[~from_earlier] - later.first]
        return result

    weights = np.array([len(earlier.x), len(later.x)], np.float64)
    weights /= weights.sum()
    return ScratchTrack(
        first=first,
        x=pick(earlier.x, later.x),
        tilt=pick(earlier.tilt, later.tilt),
        left=max(earlier.left, later.left),
        right=max(earlier.right, later.right),
        depth=float(weights @ (earlier.depth, later.depth)),
        score=max(earlier.score, later.score),
        present=pick(earlier.present, later.present),
        certainty=max(earlier.certainty, later.certainty),
        sigma=float(weights @ (earlier.sigma, later.sigma)),
        rims=float(weights @ (earlier.rims, later.rims)),
        along=None if earlier.along is None or later.along is None else _mean_of(earlier.along, later.along, weights),
    )


def _mean_of(one: FloatArray, two: FloatArray, weights: NDArray[np.float64]) -> FloatArray:
    return (weights[0] * one + weights[1] * two).astype(np.float32)


def clear_of_edges(lines: ScratchMap, picture: ActivePicture) -> ScratchMap:
    """Take out the lines that lie on bars or along their edges.

    Args:
        lines: Of a shot.
        picture: Where the picture is in it.
    """
    _, _, left, right = picture.box
    margin = max(2.0, EDGE_SHARE * (right - left))
    first = left + margin if left > 0 else -np.inf
    last = right - 1 - margin if right < picture.width else np.inf

    def kept(tracks: Sequence[ScratchTrack]) -> tuple[ScratchTrack, ...]:
        return tuple(track for track in tracks if _share_outside(track, first, last, lines.height) <= _MOST_OUTSIDE)

    return replace(lines, tracks=kept(lines.tracks), doubtful=kept(lines.doubtful))


def _share_outside(track: ScratchTrack, first: float, last: float, height: int) -> float:
    """Share of where a track is seen that lies outside some columns."""
    bands = track.present.shape[1]
    rows = (np.arange(bands) + 0.5) / bands * height - height / 2
    x = track.x[:, None] + track.tilt[:, None] * rows
    return float(((x < first) | (x > last))[track.present].mean()) if track.present.any() else 1.0


def scratch_mask(
    lines: ScratchMap, frame_index: int, height: int, width: int, luma: FloatArray | None = None
) -> Tensor:
    """Draw the scratches of one frame.

    Args:
        lines: From `ScratchAnalyser.finish`.
        frame_index: Frame, counted from the start of the shot.
        height: Height of the frame that was analysed.
        width: Its width.
        luma: (H, W) grey levels of the frame: where lines begin and end is then decided row by row (`row_presence.py`),
            otherwise in steps of a band.

    Returns:
        (H, W) float32, 1 on a scratch (visible width plus ``grow``), else 0.

    Raises:
        SettingsError: The size is not that of the analysis, or the frame lies outside the shot.
    """
    return _drawn(lines, [(track, 1.0) for track in lines.tracks], frame_index, height, width, luma)


def scratch_probability(
    lines: ScratchMap, index: int, height: int, width: int, luma: FloatArray | None = None
) -> Tensor:
    """Draw how certain it is that there is a scratch, doubtful lines included.

    Args:
        lines: From `ScratchAnalyser.finish`.
        index: Frame, counted from the start of the shot.
        height: Height of the frame that was analysed.
        width: Its width.
        luma: As for `scratch_mask`.

    Returns:
        (H, W) float32 in 0 … 1: the certainty of the surest line at its pixels, drawn like `scratch_mask`; 0 elsewhere.

    Raises:
        SettingsError: The size is not that of the analysis, or the frame lies outside the shot.
    """
    drawn = [(track, track.certainty) for track in (*lines.doubtful, *lines.tracks)]
    return _drawn(lines, drawn, index, height, width, luma)


def _drawn(
    lines: ScratchMap,
    tracks: Sequence[tuple[ScratchTrack, float]],
    index: int,
    height: int,
    width: int,
    luma: FloatArray | None,
) -> Tensor:
    """Draw tracks of one frame with a value each; where they overlap, the largest counts."""
    if (height, width) != (lines.height, lines.width):
        raise SettingsError(
            f"the scratch map is for {lines.height}×{lines.width} frames, got {height}×{width}; analyse the shot at "
            "the size at which it is restored"
        )
    if not 0 <= index < lines.frame_count:
        raise SettingsError(f"frame {index} lies outside the shot of {lines.frame_count} frames")
    picture = np.zeros((height, width), np.float32)
    rows = np.arange(height)
    forced, excluded = (columns_of_frame(of, lines.first + index, width) for of in (lines.forced, lines.excluded))
    for track, value in tracks:
        if not track.first <= index < track.last:
            continue
        at = index - track.first
        centre = track.x[at] + track.tilt[at] * (rows - (height - 1) / 2)
        there = _rows_of(track, at, centre, luma, height, width)
        column = np.clip(np.round(centre), 0, width - 1).astype(int)
        if forced is not None:
            there = there | forced[column]
        if excluded is not None:
            there = there & ~excluded[column]
        start = np.clip(np.ceil(centre - track.left - lines.grow + 0.25), 0, width).astype(int)
        stop = np.clip(np.floor(centre + track.right + lines.grow - 0.25) + 1, 0, width).astype(int)
        if not there.any():
            continue
        first, last = int(start[there].min()), int(stop[there].max())
        columns = np.arange(first, last)
        core = (columns >= start[:, None]) & (columns < stop[:, None]) & there[:, None]
        area = picture[:, first:last]
        np.maximum(area, np.float32(value) * core, out=area)
    if forced is not None:
        picture[:, forced] = 1
    if excluded is not None:
        picture[:, excluded] = 0
    return torch.from_numpy(picture)


def _rows_of(
    track: ScratchTrack, at: int, centre: FloatArray, luma: FloatArray | None, height: int, width: int
) -> BoolArray:
    """On which rows a track is there in its frame number `at`, (H,)."""
    scale = BandLayout.of(height, width).scale
    edges = np.linspace(0, height, track.present.shape[1] + 1).round().astype(int)
    bands, middles = np.diff(edges), (edges[:-1] + edges[1:] - 1) / 2
    there = np.repeat(track.present[at], bands)
    if luma is None:
        return there
    # A line may begin a band earlier than the bands say, or go on where it is in the frames just before or after.
    near: BoolArray = np.any(track.present[max(0, at - _NEAR_FRAMES) : at + _NEAR_FRAMES + 1], axis=0)
    allowed = near.copy()
    allowed[1:] |= near[:-1]
    allowed[:-1] |= near[1:]
    return rows_present(
        luma,
        centre.astype(np.float32),
        LineShape(depth=track.depth, sigma=track.sigma / scale, rims=track.rims),
        scale=scale,
        along=None if track.along is None else np.interp(np.arange(height), middles, track.along).astype(np.float32),
        present=there,
        allowed=np.repeat(allowed, bands),
    )
