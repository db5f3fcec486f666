"""The passes over a film file: the search for shots, the analysis of every shot, and a plan of stages run over them."""

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from torch import Tensor

from ..containment import Faults
from ..errors import FilmFileError
from ..progress import Progress, Pulse, silent
from ..stages.analysis import AnalysisSettings, ShotAnalyser, ShotAnalysis, link_shots
from ..stages.cuts import find_cuts
from ..stages.plan import StagePlan
from ..stages.stage import ShotContext
from ..stages.stage_frame import StageFrame
from ..video.buffers.prefetch import ahead
from ..video.info import FilmFrame
from ..video.reading.edited import EditedFilm
from ..video.shots import Shot, ShotSettings
from ..video.stream import FilmReader

_AHEAD = 2
"""Frames that are read, and looked at, while those before them are measured."""

Source = str | os.PathLike[str] | io.BytesIO | EditedFilm
"""A film: a file, an image-sequence folder, the contents of a file, or a part of a film."""


def find_shots(
    film: FilmReader, settings: ShotSettings, progress: Progress = silent, *, faults: Faults | None = None
) -> tuple[Shot, ...]:
    """Cut a film into shots in one streamed pass.

    Args:
        film: The film; it is read from its start.
        settings: How a cut is told from flicker, flashes and dirt.
        progress: Called once per frame.
        faults: What is done about frames that cannot be looked at.

    Raises:
        FilmFileError: The film cannot be read or holds no frame.
    """
    with closing(ahead((frame.image for frame in film), _AHEAD)) as images:  # type: ignore[type-var]
        shots = find_cuts(
            images,
            settings,
            faults=faults,
            seen=lambda count: progress("find shots", count, film.info.frame_count),
        )
    if not shots:
        raise FilmFileError(f"{film.name}: no frame could be decoded; check the file in a player")
    return shots


def counted(film: FilmReader, progress: Progress = silent) -> int:
    """Count the frames of a film by reading it: what the file says of itself may be an estimate."""
    count = 0
    for count, _ in enumerate(film, start=1):  # the last number is what is wanted
        progress("count frames", count, film.info.frame_count)
    return count


def analyse_film(
    film: FilmReader,
    shots: Sequence[Shot],
    settings: AnalysisSettings | Sequence[AnalysisSettings],
    progress: Progress = silent,
    *,
    faults: Faults | None = None,
) -> tuple[ShotAnalysis, ...]:
    """Run the first pass over every shot of a film.

    Args:
        film: The film; it is read from its start.
        shots: Its shots.
        settings: What to measure, of all shots or of each.
        progress: Called once per frame.
        faults: What is done about frames that cannot be measured.
    """
    faults = faults or Faults()
    pulse = Pulse(progress, "analyse", shots[-1].last)
    frames = iter(film)
    results = []
    each = [settings] * len(shots) if isinstance(settings, AnalysisSettings) else settings
    for shot, own in zip(shots, each, strict=True):
        analyser = ShotAnalyser(own, film.info.height, film.info.width, faults=faults, first=shot.first)
        results.append(analysed(analyser, islice(frames, shot.last - shot.first), pulse))
    return link_shots(results)


def analysed(analyser: ShotAnalyser, frames: Iterator[FilmFrame], pulse: Pulse) -> ShotAnalysis:
    """Run the first pass over the frames of a shot; they are read ahead, in a thread of their own.

    Args:
        analyser: Of the shot.
        frames: Its frames.
        pulse: Takes a step for each.
    """
    with closing(ahead((analyser.look(frame.tensor()) for frame in frames), _AHEAD)) as looks:  # type: ignore[type-var]
        for look in looks:
            analyser.measure(look)
            pulse.step()
    return analyser.finish()


Given = Callable[[FilmFrame], Mapping[str, Tensor]]
"""What is known of the damage in the next frame: the fields of a `StageFrame` that `GIVEN` names, (H, W) each."""

GIVEN = ("dirt", "scratch", "forced", "around", "kept")


def given_frame(frame: FilmFrame, marks: Mapping[str, Tensor]) -> StageFrame[FilmFrame]:
    """Make a frame for the stages, with what is known to be damaged in it; see `Given`."""
    known: dict[str, Any] = {kind: marks.get(kind) for kind in GIVEN}
    return StageFrame(image=frame, origin=frame, number=frame.index, **known)


Repaired = Callable[[StageFrame[FilmFrame], int, ShotAnalysis], Any]
"""Notes what was repaired in a frame, see `ShotContext.repaired`."""


def stage_frames(
    frames: Iterator[FilmFrame], shot: Shot, pulse: Pulse, given: Given | None = None
) -> Iterator[StageFrame[FilmFrame]]:
    """Give the frames of one shot to the stages."""
    for frame in islice(frames, shot.last - shot.first):
        pulse.beat()
        marks = {} if given is None else given(frame)
        yield given_frame(frame, marks)


def run_plan(
    plan: StagePlan, frames: Iterator[StageFrame[FilmFrame]], context: ShotContext
) -> Iterator[StageFrame[FilmFrame]]:
    """Run a plan over a shot; where it has no stage, what is known to be damaged is no repair either."""
    if plan.stages:
        return plan.run(frames, context)
    return (frame.having(dirt=None, scratch=None) for frame in frames)


def over_shots(
    plan: StagePlan | Sequence[StagePlan],
    frames: Iterator[FilmFrame],
    shots: Sequence[Shot],
    analyses: Sequence[ShotAnalysis],
    pulse: Pulse,
    *,
    protect: Tensor | None = None,
    faults: Faults | None = None,
    given: Given | None = None,
    repaired: Repaired | None = None,
) -> Iterator[StageFrame[FilmFrame]]:
    """Run a plan of stages over all shots of a film.

    Args:
        plan: The stages, of all shots or of each.
        frames: The film from its start; what follows the last shot is left in it.
        shots: Shots that cover its beginning.
        analyses: The first pass of each.
        pulse: Gives signs of life.
        protect: (H, W) bool, where nothing is marked, or None.
        faults: What is done about frames that a stage cannot do.
        given: Tells of each frame in turn what is known to be damaged.
        repaired: Notes what was repaired in a frame, see `ShotContext.repaired`.

    Yields:
        Every frame of the shots, in order.
    """
    plans = [plan] * len(shots) if isinstance(plan, StagePlan) else plan
    for shot, analysis, own in zip(shots, analyses, plans, strict=True):
        context = ShotContext(
            analysis=analysis, protect=protect, beat=pulse.beat, faults=faults or Faults(), repaired=repaired
        )
        yield from run_plan(own, stage_frames(frames, shot, pulse, given), context)
