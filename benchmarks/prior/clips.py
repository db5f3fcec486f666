"""Clips of validation files, with all that sampling and judging them needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vldm_core.ageing import binary_truth
from vldm_core.data.clean_shots import TrainingMaterial
from vldm_core.data.degraded_clips import DegradedClips, PairSettings
from vldm_core.prerestore.network import PreRestorer
from vldm_core.prerestore.run import PreRestoreSettings, pre_restore
from vldm_core.progress import Progress, silent
from vldm_core.training.diffusion.material import PriorMaterial
from vldm_core.training.example_files import read
from vldm_core.training.prerestorer.examples import degraded_films
from vldm_core.video.flow import FlowSettings, estimate_flow
from vldm_core.video.warping import consistency

from .world.films import FRAMES, SHOTS
from .world.models import SIDE

HEAVY = {"heavy": 1.0}
"""Presets of the badly damaged clips."""

_FLOW = FlowSettings(quality="fast")
_NO_GRAIN = PreRestoreSettings(keep_grain=0.0)
_ARRAYS = ("frames", "target", "masks")
_DAMAGED_SEED = 11


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutClip:
    """A clip of 8 frames of 128×128.

    Attributes:
        damaged: (T, 3, H, W) in [0, 1], aged, as it came.
        repaired: (T, 3, H, W) in [0, 1], aged, its damage filled as a repair fills it.
        given: (T, 3, H, W), what the prior is given: those, pre-restored.
        target: (T, 3, H, W), what it should look like.
        masks: (T, H, W), 1 = filled, or damaged where nothing was filled.
        flow: (T-1, 2, H, W), backward flow of the target.
        visible: (T-1, H, W), 1 where a pair of frames shows the same thing.
    """

    damaged: Tensor
    repaired: Tensor
    given: Tensor
    target: Tensor
    masks: Tensor
    flow: Tensor
    visible: Tensor


def held_out_clips(
    material: PriorMaterial, network: PreRestorer, *, count: int, heavy: bool = False, progress: Progress = silent
) -> list[HeldOutClip]:
    """Return clips of files that nothing was trained on.

    Args:
        material: Of the small world.
        network: Pre-restores them.
        count: How many.
        heavy: Whether all are badly damaged.
        progress: Called once per film and clip.
    """
    if heavy:
        films = replace(material.films, presets=HEAVY, seed=1)
        material = replace(material, films=films, cache=material.cache / "heavy")
    files = replace(material, validation_films=count).make_films(validation=True, progress=progress)
    shots = TrainingMaterial(list(material.data), validation=True, settings=material.shots)
    degraded, clips = degraded_films(shots, material.films), []
    for number, file in enumerate(files):
        stored = read(file, _ARRAYS)
        repaired, target = (torch.from_numpy(stored[name]).float() / 255 for name in ("frames", "target"))
        masks = torch.from_numpy(stored["masks"]).float()
        given = pre_restore(repaired, network, _NO_GRAIN, masks=masks)[0]
        clips.append(_clip(degraded.sample(number)["aged"], repaired, given, target, masks))
        progress("pre-restore clips", len(clips), len(files))
    return clips


def damaged_clips(data: Sequence[Path], *, count: int) -> list[HeldOutClip]:
    """Return badly damaged clips in which nothing was repaired, with exact masks of the damage."""
    pairs = DegradedClips(
        TrainingMaterial(list(data), validation=True, settings=SHOTS),
        seed=_DAMAGED_SEED,
        settings=PairSettings(frames=FRAMES, height=SIDE, width=SIDE, target="sharp", presets=HEAVY),
    )
    clips = []
    for number in range(count):
        pair = pairs.sample(number)
        masks = torch.stack([binary_truth(mask) for mask in pair["masks"].values()]).amax(dim=0).float()
        aged = pair["aged"]
        clips.append(_clip(aged, aged, aged, pair["clean"], masks))
    return clips


def _clip(damaged: Tensor, repaired: Tensor, given: Tensor, target: Tensor, masks: Tensor) -> HeldOutClip:
    backward = estimate_flow(target, settings=_FLOW)
    visible = consistency(backward, estimate_flow(target, settings=_FLOW, direction="forward")).float()
    return HeldOutClip(
        damaged=damaged, repaired=repaired, given=given, target=target, masks=masks, flow=backward, visible=visible
    )
