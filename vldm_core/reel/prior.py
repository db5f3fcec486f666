"""Restore a film file with a Stable Diffusion prior: repair and pre-restoration first, then the prior, shot by shot.

What comes first lies losslessly beside the result until the prior is through, so the prior reads it as often as it
needs and memory holds one part of one shot. Parts of a long shot overlap and are crossfaded.
"""

import json
import logging
import os
import time
import warnings
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..containment import Faults
from ..errors import FilmFileWarning, SettingsError
from ..files.temporary import free_path, own_folder
from ..notices import Notices
from ..prerestore.network import PreRestorer
from ..progress import Progress, Pulse, silent
from ..stages.stage_frame import StageFrame
from ..video.info import FilmFrame, FilmInfo
from ..video.reading.reader import open_film
from ..video.writing.writer import FilmWriter, WriteSettings, open_writer
from .delivery.review import reviewing
from .mask_films import MaskWriters
from .passes import Source
from .prior_company import LoraShelf, mask_films
from .prior_controls import ControlShelf
from .prior_parts import over_parts
from .record.file import record_path, refuse_record
from .restore import ReelReport, ReelSettings, restore_film
from .resumable.parts import facts_of, pipeline_key
from .resumable.run import RunSettings, restore_reel
from .resumable.sharing.storage import remove_run
from .resumable.work_folder import WorkFolder
from .with_prior.decoding import decoding_parts
from .with_prior.inputs import check_lengths, hints_of, open_company
from .with_prior.recording import PriorRecording
from .with_prior.restorer import shot_restorer, where_applied
from .with_prior.sampling import ShotSampling, samplings
from .with_prior.settings import PriorReelSettings
from .with_prior.work import PriorWork

logger = logging.getLogger(__name__)


def restore_film_with_prior(
    source: Source,
    destination: str | os.PathLike[str],
    pipeline: Any,
    settings: PriorReelSettings | None = None,
    progress: Progress = silent,
    *,
    run: RunSettings | None = None,
    folder: WorkFolder | None = None,
    prerestorer: PreRestorer | None = None,
    notices: Notices | None = None,
) -> ReelReport:
    """Repair a film file, then restore it with a prior.

    The result has the frame count, timestamps, colour tags and audio of the source. It appears under its name only when
    it is complete. After an error or interrupt in the prior, what is finished stays as ``NAME.partial.SUFFIX`` and the
    repaired film as ``NAME.repaired.mkv``, unless ``settings.reel.keep_partial`` is off.

    Args:
        source: File, image-sequence folder, or file contents.
        destination: File or image-sequence folder to write.
        pipeline: A `VideoRestorationPipeline`, for example from :func:`..prior.opening.open_prior`, or what is called
            as one and says by a ``key`` what its results depend on.
        settings: How; defaults to :class:`.with_prior.settings.PriorReelSettings`.
        progress: Called at least once per frame and pass; may raise to interrupt.
        run: How what is finished is kept, part by part, for the same call to go on from; then nothing else is kept
            after an error. None keeps none of it.
        folder: Where, with `run`; defaults to the one beside the result, ``NAME.vldm``.
        prerestorer: On its device, in the place of the one that the settings name.
        notices: Takes what the stages have to say of single frames; the report's warnings sum it up.

    Raises:
        FilmFileError: The source cannot be read or the destination cannot be written.
        SettingsError: The settings do not fit the pipeline or the film.
        StageError: A stage of the repair failed in a frame, and the settings are strict.
    """
    settings = settings or PriorReelSettings()
    started = time.monotonic()
    _check(pipeline, settings)
    # Before the film is touched, so that files that cannot be used cost no time.
    decoding = decoding_parts(pipeline, settings, prerestorer)
    before = replace(settings.reel, prerestore=None) if settings.pre_restores else settings.reel
    shelf = None if settings.loras is None else LoraShelf(settings.loras, settings.table, pipeline)
    controls = ControlShelf(settings.controls, settings.table, pipeline)
    with ExitStack() as stack:
        stack.callback(controls.close)
        # The repair's own reading tells what is wrong with the file; the others need not repeat it.
        quiet = stack.enter_context(ExitStack())
        quiet.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", FilmFileWarning)
        film = stack.enter_context(settings.reel.read.open(source))
        writer = stack.enter_context(open_writer(destination, film.info, settings=settings.reel.write, source=source))
        overwrite = settings.reel.write.overwrite
        if settings.reel.record is not None:
            refuse_record(settings.reel.record, overwrite=overwrite)
        copied = reviewing(settings.reel.review, film.info, source=source, overwrite=overwrite)
        show = stack.enter_context(copied)
        quiet.close()
        given = () if settings.masks is None else mask_films(settings.masks)
        # Before the repair, which may take hours.
        check_lengths(film, settings, controls, given, progress)
        beside = stack.enter_context(own_folder(writer.path))
        repaired = beside / "repaired.mkv"
        work = PriorWork.of(source, destination, pipeline, settings, run, folder)
        notices = Notices() if notices is None else notices
        marks = settings.finds_damage and not given
        report = _repaired(source, repaired, before, film.info, work, progress, notices, prerestorer, marks=marks)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", FilmFileWarning)
        if settings.table is not None:
            report = replace(report, shots=settings.table.shots, shares=())
        sampled = samplings(settings.sampling, settings.table, settings.reel.choices, report.shots)
        how_of = partial(_how_of, sampled, sorted(sampled))
        recording = PriorRecording(settings.reel.record, record_path(repaired), film.info, overwrite=overwrite)
        stack.enter_context(recording)
        recording.meet(how_of)
        pulse = Pulse(progress, "restore with prior", report.frames)
        pictures = stack.enter_context(open_film(repaired, deinterlace="off"))
        watch = Faults(notices, strict=settings.reel.strict).watch("prior", pulse.beat)
        masks = (beside / "damage.mkv",) if marks else given
        company = open_company(source, settings, masks, hints_of(settings, controls), film.info, report.frames, stack)
        if shelf is not None:
            shelf.meet(report.shots)
        controls.meet(report.shots)
        restore = shot_restorer(
            pipeline, settings, report.shots, company, pulse, progress, watch, controls, sampled,
            decoding=decoding, shelf=shelf,
        )  # fmt: skip
        if work is not None:
            stack.enter_context(work.folder)
            restore = work.parts(sampled).around(restore)
        restore = where_applied(restore, sampled, company)
        frames = company.joined(frame.tensor() for frame in pictures)
        stream = over_parts(frames, report.shots, settings.most_frames, settings.overlap, restore)
        try:
            for origin, frame in zip(film, stream, strict=True):
                # What is left as it came goes on sample by sample.
                made = origin if how_of(origin.index).skip else frame
                writer.write(origin, None if made is origin else frame)
                show(origin, made)
                recording.take(origin, made)
                pulse.step(frame)
        except BaseException:
            if settings.reel.keep_partial and work is None:
                pictures.close()
                _keep(writer, repaired, pulse.done)
            raise
        # What is found out while finishing belongs into the report too.
        writer.close()
        messages = tuple(dict.fromkeys((*report.warnings, *writer.warnings, *notices.summary())))
        recording.finish(source, destination, _recorded(settings, pipeline), messages, notices, pulse.beat)
    if work is not None and run is not None and not run.keep:
        remove_run(work.folder, run.storage)
    return replace(report, warnings=messages, seconds=time.monotonic() - started)


