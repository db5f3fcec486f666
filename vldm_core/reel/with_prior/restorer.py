"""The prior's work on a part of a shot of a film: the pipeline's call with what belongs to the part."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...containment import Watch
from ...decode.fused_clip import TrainedFusion
from ...decode.regrain import regrain
from ...prerestore.clip import OwnLatents
from ...prior.control_hint import ControlHint
from ...progress import Progress, Pulse
from ...video.shots import Shot
from ..prior_company import Company, LoraShelf
from ..prior_controls import ControlShelf
from ..prior_parts import Restore, plan_parts
from .inputs import hint_name
from .sampling import ShotSampling
from .settings import PriorReelSettings


def where_applied(restore: Restore, sampled: Mapping[int, ShotSampling], company: Company) -> Restore:
    """Leave the shots as repaired that no prior is to work on."""

    def restored(frames: Tensor, part: Shot, shot: Shot, number: int) -> Tensor:
        if sampled[shot.first].apply:
            return restore(frames, part, shot, number)
        return frames[:, company.channels["frame"]].clone()

    return restored


def shot_restorer(
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
    """Return what restores a part of a shot.

    Args:
        pipeline: A `VideoRestorationPipeline`, or what is called as one.
        settings: How.
        shots: Of the film.
        company: What comes with the frames, as further channels.
        pulse: Told that work goes on.
        progress: Told how many steps are sampled.
        watch: Holds frames that are no pictures back.
        controls: Restoration controls.
        sampled: How each shot is sampled, by its first frame.
        decoding: What `decoding_parts` gives.
        shelf: LoRAs by era.
    """
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
            hint = None if path is None else company.part(hint_name(path), frames)
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
                controls=controls.uses(part, shot, lambda path: company.part(hint_name(path), frames)),
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
