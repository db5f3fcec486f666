"""Restore a film file: shots first, then two streamed passes per shot, at memory that does not grow with the reel."""

import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ..containment import Faults
from ..errors import FilmFileWarning
from ..film.box_fixes import BoxFix
from ..machine.workers import same_sums
from ..notices import Notices
from ..prerestore.network import PreRestorer
from ..progress import Progress, Pulse, silent
from ..stages.plan import StagePlan
from ..stages.settings import StageSettings
from ..stages.stage import StageModels
from ..stages.stage_frame import StageFrame
from ..video.info import FilmFrame, FilmInfo
from ..video.reading.reader import ReadSettings
from ..video.shots import Shot, ShotSettings
from ..video.writing.writer import WriteSettings, open_writer
from .delivery.review import reviewing
from .mask_films import FOUND, GivenMap, GivenMarks, MaskWriters, pixels_marked, with_given
from .passes import Source, analyse_film, counted, find_shots, over_shots
from .protection import read_protection
from .record.file import refuse_record
from .record.finding import RepairFinder
from .record.making import Recording
from .shot_choices import ShotChoices, plans_of_shots, settings_of_shots

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReelSettings(StageSettings):
    """What to do to a reel; None leaves a stage out.

    Attributes:
        dirt: How transient dirt is found.
        lines: How persistent line scratches are found.
        flicker: How flicker is measured and removed.
        average: How frames are averaged with their neighbours along the motion.
        prerestore: How a network takes blur, noise and compression off.
        stabilise: How gate weave is removed.
        dirt_repair: How dirt is filled.
        line_repair: How scratches are repaired.
        motion: How well the motion of a shot is known where frames are compared.
        given_dirt: Follows from `maps`.
        given_scratch: Follows from `maps`.
        maps: Damage that is known from elsewhere, beside what is found or in its place.
        fixes: Boxes in frames of the film that are repaired in any case, or left alone.
        mask_films: Folder for ``dirt.mkv`` and ``scratch.mkv``: what was repaired, to be looked at, edited and given
            back as `reviewed_masks`; None writes none.
        record: File for the record of every repair with the samples that were there before, see
            `vldm_core.reel.record`; None writes none.
        review: File for a small film of each frame before and after side by side, with the sound; None writes none.
        protect: Picture of the film's size, white where no damage is to be found in any frame, or None.
        shots: How cuts are found.
        choices: What is done otherwise to single shots or ranges of frames, or None.
        read: How interlaced film, and the rate of an image sequence, are taken.
        write: Codec and quality of the result.
        keep_partial: After an error or interrupt in the last pass, keep what was finished as
            ``NAME.partial.SUFFIX`` beside the result.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a warning.
    """

    maps: tuple[GivenMap, ...] = ()
    fixes: tuple[BoxFix, ...] = ()
    mask_films: Path | None = None
    record: Path | None = None
    review: Path | None = None
    protect: Path | None = None
    shots: ShotSettings = field(default_factory=ShotSettings)
    choices: ShotChoices | None = None
    read: ReadSettings = field(default_factory=ReadSettings)
    write: WriteSettings = field(default_factory=WriteSettings)
    keep_partial: bool = True
    strict: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that change the picture; an empty tuple is a reel that would only be copied."""
        return StagePlan.from_settings(self).switches


@dataclass(frozen=True, kw_only=True)
class ReelReport:
    """What was done to a reel.

    Attributes:
        frames: Frames read and written.
        shots: Where the cuts are.
        warnings: Faults of the source file, naming frame numbers, and what the stages have to say, summed up.
        dirt_share: Share of all pixels that were filled as dirt, 0 … 1.
        scratch_share: Share of all pixels that were repaired as scratch, 0 … 1.
        seconds: Wall time.
        shares: The shares of dirt and scratch in each shot; empty where the shots were given otherwise.
    """

    frames: int
    shots: tuple[Shot, ...]
    warnings: tuple[str, ...]
    dirt_share: float
    scratch_share: float
    seconds: float
    shares: tuple[tuple[float, float], ...] = ()


def shares_of_shots(
    shots: Sequence[Shot], info: FilmInfo, dirt: Sequence[int], scratch: Sequence[int]
) -> tuple[tuple[float, float], ...]:
    """Return the shares of dirt and scratch in all pixels of each shot, 0 … 1.

    Args:
        shots: The shots.
        info: The film, for its size.
        dirt: Pixels of each frame that were filled as dirt.
        scratch: Pixels of each frame that were repaired as scratch.
    """
    frame = info.height * info.width
    return tuple(
        (
            sum(dirt[shot.first : shot.last]) / (len(shot) * frame),
            sum(scratch[shot.first : shot.last]) / (len(shot) * frame),
        )
        for shot in shots
    )


def load_plans(settings: ReelSettings, models: StageModels) -> None:
    """Read what the stages of all shots need from files, and refuse a table of shots that makes no sense.

    Raises:
        WeightFileError: The weights of a network cannot be used.
        SettingsError: There is no such device here, or the table says something that makes no sense.
    """
    rows = () if settings.choices is None else settings.choices.rows
    if settings.choices is not None:
        settings.choices.check_no_prior()
    for plan in plans_of_shots((settings, *(row.settings(settings) for row in rows)), models):
        plan.load()


def restore_film(
    source: Source,
    destination: str | os.PathLike[str],
    settings: ReelSettings | None = None,
    progress: Progress = silent,
    *,
    prerestorer: PreRestorer | None = None,
    notices: Notices | None = None,
    each: Callable[[StageFrame[FilmFrame]], None] | None = None,
) -> ReelReport:
    """Restore a film file.

    The result has the frame count, timestamps, colour tags and audio of the source. It appears under its name only
    when it is complete.

    Args:
        source: File, image-sequence folder, or file contents.
        destination: File or image-sequence folder to write.
        settings: Stages and output; defaults to :class:`ReelSettings`.
        progress: Called at least once per frame and pass; may raise to interrupt.
        prerestorer: On its device, in the place of the one that the settings name.
        notices: Takes what the stages have to say of single frames; the report's warnings sum it up.
        each: Called with every restored frame and its masks, in order, after it was written.

    Raises:
        FilmFileError: The source or a map cannot be read, or the destination cannot be written.
        SettingsError: A map does not fit the film.
        WeightFileError: The weights for the pre-restoration cannot be used.
        StageError: A stage failed in a frame, and the settings are strict.
    """
    settings = with_given(settings or ReelSettings())
    notices = Notices() if notices is None else notices
    faults = Faults(notices, strict=settings.strict)
    started = time.monotonic()
    models = StageModels(prerestorer=prerestorer)
    # Before the film is touched, so that weights that cannot be used cost no time.
    load_plans(settings, models)
    damaged: dict[str, list[int]] = {"dirt": [], "scratch": []}
    with ExitStack() as stack:
        stack.enter_context(same_sums())
        film = stack.enter_context(settings.read.open(source))
        protect = None if settings.protect is None else read_protection(settings.protect, film.info)
        # Opened before the reel is read, so that an output that cannot work costs no time.
        writer = stack.enter_context(open_writer(destination, film.info, settings=settings.write, source=source))
        masks = None
        if settings.mask_films is not None:
            writers = MaskWriters(settings.mask_films, FOUND, film.info, overwrite=settings.write.overwrite)
            masks = stack.enter_context(writers)
        if settings.record is not None:
            refuse_record(settings.record, overwrite=settings.write.overwrite)
        copied = reviewing(settings.review, film.info, source=source, overwrite=settings.write.overwrite)
        show = stack.enter_context(copied)
        given = stack.enter_context(GivenMarks(settings.maps, film.info, settings.fixes))
        shots = find_shots(film, settings.shots, progress, faults=faults)
        logger.info("%s: %d frames in %d shots", film.name, shots[-1].last, len(shots))
        if settings.choices is not None:
            shots = settings.choices.parted(shots)
        plans = plans_of_shots(settings_of_shots(settings.choices, settings, shots), models)
        # The first reading has told what is wrong with the file; the others need not repeat it.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", FilmFileWarning)
        given.check(shots[-1].last, lambda maps: counted(maps, progress))
        recording = stack.enter_context(Recording(settings.record, film, settings, shots, plans))
        finder = None if settings.record is None else RepairFinder(film.info)
        analyses = analyse_film(film, shots, [plan.analysis for plan in plans], progress, faults=faults)
        pulse = Pulse(progress, "restore", shots[-1].last)
        try:
            restored = over_shots(
                plans, iter(film), shots, analyses, pulse,
                protect=protect, faults=faults, given=given.of, repaired=finder,
            )  # fmt: skip
            for frame in restored:
                writer.write(frame.origin, frame.image)
                if masks is not None:
                    masks.write(frame.origin, {"dirt": frame.dirt, "scratch": frame.scratch})
                recording.take(frame)
                show(frame.origin, frame.image)
                if each is not None:
                    each(frame)
                for kind in damaged:
                    damaged[kind].append(pixels_marked(getattr(frame, kind)))
                pulse.step(frame.image)
        except BaseException:
            if settings.keep_partial:
                logger.warning("stopped after frame %d, kept what is finished: %s", pulse.done, writer.keep_partial())
            raise
        # What is found out while finishing belongs into the report too.
        writer.close()
        pixels = pulse.done * film.info.height * film.info.width
        report = ReelReport(
            frames=pulse.done,
            shots=shots,
            warnings=(*film.warnings, *writer.warnings, *notices.summary()),
            dirt_share=sum(damaged["dirt"]) / pixels,
            scratch_share=sum(damaged["scratch"]) / pixels,
            seconds=time.monotonic() - started,
            shares=shares_of_shots(shots, film.info, damaged["dirt"], damaged["scratch"]),
        )
        recording.finish(source, destination, report, notices, pulse.beat)
    return report
