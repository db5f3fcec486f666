"""Makes the record of a film while the film is written."""

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ... import __version__
from ...notices import Notices
from ...stages.plan import ORDER, StagePlan
from ...stages.preset import settings_text
from ...stages.stage import Scope
from ...stages.stage_frame import StageFrame
from ...video.colour import layout_of
from ...video.info import FilmFrame, FilmInfo
from ...video.reading.reader import open_film
from ...video.shots import Shot
from ...video.stream import FilmReader
from ..passes import Source
from .checksums import checksums
from .example import Example, better_example
from .file import RecordWriter
from .finding import SampleForm
from .numbering import Numbering

if TYPE_CHECKING:
    from ..restore import ReelReport, ReelSettings

LOSSLESS_CODECS = ("ffv1", "png", "tiff", "dpx", "exr")
"""What the codecs of results are called that keep every sample."""


SHOT_FACTS = ("stages", "whole_picture", "moved", "originals", "prior")
"""What a record says of what was done to a shot."""

NOTHING_DONE: dict[str, Any] = {"stages": [], "whole_picture": [], "moved": False, "originals": False, "prior": None}
"""The same of a shot that is as the source is."""


class Recording:
    """The record of one restoration. Use as a context manager, around the writing of the film.

    Args:
        path: The file; None records nothing.
        film: The film.
        settings: What is done to it.
        shots: Of the film.
        plans: The stages of each shot.
    """

    def __init__(
        self,
        path: Path | None,
        film: FilmReader,
        settings: "ReelSettings",
        shots: Sequence[Shot],
        plans: Sequence[StagePlan],
    ) -> None:
        self._settings, self._shots, self._info, self._name = settings, shots, film.info, film.name
        self._plans = plans
        self._writer: RecordWriter | None = None
        self._stack = ExitStack()
        if path is not None:
            form, pixels = SampleForm.of(self._info.pix_fmt), self._info.width * self._info.height
            self._writer = RecordWriter(path, form, pixels, shots, overwrite=settings.write.overwrite)
        self._numbering = Numbering()
        self._shot = 0
        self._example: Example | None = None

    def __enter__(self) -> Self:
        if self._writer is not None:
            self._stack.enter_context(self._writer)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def take(self, frame: StageFrame[FilmFrame], example: Example | None = None) -> None:
        """Record the next frame of the film.

        Args:
            frame: Restored, with its repairs.
            example: The best one of some frames that this one is the first of, where it is known; None makes it of this
                frame.
        """
        if self._writer is None:
            return
        while frame.origin.index >= self._shots[self._shot].last:
            self._end_shot()
        if frame.repairs is not None:
            self._writer.write(self._numbering.of(frame.repairs, self._shot))
        self._example = better_example(self._example, frame) if example is None else better_of(self._example, example)

    def _end_shot(self) -> None:
        assert self._writer is not None
        if self._example is not None:
            self._writer.show(self._shot, self._example)
        self._shot, self._example = self._shot + 1, None

    def finish(
        self,
        source: Source,
        destination: str | os.PathLike[str],
        report: "ReelReport",
        notices: Notices,
        beat: Callable[[], None],
    ) -> None:
        """Complete the record of a film that is complete.

        Args:
            source: The film.
            destination: What was made of it.
            report: What was done.
            notices: What the stages had to say.
            beat: Called for every megabyte that is read for checksums; may raise to interrupt.

        Raises:
            FilmFileError: The record cannot be written, or source or result cannot be read.
        """
        if self._writer is None:
            return
        self._end_shot()
        settings, info = self._settings, self._info
        with open_film(destination, deinterlace="off") as made:
            result = result_facts(made.info, info, checksums(destination, beat))
        done = [_done(plan) for plan in self._plans]
        self._writer.finish(
            program=f"vldm_core {__version__}",
            made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            source={**_facts(info), "name": self._name, "files": checksums(source, beat)},
            result=result,
            frames=report.frames,
            of_shots=done,
            stages=[kind.name for kind in ORDER if any(kind.name in own["stages"] for own in done)],
            whole_picture=list(dict.fromkeys(switch for own in done for switch in own["whole_picture"])),
            moved=any(own["moved"] for own in done),
            choices=None if settings.choices is None else json.loads(settings.choices.to_json()),
            settings=json.loads(settings_text(settings)),
            maps=[{"name": given.name, "kind": given.kind, "alone": given.alone} for given in settings.maps],
            fixes=[str(fix) for fix in settings.fixes],
            protect=None if settings.protect is None else str(settings.protect),
            warnings=list(report.warnings),
            notices=grouped(notices),
        )


def better_of(one: Example | None, two: Example) -> Example:
    """The example with more repaired pixels, the first of two alike."""
    return one if one is not None and one.changed >= two.changed else two


def _done(plan: StagePlan) -> dict[str, Any]:
    """What is done to a shot, as far as taking repairs back asks."""
    return {
        "stages": [stage.name for stage in plan.stages],
        "whole_picture": [stage.switch for stage in plan.stages if stage.scope is Scope.PICTURE],
        "moved": any(stage.scope is Scope.PLACE for stage in plan.stages),
    }


def result_facts(made: FilmInfo, source: FilmInfo, files: list[dict[str, Any]]) -> dict[str, Any]:
    """What a record says of the film that was made, and whether its samples are held without loss."""
    kept = layout_of(made.pix_fmt).canonical == layout_of(source.pix_fmt).canonical
    return {**_facts(made), "files": files, "lossless": made.codec in LOSSLESS_CODECS and kept}


def _facts(info: FilmInfo) -> dict[str, Any]:
    return {
        "width": info.width,
        "height": info.height,
        "pix_fmt": info.pix_fmt,
        "codec": info.codec,
        "frame_rate": str(info.frame_rate),
        "timecode": info.timecode,
    }


def grouped(notices: Notices) -> list[dict[str, Any]]:
    """What stages had to say of frames, each thing once with its frames."""
    alike: dict[tuple[str, str], list[int]] = {}
    for notice in notices:
        frames = alike.setdefault((notice.stage, notice.text), [])
        if notice.frame is not None:
            frames.append(notice.frame)
    return [{"stage": stage, "text": text, "frames": sorted(set(frames))} for (stage, text), frames in alike.items()]
