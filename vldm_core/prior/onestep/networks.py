"""Layers of UNet and VAE under diffusers' names, in diffusers' networks and in those of the original layout."""

import re
from collections.abc import Mapping

from torch import nn

from ..lora.per_frame import layers_by_name
from ..unet import UNetView
from .system import Shapes

_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def unet_layers(view: UNetView) -> dict[str, nn.Module]:
    """Return every layer of a UNet that has weights, by its name in diffusers."""
    return _with_weights(layers_by_name(view))


def vae_layers(vae: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of a VAE that encode, by their names in diffusers.

    Args:
        vae: diffusers' `AutoencoderKL`, or a module of the original layout with `encoder` and `quant_conv`.
    """
    found = {
        diffusers_vae_name(name): module
        for name, module in vae.named_modules()
        if name.startswith("encoder.") or name == "quant_conv"
    }
    return _with_weights(found)


def shapes_of(layers: Mapping[str, nn.Module]) -> Shapes:
    """Return the shape of every weight and bias of layers, by its key in diffusers' layout."""
    return {
        f"{name}.{kind}": tuple(parameter.shape)
        for name, module in layers.items()
        for kind, parameter in module.named_parameters(recurse=False)
    }


def diffusers_vae_name(name: str) -> str:
    """Return a VAE's layer under its name in diffusers; such a name is returned as it is."""
    name = re.sub(r"^encoder\.down\.(\d+)\.block\.(\d+)", r"encoder.down_blocks.\1.resnets.\2", name)
    name = re.sub(r"^encoder\.down\.(\d+)\.downsample\b", r"encoder.down_blocks.\1.downsamplers.0", name)
    name = re.sub(r"^encoder\.mid\.block_(\d)", lambda m: f"encoder.mid_block.resnets.{int(m[1]) - 1}", name)
    if match := re.fullmatch(r"encoder\.mid\.attn_1\.(\w+)", name):
        return f"encoder.mid_block.attentions.0.{_VAE_ATTENTION.get(match[1], match[1])}"
    return re.sub(r"^encoder\.norm_out$", "encoder.conv_norm_out", name).replace("nin_shortcut", "conv_shortcut")


def _with_weights(layers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    return {
        name: module for name, module in layers.items() if isinstance(getattr(module, "weight", None), nn.Parameter)
    }
