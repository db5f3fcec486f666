"""Restore a film file: shots first, then two streamed passes per shot, at memory that does not grow with the reel."""

import io
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from torch import Tensor

from ..containment import Faults
from ..errors import FilmFileError, FilmFileWarning
from ..film.dirt.detection import DirtSettings
from ..film.fill.repair import DirtRepairSettings
from ..film.flicker.removal import FlickerSettings
from ..film.scratches.detection import LineSettings
from ..film.scratches.repair.repair import LineRepairSettings
from ..film.weave.stabilise import StabiliseSettings
from ..notices import Notices
from ..prerestore.network import PreRestorer
from ..prerestore.shipped import PreRestoration, load_prerestorer
from ..progress import Progress, Pulse, silent
from ..stages.analysis import AnalysisSettings, ShotAnalyser, ShotAnalysis, link_shots
from ..stages.stream import StageFrame, look_for_cut, restore_shot
from ..video.buffers.windows import window_size
from ..video.info import FilmFrame
from ..video.reading.edited import EditedFilm
from ..video.reading.reader import ReadSettings
from ..video.shots import Shot, ShotDetector, ShotSettings
from ..video.stream import FilmReader
from ..video.writing.writer import WriteSettings, open_writer
from .protection import read_protection

logger = logging.getLogger(__name__)

Source = str | os.PathLike[str] | io.BytesIO | EditedFilm


_STAGES = ("lines", "dirt", "flicker", "prerestore", "stabilise")


@dataclass(frozen=True, kw_only=True)
class ReelSettings:
    """What to do to a reel; None leaves a stage out.

    Attributes:
        dirt: How transient dirt is found.
        lines: How persistent line scratches are found.
        flicker: How flicker is measured and removed.
        prerestore: How a network takes blur, noise and compression off.
        stabilise: How gate weave is removed.
        dirt_repair: How dirt is filled.
        line_repair: How scratches are undone.
        protect: Picture of the film's size, white where no damage is to be found in any frame, or None.
        shots: How cuts are found.
        read: How interlaced film, and the rate of an image sequence, are taken.
        write: Codec and quality of the result.
        keep_partial: After an error or interrupt in the last pass, keep what was finished as
            ``NAME.partial.SUFFIX`` beside the result.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a warning.
    """

    dirt: DirtSettings | None = field(default_factory=DirtSettings)
    lines: LineSettings | None = field(default_factory=LineSettings)
    flicker: FlickerSettings | None = field(default_factory=FlickerSettings)
    prerestore: PreRestoration | None = field(default_factory=PreRestoration)
    stabilise: StabiliseSettings | None = None
    dirt_repair: DirtRepairSettings = field(default_factory=DirtRepairSettings)
    line_repair: LineRepairSettings = field(default_factory=LineRepairSettings)
    protect: Path | None = None
    shots: ShotSettings = field(default_factory=ShotSettings)
    read: ReadSettings = field(default_factory=ReadSettings)
    write: WriteSettings = field(default_factory=WriteSettings)
    keep_partial: bool = True
    strict: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that change the picture; an empty tuple is a reel that would only be copied."""
        return tuple(name for name in _STAGES if getattr(self, name) is not None)

    @classmethod
    def no_stages(cls) -> "ReelSettings":
        """Settings that leave every stage out, to which the stages that are wanted are added."""
        return cls(lines=None, dirt=None, flicker=None, prerestore=None, stabilise=None)

    @property
    def analysis(self) -> AnalysisSettings:
        """The measurements that the chosen stages need."""
        return AnalysisSettings(lines=self.lines, flicker=self.flicker, stabilise=self.stabilise)


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
    """

    frames: int
    shots: tuple[Shot, ...]
    warnings: tuple[str, ...]
    dirt_share: float
    scratch_share: float
    seconds: float


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
    faults = faults or Faults()
    detector = ShotDetector(settings)
    count = 0
    for frame in film:
        look_for_cut(detector, frame.image, count, faults)
        count += 1
        progress("find shots", count, film.info.frame_count)
    if count == 0:
        raise FilmFileError(f"{film.name}: no frame could be decoded; check the file in a player")
    return detector.finish()


