"""Published restoration controls at any width, with random weights, on the host's UNet, for the sampler benchmark.

Imported when the process already is a host and the pack is loaded as `pack`.
"""

from collections.abc import Callable
from typing import Any

import torch
from host_networks import HEADS, LEVELS, fill, head_channels, text_width
from torch import Tensor

_SMALL = 0.1
"""Gain of the random weights: as trained ones, they add little to what passes."""

_PICTURE = (16, 32, 96, 256)
"""Channels of PASD's embedding of the picture, as published."""

_TOKENS = 145
"""Tokens of SeeSR's embedding at its tagger's size, 384×384; CoSeR has 50 of its own."""


def controlled(model: Any, system: Any, frames: int, side: int, seed: int, *, reuse: int = 1) -> Any:
    """Return the MODEL with a control that looks at random hints.

    Args:
        model: The host's MODEL.
        system: From `SYSTEMS`.
        frames: Frames of the clip.
        side: Of the square latents.
        seed: Of the hints.
        reuse: Steps that one look serves.
    """
    from pack.nodes.host.prior.attachments import with_attachment
    from pack.vldm_core.prior.controls.control import RestorationControl
    from pack.vldm_core.prior.controls.material import ControlMaterial
    from pack.vldm_core.prior.controls.settings import ControlSettings

    def noise(*shape: int, salt: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + salt))

    latent = system.hint == "latent"
    hint = noise(frames, 4, side, side, salt=20) if latent else noise(frames, 3, 8 * side, 8 * side, salt=20).sigmoid()
    material = ControlMaterial(hint=hint)
    return with_attachment(model, RestorationControl(system, material, ControlSettings(reuse=reuse)), "control")


def _encoder(width: int, in_channels: int, family: str = "sd2") -> Any:
    from pack.vldm_core.prior.controls.network.encoder import EncoderConfig

    channels = tuple(width * level for level in LEVELS)
    return EncoderConfig(
        in_channels=in_channels,
        channels=channels,
        context=text_width(family, width),
        heads=tuple(count // head_channels(width) if family == "sd2" else HEADS for count in channels),
        linear=family == "sd2",
    )


def diffbir(width: int, seed: int) -> Any:
    """Return DiffBIR's control."""
    from pack.vldm_core.prior.controls.diffbir.branch import DiffBirControl

    system = DiffBirControl(_encoder(width, 8))
    fill(system, seed, _SMALL)
    return system.eval()


def _up_layers(skips: list[int]) -> dict[str, tuple[int, int]]:
    """Return channels of each layer of the way up, and of the residual that it reads, by the layer's name."""
    # The way up takes what the way down gives, last first, three layers a level.
    reads = skips[::-1]
    widths = [reads[3 * level] for level in range(len(LEVELS))]
    return {f"up.{index // 3}.{index % 3}": (widths[index // 3], read) for index, read in enumerate(reads)}


def pasd(width: int, seed: int) -> Any:
    """Return PASD's control."""
    from pack.vldm_core.prior.controls.network.blocks import SpatialTransformer
    from pack.vldm_core.prior.controls.network.control_branch import ControlBranch
    from pack.vldm_core.prior.controls.pasd.embedding import DegradationRemoval
    from pack.vldm_core.prior.controls.pasd.pixel_attention import PixelTransformers
    from pack.vldm_core.prior.controls.pasd.system import PasdControl

    branch = ControlBranch(_encoder(width, 4, "sd1"))
    layers = {
        name: SpatialTransformer(channels, read, 1, linear=False)
        for name, (channels, read) in _up_layers(branch.skips).items()
    }
    system = PasdControl(branch, DegradationRemoval(width, _PICTURE), PixelTransformers(layers))
    fill(system, seed, _SMALL)
    return system.eval()


def pasd_light(width: int, seed: int) -> Any:
    """Return PASD light's control."""
    from pack.vldm_core.prior.controls.network.control_branch import ControlBranch
    from pack.vldm_core.prior.controls.pasd.embedding import DegradationRemoval
    from pack.vldm_core.prior.controls.pasd.pixel_attention import InsideAttention, InsideTransformer
    from pack.vldm_core.prior.controls.pasd.system import PasdLightControl

    branch = ControlBranch(_encoder(width, 4, "sd1"))
    layers = {
        name: InsideTransformer(channels, read, linear=False, depth=1)
        for name, (channels, read) in _up_layers(branch.skips).items()
        # The deepest level has no transformers.
        if not name.startswith("up.0")
    }
    system = PasdLightControl(branch, DegradationRemoval(width, _PICTURE), InsideAttention(layers))
    fill(system, seed, _SMALL)
    return system.eval()


SYSTEMS: dict[str, Callable[[int, int], Any]] = {"diffbir": diffbir, "pasd": pasd, "pasd_light": pasd_light}
"""Maker of each system, for a width and a seed."""
