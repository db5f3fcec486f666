"""Test material of the pre-restoration benchmark: clips with everything that film suffers, and their repair.

The clips and photographs kept for validation become shots as in training, and are aged by whole presets of the
simulation: softness, grain, flicker, mixed frames and a codec besides the local damage. What a method should reach is
the same print without any of these, at the same place and with the same tones (target "sharp" of
`vldm_core.data.degraded_clips.PairSettings`). The local damage is repaired once, by our own detection and repair, and
the flicker is taken out once, so that every method gets the same frames. Frames are rounded to 8 bits.
"""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vldm_core.data.clean_shots import TrainingMaterial
from vldm_core.data.degraded_clips import DegradedClips, PairSettings
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.scratches.detection import ScratchSettings
from vldm_core.stages.batch import remove_flicker, restore_frames
from vldm_core.stages.settings import StageSettings

from ..common.material import StoredClip, eight_bit, motion_of
from .settings import PreRestoreBenchmarkSettings


@dataclass(frozen=True, kw_only=True)
class AgedSource:
    """A source and the preset that it is aged with.

    Attributes:
        path: A clip or photograph kept for validation.
        preset: Name of the preset.
    """

    path: Path
    preset: str

    @property
    def name(self) -> str:
        """Name of the aged clip."""
        return f"{self.path.stem}/{self.preset}"


@dataclass(frozen=True, kw_only=True)
class DamagedClip(StoredClip):
    """An aged clip, its repair, and what it should look like.

    Attributes:
        name: Source and preset.
        preset: Name of the preset.
        damaged: (T, 3, H, W) in [0, 1].
        repaired: The same after detection and repair.
        even: The same after repair and flicker removal.
        reference: The print without damage, grain, flicker, mixed frames, codec and softness.
        masks: (T, H, W), 1 = found damaged, and therefore repaired.
        flow: (T-1, 2, H, W) backward flow of the reference.
        visible: (T-1, H, W) bool: where that flow is consistent with its opposite.
    """

    FILMS = ("damaged", "repaired", "even", "reference")
    MASKS = ("masks",)

    name: str
    preset: str
    damaged: Tensor
    repaired: Tensor
    even: Tensor
    reference: Tensor
    masks: Tensor
    flow: Tensor
    visible: Tensor


def find_aged_sources(data: Path, settings: PreRestoreBenchmarkSettings) -> tuple[AgedSource, ...]:
    """Spread the presets over the clips and photographs kept for validation.

    Clip and photograph take turns: the first round gives every preset one source, the second another one half way
    through the list, and so on.

    Raises:
        FilmFileError: The folder holds no file for validation.
    """
    material = TrainingMaterial(data, validation=True)
    paths, presets = (*material.clips, *material.photos), settings.presets
    found: dict[AgedSource, None] = {}
    for turn in range(len(paths)):
        shift = turn // 2 + turn % 2 * (len(paths) // 2)
        for number in range(max(len(presets), len(paths))):
            source = paths[(number + shift) % len(paths)]
            found[AgedSource(path=source, preset=presets[number % len(presets)])] = None
    return tuple(found)[: settings.clips]


def make_clip(source: AgedSource, settings: PreRestoreBenchmarkSettings) -> DamagedClip:
    """Age a source, repair it and take the flicker out.

    The clip depends on its name and the seed of the settings alone.

    Raises:
        FilmFileError: The source cannot be read.
    """
    clips = DegradedClips(
        TrainingMaterial(source.path, validation=None),
        seed=(settings.seed << 32) | zlib.crc32(source.name.encode()),
        settings=PairSettings(
            frames=settings.frames,
            height=settings.height,
            width=settings.width,
            target="sharp",
            presets={source.preset: 1.0},
        ),
    )
    pair = clips.sample(0)
    damaged, reference = eight_bit(pair["aged"]), eight_bit(pair["clean"])
    repaired, masks = repair(damaged)
    repaired = eight_bit(repaired)
    flow, visible = motion_of(reference)
    return DamagedClip(
        name=source.name,
        preset=source.preset,
        damaged=damaged,
        repaired=repaired,
        even=eight_bit(remove_flicker(repaired, strict=True)),
        reference=reference,
        masks=masks,
        flow=flow,
        visible=visible,
    )


def repair(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Detect and repair local damage with the defaults.

    Args:
        frames: (T, 3, H, W) in [0, 1].

    Returns:
        (T, 3, H, W), and the mask (T, H, W) of what was repaired, 0 or 1.
    """
    settings = replace(StageSettings.no_stages(), dirt=DirtSettings(), lines=ScratchSettings())
    repaired, found = restore_frames(frames, settings, strict=True)
    return repaired, (torch.maximum(found.dirt, found.scratch) > 0).float()
