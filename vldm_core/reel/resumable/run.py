"""Restore a reel so that whatever ends a run, a kill, a full disk, a power cut, costs one chunk at most.

The first pass and every finished chunk are kept in a folder beside the result, under keys of all that they depend on.
The same call again takes what is there and goes on; with other settings it takes what they do not touch. When all
chunks are there the film is put together from them, so a run that was interrupted and one that was not give the same
film: both encode the same kept frames.
"""

import logging
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import FilmFileError, FilmFileWarning, SettingsError
from ...machine.allocator import give_blocks_back, keep_to_one_heap
from ...machine.workers import same_sums
from ...notices import Notices
from ...prerestore.network import PreRestorer
from ...progress import Progress, Pulse, silent
from ...stages.analysis import ShotAnalysis
from ...stages.plan import StagePlan
from ...stages.settings import StageSettings
from ...stages.stage import StageModels
from ...stages.stage_frame import StageFrame
from ...video.info import FilmFrame, FilmInfo
from ...video.shots import Shot
from ...video.stream import FilmReader
from ...video.writing.encoding import WriteSettings
from ...video.writing.writer import open_writer
from ..cost import RESTORE, WRITE
from ..delivery.review import ReviewWriter
from ..mask_films import FOUND, GivenMarks, MaskWriters, with_given
from ..passes import Source, counted
from ..protection import read_protection
from ..record.file import refuse_record
from ..record.making import Recording
from ..restore import ReelReport, ReelSettings, load_plans, restore_film, shares_of_shots
from ..shot_choices import plans_of_shots, settings_of_shots
from .chunks import LENGTH, ReelChunk, plan_chunks, runs_of
from .first_pass import FirstPass
from .keys import film_key, key_of, maps_key, network_key, pack_key, stages_key
from .maker import Orders, kept_frames, kept_repairs, notices_of, storage
from .remembered import remembered
from .sharing.job import Alone, Crew, Do
from .sharing.share import Workers, alone, check_workers, hired, in_good_order, number_of
from .sharing.storage import SharedStorage, remove_run
from .stored import analysis_key
from .work_folder import KeptChunk, WorkFolder, refuse_address

logger = logging.getLogger(__name__)


_ROUNDS = 4
"""Runs of chunks that each worker is given at least where there are so many, so that all end at about one time."""

_LEAST_FRAMES = 240
"""Frames of such a run at least, in a long shot: at both its ends neighbours are looked at twice."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a run is kept and shared out; nothing of it shows in the film.

    Attributes:
        length: Frames of a chunk at most, 1 or more: so many are lost at most.
        workers: Processes that work side by side, 1 or more, of which 1 is this process alone; or a Ray cluster, see
            `Workers`.
        restart: Whether to begin anew, whatever is kept.
        keep: Whether the folder stays when the film is finished.
        report: File that the caller writes a report of the run to, or None: who goes on with the run is told of it.
        storage: Address that all workers reach, such as ``s3://bucket/runs``, through which chunks come to the folder;
            None where they write into the folder themselves. See `SharedStorage`.
    """

    length: int = LENGTH
    workers: Workers = 1
    restart: bool = False
    keep: bool = False
    report: Path | None = None
    storage: str | None = None

    def __post_init__(self) -> None:
        if self.length < 1:
            raise SettingsError(f"run length is {self.length}; use 1 frame or more")
        check_workers(self.workers)


