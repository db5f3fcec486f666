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
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..containment import Faults, Watch
from ..decode.fused_clip import TrainedFusion
from ..decode.fusion_decoder import KIND as FUSION
from ..decode.regrain import regrain
from ..decode.temporal_vae import load_temporal_decoder
from ..decode.wrapping.headless import wrap
from ..decode.wrapping.network import read_feature_wrapping
from ..errors import FilmFileWarning, SettingsError
from ..files.temporary import free_path, own_folder
from ..notices import Notices
from ..prerestore.clip import OwnLatents
from ..prerestore.network import PreRestorer
from ..prerestore.run import PreRestoreSettings
from ..prerestore.shipped import PreRestoration, load_prerestorer
from ..prior.control_hint import ControlHint
from ..prior.finish import FinishSettings
from ..progress import Progress, Pulse, silent
from ..sampling.regions.windows import WindowSettings
from ..sampling.restoration import RestorationSettings, default_restoration
from ..semantics.table.table import ShotTable
from ..stages.plan import StagePlan
from ..stages.settings import before_a_prior
from ..stages.stage_frame import StageFrame
from ..video.geometry import FitSettings
from ..video.info import FilmFrame, FilmInfo
from ..video.reading.reader import open_film
from ..video.shots import Shot
from ..video.stream import FilmReader
from ..video.writing.writer import FilmWriter, WriteSettings, open_writer
from .delivery.review import reviewing
from .mask_films import MaskWriters
from .passes import Source, counted
from .prior_company import (
    Company,
    LoraShelf,
    ReelControl,
    ReelLoras,
    check_hints,
    check_masks,
    hint_frames,
    mask_films,
    mask_frames,
)
from .prior_controls import ControlShelf, ReelRestorationControl
from .prior_parts import Restore, over_parts, plan_parts
from .record.file import record_path, refuse_record
from .restore import ReelReport, ReelSettings, restore_film
from .resumable.keys import film_key, key_of, maps_key, pack_key
from .resumable.parts import KeptParts, facts_of, pipeline_key
from .resumable.run import RunSettings, restore_reel
from .resumable.sharing.storage import remove_run
from .resumable.work_folder import WorkFolder
from .with_prior.recording import PriorRecording
from .with_prior.sampling import ShotSampling, check_together, samplings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PriorReelSettings:
    """How a reel is restored with a prior.

    Attributes:
        reel: The repair and pre-restoration that come first, and codec and quality of the result.
        restoration: Windows, noise, guidance and the rest.
        finish: Decoding, colour, fusion, grain.
        prompt: What the film shows.
        negative_prompt: What it shall not show; added to what shots are not to show, where they say so.
        table: Shots with prompts of their own, in the place of the shots that are found. A blank prompt is made of the
            shot's caption and tags, as Shot Conditioning makes it; where there are none, the one above holds.
        steps: Steps of the whole schedule.
        strength: How far frames are noised, 0 … 1; strength · steps are run.
        sampler: One of `prior.pipeline.SAMPLERS`.
        noise_schedule: "auto", "model", "linear" or "zero_snr", see `VideoRestorationPipeline`.
        seed: Same seed, same result.
        most_frames: Longest part that is in memory at once; at least three times the overlap of the windows.
        fitting: How frames are brought to the model's size.
        masks: Film of damage masks, white = damaged, or a folder with ``dirt.mkv`` and ``scratch.mkv``, in the place of
            what the repair finds; of the film's size and frames.
        control: What the pipeline's ControlNet looks at; None leaves it out.
        controls: Restoration controls, which mix.
        loras: LoRAs by era; None uses none.
        temporal_vae: VAE of Stable Video Diffusion that decodes in the place of the model's own, see
            :func:`..decode.temporal_vae.load_temporal_decoder`.
        trained_fusion: File of a trained fusion, which gives the pictures in the place of the VAE's decoder alone; the
            prior's part then pre-restores, as `reel.prerestore` says, and not the repair.
        fusion_weight: Share that it takes over from the prior, 0 … 1.
        own_latents: Whether sampling begins with the latents of the pre-restorer's own head, which controls look at,
            too, and not with those of the VAE; the prior's part then pre-restores, as `reel.prerestore` says.
        feature_wrapping: File of StableSR's VAE, whose added layers let the film steer the decoder as far as
            `finish.fidelity` says; not together with a temporal VAE.

    The damage that the repair found, or that `masks` say, goes into the prior as its mask.
    """

    reel: ReelSettings = field(default_factory=lambda: ReelSettings(**before_a_prior()))
    restoration: RestorationSettings = field(default_factory=default_restoration)
    finish: FinishSettings = field(default_factory=FinishSettings)
    prompt: str = ""
    negative_prompt: str = ""
    table: ShotTable | None = None
    steps: int = 20
    strength: float = 0.4
    sampler: str = "scheduler"
    noise_schedule: str = "auto"
    seed: int = 0
    most_frames: int = 128
    fitting: FitSettings = field(default_factory=FitSettings)
    masks: Path | None = None
    control: ReelControl | None = None
    controls: tuple[ReelRestorationControl, ...] = ()
    loras: ReelLoras | None = None
    temporal_vae: Path | None = None
    feature_wrapping: Path | None = None
    trained_fusion: Path | None = None
    fusion_weight: float = 1.0
    own_latents: bool = False

    def __post_init__(self) -> None:
        least = max(1, 3 * self.overlap)
        if self.most_frames < least:
            raise SettingsError(
                f"most_frames is {self.most_frames}; with an overlap of {self.overlap} use {least} or more"
            )
        self.finish.check(masks=self.finds_damage or self.masks is not None)
        if self.masks is not None and StagePlan.from_settings(self.reel).moves:
            raise SettingsError("masks of one's own do not move with a film that is stabilised; stabilise it first")
        if self.temporal_vae is not None and self.feature_wrapping is not None:
            raise SettingsError(
                "feature wrapping was trained for the decoder of single pictures; leave the temporal VAE out"
            )
        if not 0 <= self.fusion_weight <= 1:
            raise SettingsError(f"fusion_weight is {self.fusion_weight}; use 0 … 1")
        if self.trained_fusion is not None and (self.temporal_vae or self.feature_wrapping) is not None:
            raise SettingsError(
                "a trained fusion gives the pictures itself; leave temporal VAE and feature wrapping out"
            )
        check_together(self.table, self.reel.choices)
        if self.loras is not None and not self.loras.eras and self.table is None:
            raise SettingsError("LoRAs by era need the eras of the film, or a table of shots that names them")

    @property
    def finds_damage(self) -> bool:
        """Whether the repair tells where the film was damaged."""
        return StagePlan.from_settings(self.reel).marks

    @property
    def pre_restores(self) -> bool:
        """Whether the prior's part pre-restores, and not the repair."""
        return self.trained_fusion is not None or self.own_latents

    @property
    def sampling(self) -> ShotSampling:
        """How shots are sampled of which nothing else is said."""
        return ShotSampling(
            prompt=self.prompt,
            negative=self.negative_prompt,
            strength=self.strength,
            steps=self.steps,
            cfg=self.restoration.cfg.scale,
            seed=self.seed,
        )

    @property
    def grain_of_source(self) -> bool:
        """Whether grain is measured in the source, because what goes into the prior has lost some of it."""
        smoothed = self.reel.prerestore is not None or self.reel.average is not None
        return self.finish.grain is not None and smoothed

    @property
    def overlap(self) -> int:
        """Frames that neighbouring parts of a shot share: as many as windows do."""
        return (self.restoration.windows or WindowSettings()).overlap


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
        settings: How; defaults to :class:`PriorReelSettings`.
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
    decoder = None if settings.temporal_vae is None else load_temporal_decoder(settings.temporal_vae)
    wrapping = None if settings.feature_wrapping is None else read_feature_wrapping(settings.feature_wrapping)
    if wrapping is not None:
        wrap(pipeline.vae, wrapping, fidelity=settings.finish.fidelity, temporal_decoder=decoder)
    fusion = (
        None if settings.trained_fusion is None else _trained_fusion(settings, settings.trained_fusion, prerestorer)
    )
    own = _own_latents(settings, prerestorer) if settings.own_latents else None
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
        _check_lengths(film, settings, controls, given, progress)
        beside = stack.enter_context(own_folder(writer.path))
        repaired = beside / "repaired.mkv"
        work = _Work.of(source, destination, pipeline, settings, run, folder)
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
        company = _company(source, settings, masks, _hints(settings, controls), film.info, report.frames, stack)
        if shelf is not None:
            shelf.meet(report.shots)
        controls.meet(report.shots)
        decoding: dict[str, Any] = {
            "temporal_decoder": decoder, "feature_wrapping": wrapping, "trained_fusion": fusion
        }  # fmt: skip
        if own is not None:
            decoding["own_latents"] = own
        restore = _restorer(
            pipeline, settings, report.shots, company, pulse, progress, watch, controls, sampled,
            decoding=decoding, shelf=shelf,
        )  # fmt: skip
        if work is not None:
            stack.enter_context(work.folder)
            restore = work.parts(sampled).around(restore)
        restore = _where_applied(restore, sampled, company)
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


