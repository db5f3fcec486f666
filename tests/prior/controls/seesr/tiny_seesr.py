"""SeeSR's two files for a UNet of any shape, with seeded random weights, made of diffusers' own classes."""

from typing import Any

import torch
from torch import Tensor, nn

TOKENS = 512
"""Width of the tagger's embedding."""


def seesr_files(unet: Any, *, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the ControlNet's state dict and what SeeSR adds to the UNet's, for one of diffusers' UNets."""
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
        conditioning_embedding_out_channels=(16, 32, 48, 64),
    )
    added = {name: _like(module, config) for name, module in unet.named_modules() if _is_text_transformer(name)}
    beside = {name: _like(module, config) for name, module in control.named_modules() if _is_text_transformer(name)}
    return _filled(control) | _renamed(beside), _renamed(added)


def _is_text_transformer(name: str) -> bool:
    return name.rpartition(".")[0].endswith(".attentions") or name == "mid_block.attentions.0"


def _like(text: nn.Module, config: Any) -> nn.Module:
    """Return a transformer like one of the UNet's, but for the width of what it reads."""
    from diffusers import Transformer2DModel

    heads = text.transformer_blocks[0].attn1.heads  # type: ignore[index, union-attr]
    channels = int(text.norm.num_channels)  # type: ignore[union-attr, arg-type]
    return Transformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=channels // heads,  # type: ignore[operator]
        in_channels=channels,
        cross_attention_dim=TOKENS,
        norm_num_groups=config.norm_num_groups,
        use_linear_projection=config.use_linear_projection,
    )


def _renamed(transformers: dict[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{name.replace('.attentions.', '.image_attentions.')}.{key}": value
        for name, module in transformers.items()
        for key, value in _filled(module).items()
    }


def _filled(module: nn.Module) -> dict[str, Tensor]:
    """Give every weight a value of the size that neither fades nor grows with depth, also those that begin at zero."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=0.5 * parameter[0].numel() ** -0.5)
            else:
                nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0, std=0.05)
    return {key: value.detach().clone() for key, value in module.state_dict().items()}
