"""The plan of a reel: which frames are restored together, and which neighbours they need.

A chunk is what is kept when it is finished, and what a worker is given. It lies in one shot, for no stage looks across
a cut. Frames depend on a bounded number of neighbours on each side (`StagePlan.reach`), so a chunk comes out as in one
pass over the whole shot; where a stage carries something along the shot, the shot is one chunk.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...errors import SettingsError
from ...video.shots import Shot

LENGTH = 48
"""Frames of a chunk, of which a long shot has several: two seconds of film, so many are lost at most."""


@dataclass(frozen=True, kw_only=True, order=True)
class ReelChunk:
    """Frames that are restored together, counted from the start of the film.

    Attributes:
        first: The first one.
        last: The one after the last.
        start: The first one that is looked at.
        stop: The one after the last that is looked at.
        shot: Number of their shot.
    """

    first: int
    last: int
    start: int
    stop: int
    shot: int

    @property
    def frames(self) -> int:
        """How many are restored."""
        return self.last - self.first


def plan_chunks(
    shots: Sequence[Shot], *, reach: int | Sequence[int | None] | None, length: int = LENGTH
) -> tuple[ReelChunk, ...]:
    """Part the shots of a reel into chunks.

    Args:
        shots: They cover the reel.
        reach: Neighbours on each side that a restored frame depends on, one for all shots or one each; None leaves a
            shot whole.
        length: Frames of a chunk at most.

    Returns:
        Chunks in order, which cover every shot without gap or overlap; those of a shot differ by a frame at most.

    Raises:
        SettingsError: A number is out of its range.
    """
    reaches = reach if isinstance(reach, Sequence) else [reach] * len(shots)
    if length < 1 or any(each is not None and each < 0 for each in reaches):
        raise SettingsError(f"chunks need a length of 1 frame or more and a reach of 0 or more, got {length}, {reach}")
    chunks = []
    for number, (shot, own) in enumerate(zip(shots, reaches, strict=True)):
        count = shot.last - shot.first
        parts = 1 if own is None else -(-count // length)
        edges = [shot.first + count * part // parts for part in range(parts + 1)]
        margin = count if own is None else own
        for first, last in pairwise(edges):
            start, stop = max(shot.first, first - margin), min(shot.last, last + margin)
            chunks.append(ReelChunk(first=first, last=last, start=start, stop=stop, shot=number))
    return tuple(chunks)


def runs_of(chunks: Iterable[ReelChunk], *, longest: int | None = None) -> tuple[tuple[ReelChunk, ...], ...]:
    """Join chunks that follow on each other in one shot: done in one go, they look at no frame twice.

    Args:
        chunks: In order.
        longest: Frames to restore in one go at most, unless one chunk has more; None for no bound.
    """
    runs: list[list[ReelChunk]] = []
    for chunk in chunks:
        before = runs[-1] if runs else None
        if (
            before is not None
            and (before[-1].shot, before[-1].last) == (chunk.shot, chunk.first)
            and (longest is None or chunk.last - before[0].first <= longest)
        ):
            before.append(chunk)
        else:
            runs.append([chunk])
    return tuple(tuple(run) for run in runs)
