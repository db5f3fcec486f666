"""The host's own networks at any width, with random weights, for the sampler benchmark.

Random weights of the right size cost what trained ones cost. Imported when the process already is a host.
"""

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Run = Callable[[], Tensor]
"""One whole sampling or decoding; returns the latents (T, 4, h, w), unscaled, or the pictures (T, 3, H, W)."""

Options = dict[str, Any]
"""The settings of the benchmark as plain values; see `benchmarks.sampler.settings`."""

LEVELS = (1, 2, 4, 4)
"""Channels of the levels of Stable Diffusion 1.x's UNet, in widths of the first."""

HEADS = 8
SD_WIDTH = 320
"""Channels of its first level."""

_TEXT = {"sd1": 768, "sd2": 1024}
"""Channels of the text conditioning of Stable Diffusion 1.x and 2.x."""

_HEAD_CHANNELS, _NARROW_HEAD_CHANNELS = 64, 32
"""Channels of an attention head of Stable Diffusion 2.x, and of narrow models, whose widths 64 need not divide."""


def fill(module: nn.Module, seed: int, gain: float = 1.0) -> None:
    """Give a module random weights that keep activations near unit variance; norms and biases become neutral.

    Args:
        module: The host's modules come with memory that nobody wrote to, so every parameter is set.
        seed: Of the weights.
        gain: Factor on all weights.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            for name, parameter in part.named_parameters(recurse=False):
                if parameter.ndim >= 2:
                    parameter.normal_(std=gain * parameter[0].numel() ** -0.5, generator=generator)
                else:
                    is_scale = isinstance(part, nn.GroupNorm | nn.LayerNorm) and name == "weight"
                    parameter.fill_(1.0 if is_scale else 0.0)


def unet_config(width: int, family: str = "sd1") -> dict[str, Any]:
    """Return the host's configuration of the UNet of Stable Diffusion 1.x or 2.x, at a width of its own."""
    second = family == "sd2"
    return {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": width,
        "channel_mult": list(LEVELS),
        "num_res_blocks": [2, 2, 2, 2],
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
        "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        "transformer_depth_middle": 1,
        "context_dim": text_width(family, width),
        "num_heads": -1 if second else HEADS,
        "num_head_channels": head_channels(width) if second else -1,
        "use_linear_in_transformer": second,
        "use_spatial_transformer": True,
        "legacy": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
        "use_temporal_resblock": False,
        "dtype": torch.float32,
    }


def text_width(family: str, width: int) -> int:
    """Width of the text conditioning: 768 for Stable Diffusion 1.x, 1024 for 2.x."""
    return round(width * _TEXT[family] / SD_WIDTH / 8) * 8


def head_channels(width: int) -> int:
    """Channels of an attention head of Stable Diffusion 2.x."""
    return _HEAD_CHANNELS if width == SD_WIDTH else _NARROW_HEAD_CHANNELS


def host_model(width: int, seed: int, family: str = "sd1") -> Any:
    """Return the host's model of Stable Diffusion 1.x or 2.x at a width of its own, in a patcher."""
    import comfy.latent_formats
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models_base

    config = unet_config(width, family)
    settings = comfy.supported_models_base.BASE(dict(config))
    settings.unet_config = config
    settings.latent_format = comfy.latent_formats.SD15()
    model = comfy.model_base.BaseModel(settings, model_type=comfy.model_base.ModelType.EPS, device="cpu").eval()
    fill(model.diffusion_model, seed)
    device = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, device, device)


def host_nodes() -> Any:
    """Return the host's module of nodes; by name, because this repository has one too."""
    return importlib.import_module("nodes")
