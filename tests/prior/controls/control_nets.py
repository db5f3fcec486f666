"""diffusers' ControlNet for one of its UNets, and weights at which a network of any depth still speaks."""

from typing import Any

import torch
from torch import Tensor, nn

EMBEDDING = (16, 32, 48, 64)
"""Channels of the picture's embedding."""


def control_net(unet: Any) -> Any:
    """Return a ControlNet of the UNet's shape, as it was made."""
    from diffusers import ControlNetModel

    config = unet.config
    return ControlNetModel(
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


def transformer(unet: Any, channels: int, context: int, *, heads: int = 1) -> nn.Module:
    """Return a spatial transformer as the UNet's are, which reads something of another width."""
    from diffusers import Transformer2DModel

    return Transformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=channels // heads,
        in_channels=channels,
        cross_attention_dim=context,
        norm_num_groups=unet.config.norm_num_groups,
        use_linear_projection=unet.config.use_linear_projection,
    )


def filled(module: nn.Module) -> dict[str, Tensor]:
    """Give every weight a value of the size that neither fades nor grows with depth, also those that begin at zero."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=0.5 * parameter[0].numel() ** -0.5)
            else:
                nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0, std=0.05)
    return {key: value.detach().clone() for key, value in module.state_dict().items()}
