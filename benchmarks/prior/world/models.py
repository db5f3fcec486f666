"""The models of the small world: how they are made, kept and opened."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vldm_core.files.tensors import write_tensors
from vldm_core.files.weights import read_contents, read_header, tensors_of
from vldm_core.prior.checkpoints.families import Family
from vldm_core.prior.checkpoints.family_files import write_configuration
from vldm_core.prior.checkpoints.original_names import original_checkpoint
from vldm_core.training.diffusion.prior import TrainingPrior, training_prior

SIDE = 128
"""Height and width of the frames of the small world, px."""

SHIPPED = Path(__file__).resolve().parents[1] / "weights"
"""Folder of the small world that ships, and of the parts that join it."""

_TEXT_SEED = 0
_PARTS = ("unet", "vae")

WORLD = Family(
    name="the small world",
    context=64,
    unet={
        "sample_size": SIDE // 8,
        "layers_per_block": 1,
        "block_out_channels": [64, 64, 128],
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        "cross_attention_dim": 64,
        # Stable Diffusion 2.x has heads of 64 channels; files that name no heads are read by that rule.
        "attention_head_dim": [1, 1, 2],
    },
    text_encoder={
        "vocab_size": 49408,
        "max_position_embeddings": 77,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": 64,
        "hidden_act": "quick_gelu",
        "pad_token_id": 49407,
    },
    text_keys="cond_stage_model.transformer.text_model.",
    padding="<|endoftext|>",
    autoencoder={
        "sample_size": SIDE,
        "layers_per_block": 1,
        # Stable Diffusion normalises in 32 groups. A group of a single channel would lose how bright it is.
        "block_out_channels": [64, 64, 64, 128],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "latent_channels": 4,
        "scaling_factor": 0.18215,
    },
)


def new_pipeline() -> Any:
    """Return the small world before it has learnt anything, as a `VideoRestorationPipeline`.

    Weights are drawn from torch's generator, except those of the text encoder, which are the same every time: it is not
    trained, since a few fixed texts need nothing but to differ.
    """
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from vldm_core.prior.pipeline import VideoRestorationPipeline

    with tempfile.TemporaryDirectory(prefix="vldm-world-") as name:
        folder = Path(name)
        write_configuration(WORLD, "eps", folder)
        unet: Any = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet"))
        vae: Any = AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae"))
        scheduler = EulerDiscreteScheduler.from_pretrained(folder / "scheduler")
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_TEXT_SEED)
            text_encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(folder / "text_encoder"))
            with torch.no_grad():
                for parameter in text_encoder.parameters():
                    if parameter.ndim > 1:
                        # Wider than for training, or all texts would come out nearly alike.
                        parameter.normal_(std=0.3)
    pipeline = VideoRestorationPipeline(
        vae=vae.eval(), text_encoder=text_encoder.eval(), tokenizer=tokenizer, unet=unet.eval(), scheduler=scheduler
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def open_world(folder: Path) -> TrainingPrior:
    """Open the trained small world.

    Args:
        folder: With unet.safetensors and vae.safetensors.

    Raises:
        WeightFileError: A file is missing or does not fit.
    """
    pipeline = new_pipeline()
    for part in _PARTS:
        weights = tensors_of(read_contents(folder / f"{part}.safetensors"))
        getattr(pipeline, part).load_state_dict({key: value.float() for key, value in weights.items()})
    return training_prior(pipeline)


def save_part(module: torch.nn.Module, path: Path) -> None:
    """Write weights in half precision, which halves what they take on the disk."""
    write_halves(module.state_dict(), path)


def write_halves(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors in half precision."""
    write_tensors({key: value.detach().half().contiguous() for key, value in state.items()}, path)


def halve(path: Path) -> None:
    """Write a file of weights again in half precision; what is written beside the tensors stays."""
    tensors = tensors_of(read_contents(path))
    halves = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    write_tensors(halves, path, read_header(path).metadata)


def write_layouts(prior: TrainingPrior, folder: Path) -> tuple[Path, Path, Path]:
    """Write the small world as others read it.

    Args:
        prior: Of `open_world`.
        folder: Is made.

    Returns:
        A folder in diffusers' layout, a checkpoint in the original layout, and the folder with its configuration.
    """
    diffusers, checkpoint, configuration = folder / "diffusers", folder / "world.safetensors", folder / "configuration"
    prior.pipeline.save_pretrained(diffusers)
    configuration.mkdir(parents=True, exist_ok=True)
    write_configuration(WORLD, "eps", configuration)
    write_tensors(original_checkpoint(prior.pipeline), checkpoint)
    return diffusers, checkpoint, configuration
