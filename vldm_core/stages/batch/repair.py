"""Damage repaired in frames in memory: where masks say so, or where the stages themselves find it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ...containment import Faults
from ...film.dirt.detection import DirtSettings
from ...film.fill.repair import DirtRepairSettings
from ...film.scratches.repair.repair import ScratchRepairSettings
from ...film.scratches.settings import ScratchSettings
from ...notices import Notices
from ...progress import Progress, Pulse, silent
from ...video.shots import Shot
from ..plan import StagePlan
from ..settings import StageSettings
from ..stage import StageModels
from .damage import DamageMasks
from .shots import Batch


def repair_damage(
    frames: Tensor,
    *,
    dirt: Tensor | None = None,
    scratch: Tensor | None = None,
    shots: Iterable[Shot] | None = None,
    dirt_settings: DirtRepairSettings | None = None,
    scratch_settings: ScratchRepairSettings | None = None,
    motion: Literal["quick", "refined"] = "refined",
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> Tensor:
    """Repair the damage that the masks mark; every pixel outside them leaves bit-equal.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        dirt: (T, H, W), 1 = fill from the neighbours in time; None repairs no dirt.
        scratch: (T, H, W), 1 = take the scratch's profile off; None repairs no scratch.
        shots: Shots that cover the frames; None is one shot.
        dirt_settings: How dirt is filled.
        scratch_settings: How scratches are repaired.
        motion: How well the motion between frames is known.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Returns:
        (T, 3, H, W).

    Raises:
        SettingsError: Frames, masks or shots do not fit each other.
        StageError: A stage failed in a frame, and the call is strict.
    """
    faults = Faults(notices, strict=strict)
    batch = Batch(frames=frames, shots=shots, dirt=dirt, scratch=scratch, faults=faults)
    settings = replace(
        StageSettings.no_stages(),
        dirt=None if dirt is None else DirtSettings(),
        lines=None if scratch is None else ScratchSettings(),
        dirt_repair=dirt_settings or DirtRepairSettings(),
        line_repair=scratch_settings or ScratchRepairSettings(),
        motion=motion,
    )
    plan = StagePlan.from_settings(settings).on_given_marks()
    result = torch.empty_like(frames)
    for index, frame in enumerate(batch.run(plan, Pulse(progress, "repair", len(frames)))):
        result[index] = frame.image
    return result


def restore_frames(
    frames: Tensor,
    settings: StageSettings | None = None,
    *,
    shots: Iterable[Shot] | None = None,
    models: StageModels | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> tuple[Tensor, DamageMasks]:
    """Run all stages of the settings over frames in memory, as a reel runs them over a film.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        settings: Which stages, and how; defaults to `StageSettings()`.
        shots: Shots that cover the frames; None is one shot.
        models: Networks on their device, in the place of those that the settings name.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Returns:
        (T, 3, H, W) in [0, 1], and what was found and repaired.

    Raises:
        SettingsError: The frames or shots have another layout.
        WeightFileError: Weights cannot be used.
        StageError: A stage failed in a frame, and the call is strict.
    """
    batch = Batch(frames=frames, shots=shots, faults=Faults(notices, strict=strict))
    plan = StagePlan.from_settings(settings or StageSettings(), models)
    count, _, height, width = frames.shape
    result = torch.empty_like(frames)
    found = DamageMasks(dirt=torch.zeros(count, height, width), scratch=torch.zeros(count, height, width))
    pulses = Pulse(progress, "restore", count), Pulse(progress, "analyse", count)
    for index, frame in enumerate(batch.run(plan, *pulses)):
        result[index] = frame.image
        for planes, mask in ((found.dirt, frame.dirt), (found.scratch, frame.scratch)):
            if mask is not None:
                planes[index] = mask
    return result, found