def restore_reel(
    source: Source,
    destination: str | os.PathLike[str],
    settings: ReelSettings | None = None,
    progress: Progress = silent,
    *,
    run: RunSettings | None = None,
    folder: WorkFolder | None = None,
    prerestorer: PreRestorer | None = None,
    notices: Notices | None = None,
    each: Callable[[StageFrame[FilmFrame]], None] | None = None,
) -> ReelReport:
    """Restore a film file, or go on where an earlier run of the same call was ended.

    Args:
        source: File, image-sequence folder or parts of films. A film that lies in memory is restored in one go, by
            `restore_film`: nothing says on the next call that it is the same.
        destination: File or image-sequence folder to write.
        settings: Stages and output; defaults to :class:`ReelSettings`.
        progress: Called at least once per frame and pass; may raise to interrupt. Finished chunks stay.
        run: How the run is kept; defaults to `RunSettings()`.
        folder: Where; defaults to the one beside the result, ``NAME.vldm``.
        prerestorer: On its device, in the place of the one that the settings name.
        notices: Takes what the stages have to say of single frames; the report's warnings sum it up.
        each: Called with every restored frame and its masks, in order, after it was written.

    Returns:
        What was done; its time is that of this call.

    Raises:
        FilmFileError: The source or a map cannot be read, the result or a chunk cannot be written, the storage cannot
            be reached, or another process works in the folder.
        SettingsError: A map does not fit the film, the result is named by an address on a network, or the storage by
            none.
        WeightFileError: The weights for the pre-restoration cannot be used.
        StageError: A stage failed in a frame, and the settings are strict.
    """
    # Before any thread begins: a heap that a thread has had is given to the threads after it.
    keep_to_one_heap()
    run = run or RunSettings()
    settings = with_given(settings or ReelSettings())
    notices = Notices() if notices is None else notices
    started = time.monotonic()
    for path in (destination, *(() if folder is None else (folder.path,))):
        refuse_address(path)
    film_is, maps_are = film_key(source), maps_key(settings.maps)
    if film_is is None or maps_are is None:
        return restore_film(
            source, destination, settings, progress, prerestorer=prerestorer, notices=notices, each=each
        )
    if folder is None:
        folder = WorkFolder.beside(destination)
    shared = None if run.storage is None else SharedStorage.of_run(run.storage, folder)
    models = StageModels(prerestorer=prerestorer)
    # Before the film is touched, so that weights that cannot be used cost no time.
    load_plans(settings, models)
    with ExitStack() as stack:
        stack.enter_context(same_sums())
        film = stack.enter_context(settings.read.open(source))
        if settings.protect is not None:
            read_protection(settings.protect, film.info)
        _refuse_outputs(source, destination, film, settings)
        stack.enter_context(folder)
        if run.restart:
            folder.restart()
            if shared is not None:
                shared.clear()
        base = _base_key(film_is, settings)
        folder.describe(**remembered(source, destination, settings, run.report, run.storage))
        folder.note("run", film=film_is, pack=pack_key())
        first_pass = FirstPass(folder, base, source, film, settings, notices)
        crew = stack.enter_context(hired(run.workers))
        if not first_pass.begun:
            # They get ready while this process looks for the cuts.
            crew.begin()
        shots = first_pass.shots(progress)
        logger.info("%s: %d frames in %d shots", film.name, shots[-1].last, len(shots))
        # The first reading has told what is wrong with the file; the others need not repeat it.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", FilmFileWarning)
        with GivenMarks(settings.maps, film.info, settings.fixes) as given:
            given.check(shots[-1].last, lambda maps: counted(maps, progress))
        film.close()
        if settings.choices is not None:
            shots = settings.choices.parted(shots)
        stages = settings_of_shots(settings.choices, settings, shots)
        plans = plans_of_shots(stages, models)
        analyses = first_pass.analyses(shots, [plan.analysis for plan in plans], progress, run.workers, crew)
        chunks = plan_chunks(shots, reach=[plan.reach for plan in plans], length=run.length)
        stored = storage(destination, film.info, settings.write)
        depends = [
            _depends(base, settings, own, plan, analysis, maps_are, stored, prerestorer)
            for own, plan, analysis in zip(stages, plans, analyses, strict=True)
        ]
        keys = {chunk.first: _chunk_key(depends[chunk.shot], chunk, settings) for chunk in chunks}
        orders = Orders(
            source=source, settings=settings, shots=shots, stages=stages,
            analyses=analyses if shared is None else analyses.sent_to(shared),
            folder=folder.path, keys=keys, storage=stored, shared=shared,
        )  # fmt: skip
        kept = _made(orders, chunks, run, crew, folder, progress, prerestorer)
        # Their cores and memory are wanted for the encoder.
        crew.stop()
        for chunk in chunks:
            for notice in notices_of(kept[chunk.first].notices):
                notices.add(notice.stage, notice.text, frame=notice.frame)
        with Recording(settings.record, film, settings, shots, plans) as recording:
            whole = [kept[chunk.first] for chunk in chunks]
            messages = _put_together(orders, whole, destination, film, progress, each, recording)
            pixels = shots[-1].last * film.info.height * film.info.width
            report = ReelReport(
                frames=shots[-1].last,
                shots=shots,
                warnings=(*first_pass.warnings, *messages, *notices.summary()),
                dirt_share=sum(each.dirt for each in whole) / pixels,
                scratch_share=sum(each.scratch for each in whole) / pixels,
                seconds=time.monotonic() - started,
                shares=_shares(shots, film.info, chunks, kept),
            )
            pulse = Pulse(progress, WRITE, shots[-1].last, done=shots[-1].last)
            recording.finish(source, destination, report, notices, pulse.beat)
        folder.note("finished", destination=str(destination), frames=shots[-1].last)
    if not run.keep:
        remove_run(folder, run.storage)
    return report