def _trained_fusion(settings: PriorReelSettings, file: Path, network: PreRestorer | None) -> TrainedFusion:
    """Read a fusion and the pre-restorer that it works with.

    Raises:
        WeightFileError: A file cannot be used.
        SettingsError: They do not belong together.
    """
    chosen, how = _pre_restoring(settings, network)
    return TrainedFusion(fusion=FUSION.load(file), network=chosen, settings=how, weight=settings.fusion_weight)


def _own_latents(settings: PriorReelSettings, network: PreRestorer | None) -> OwnLatents:
    """Read the pre-restorer whose latents sampling begins with.

    Raises:
        WeightFileError: Its file cannot be used.
        SettingsError: It has no latent head.
    """
    chosen, how = _pre_restoring(settings, network)
    return OwnLatents(network=chosen, settings=how)


def _pre_restoring(settings: PriorReelSettings, network: PreRestorer | None) -> tuple[PreRestorer, PreRestoreSettings]:
    """Return the pre-restorer of the prior's part, and how it is applied."""
    chosen = settings.reel.prerestore or PreRestoration(keep_grain=0.0)
    how = PreRestoreSettings(**{name: getattr(chosen, name) for name in _HOW})
    return network or load_prerestorer(chosen), how


@dataclass(frozen=True, kw_only=True, eq=False)
class _Work:
    """Where and how what is finished is kept.

    Attributes:
        run: Of the repair, whose chunks stay until the whole film is finished.
        folder: The folder.
        depends: Key of what the prior's part of every shot depends on.
        table: What is said of shots, and shows in more than their prompts.
    """

    run: RunSettings
    folder: WorkFolder
    depends: str
    table: ShotTable | None

    @classmethod
    def of(
        cls,
        source: Source,
        destination: str | os.PathLike[str],
        pipeline: Any,
        settings: PriorReelSettings,
        run: RunSettings | None,
        folder: WorkFolder | None,
    ) -> Self | None:
        """Return it, or None where nothing is to be kept or the film lies in memory."""
        if run is None or film_key(source) is None or maps_key(settings.reel.maps) is None:
            return None
        # What is asked for each shot is left out.
        how = {name: value for name, value in vars(settings).items() if name not in _OF_SHOTS}
        if settings.pre_restores:
            how["prerestore"] = settings.reel.prerestore
        restoration = settings.restoration
        how["restoration"] = replace(restoration, cfg=replace(restoration.cfg, scale=1.0))
        depends = key_of(pack=pack_key(), prior=facts_of(how), pipeline=pipeline_key(pipeline))
        return cls(
            run=replace(run, keep=True),
            folder=folder or WorkFolder.beside(destination),
            depends=depends,
            table=settings.table,
        )

    def parts(self, sampled: Mapping[int, ShotSampling]) -> KeptParts:
        """What the prior has made.

        Args:
            sampled: How each shot is sampled, by its first frame.
        """

        def said(shot: Shot) -> Any:
            rows = () if self.table is None else [facts_of(row) for row in self.table if row.first == shot.first]
            return [facts_of(sampled[shot.first]), *rows]

        return KeptParts(self.folder, self.depends, said)


