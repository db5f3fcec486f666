"""The record of a film that went through a prior: that of its repair, and the source's frames where they changed whole.

The repair is recorded while the film that goes into the prior is made; this record takes that one over, with the
checksums and pictures of the film that the prior has made.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import Tensor

from ...notices import Notices
from ...video.info import FilmFrame, FilmInfo
from ...video.reading.reader import open_film
from ...video.shots import Shot
from ..passes import Source
from ..record.checksums import checksums
from ..record.example import picture_of
from ..record.file import RecordReader, RecordWriter
from ..record.making import grouped, result_facts
from ..record.originals import FramePlanes
from .sampling import ShotSampling
from .shot_prior import PRIOR

_MADE_ANEW = ("format", "version", "samples", "figures", "shots")


class PriorRecording:
    """The record of one restoration with a prior. Use as a context manager, around the writing of the film.

    Args:
        path: The file; None records nothing.
        repaired: The record of the repair.
        info: The source.
        overwrite: Whether a file of that name may be replaced.
    """

    def __init__(self, path: Path | None, repaired: Path, info: FilmInfo, *, overwrite: bool) -> None:
        self._path, self._repaired, self._info, self._overwrite = path, repaired, info, overwrite
        self._stack = ExitStack()
        self._at = 0
        self._how: Sequence[ShotSampling] = ()
        self._frames: dict[int, int] = {}

    def __enter__(self) -> Self:
        if self._path is None:
            return self
        with ExitStack() as stack:
            self._reader = stack.enter_context(RecordReader(self._repaired))
            pixels = self._info.width * self._info.height
            form, shots = self._reader.form, self._reader.shots
            self._writer = stack.enter_context(RecordWriter(self._path, form, pixels, shots, overwrite=self._overwrite))
            self._planes = FramePlanes(self._info, form)
            examples = ((number, self._reader.example(number)) for number in range(len(shots)))
            # Only which frames they are: the pictures of all shots would be held.
            self._frames = {example.frame: number for number, example in examples if example is not None}
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def shots(self) -> tuple[Shot, ...]:
        """The shots of the record, those of the repair."""
        return () if self._path is None else self._reader.shots

    def meet(self, how: Callable[[int], ShotSampling]) -> None:
        """Learn how the shots are sampled.

        Args:
            how: Returns how the shot of a frame is.
        """
        self._how = [how(shot.first) for shot in self.shots]

    def take(self, origin: FilmFrame, made: Tensor | FilmFrame) -> None:
        """Record the next frame of the film.

        Args:
            origin: As it came.
            made: As it was written, (3, H, W) or a frame.
        """
        if self._path is None:
            return
        while origin.index >= self.shots[self._at].last:
            self._at += 1
        if self._how[self._at].apply:
            self._writer.keep_original(origin.index, self._planes.of(origin))
        number = self._frames.get(origin.index)
        if number is not None:
            example = self._reader.example(number)
            assert example is not None
            self._writer.show(number, replace(example, after=picture_of(made)))

    def finish(
        self,
        source: Source,
        destination: str | os.PathLike[str],
        facts: Mapping[str, Any],
        warnings: Sequence[str],
        notices: Notices,
        beat: Callable[[], None],
    ) -> None:
        """Complete the record of a film that is complete.

        Args:
            source: The film.
            destination: What was made of it.
            facts: What else is to be said: the settings of the prior, and the table of settings of single shots.
            warnings: Of the whole run.
            notices: What stages and prior had to say.
            beat: Called for every megabyte that is read for checksums; may raise to interrupt.

        Raises:
            FilmFileError: The record cannot be written, or source or result cannot be read.
        """
        if self._path is None:
            return
        for part in self._reader.parts():
            for frame in np.unique(part.frame):
                self._writer.write(part.taken(part.frame == frame))
        about = self._reader.about
        rows = [_of_shot(row, how) for row, how in zip(about["shots"], self._how, strict=True)]
        with open_film(destination, deinterlace="off") as made:
            result = result_facts(made.info, self._info, checksums(destination, beat))
        applied = [PRIOR] if any(how.apply for how in self._how) else []
        self._writer.finish(
            of_shots=rows,
            **{
                **{name: value for name, value in about.items() if name not in _MADE_ANEW},
                "result": result,
                "stages": [*about["stages"], *applied],
                "whole_picture": list(dict.fromkeys(switch for row in rows for switch in row["whole_picture"])),
                "warnings": list(warnings),
                "notices": grouped(notices),
                **facts,
            },
        )


def _of_shot(row: Mapping[str, Any], how: ShotSampling) -> dict[str, Any]:
    """What was done to a shot of the record."""
    facts = {name: row[name] for name in ("stages", "whole_picture", "moved")}
    if not how.apply:
        return {**facts, "originals": False, PRIOR: None}
    own = {name: value for name, value in asdict(how).items() if name not in ("apply", "skip")}
    return {
        "stages": [*facts["stages"], PRIOR],
        "whole_picture": [*facts["whole_picture"], PRIOR],
        "moved": facts["moved"],
        "originals": True,
        PRIOR: own,
    }