def _refuse_outputs(
    source: Source, destination: str | os.PathLike[str], film: FilmReader, settings: ReelSettings
) -> None:
    """Refuse outputs that cannot be written, so that they cost no time."""
    overwrite = settings.write.overwrite
    if settings.record is not None:
        refuse_record(settings.record, overwrite=overwrite)
    open_writer(destination, film.info, settings=settings.write, source=source).abort()
    if settings.review is not None:
        ReviewWriter(settings.review, film.info, source=source, overwrite=overwrite).abort()


def _shares(
    shots: Sequence[Shot], info: FilmInfo, chunks: Sequence[ReelChunk], kept: Mapping[int, KeptChunk]
) -> tuple[tuple[float, float], ...]:
    """The shares of dirt and scratch in each shot."""
    dirt, scratch = [0] * shots[-1].last, [0] * shots[-1].last
    for chunk in chunks:
        # Those of its frames are kept as their sum; they are asked for shot by shot.
        dirt[chunk.first], scratch[chunk.first] = kept[chunk.first].dirt, kept[chunk.first].scratch
    return shares_of_shots(shots, info, dirt, scratch)


def _base_key(film: str, settings: ReelSettings) -> str:
    """Key of what the search for cuts depends on."""
    return key_of(film=film, pack=pack_key(), read=repr(settings.read), shots=repr(settings.shots))


def _depends(
    base: str,
    settings: ReelSettings,
    stages: StageSettings,
    plan: StagePlan,
    analysis: ShotAnalysis | None,
    maps: str,
    stored: WriteSettings,
    prerestorer: PreRestorer | None,
) -> str:
    """Key of what every restored frame of a shot depends on.

    With the same settings for all shots, the analysis follows from the others. With a table of shots it depends on what
    the first pass of its neighbours looked for, too; where no analysis is given, all of the table counts.
    """
    learnt = None
    if settings.choices is not None:
        learnt = settings.choices.to_json() if analysis is None else analysis_key(analysis)
    # What fixes touch is known chunk by chunk.
    plain = with_given(replace(settings, fixes=()))
    return key_of(
        base=base,
        analysis=repr(plan.analysis),
        stages=stages_key(replace(stages, given_dirt=plain.given_dirt, given_scratch=plain.given_scratch)),
        learnt=learnt,
        maps=maps,
        protect=None if settings.protect is None else film_key(settings.protect),
        stored=repr(stored),
        network=None if prerestorer is None else network_key(prerestorer),
    )


def _chunk_key(depends: str, chunk: ReelChunk, settings: ReelSettings) -> str:
    """Key of the frames of a chunk."""
    fixes = [str(fix) for fix in settings.fixes if fix.touches(chunk.start, chunk.stop)]
    return key_of(depends=depends, first=chunk.first, last=chunk.last, **({"fixes": fixes} if fixes else {}))