def analyse_film(
    film: FilmReader,
    shots: tuple[Shot, ...],
    settings: AnalysisSettings,
    progress: Progress = silent,
    *,
    faults: Faults | None = None,
) -> tuple[ShotAnalysis, ...]:
    """Run the first pass over every shot of a film.

    Args:
        film: The film; it is read from its start.
        shots: Its shots.
        settings: What to measure.
        progress: Called once per frame.
        faults: What is done about frames that cannot be measured.
    """
    faults = faults or Faults()
    pulse = Pulse(progress, "analyse", shots[-1].last)
    frames = iter(film)
    results = []
    for shot in shots:
        analyser = ShotAnalyser(settings, film.info.height, film.info.width, faults=faults, first=shot.first)
        for frame in islice(frames, shot.last - shot.first):
            analyser.update(frame.tensor())
            pulse.step()
        results.append(analyser.finish())
    return link_shots(results)


def stage_frames(frames: Iterator[FilmFrame], shot: Shot, pulse: Pulse) -> Iterator[StageFrame[FilmFrame]]:
    """Give the frames of one shot to the stages."""
    for frame in islice(frames, shot.last - shot.first):
        pulse.beat()
        yield StageFrame(image=frame, origin=frame, number=frame.index)


def _restored(
    film: FilmReader,
    shots: tuple[Shot, ...],
    analyses: tuple[ShotAnalysis, ...],
    settings: ReelSettings,
    protect: Tensor | None,
    prerestorer: PreRestorer | None,
    pulse: Pulse,
    faults: Faults,
) -> Iterator[StageFrame[FilmFrame]]:
    """Run the second pass over all shots."""
    frames = iter(film)
    for shot, analysis in zip(shots, analyses, strict=True):
        yield from restore_shot(
            stage_frames(frames, shot, pulse),
            analysis,
            dirt=settings.dirt,
            size=window_size(film.info.height, film.info.width),
            line_repair_settings=settings.line_repair,
            dirt_repair_settings=settings.dirt_repair,
            protect=protect,
            prerestorer=prerestorer,
            prerestore_settings=settings.prerestore,
            beat=pulse.beat,
            faults=faults,
        )


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
        FilmFileError: The source cannot be read or the destination cannot be written.
        WeightFileError: The weights for the pre-restoration cannot be used.
        StageError: A stage failed in a frame, and the settings are strict.
    """
    settings = settings or ReelSettings()
    notices = Notices() if notices is None else notices
    faults = Faults(notices, strict=settings.strict)
    started = time.monotonic()
    # Before the film is touched, so that weights that cannot be used cost no time.
    if settings.prerestore is None:
        prerestorer = None
    elif prerestorer is None:
        prerestorer = load_prerestorer(settings.prerestore)
    damaged = {"dirt": 0.0, "scratch": 0.0}
    with ExitStack() as stack:
        film = stack.enter_context(settings.read.open(source))
        protect = None if settings.protect is None else read_protection(settings.protect, film.info)
        # Opened before the reel is read, so that an output that cannot work costs no time.
        writer = stack.enter_context(open_writer(destination, film.info, settings=settings.write, source=source))
        shots = find_shots(film, settings.shots, progress, faults=faults)
        logger.info("%s: %d frames in %d shots", film.name, shots[-1].last, len(shots))
        # The first reading has told what is wrong with the file; the others need not repeat it.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", FilmFileWarning)
        analyses = analyse_film(film, shots, settings.analysis, progress, faults=faults)
        pulse = Pulse(progress, "restore", shots[-1].last)
        try:
            for frame in _restored(film, shots, analyses, settings, protect, prerestorer, pulse, faults):
                writer.write(frame.origin, frame.image)
                if each is not None:
                    each(frame)
                for kind in damaged:
                    mask = getattr(frame, kind)
                    damaged[kind] += 0.0 if mask is None else float(mask.mean())
                pulse.step(frame.image)
        except BaseException:
            if settings.keep_partial:
                logger.warning("stopped after frame %d, kept what is finished: %s", pulse.done, writer.keep_partial())
            raise
        # What is found out while finishing belongs into the report too.
        writer.close()
        messages = (*film.warnings, *writer.warnings, *notices.summary())
    return ReelReport(
        frames=pulse.done,
        shots=shots,
        warnings=messages,
        dirt_share=damaged["dirt"] / pulse.done,
        scratch_share=damaged["scratch"] / pulse.done,
        seconds=time.monotonic() - started,
    )
