"""PASD's two files for a UNet of any shape, with seeded random weights, made of diffusers' own classes."""

from typing import Any

import torch
from torch import Tensor, nn

from ..control_nets import EMBEDDING, control_net, filled, transformer


def pasd_files(unet: Any, *, light: bool = False, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the ControlNet's state dict and what PASD, or PASD light, adds to the UNet's, for diffusers' UNet."""
    torch.manual_seed(seed)
    control = control_net(unet)
    heads = nn.ModuleList(nn.Conv2d(width, 3, 3, padding=1) for width in EMBEDDING[1:])
    control.controlnet_cond_embedding.to_rgbs = heads
    added: dict[str, Tensor] = {}
    skips = [conv.out_channels for conv in control.controlnet_down_blocks]
    for level, block in enumerate(unet.up_blocks):
        for row, residual in enumerate(block.resnets):
            context = skips.pop()
            if not light:
                module = transformer(unet, residual.out_channels, context)
                added |= _under(f"up_blocks.{level}.pixel_attentions.{row}", module)
            elif getattr(block, "attentions", None) is not None:
                module = _inside(residual.out_channels, context, linear=unet.config.use_linear_projection)
                added |= _under(f"up_blocks.{level}.attentions.{row}", module)
    found = filled(control)
    # So many activations one after the other leave little of the picture.
    for key in [key for key in found if key.startswith("controlnet_cond_embedding.") and key.endswith("weight")]:
        found[key] *= 4
    return found, added


def _inside(channels: int, context: int, *, linear: bool) -> nn.Module:
    from diffusers.models.attention_processor import Attention

    block = nn.ModuleDict(
        {
            "attn2_plus": Attention(query_dim=channels, cross_attention_dim=context, heads=1, dim_head=channels),
            "norm2_plus": nn.LayerNorm(channels),
        }
    )
    return nn.ModuleDict(
        {
            "proj_in_plus": nn.Linear(context, context) if linear else nn.Conv2d(context, context, 1),
            "transformer_blocks": nn.ModuleList([block]),
        }
    )


def _under(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{key}": value for key, value in filled(module).items()}
