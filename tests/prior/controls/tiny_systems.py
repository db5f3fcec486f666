"""Every known system at a tiny size with random weights, on one UNet of Stable Diffusion 2's shape.

A builder for each of `reading.FORMATS` is what `test_every_system` runs on.
"""

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vldm_core.prior.controls.control import ControlSystem
from vldm_core.prior.controls.diffbir.branch import DiffBirControl
from vldm_core.prior.controls.material import PIXELS_PER_LATENT, ControlMaterial
from vldm_core.prior.controls.network.encoder import EncoderConfig
from vldm_core.prior.controls.pasd.system import PasdControl, PasdLightControl
from vldm_core.prior.controls.seesr.system import SeeSrControl

from .coser.tiny_coser import CHANNELS, CONTEXT, HEADS, coser_control, random_weights, sd2_unet
from .pasd.tiny_pasd import pasd_files
from .seesr.tiny_seesr import TOKENS, seesr_files
from .stablesr.tiny_stablesr import stablesr_control


def tiny_sd2() -> Any:
    """Return the UNet that all systems join."""
    return sd2_unet()


def _diffbir() -> ControlSystem:
    shape = EncoderConfig(in_channels=8, channels=CHANNELS, context=CONTEXT, heads=HEADS, linear=True)
    return random_weights(DiffBirControl(shape), seed=30)


def _seesr() -> ControlSystem:
    found = random_weights(SeeSrControl.from_published(*seesr_files(sd2_unet()), heads=HEADS), seed=31)
    _see_much(found.picture)
    return found


def _pasd() -> ControlSystem:
    found = random_weights(PasdControl.from_published(*pasd_files(sd2_unet()), heads=HEADS), seed=32)
    _see_much(found.embedding)
    return found


def _pasd_light() -> ControlSystem:
    found = random_weights(PasdLightControl.from_published(*pasd_files(sd2_unet(), light=True), heads=HEADS), seed=33)
    _see_much(found.embedding)
    return found


def _stablesr() -> ControlSystem:
    return stablesr_control(sd2_unet())


def _see_much(embedding: Any) -> None:
    """Let an embedding of pixels matter: eight convolutions of random weights leave little of what differs."""
    with torch.no_grad():
        embedding.conv_out.weight.mul_(30)


BUILDERS: Mapping[str, Callable[[], ControlSystem]] = MappingProxyType(
    {
        "DiffBIR": _diffbir,
        "PASD": _pasd,
        "PASD light": _pasd_light,
        "SeeSR": _seesr,
        "StableSR": _stablesr,
        "CoSeR": coser_control,
    }
)
"""By the name of the format."""

_TOKENS = {"SeeSR": (5, TOKENS), "CoSeR": (6, CONTEXT)}
"""Count and width of the embedding that a system reads."""
_REFERENCES = ("CoSeR",)


@cache
def _hint_of(system: str) -> str:
    return BUILDERS[system]().hint


def tiny_material(
    system: str, frames: int, sides: tuple[int, int], *, seed: int = 0, damage: Tensor | None = None
) -> ControlMaterial:
    """Return all that a system can look at, with one item for each frame.

    Args:
        system: Name of its format.
        frames: Of the clip.
        sides: Rows and columns of the latent.
        seed: Of the numbers.
        damage: See `ControlMaterial`.
    """
    generator = torch.Generator().manual_seed(seed)
    looks_at = _hint_of(system)
    if looks_at == "latent":
        hint = torch.randn(frames, 4, *sides, generator=generator)
    else:
        # Noise of single pixels would be averaged away on its way to the latent's grid.
        coarse = torch.rand(frames, 3, *sides, generator=generator)
        hint = functional.interpolate(coarse, scale_factor=PIXELS_PER_LATENT)
    tokens = torch.randn(frames, *_TOKENS[system], generator=generator) if system in _TOKENS else None
    reference = torch.randn(frames, 4, *sides, generator=generator) if system in _REFERENCES else None
    return ControlMaterial(hint=hint, damage=damage, tokens=tokens, reference=reference)
