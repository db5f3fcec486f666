"""Checkpoints of Stable Diffusion 1.x and 2.x in their published layouts, narrow and shallow, with random weights.

The host recognises the family by the width of the first level (320) and of the text (768, 1024), and builds text
encoder and VAE in their published sizes whatever the file holds; so these are as they are, and only the UNet is small:
one residual block per level, all levels 320 wide.
"""

from pathlib import Path
from typing import Any

import comfy.ldm.models.autoencoder
import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
import comfy.ops
import comfy.sd1_clip
import comfy.supported_models
import comfy.text_encoders.sd2_clip
import torch
from inside.models import filled
from inside.prior.controls.published import write_diffbir
from inside.prior.loras import lora_tensors
from pack.vldm_core.prior.lora.per_frame import named_layers
from pack.vldm_core.prior.temporal.animatediff import MotionConfig, MotionModules
from pack.vldm_core.prior.temporal.animatediff_files import save_motion_modules
from pack.vldm_core.prior.temporal.files import save_temporal_layers
from pack.vldm_core.prior.temporal.layers import TemporalConfig, TemporalLayers
from pack.vldm_core.prior.unet import UNetView
from safetensors.torch import save_file

LEVELS = 4
WIDTH = 320
LORA_LAYERS = "mid_block_attentions_0_transformer_blocks_0_attn1_to_q", "up_blocks_1_attentions_0_proj_out"


def write_checkpoint(models: str) -> None:
    """Write the checkpoint below the host's models folder, and layers, motion modules, LoRA and control for it."""
    kinds = ("checkpoints", "vldm_temporal", "animatediff_models", "loras", "vldm_control")
    folders = {name: Path(models) / name for name in kinds}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    network = filled(_unet(context_dim=768, num_heads=8))
    text = filled(comfy.sd1_clip.SD1ClipModel(device="cpu", dtype=torch.float32))
    contents = _half("model.diffusion_model.", network) | _half("first_stage_model.", filled(_vae()))
    contents |= {key.replace("clip_l.", "cond_stage_model.", 1): value for key, value in _half("", text).items()}
    save_file(contents, folders["checkpoints"] / "tiny_sd15.safetensors")

    view = UNetView(network)
    torch.manual_seed(0)
    layers = TemporalLayers(TemporalConfig.for_unet(view))
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    save_temporal_layers(layers, folders["vldm_temporal"] / "tiny_temporal.safetensors")
    channels = tuple((site.layer, site.channels) for site in view.layers() if site.name != "mid.attn")
    modules = MotionModules(MotionConfig(version="v3", channels=channels, positions=32))
    save_motion_modules(modules, folders["animatediff_models"] / "tiny_motion.safetensors")
    write_diffbir(
        folders["vldm_control"] / "tiny_diffbir.safetensors", channels=(WIDTH,) * LEVELS, blocks=1, context=768
    )
    save_file(lora_tensors(named_layers(view), LORA_LAYERS), folders["loras"] / "tiny_lora.safetensors")


def write_sd2_checkpoint(models: str) -> None:
    """Write a checkpoint of the second generation, which predicts the noise, below the host's models folder."""
    folder = Path(models) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    network = filled(_unet(context_dim=1024, num_head_channels=64, use_linear_in_transformer=True))
    contents = _half("model.diffusion_model.", network) | _half("first_stage_model.", filled(_vae()))
    text = filled(comfy.text_encoders.sd2_clip.SD2ClipModel(device="cpu", dtype=torch.float16))
    # To OpenCLIP's names, which the published files have.
    family = comfy.supported_models.SD20({"in_channels": 4})
    contents |= family.process_clip_state_dict_for_saving(_half("", text))
    save_file(contents, folder / "tiny_sd2.safetensors")


def _half(prefix: str, module: Any) -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": value.to(torch.float16).contiguous() for key, value in module.state_dict().items()}


def _unet(**family: Any) -> Any:
    return openaimodel.UNetModel(
        image_size=32,
        in_channels=4,
        out_channels=4,
        model_channels=WIDTH,
        num_res_blocks=[1] * LEVELS,
        channel_mult=[1] * LEVELS,
        transformer_depth=[1] * (LEVELS - 1) + [0],
        transformer_depth_output=[1] * (2 * LEVELS - 2) + [0, 0],
        transformer_depth_middle=1,
        use_spatial_transformer=True,
        legacy=False,
        dtype=torch.float32,
        device="cpu",
        operations=comfy.ops.disable_weight_init,
        **family,
    )


def _vae() -> Any:
    settings: dict[str, Any] = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
    }
    settings |= {"ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
    return comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=settings, embed_dim=4)
