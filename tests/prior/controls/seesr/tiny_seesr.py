"""SeeSR's two files for a UNet of any shape, with seeded random weights, made of diffusers' own classes."""

from typing import Any

import torch
from torch import Tensor, nn

from ..control_nets import control_net, filled, transformer

TOKENS = 512
"""Width of the tagger's embedding."""


def seesr_files(unet: Any, *, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the ControlNet's state dict and what SeeSR adds to the UNet's, for one of diffusers' UNets."""
    torch.manual_seed(seed)
    control = control_net(unet)
    added = {name: _like(module, unet) for name, module in unet.named_modules() if _is_text_transformer(name)}
    beside = {name: _like(module, unet) for name, module in control.named_modules() if _is_text_transformer(name)}
    return filled(control) | _renamed(beside), _renamed(added)


def _is_text_transformer(name: str) -> bool:
    return name.rpartition(".")[0].endswith(".attentions") or name == "mid_block.attentions.0"


def _like(text: nn.Module, unet: Any) -> nn.Module:
    """Return a transformer like one of the UNet's, but for the width of what it reads."""
    heads = int(text.transformer_blocks[0].attn1.heads)  # type: ignore[index, union-attr, arg-type]
    channels = int(text.norm.num_channels)  # type: ignore[union-attr, arg-type]
    return transformer(unet, channels, TOKENS, heads=heads)


def _renamed(transformers: dict[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{name.replace('.attentions.', '.image_attentions.')}.{key}": value
        for name, module in transformers.items()
        for key, value in filled(module).items()
    }
