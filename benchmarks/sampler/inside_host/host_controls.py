"""Published restoration controls at any width, with random weights, on the host's UNet, for the sampler benchmark.

Imported when the process already is a host and the pack is loaded as `pack`.
"""

from collections.abc import Callable
from typing import Any

import torch
from host_networks import LEVELS, fill, head_channels, text_width
from torch import Tensor

_SMALL = 0.1
"""Gain of the random weights: as trained ones, they add little to what passes."""

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


def _encoder(width: int, in_channels: int) -> Any:
    from pack.vldm_core.prior.controls.network.encoder import EncoderConfig

    channels = tuple(width * level for level in LEVELS)
    return EncoderConfig(
        in_channels=in_channels,
        channels=channels,
        context=text_width("sd2", width),
        heads=tuple(count // head_channels(width) for count in channels),
        linear=True,
    )


def diffbir(width: int, seed: int) -> Any:
    """Return DiffBIR's control."""
    from pack.vldm_core.prior.controls.diffbir.branch import DiffBirControl

    system = DiffBirControl(_encoder(width, 8))
    fill(system, seed, _SMALL)
    return system.eval()


SYSTEMS: dict[str, Callable[[int, int], Any]] = {"diffbir": diffbir}
"""Maker of each system, for a width and a seed."""
