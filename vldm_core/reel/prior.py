"""Restore a film file with a Stable Diffusion prior: repair and pre-restoration first, then the prior, shot by shot.

What comes first lies losslessly beside the result until the prior is through, so the prior reads it as often as it
needs and memory holds one part of one shot. Parts of a long shot overlap and are crossfaded.
"""

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..containment import Faults, Watch
from ..decode.regrain import regrain
from ..errors import FilmFileWarning, SettingsError, VLDMError
from ..notices import Notices
from ..prior.finish import FinishSettings
from ..progress import Progress, Pulse, silent
from ..sampling.noise import mixed_seed
from ..sampling.restoration import RestorationSettings, default_restoration
from ..sampling.windows import WindowSettings
from ..semantics.prompts import ShotPrompt
from ..semantics.table import ShotTable
from ..semantics.written import written_prompts
from ..video.geometry import FitSettings
from ..video.info import FilmInfo
from ..video.reader import open_film
from ..video.shots import Shot
from ..video.stream import FilmReader
from ..video.temporary import free_path, own_folder
from ..video.writer import FilmWriter, WriteSettings, open_writer
from .restore import ReelReport, ReelSettings, Source, restore_film

logger = logging.getLogger(__name__)

Restore = Callable[[Tensor, Shot, Shot, int], Tensor]
"""Frames (T, 3, H, W) of a part, the part, its shot, and the number of the part in the film, to frames like them."""


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
        sampler: "scheduler" or "spaced_ddpm".
        seed: Same seed, same result.
        most_frames: Longest part that is in memory at once; at least three times the overlap of the windows.
        fitting: How frames are brought to the model's size.
    """

    reel: ReelSettings = field(default_factory=ReelSettings)
    restoration: RestorationSettings = field(default_factory=default_restoration)
    finish: FinishSettings = field(default_factory=FinishSettings)
    prompt: str = ""
    negative_prompt: str = ""
    table: ShotTable | None = None
    steps: int = 20
    strength: float = 0.4
    sampler: str = "scheduler"
    seed: int = 0
    most_frames: int = 128
    fitting: FitSettings = field(default_factory=FitSettings)

    def __post_init__(self) -> None:
        least = max(1, 3 * self.overlap)
        if self.most_frames < least:
            raise SettingsError(
                f"most_frames is {self.most_frames}; with an overlap of {self.overlap} use {least} or more"
            )
        self.finish.check(masks=False)

    @property
    def grain_of_source(self) -> bool:
        """Whether grain is measured in the source, because what goes into the prior has lost some of it."""
        return self.finish.grain is not None and self.reel.prerestore is not None

    @property
    def overlap(self) -> int:
        """Frames that neighbouring parts of a shot share: as many as windows do."""
        return (self.restoration.windows or WindowSettings()).overlap


def plan_parts(shot: Shot, most: int, overlap: int) -> tuple[Shot, ...]:
    """Divide a shot into the fewest parts, of lengths that differ by one frame at most.

    Args:
        shot: The shot.
        most: Longest part; at least three times the overlap, so that no frame is in three parts.
        overlap: Frames that a part shares with the next.

    Returns:
        Parts in film frame numbers, in order; each begins `overlap` frames before the last one ends.
    """
    if len(shot) <= most:
        return (shot,)
    count = -(-(len(shot) - overlap) // (most - overlap))
    total = len(shot) + (count - 1) * overlap
    parts, first = [], shot.first
    for index in range(count):
        last = first + total * (index + 1) // count - total * index // count
        parts.append(Shot(first, last))
        first = last - overlap
    return tuple(parts)


def over_parts(
    frames: Iterator[Tensor], shots: Sequence[Shot], most: int, overlap: int, restore: Restore
) -> Iterator[Tensor]:
    """Restore a stream part by part and crossfade where parts overlap.

    Args:
        frames: The film, (3, H, W) each.
        shots: Shots that cover it.
        most: Longest part.
        overlap: Frames that parts share.
        restore: See `Restore`.

    Yields:
        Every frame of the film, restored.
    """
    number = 0
    for shot in shots:
        parts = plan_parts(shot, most, overlap)
        inputs: list[Tensor] = []
        tail: Tensor | None = None
        for part in parts:
            inputs += islice(frames, len(part) - len(inputs))
            if len(inputs) != len(part):
                raise VLDMError(f"the film ended in frame {part.first + len(inputs)}, though {part.last} were counted")
            result = restore(torch.stack(inputs), part, shot, number)
            number += 1
            if tail is not None:
                result[: len(tail)] = crossfade(tail, result[: len(tail)])
            kept = 0 if part is parts[-1] else overlap
            yield from result[: len(part) - kept]
            tail = result[len(part) - kept :].clone() if kept else None
            inputs = inputs[len(inputs) - kept :] if kept else []


def crossfade(before: Tensor, after: Tensor) -> Tensor:
    """Fade from one clip to another, (T, …) both; neither end is one of them alone."""
    share = torch.arange(1, len(before) + 1, dtype=before.dtype) / (len(before) + 1)
    return torch.lerp(before, after, share.view(-1, *(1,) * (before.ndim - 1)))


def restore_film_with_prior(
    source: Source,
    destination: str | os.PathLike[str],
    pipeline: Any,
    settings: PriorReelSettings | None = None,
    progress: Progress = silent,
    *,
    notices: Notices | None = None,
) -> ReelReport:
    """Repair a film file, then restore it with a prior.

    The result has the frame count, timestamps, colour tags and audio of the source. It appears under its name only when
    it is complete. After an error or interrupt in the prior, what is finished stays as ``NAME.partial.SUFFIX`` and the
    repaired film as ``NAME.repaired.mkv``, unless ``settings.reel.keep_partial`` is off.

    Args:
        source: File, image-sequence folder, or file contents.
        destination: File or image-sequence folder to write.
        pipeline: A `VideoRestorationPipeline`, for example from :func:`..prior.opening.open_prior`.
        settings: How; defaults to :class:`PriorReelSettings`.
        progress: Called at least once per frame and pass; may raise to interrupt.
        notices: Takes what the stages have to say of single frames; the report's warnings sum it up.

    Raises:
        FilmFileError: The source cannot be read or the destination cannot be written.
        SettingsError: The settings do not fit the pipeline or the film.
        StageError: A stage of the repair failed in a frame, and the settings are strict.
    """
    settings = settings or PriorReelSettings()
    started = time.monotonic()
    pipeline.drive(num_inference_steps=settings.steps, strength=settings.strength, sampler=settings.sampler)
    with ExitStack() as stack:
        # The repair's own reading tells what is wrong with the file; the others need not repeat it.
        quiet = stack.enter_context(ExitStack())
        quiet.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", FilmFileWarning)
        film = stack.enter_context(settings.reel.read.open(source))
        writer = stack.enter_context(open_writer(destination, film.info, settings=settings.reel.write, source=source))
        quiet.close()
        if settings.table is not None:
            # Before the repair, which may take hours.
            settings.table.check(None, _count(film, progress))
        folder = stack.enter_context(own_folder(writer.path))
        repaired = folder / "repaired.mkv"
        notices = Notices() if notices is None else notices
        report = restore_film(source, repaired, _lossless(settings.reel, film.info), progress, notices=notices)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", FilmFileWarning)
        if settings.table is not None:
            report = replace(report, shots=settings.table.shots)
        pulse = Pulse(progress, "restore with prior", report.frames)
        pictures = stack.enter_context(open_film(repaired, deinterlace="off"))
        watch = Faults(notices, strict=settings.reel.strict).watch("prior", pulse.beat)
        restore = _restorer(pipeline, settings, report.shots, pulse, progress, watch)
        frames = (frame.tensor() for frame in pictures)
        if settings.grain_of_source:
            # Both travel together, as six channels: parts overlap.
            grainy = stack.enter_context(settings.reel.read.open(source))
            frames = (torch.cat((frame, other.tensor())) for frame, other in zip(frames, grainy, strict=True))
        stream = over_parts(frames, report.shots, settings.most_frames, settings.overlap, restore)
        try:
            for origin, frame in zip(film, stream, strict=True):
                writer.write(origin, frame)
                pulse.step(frame)
        except BaseException:
            if settings.reel.keep_partial:
                pictures.close()
                _keep(writer, repaired, pulse.done)
            raise
        # What is found out while finishing belongs into the report too.
        writer.close()
        messages = tuple(dict.fromkeys((*report.warnings, *writer.warnings, *notices.summary())))
    return replace(report, warnings=messages, seconds=time.monotonic() - started)


def _count(film: FilmReader, progress: Progress) -> int:
    """Count the frames of a film by reading it: what the file says of itself may be an estimate."""
    count = 0
    for count, _ in enumerate(film, start=1):  # noqa: B007 - the last number is what is wanted
        progress("count frames", count, film.info.frame_count)
    return count


def _lossless(settings: ReelSettings, info: FilmInfo) -> ReelSettings:
    """Store the repaired pictures as they are, in RGB."""
    pix_fmt = "bgr0" if info.bit_depth <= 8 else "gbrp16le"
    return replace(settings, write=WriteSettings(codec="ffv1", pix_fmt=pix_fmt), keep_partial=False)


def _restorer(
    pipeline: Any,
    settings: PriorReelSettings,
    shots: Sequence[Shot],
    pulse: Pulse,
    progress: Progress,
    watch: Watch,
) -> Restore:
    total = sum(len(plan_parts(shot, settings.most_frames, settings.overlap)) for shot in shots)
    grain = settings.finish.grain if settings.grain_of_source else None
    finish = settings.finish if grain is None else replace(settings.finish, grain=None)
    written: dict[int, ShotPrompt] = {}
    if settings.table is not None:
        prompts = written_prompts(settings.table, negative=settings.negative_prompt)
        written = {described.first: said for described, said in zip(settings.table, prompts, strict=True)}

    def restore(frames: Tensor, part: Shot, shot: Shot, number: int) -> Tensor:
        def report(phase: str, done: int, of: int | None, preview: Tensor | None = None) -> None:
            if phase == "sample" and of:
                progress("sample", number * of + done, total * of)
            else:
                pulse.beat()

        said = written.get(shot.first)
        restored: Tensor = pipeline(
            frames[:, :3],
            prompt=(said and said.prompt) or settings.prompt,
            negative_prompt=settings.negative_prompt if said is None else said.negative,
            settings=settings.restoration,
            num_inference_steps=settings.steps,
            strength=settings.strength,
            sampler=settings.sampler,
            seed=mixed_seed(settings.seed, shot.first),
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
                for index, (made, came) in enumerate(zip(restored, frames[:, :3], strict=True))
            ]
        )
        if grain is None:
            return restored
        return regrain(restored, frames[:, 3:], grain, first_frame=part.first, progress=pulse.beat)

    return restore


def _keep(writer: FilmWriter, repaired: Path, done: int) -> None:
    partial = writer.keep_partial()
    kept = free_path(writer.path.with_name(f"{writer.path.stem}.repaired.mkv"))
    os.replace(repaired, kept)
    finished = "" if partial is None else f" and what is finished: {partial}"
    logger.warning("stopped after frame %d, kept the repaired film: %s%s", done, kept, finished)