def _recorded(settings: PriorReelSettings, pipeline: Any) -> dict[str, Any]:
    """What the record says of the prior, and of single shots."""
    if settings.reel.record is None:
        return {}
    how = {name: facts_of(value) for name, value in vars(settings).items() if name != "reel"}
    choices = settings.reel.choices
    return {
        "prior": {"pipeline": pipeline_key(pipeline), **how},
        "choices": None if choices is None else json.loads(choices.to_json()),
    }


def _how_of(sampled: Mapping[int, ShotSampling], firsts: Sequence[int], frame: int) -> ShotSampling:
    """How the shot of a frame is sampled."""
    return sampled[firsts[bisect_right(firsts, frame) - 1]]


def _repaired(
    source: Source,
    target: Path,
    settings: ReelSettings,
    info: FilmInfo,
    work: PriorWork | None,
    progress: Progress,
    notices: Notices,
    prerestorer: PreRestorer | None,
    *,
    marks: bool,
) -> ReelReport:
    """Repair the film into a file, and write where it was damaged beside that."""
    repair = restore_film if work is None else partial(restore_reel, run=work.run, folder=work.folder)
    with ExitStack() as stack:
        each = None
        if marks:
            masks = stack.enter_context(MaskWriters(target.parent, {"damage": "damage"}, info))
            each = partial(_keep_damage, masks)
        lossless = _lossless(settings, info, target)
        return repair(source, target, lossless, progress, prerestorer=prerestorer, notices=notices, each=each)


def _lossless(settings: ReelSettings, info: FilmInfo, target: Path) -> ReelSettings:
    """Store the repaired pictures as they are, in RGB, and record what was repaired beside them."""
    pix_fmt = "bgr0" if info.bit_depth <= 8 else "gbrp16le"
    return replace(
        settings,
        write=WriteSettings(codec="ffv1", pix_fmt=pix_fmt, overwrite=settings.write.overwrite, intermediate=True),
        choices=None if settings.choices is None else settings.choices.without_prior(),
        record=None if settings.record is None else record_path(target),
        review=None,
        keep_partial=False,
    )


def _check(pipeline: Any, settings: PriorReelSettings) -> None:
    """Find out before the work whether the pipeline can be used in this way."""
    rows = () if settings.reel.choices is None else settings.reel.choices.rows
    asked = {(settings.steps, settings.strength)}
    for row in rows:
        own = row.prior
        asked.add((own.steps or settings.steps, settings.strength if own.strength is None else own.strength))
    for steps, strength in sorted(asked):
        pipeline.drive(
            num_inference_steps=steps,
            strength=strength,
            sampler=settings.sampler,
            noise_schedule=settings.noise_schedule,
        )
    if settings.control is not None and pipeline.controlnet is None:
        raise SettingsError("there are settings for a ControlNet, but the prior was opened without one")


def _keep_damage(masks: MaskWriters, frame: StageFrame[FilmFrame]) -> None:
    """Write where a frame was damaged, whatever by."""
    damage = frame.damage()
    marked = torch.zeros(frame.image.shape[-2:]) if damage is None else (damage > 0.5).float()
    masks.write(frame.origin, {"damage": marked})


def _keep(writer: FilmWriter, repaired: Path, done: int) -> None:
    partial = writer.keep_partial()
    kept = free_path(writer.path.with_name(f"{writer.path.stem}.repaired.mkv"))
    os.replace(repaired, kept)
    finished = "" if partial is None else f" and what is finished: {partial}"
    logger.warning("stopped after frame %d, kept the repaired film: %s%s", done, kept, finished)