def _made(
    orders: Orders,
    chunks: Sequence[ReelChunk],
    run: RunSettings,
    crew: Crew,
    folder: WorkFolder,
    progress: Progress,
    prerestorer: PreRestorer | None,
) -> dict[int, KeptChunk]:
    """All chunks by their first frame: those that are kept, and the others as they are made."""
    kept: dict[int, KeptChunk] = {}
    shared = orders.shared
    for chunk in chunks:
        key = orders.keys[chunk.first]
        found = folder.chunk(chunk.first, chunk.last, key)
        if found is None and shared is not None:
            # A worker may have finished it when nobody led the run any more.
            found = shared.fetch(folder, chunk.first, chunk.last, key)
        if found is not None:
            kept[chunk.first] = _in_short(found)
    missing = [chunk for chunk in chunks if chunk.first not in kept]
    pulse = Pulse(progress, RESTORE, chunks[-1].last, done=sum(each.last - each.first for each in kept.values()))
    if kept:
        logger.info("%d of %d chunks are there already", len(kept), len(chunks))
        pulse.beat()

    def take(chunk: KeptChunk) -> None:
        if shared is not None and shared.fetch(folder, chunk.first, chunk.last, chunk.key) is None:
            raise FilmFileError(
                f"the frames {chunk.first} to {chunk.last - 1} were sent to {shared.address} and are not there as they "
                "were sent; see that all computers reach the same storage there, and run the same again"
            )
        kept[chunk.first] = _in_short(chunk)
        folder.note("chunk", first=chunk.first, last=chunk.last, key=chunk.key, seconds=chunk.seconds)

    if prerestorer is not None:
        # A network that was given on its device stays there.
        Alone().do(_Given(orders, prerestorer), runs_of(missing), pulse, take)
        return kept
    frames = sum(chunk.frames for chunk in missing)
    longest = None if alone(run.workers) else max(_LEAST_FRAMES, frames // (number_of(run.workers) * _ROUNDS))
    runs = runs_of(missing, longest=longest)
    crew.do(orders, in_good_order(runs, [sum(chunk.frames for chunk in own) for own in runs], run.workers), pulse, take)
    return kept


def _in_short(chunk: KeptChunk) -> KeptChunk:
    """A chunk without what is kept of each of its frames, which is read again when the film is put together."""
    return replace(chunk, frames=())


def _in_full(folder: WorkFolder, chunk: KeptChunk) -> KeptChunk:
    found = folder.chunk(chunk.first, chunk.last, chunk.key, whole=False)
    if found is None:
        raise FilmFileError(
            f"{folder.chunks / chunk.film} is not as it was kept, or gone; run the same again, and it is made anew"
        )
    return found


@dataclass(frozen=True)
class _Given:
    """Makes chunks in this process with a network that was given."""

    orders: Orders
    prerestorer: PreRestorer

    def open(self) -> AbstractContextManager[Do]:
        return self.orders.open(self.prerestorer)


def _put_together(
    orders: Orders,
    chunks: Sequence[KeptChunk],
    destination: str | os.PathLike[str],
    film: FilmReader,
    progress: Progress,
    each: Callable[[StageFrame[FilmFrame]], None] | None,
    recording: Recording,
) -> tuple[str, ...]:
    """Write the film, the films of masks and the record from the chunks; return what the writer has to say."""
    settings, folder = orders.settings, WorkFolder(Path(orders.folder))
    pulse = Pulse(progress, WRITE, chunks[-1].last)
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(destination, film.info, settings=settings.write, source=orders.source))
        masks = None
        if settings.mask_films is not None:
            writers = MaskWriters(settings.mask_films, FOUND, film.info, overwrite=settings.write.overwrite)
            masks = stack.enter_context(writers)
        review, before = None, None
        if settings.review is not None:
            copy = ReviewWriter(settings.review, film.info, source=orders.source, overwrite=settings.write.overwrite)
            # The film is read once more, in step.
            review, before = stack.enter_context(copy), iter(stack.enter_context(film))
        for short in chunks:
            chunk = _in_full(folder, short)
            _, example = kept_repairs(folder, chunk)
            for frame in kept_frames(folder, chunk, film.info):
                recording.take(frame, example)
                writer.write(frame.origin)
                if review is not None and before is not None:
                    review.write(next(before), frame.origin)
                if masks is not None:
                    masks.write(frame.origin, {kind: getattr(frame, kind) for kind in FOUND})
                if each is not None:
                    each(frame)
                pulse.step()
            # As after each chunk that is made: decoders and encoders leave free pages between those in use.
            give_blocks_back()
        # What is found out while finishing belongs into the report too.
        writer.close()
        return tuple(writer.warnings)
