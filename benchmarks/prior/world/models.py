"""The models of the small world: their shapes, and how they are written and read.

They are diffusers' `AutoencoderKL` and `UNet2DConditionModel` and transformers' `CLIPTextModel` in the structure of
Stable Diffusion 1.x: 4 latent channels at 1/8 of the size, scaled by 0.18215; a UNet that predicts ε, with transformers
at all levels but the deepest. Only the widths are small. The text encoder is not trained: it is random weights of a
seed, which tell prompts apart, and the UNet learns what they mean. It is a small world: what holds in it is evidence of
how the parts work together, not of what Stable Diffusion would give.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from vldm_core.files.tensors import write_tensors
from vldm_core.files.weights import read_contents, tensors_of
from vldm_core.prior.checkpoints.families import SD1, Family
from vldm_core.prior.checkpoints.family_files import write_configuration

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
"""Folder of the small world's weights that come with the project."""

LATENT_SCALE = 0.18215
SIDE = 128
"""Height and width of the frames that it is trained on, px."""

_TEXT_SEED = 1889
_WIDTHS = (64, 64, 128)
_VAE_WIDTHS = (32, 32, 64, 128)

WORLD = Family(
    name="the small world",
    context=64,
    unet={
        "sample_size": SIDE // 8,
        "layers_per_block": 1,
        "block_out_channels": list(_WIDTHS),
        "down_block_types": ["CrossAttnDownBlock2D"] * 2 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 2,
        "cross_attention_dim": 64,
        # The number of heads, in spite of its name: 64 channels each, as in SD 2.x, so that files of controls, which do
        # not say it, are read right.
        "attention_head_dim": [1, 1, 2],
    },
    text_encoder={
        **SD1.text_encoder,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": 64,
    },
    text_keys=SD1.text_keys,
    padding=SD1.padding,
    autoencoder={
        "sample_size": SIDE,
        "layers_per_block": 1,
        "block_out_channels": list(_VAE_WIDTHS),
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "latent_channels": 4,
        "scaling_factor": LATENT_SCALE,
    },
)


def new_vae() -> Any:
    """Return a VAE with random weights."""
    return AutoencoderKL.from_config(dict(WORLD.autoencoder))  # type: ignore[arg-type]


def new_unet() -> Any:
    """Return a UNet with random weights."""
    return UNet2DConditionModel.from_config(dict(WORLD.unet))  # type: ignore[arg-type]


def text_encoder() -> CLIPTextModel:
    """Return the text encoder, the same on every machine."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_TEXT_SEED)
        model = CLIPTextModel(CLIPTextConfig(**WORLD.text_encoder))
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                # Wide enough that prompts differ in what they say and not in the last digits.
                nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return model.eval().requires_grad_(False)


def write_world(folder: Path, vae: nn.Module, unet: nn.Module) -> None:
    """Write the small world as a folder in diffusers' layout, with tokenizer and text encoder.

    Args:
        folder: New, or empty.
        vae: diffusers' `AutoencoderKL` of this shape.
        unet: diffusers' `UNet2DConditionModel` of this shape.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_configuration(WORLD, "eps", folder)
    written = (("vae", vae, "diffusion_pytorch_model"), ("unet", unet, "diffusion_pytorch_model"))
    for name, model, file in (*written, ("text_encoder", text_encoder(), "model")):
        write_tensors(_plain(model.state_dict()), folder / name / f"{file}.safetensors", {"format": "pt"})


def read_part(model: nn.Module, path: Path) -> nn.Module:
    """Fill a model with weights from a file; in evaluation mode, without gradients."""
    model.load_state_dict({key: value.float() for key, value in tensors_of(read_contents(path)).items()})
    return model.eval().requires_grad_(False)


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().float().cpu().contiguous() for key, value in state.items()}
