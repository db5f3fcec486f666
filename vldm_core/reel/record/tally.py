"""Counts the repairs of a film while they are written, shot by shot."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...video.shots import Shot
from .example import Example
from .repairs import KINDS, Repairs

_DIRT = KINDS.index("dirt")


@dataclass
class _ShotCount:
    """What was counted in a shot; lists have a place for each kind."""

    fixes: list[int] = field(default_factory=lambda: [0] * len(KINDS))
    repairs: list[int] = field(default_factory=lambda: [0] * len(KINDS))
    left: list[int] = field(default_factory=lambda: [0] * len(KINDS))
    changed: list[int] = field(default_factory=lambda: [0] * len(KINDS))
    example: Example | None = None


class Tally:
    """Counts repairs, frame by frame in order.

    Args:
        shots: Of the film.
        pixels: Of a frame.
    """

    def __init__(self, shots: Sequence[Shot], pixels: int) -> None:
        self._shots, self._pixels = shots, pixels
        self._counts = [_ShotCount() for _ in shots]
        self._seen: set[int] = set()
        self._shot = -1

    def count(self, repairs: Repairs) -> None:
        """Count the repairs of a frame, at least one."""
        shot = int(repairs.shot[0])
        if shot != self._shot:
            self._shot, self._seen = shot, set()
        counts = self._counts[shot]
        for kind in range(len(KINDS)):
            own = repairs.kind == kind
            done = own & (repairs.changed > 0)
            counts.repairs[kind] += int(done.sum())
            counts.left[kind] += int((own & ~done).sum())
            counts.changed[kind] += int(repairs.changed[own].sum())
            numbers = repairs.number[done]
            if kind == _DIRT:
                counts.fixes[kind] += len(numbers)
            else:
                new = {int(number) for number in np.unique(numbers)} - self._seen
                counts.fixes[kind] += len(new)
                self._seen |= new

    def show(self, shot: int, example: Example) -> None:
        """Note which frame of a shot is shown."""
        self._counts[shot].example = Example(frame=example.frame, changed=example.changed, before=b"", after=b"")

    def facts(self) -> dict[str, Any]:
        """Figures and shots, as JSON holds them; first and last frame of a shot both belong to it."""
        rows = []
        for number, (shot, counts) in enumerate(zip(self._shots, self._counts, strict=True)):
            example = counts.example
            rows.append(
                {
                    "shot": number,
                    "first": shot.first,
                    "last": shot.last - 1,
                    **self._kinds([counts], shot.last - shot.first),
                    "example": None if example is None else {"frame": example.frame, "changed": example.changed},
                }
            )
        return {"figures": self._kinds(self._counts, self._shots[-1].last if self._shots else 0), "shots": rows}

    def _kinds(self, counts: Sequence[_ShotCount], frames: int) -> dict[str, dict[str, float]]:
        found = {}
        for kind, name in enumerate(KINDS):
            changed = sum(each.changed[kind] for each in counts)
            found[name] = {
                "fixes": sum(each.fixes[kind] for each in counts),
                "repairs": sum(each.repairs[kind] for each in counts),
                "left_alone": sum(each.left[kind] for each in counts),
                "changed_pixels": changed,
                "share": changed / max(1, frames * self._pixels),
            }
        return found
