"""One kind of change to frames in memory: flicker, averaging, pre-restoration, gate weave."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ...containment import Faults
from ...film.flicker.removal import FlickerSettings
from ...film.temporal.averaging import AveragingSettings
from ...film.weave.stabilise import StabiliseSettings
from ...notices import Notices
from ...prerestore.network import PreRestorer
from ...prerestore.shipped import PreRestoration
from ...progress import Progress, Pulse, silent
from ...video.shots import Shot
from ..plan import StagePlan
from ..settings import StageSettings
from ..stage import StageModels
from .shots import Batch


def remove_flicker(
    frames: Tensor,
    *,
    shots: Iterable[Shot] | None = None,
    settings: FlickerSettings | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> Tensor:
    """Even out brightness that changes from frame to frame; slow changes stay.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        shots: Shots that cover the frames; None is one shot.
        settings: Strength, spatial field and what counts as slow.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Raises:
        SettingsError: The frames or shots have another layout.
        StageError: A stage failed in a frame, and the call is strict.
    """
    batch = Batch(frames=frames, shots=shots, faults=Faults(notices, strict=strict))
    wanted = replace(StageSettings.no_stages(), flicker=settings or FlickerSettings())
    return _changed(batch, wanted, "remove flicker", progress)


def stabilise(
    frames: Tensor,
    *,
    shots: Iterable[Shot] | None = None,
    settings: StabiliseSettings | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> Tensor:
    """Take gate weave out and keep camera moves.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        shots: Shots that cover the frames; None is one shot.
        settings: Strength, limits and what counts as a camera move.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Raises:
        SettingsError: The frames or shots have another layout.
        StageError: A stage failed in a frame, and the call is strict.
    """
    batch = Batch(frames=frames, shots=shots, faults=Faults(notices, strict=strict))
    wanted = replace(StageSettings.no_stages(), stabilise=settings or StabiliseSettings())
    return _changed(batch, wanted, "stabilise", progress)


def _changed(batch: Batch, settings: StageSettings, phase: str, progress: Progress) -> Tensor:
    """Analyse, then change, every shot."""
    count, result = len(batch.frames), torch.empty_like(batch.frames)
    pulses = Pulse(progress, phase, count), Pulse(progress, f"{phase}: measure", count)
    for index, frame in enumerate(batch.run(StagePlan.from_settings(settings), *pulses)):
        result[index] = frame.image
    return result


def average_frames(
    frames: Tensor,
    *,
    dirt: Tensor | None = None,
    scratch: Tensor | None = None,
    shots: Iterable[Shot] | None = None,
    settings: AveragingSettings | None = None,
    motion: Literal["quick", "refined"] = "refined",
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> Tensor:
    """Take grain, compression and missed damage off by averaging frames with their neighbours along the motion.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        dirt: (T, H, W), 1 = repaired dirt: what is there is not carried to other frames. None marks nothing.
        scratch: (T, H, W), 1 = repaired scratch, likewise.
        shots: Shots that cover the frames; None is one shot.
        settings: Strength, reach, and what is kept of the grain.
        motion: How well the motion between frames is known.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Raises:
        SettingsError: Frames, masks or shots do not fit each other.
        StageError: A stage failed in a frame, and the call is strict.
    """
    batch = Batch(frames=frames, shots=shots, dirt=dirt, scratch=scratch, faults=Faults(notices, strict=strict))
    wanted = replace(StageSettings.no_stages(), average=settings or AveragingSettings(), motion=motion)
    return _changed(batch, wanted, "average", progress)


def pre_restore_frames(
    frames: Tensor,
    *,
    dirt: Tensor | None = None,
    scratch: Tensor | None = None,
    shots: Iterable[Shot] | None = None,
    settings: PreRestoration | None = None,
    network: PreRestorer | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Take blur, noise and compression off by a network that looks along every shot, both ways.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        dirt: (T, H, W), 1 = repaired dirt: what is there is not carried to other frames. None marks nothing.
        scratch: (T, H, W), 1 = repaired scratch, likewise.
        shots: Shots that cover the frames; None is one shot.
        settings: Which network and how; defaults to `PreRestoration()`.
        network: On its device, in the place of the one that the settings name.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Returns:
        (T, 3, H, W) in [0, 1], bars as they came; and latents (T, 4, h/8, w/8) in the VAE's unscaled units, where h and
        w are H and W rounded up to a multiple of 8; or None where the network has no latent head or could not do every
        frame.

    Raises:
        SettingsError: Frames, masks or shots do not fit each other.
        WeightFileError: The weights cannot be used.
        StageError: A stage failed in a frame, and the call is strict.
    """
    batch = Batch(frames=frames, shots=shots, dirt=dirt, scratch=scratch, faults=Faults(notices, strict=strict))
    wanted = replace(StageSettings.no_stages(), prerestore=settings or PreRestoration())
    plan = StagePlan.from_settings(wanted, StageModels(prerestorer=network))
    result, latents = torch.empty_like(frames), []
    for index, frame in enumerate(batch.run(plan, Pulse(progress, "pre-restore", len(frames)))):
        result[index] = frame.image
        if frame.latent is not None:
            latents.append(frame.latent)
    return result, torch.stack(latents) if len(latents) == len(frames) else None
