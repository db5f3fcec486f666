"""PASD's two files for a UNet of any shape, with seeded random weights, made of diffusers' own classes."""

from typing import Any

import torch
from torch import Tensor, nn

EMBEDDING = (16, 32, 48, 64)
"""Channels of the picture's embedding."""


def pasd_files(unet: Any, *, light: bool = False, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the ControlNet's state dict and what PASD, or PASD light, adds to the UNet's, for diffusers' UNet."""
    from diffusers import ControlNetModel

    torch.manual_seed(seed)
    config = unet.config
    control = ControlNetModel(
        in_channels=4,
        block_out_channels=config.block_out_channels,
        down_block_types=config.down_block_types,
        layers_per_block=config.layers_per_block,
        cross_attention_dim=config.cross_attention_dim,
        attention_head_dim=config.attention_head_dim,
        norm_num_groups=config.norm_num_groups,
        use_linear_projection=config.use_linear_projection,
        conditioning_embedding_out_channels=EMBEDDING,
    )
    heads = nn.ModuleList(nn.Conv2d(width, 3, 3, padding=1) for width in EMBEDDING[1:])
    control.controlnet_cond_embedding.to_rgbs = heads
    added: dict[str, Tensor] = {}
    skips = [conv.out_channels for conv in control.controlnet_down_blocks]
    for level, block in enumerate(unet.up_blocks):
        for row, residual in enumerate(block.resnets):
            context = skips.pop()
            if not light:
                module = _transformer(residual.out_channels, context, config)
                added |= _under(f"up_blocks.{level}.pixel_attentions.{row}", module)
            elif getattr(block, "attentions", None) is not None:
                module = _inside(residual.out_channels, context, config)
                added |= _under(f"up_blocks.{level}.attentions.{row}", module)
    found = filled(control)
    # So many activations one after the other leave little of the picture.
    for key in [key for key in found if key.startswith("controlnet_cond_embedding.") and key.endswith("weight")]:
        found[key] *= 4
    return found, added


def _transformer(channels: int, context: int, config: Any) -> nn.Module:
    from diffusers import Transformer2DModel

    return Transformer2DModel(
        num_attention_heads=1,
        attention_head_dim=channels,
        in_channels=channels,
        cross_attention_dim=context,
        norm_num_groups=config.norm_num_groups,
        use_linear_projection=config.use_linear_projection,
    )


def _inside(channels: int, context: int, config: Any) -> nn.Module:
    from diffusers.models.attention_processor import Attention

    block = nn.ModuleDict(
        {
            "attn2_plus": Attention(query_dim=channels, cross_attention_dim=context, heads=1, dim_head=channels),
            "norm2_plus": nn.LayerNorm(channels),
        }
    )
    linear = config.use_linear_projection
    return nn.ModuleDict(
        {
            "proj_in_plus": nn.Linear(context, context) if linear else nn.Conv2d(context, context, 1),
            "transformer_blocks": nn.ModuleList([block]),
        }
    )


def _under(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{key}": value for key, value in filled(module).items()}


def filled(module: nn.Module) -> dict[str, Tensor]:
    """Give every weight a value of the size that neither fades nor grows with depth, also those that begin at zero."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=0.5 * parameter[0].numel() ** -0.5)
            else:
                nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0, std=0.05)
    return {key: value.detach().clone() for key, value in module.state_dict().items()}
