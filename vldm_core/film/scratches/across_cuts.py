"""Scratches across a cut: what one shot cannot tell, the next one may.

A scratch is ground into the film and survives a cut; the scene does not. A line that could be either in one shot, and
stands where a scratch of the neighbouring shot ended or begins, is that scratch. Kokaram notes that line scratches
recur in the same place ("Motion Picture Restoration", Springer 1998, ch. 9); two shots are independent witnesses.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .detection import ScratchMap, ScratchTrack


@dataclass(frozen=True, kw_only=True)
class CutRules:
    """When a line continues one across a cut.

    Attributes:
        near_cut: Frames within which a track must begin or end at the cut.
        apart: Distance of both at the cut, pixels of the full frame.
        tilt_apart: Difference of their tilts, pixels a row.
        depth_ratio: Ratio of their depths, either way. Generous: a doubtful line is measured along an uncertain
            course, which blurs its depth.
    """

    near_cut: int = 12
    apart: float = 2.0
    tilt_apart: float = 0.012
    depth_ratio: float = 4.0


_RULES = CutRules()


def confirm_across_cuts(maps: Iterable[ScratchMap]) -> tuple[ScratchMap, ...]:
    """Turn doubtful lines into scratches where they continue a scratch of the neighbouring shot.

    Args:
        maps: The lines of consecutive shots of one film.

    Returns:
        The same shots; what was confirmed has moved from ``doubtful`` to ``tracks``. A confirmed line confirms on.
    """
    result = list(maps)
    for index in range(1, len(result)):
        result[index] = _confirmed(result[index], result[index - 1], after=True)
    for index in range(len(result) - 2, -1, -1):
        result[index] = _confirmed(result[index], result[index + 1], after=False)
    return tuple(result)


def _confirmed(lines: ScratchMap, neighbour: ScratchMap, *, after: bool) -> ScratchMap:
    """Confirm the doubtful lines of a shot from the shot before it (``after``) or after it."""
    if after:
        known = [track for track in neighbour.tracks if track.last >= neighbour.frame_count - _RULES.near_cut]
        near = [track.first <= _RULES.near_cut for track in lines.doubtful]
    else:
        known = [track for track in neighbour.tracks if track.first <= _RULES.near_cut]
        near = [track.last >= lines.frame_count - _RULES.near_cut for track in lines.doubtful]
    moved, doubtful = [], []
    for track, at_cut in zip(lines.doubtful, near, strict=True):
        scratch = _continued(track, known, after=after) if at_cut else None
        if scratch is None:
            doubtful.append(track)
        else:
            moved.append(_joined_to(track, scratch, after=after))
    if not moved:
        return lines
    tracks = sorted([*lines.tracks, *moved], key=lambda track: (track.first, float(track.x[0])))
    return replace(lines, tracks=tuple(tracks), doubtful=tuple(doubtful))


def _continued(track: ScratchTrack, known: Sequence[ScratchTrack], *, after: bool) -> ScratchTrack | None:
    """Return the scratch that a line continues, or None."""
    here, there = _ends(after)
    for other in known:
        if (
            np.sign(track.depth) == np.sign(other.depth)
            and abs(track.x[here] - other.x[there]) <= _RULES.apart
            and abs(track.tilt[here] - other.tilt[there]) <= _RULES.tilt_apart
            and 1 / _RULES.depth_ratio <= abs(track.depth) / max(abs(other.depth), 1e-6) <= _RULES.depth_ratio
        ):
            return other
    return None


def _joined_to(track: ScratchTrack, scratch: ScratchTrack, *, after: bool) -> ScratchTrack:
    """Let a line begin where the scratch it continues ended, as upright as that one, which was the plainer to see."""
    here, there = _ends(after)
    return replace(
        track,
        x=track.x + (scratch.x[there] - track.x[here]),
        tilt=np.full_like(track.tilt, scratch.tilt[there]),
        left=scratch.left,
        right=scratch.right,
    )


def _ends(after: bool) -> tuple[int, int]:
    """Indices of the frames next to the cut: in the doubtful line, and in the scratch of the other shot."""
    return (0, -1) if after else (-1, 0)
