"""Repairs of a film as a table: where each lies, what it is, and the samples that were there before it.

A repair is a connected mark in one frame. Which of its pixels changed is held as runs of pixels that follow on each
other in a row, counted row by row from the top left; the film's own samples under them are held plane by plane in the
same order, those of subsampled planes once for each repair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...errors import FilmFileError, SettingsError

KINDS = ("dirt", "scratch", "standing", "seam", "named")
"""What a repair has taken off, by its number in the table."""

UNKNOWN = 255
"""In place of a confidence in percent that nobody has told."""

_COLUMNS: dict[str, type[np.generic]] = {
    "frame": np.uint32,
    "shot": np.uint32,
    "number": np.uint32,
    "kind": np.uint8,
    "x": np.uint16,
    "y": np.uint16,
    "width": np.uint16,
    "height": np.uint16,
    "marked": np.uint32,
    "changed": np.uint32,
    "chroma": np.uint32,
    "confidence": np.uint8,
    "link": np.int32,
    "runs": np.uint32,
}
_FLAT: dict[str, type[np.generic]] = {"run_start": np.uint32, "run_length": np.uint16}

_STEP = "run_step"
"""Name in a file of the way from the first pixel of a run to that of the next."""

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Repairs:
    """Some repairs of a film, in the order of their frames. All arrays but the last three have one value a repair.

    Attributes:
        frame: Number of the frame in the film, from 0.
        shot: Number of its shot, from 0.
        number: Number of the fix, from 1: a repair of its own, or a scratch or standing mark through its frames; 0
            before they are numbered.
        kind: Place in `KINDS`.
        x: Left edge of the box around the mark, pixels.
        y: Its upper edge.
        width: Of the box, pixels.
        height: Of the box, pixels.
        marked: Pixels that are marked.
        changed: Pixels that the repair has changed; 0 where the mark was left alone.
        chroma: Samples of each plane of colour under the changed pixels.
        confidence: How sure it is that this is damage, percent; `UNKNOWN` where nobody says.
        link: Number of the scratch of the shot that this is a part of, or -1.
        runs: Runs of changed pixels.
        run_start: First pixel of each run, row by row from the top left of the frame.
        run_length: Pixels of each run.
        samples: For each plane the samples of the film that were there.
    """

    frame: Array
    shot: Array
    number: Array
    kind: Array
    x: Array
    y: Array
    width: Array
    height: Array
    marked: Array
    changed: Array
    chroma: Array
    confidence: Array
    link: Array
    runs: Array
    run_start: Array
    run_length: Array
    samples: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def none(cls, planes: int, sample: np.dtype | type) -> Self:
        """No repairs.

        Args:
            planes: Planes of the film that hold the picture.
            sample: Type of their samples.
        """
        return cls.made(samples=tuple(np.zeros(0, sample) for _ in range(planes)))

    @classmethod
    def made(cls, *, samples: Sequence[Array], **columns: Any) -> Self:
        """Make a table from columns of any type of number; those that are left out are empty."""
        kinds = _COLUMNS | _FLAT
        return cls(
            **{name: np.asarray(columns.get(name, ())).astype(kind) for name, kind in kinds.items()},
            samples=tuple(samples),
        )

    @classmethod
    def joined(cls, parts: Sequence["Repairs"]) -> "Repairs":
        """Join tables of one film, at least one."""
        if len(parts) == 1:
            return parts[0]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in (_COLUMNS | _FLAT)}
        planes = zip(*(part.samples for part in parts), strict=True)
        return cls(**columns, samples=tuple(np.concatenate(plane) for plane in planes))

    def taken(self, chosen: NDArray[np.bool_]) -> "Repairs":
        """Some of the repairs.

        Args:
            chosen: One truth value a repair.
        """
        if chosen.all():
            return self
        runs = np.repeat(chosen, self.runs)
        first, *others = self.samples
        return Repairs(
            **{name: getattr(self, name)[chosen] for name in _COLUMNS},
            run_start=self.run_start[runs],
            run_length=self.run_length[runs],
            samples=(
                first[np.repeat(chosen, self.changed)],
                *(plane[np.repeat(chosen, self.chroma)] for plane in others),
            ),
        )

    def numbered(self, numbers: Array, shot: int) -> "Repairs":
        """The same with the numbers of their fixes, all in one shot."""
        return replace(self, number=numbers.astype(np.uint32), shot=np.full(len(self), shot, np.uint32))

    def pixels(self) -> tuple[Array, Array]:
        """Which repair each changed pixel belongs to, and its place in the frame, row by row from the top left."""
        owner = np.repeat(np.repeat(np.arange(len(self)), self.runs), self.run_length)
        ends = np.cumsum(self.run_length, dtype=np.int64)
        before = np.repeat(ends - self.run_length, self.run_length)
        return owner, np.repeat(self.run_start.astype(np.int64), self.run_length) + np.arange(len(owner)) - before

    def arrays(self) -> dict[str, Array]:
        """All of it by name, for a file."""
        own = {name: getattr(self, name) for name in (*_COLUMNS, "run_length")}
        # From one run to the next: a third of the room, once it is packed.
        own[_STEP] = np.diff(self.run_start.astype(np.int64), prepend=0).astype(np.int32)
        return own | {f"samples_{plane}": values for plane, values in enumerate(self.samples)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Array]) -> "Repairs":
        """Take a table from what `arrays` gave.

        Raises:
            FilmFileError: Something is missing, or the parts do not fit each other.
        """
        planes = sorted(name for name in arrays if name.startswith("samples_"))
        try:
            own = {**arrays, "run_start": np.cumsum(arrays[_STEP], dtype=np.int64)}
            table = cls(
                **{name: own[name].astype(kind) for name, kind in (_COLUMNS | _FLAT).items()},
                samples=tuple(arrays[name] for name in planes),
            )
        except (KeyError, TypeError) as error:
            raise FilmFileError(f"a table of repairs is damaged ({error})") from error
        counts = {len(getattr(table, name)) for name in _COLUMNS}
        whole = (
            len(counts) == 1
            and bool(planes)
            and len(table.run_start) == len(table.run_length) == table.runs.sum()
            and table.run_length.sum(dtype=np.int64) == table.changed.sum() == len(table.samples[0])
            and all(len(plane) == table.chroma.sum() for plane in table.samples[1:])
            and bool((table.kind < len(KINDS)).all())
        )
        if not whole:
            raise FilmFileError("a table of repairs is damaged: its parts do not fit each other")
        return table


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Repairs for which all holds that is said; nothing said is all of them.

    Attributes:
        kinds: Of these kinds, see `KINDS`.
        shots: In these shots, from 0.
        fixes: With these numbers, from 1.
        frames: From a first frame to a last, which belongs to it.
    """

    kinds: tuple[str, ...] = ()
    shots: tuple[int, ...] = ()
    fixes: tuple[int, ...] = ()
    frames: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise SettingsError(f"the kind of repairs is {kind!r}; use one of {', '.join(KINDS)}")
        if self.frames is not None and not 0 <= self.frames[0] <= self.frames[1]:
            first, last = self.frames
            raise SettingsError(f"frames {first}-{last} are no range; give the first and the last, from 0")

    def of(self, repairs: Repairs) -> NDArray[np.bool_]:
        """Which of some repairs are meant, one truth value for each."""
        meant = np.ones(len(repairs), bool)
        if self.kinds:
            meant &= np.isin(repairs.kind, [KINDS.index(kind) for kind in self.kinds])
        if self.shots:
            meant &= np.isin(repairs.shot, self.shots)
        if self.fixes:
            meant &= np.isin(repairs.number, self.fixes)
        if self.frames is not None:
            meant &= (repairs.frame >= self.frames[0]) & (repairs.frame <= self.frames[1])
        return meant

    @property
    def of_whole_frames(self) -> bool:
        """Whether frames are meant with all that is in them."""
        return not self.kinds and not self.fixes

    def has_frame(self, shot: int, frame: int) -> bool:
        """Whether a whole frame is meant."""
        return self.meets_frames(shot, frame, frame + 1)

    def meets_frames(self, shot: int, first: int, last: int) -> bool:
        """Whether one of some whole frames of a shot is meant, from a first to one before a last."""
        if not self.of_whole_frames or (self.shots and shot not in self.shots):
            return False
        return self.frames is None or (self.frames[0] < last and first <= self.frames[1])


def covered(owner: Array, place: Array, width: int, step: tuple[int, int]) -> tuple[Array, Array]:
    """Which samples of a subsampled plane lie under some pixels.

    Args:
        owner: Which repair each pixel belongs to, rising.
        place: Its place in the frame, row by row.
        width: Of the frame, pixels.
        step: Pixels across and down for one sample.

    Returns:
        Which repair each sample belongs to, and its place in the plane, row by row; rising, each once for a repair.
    """
    if step == (1, 1):
        return owner, place
    across = -(-width // step[0])
    sample = (place // width // step[1]) * across + place % width // step[0]
    # A sample's place is never beyond that of a pixel over it.
    size = int(place.max()) + 1 if len(place) else 1
    both = np.unique(owner.astype(np.int64) * size + sample)
    return both // size, both % size
