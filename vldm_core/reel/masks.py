"""Whole films whose masks are wanted: what detection finds, and what the damage simulation does."""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack

from torch import Tensor

from ..ageing import MASK_KINDS, SimulationSettings, Simulator, age_stream
from ..containment import Faults
from ..notices import Notices
from ..progress import Progress, Pulse, silent
from ..stages.plan import StagePlan
from ..video.info import FilmFrame
from ..video.reading.reader import ReadSettings
from ..video.shots import Shot
from ..video.writing.writer import WriteSettings, open_writer
from .mask_films import FOUND, GivenMarks, MaskWriters, with_given
from .passes import Source, analyse_film, counted, find_shots, over_shots
from .protection import read_protection
from .restore import ReelSettings

# Kinds of the simulation whose films have the name that detection gives them.
_MASK_FILMS = {"lines": "scratch"}


def detect_film(
    source: Source,
    directory: str | os.PathLike[str],
    settings: ReelSettings | None = None,
    progress: Progress = silent,
    *,
    notices: Notices | None = None,
) -> tuple[Shot, ...]:
    """Find the damage of a film file and write it as ``dirt.mkv`` and ``scratch.mkv``.

    The films are FFV1, grey, 0 or 255, with the size and frame count of the source.

    Args:
        source: File, image-sequence folder, or file contents.
        directory: Folder for the two films.
        settings: Which damage to look for; a stage that is None gives an empty film.
        progress: Called per frame and pass; may raise to interrupt.
        notices: Takes what the stages have to say of single frames.

    Returns:
        The shots of the film.

    Raises:
        FilmFileError: The source cannot be read or the folder cannot be written.
        StageError: A stage failed in a frame, and the settings are strict.
    """
    settings = with_given(settings or ReelSettings())
    faults = Faults(notices, strict=settings.strict)
    plan = StagePlan.from_settings(settings).to_marks()
    with ExitStack() as stack:
        film = stack.enter_context(settings.read.open(source))
        protect = None if settings.protect is None else read_protection(settings.protect, film.info)
        # Opened before the film is read, so that an output that cannot work costs no time.
        writers = stack.enter_context(MaskWriters(directory, FOUND, film.info, overwrite=settings.write.overwrite))
        given = stack.enter_context(GivenMarks(settings.maps, film.info))
        shots = find_shots(film, settings.shots, progress, faults=faults)
        given.check(shots[-1].last, lambda maps: counted(maps, progress))
        analyses = analyse_film(film, shots, plan.analysis, progress, faults=faults)
        pulse = Pulse(progress, "detect", shots[-1].last)
        for frame in over_shots(
            plan, iter(film), shots, analyses, pulse, protect=protect, faults=faults, given=given.of
        ):
            writers.write(frame.origin, {"dirt": frame.dirt, "scratch": frame.scratch})
            pulse.step()
    return shots


def simulate_film(
    source: Source,
    destination: str | os.PathLike[str],
    *,
    settings: SimulationSettings,
    seed: int,
    masks: str | os.PathLike[str] | None = None,
    clean: str | os.PathLike[str] | None = None,
    write: WriteSettings | None = None,
    read: ReadSettings | None = None,
    progress: Progress = silent,
) -> int:
    """Age a film file, and write where each kind of damage lies.

    Args:
        source: File, image-sequence folder, or file contents.
        destination: File or image-sequence folder to write.
        settings: What damage, how much.
        seed: Same seed, same damage.
        masks: Folder for a film per kind of local damage, such as ``dirt.mkv``, ``hair.mkv`` and ``scratch.mkv``
            (grey, the opacity of the damage from 0 to 255), or None to write none.
        clean: File or image-sequence folder for the clean frames that the aged ones show, one for each, also where
            frames are lost or repeated; or None to write none.
        write: Codec and quality of the aged film, and whether files may be replaced.
        read: How interlaced film, and the rate of an image sequence, are taken.
        progress: Called per frame; may raise to interrupt.

    Returns:
        Frames written.

    Raises:
        FilmFileError: The source cannot be read or the destination cannot be written.
    """
    count = 0
    write = write or WriteSettings()
    with ExitStack() as stack:
        film = stack.enter_context((read or ReadSettings()).open(source))
        simulator = Simulator(settings, seed, film.info.height, film.info.width)
        writer = stack.enter_context(open_writer(destination, film.info, settings=write, source=source))
        names = {kind: _MASK_FILMS.get(kind, kind) for kind in MASK_KINDS}
        target = None
        if clean is not None:
            target = stack.enter_context(open_writer(clean, film.info, settings=write, source=source))
        films = None
        if masks is not None:
            films = stack.enter_context(MaskWriters(masks, names, film.info, overwrite=write.overwrite))
        # Repeats and codecs look ahead; the frames that were read wait here for what they become.
        waiting: deque[FilmFrame] = deque()

        def undamaged() -> Iterator[Tensor]:
            for frame in film:
                waiting.append(frame)
                yield frame.tensor()

        for aged in age_stream(simulator, undamaged()):
            frame = waiting.popleft()
            writer.write(frame, aged.frame)
            if target is not None:
                target.write(frame, aged.clean)
            if films is not None:
                films.write(frame, aged.masks)
            count += 1
            progress("simulate", count, film.info.frame_count, aged.frame)
    return count