_HOW = tuple(each.name for each in fields(PreRestoreSettings))
_OF_SHOTS = ("reel", "table", "prompt", "negative_prompt", "strength", "steps", "seed")
"""Settings that are asked for each shot, or show in the frames that go into the prior."""


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


def _where_applied(restore: Restore, sampled: Mapping[int, ShotSampling], company: Company) -> Restore:
    """Leave the shots as repaired that no prior is to work on."""

    def restored(frames: Tensor, part: Shot, shot: Shot, number: int) -> Tensor:
        if sampled[shot.first].apply:
            return restore(frames, part, shot, number)
        return frames[:, company.channels["frame"]].clone()

    return restored


def _repaired(
    source: Source,
    target: Path,
    settings: ReelSettings,
    info: FilmInfo,
    work: _Work | None,
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


def _check_lengths(
    film: FilmReader, settings: PriorReelSettings, controls: ControlShelf, masks: Sequence[Path], progress: Progress
) -> None:
    """Check that the table, hints, masks and what controls look at are made for as many frames as the film has."""
    hints = _hints(settings, controls)
    if settings.table is None and not hints and not masks and not controls.counted:
        return
    for path in (*hints, *masks):
        # A name that is wrong is told before a long film is counted.
        open_film(path).close()
    count = counted(film, progress)
    if settings.table is not None:
        settings.table.check(None, count)
    for hint in hints:
        check_hints(hint, count, lambda films: counted(films, progress))
    check_masks(masks, count, film.info, lambda films: counted(films, progress))
    controls.check(count, lambda films: counted(films, progress))


def _company(
    source: Source,
    settings: PriorReelSettings,
    masks: Sequence[Path],
    hints: Sequence[Path],
    info: FilmInfo,
    count: int,
    stack: ExitStack,
) -> Company:
    """What goes through the prior beside the frames; its films stay open as long as the stack."""
    company = Company()
    if settings.grain_of_source:
        grainy = stack.enter_context(settings.reel.read.open(source))
        company.add("source", (frame.tensor() for frame in grainy))
    if masks:
        films = [stack.enter_context(open_film(path, deinterlace="off")) for path in masks]
        company.add("damage", mask_frames(films), 1)
    for hint in hints:
        film = stack.enter_context(open_film(hint))
        company.add(_hint_name(hint), hint_frames(film, count, info.height, info.width))
    return company


def _hints(settings: PriorReelSettings, controls: ControlShelf) -> tuple[Path, ...]:
    own = () if settings.control is None or settings.control.hint is None else (settings.control.hint,)
    return tuple(dict.fromkeys((*own, *controls.hints)))


def _hint_name(hint: Path) -> str:
    return f"hint {hint}"


def _keep_damage(masks: MaskWriters, frame: StageFrame[FilmFrame]) -> None:
    """Write where a frame was damaged, whatever by."""
    damage = frame.damage()
    marked = torch.zeros(frame.image.shape[-2:]) if damage is None else (damage > 0.5).float()
    masks.write(frame.origin, {"damage": marked})


def _restorer(
    pipeline: Any,
    settings: PriorReelSettings,
    shots: Sequence[Shot],
    company: Company,
    pulse: Pulse,
    progress: Progress,
    watch: Watch,
    controls: ControlShelf,
    sampled: Mapping[int, ShotSampling],
    *,
    decoding: Mapping[str, nn.Module | TrainedFusion | OwnLatents | None],
    shelf: LoraShelf | None = None,
) -> Restore:
    total = sum(len(plan_parts(shot, settings.most_frames, settings.overlap)) for shot in shots)
    grain = settings.finish.grain if settings.grain_of_source else None
    finish = settings.finish if grain is None else replace(settings.finish, grain=None)

    def restore(frames: Tensor, part: Shot, shot: Shot, number: int) -> Tensor:
        def report(phase: str, done: int, of: int | None, _preview: Tensor | None = None) -> None:
            if phase == "sample" and of:
                progress("sample", number * of + done, total * of)
            else:
                pulse.beat()

        how = sampled[shot.first]
        restoration = replace(settings.restoration, cfg=replace(settings.restoration.cfg, scale=how.cfg))
        damage = company.part("damage", frames)
        pictures = frames[:, company.channels["frame"]]
        control = None
        if settings.control is not None:
            path = settings.control.hint
            hint = None if path is None else company.part(_hint_name(path), frames)
            control = ControlHint(
                hint=pictures if hint is None else hint,
                strength=settings.control.strength,
                start=settings.control.start,
                end=settings.control.end,
            )
        with nullcontext() if shelf is None else shelf.on(shot):
            restored: Tensor = pipeline(
                pictures,
                prompt=how.prompt,
                negative_prompt=how.negative,
                settings=restoration,
                num_inference_steps=how.steps,
                strength=how.strength,
                sampler=settings.sampler,
                noise_schedule=settings.noise_schedule,
                masks=None if damage is None else damage[:, 0],
                control=control,
                controls=controls.uses(part, shot, lambda path: company.part(_hint_name(path), frames)),
                **decoding,
                seed=how.seed,
                fitting=settings.fitting,
                finish=finish,
                first_frame=part.first,
                shot_start=shot.first,
                progress=report,
            ).frames
        # Half precision overflows in single frames: those stay as repaired.
        restored = torch.stack(
            [
                came if watch.frame(part.first + index, lambda made=made: made) is None else made  # type: ignore[misc]
                for index, (made, came) in enumerate(zip(restored, pictures, strict=True))
            ]
        )
        if grain is None:
            return restored
        source = company.part("source", frames)
        assert source is not None
        return regrain(restored, source, grain, first_frame=part.first, progress=pulse.beat)

    return restore


def _keep(writer: FilmWriter, repaired: Path, done: int) -> None:
    partial = writer.keep_partial()
    kept = free_path(writer.path.with_name(f"{writer.path.stem}.repaired.mkv"))
    os.replace(repaired, kept)
    finished = "" if partial is None else f" and what is finished: {partial}"
    logger.warning("stopped after frame %d, kept the repaired film: %s%s", done, kept, finished)
