"""A new control branch on a UNet, as DiffBIR begins (X. Lin et al., "DiffBIR", ECCV 2024, section 3.2).

The branch is a copy of the UNet's way down and middle. Its first convolution takes the hint behind the noisy latent,
with weights of zero for it, and what it adds passes 1×1 convolutions that start at zero: a new branch changes nothing,
and yet learns from the first step.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...files.tensors import write_tensors
from ...prior.controls.control import LATENT_CHANNELS
from ...prior.controls.diffbir.branch import DiffBirControl
from ...prior.controls.network.encoder import EncoderConfig
from ...prior.controls.network.names import original_names
from ...prior.unet import UNetView

_FIRST = "input_blocks.0.0.weight"
_DOWN = ("conv_in.", "time_embedding.", "down_blocks.", "mid_block.")


def new_branch(unet: nn.Module) -> DiffBirControl:
    """Return a branch that changes nothing yet.

    Args:
        unet: diffusers' `UNet2DConditionModel`, with 4 input channels; it is not changed.
    """
    own: Mapping[str, Tensor] = {key: value for key, value in unet.state_dict().items() if key.startswith(_DOWN)}
    tensors = original_names(own)
    first = tensors[_FIRST]
    tensors[_FIRST] = torch.cat((first, first.new_zeros(first.shape[0], LATENT_CHANNELS, *first.shape[2:])), dim=1)
    heads = heads_of(unet)
    config = EncoderConfig.of({key: tuple(value.shape) for key, value in tensors.items()}, heads=heads)
    control = DiffBirControl(config)
    control.branch.load_state_dict(
        {key: value.detach().float().clone() for key, value in tensors.items()}, strict=False
    )
    for convolution in (*control.branch.zero_convs, control.branch.middle_block_out):
        for parameter in convolution.parameters():
            nn.init.zeros_(parameter)
    return control


def save_branch(control: DiffBirControl, path: Path) -> None:
    """Write a branch in DiffBIR's layout, which everything here that reads a DiffBIR control reads."""
    write_tensors(control.branch.state_dict(), path)


def heads_of(unet: Any) -> tuple[int, ...]:
    """Return the attention heads of each level; of a level without attention, those of the middle."""
    view = UNetView(unet)
    middle = view["mid.attn"].heads
    levels = len(unet.config.block_out_channels)
    return tuple(
        view.sites[name].heads if (name := f"down.{level}.0.attn") in view.sites else middle for level in range(levels)
    )
