"""Layouts of whole checkpoints, as names and shapes, and files of them that take hardly any room."""

from pathlib import Path

import torch

from vldm_core.prior.checkpoints.inspection import control_keys, one_step_keys
from vldm_core.prior.checkpoints.inspection.unet_keys import SD1_UNET, SD2_UNET, SDXL_UNET, unet_shapes, with_inputs
from vldm_core.prior.checkpoints.inspection.vae_keys import vae_shapes


def below(prefix, shapes):
    return {f"{prefix}{key}": shape for key, shape in shapes.items()}


def clip_text(width):
    """The beginning and end of a CLIP text encoder of transformers."""
    return {
        "text_model.embeddings.token_embedding.weight": (49408, width),
        "text_model.embeddings.position_embedding.weight": (77, width),
        "text_model.encoder.layers.0.self_attn.q_proj.weight": (width, width),
        "text_model.final_layer_norm.weight": (width,),
    }


def open_clip_text(width):
    return {
        "token_embedding.weight": (49408, width),
        "positional_embedding": (77, width),
        "transformer.resblocks.0.attn.in_proj_weight": (3 * width, width),
        "ln_final.weight": (width,),
        "logit_scale": (),
    }


def _base(unet, text):
    return below("model.diffusion_model.", unet) | below("first_stage_model.", vae_shapes("original")) | text


TABLES = {
    "betas": (1000,),
    "alphas_cumprod": (1000,),
    "posterior_mean_coef2": (1000,),
    "sqrt_recipm1_alphas_cumprod": (1000,),
}
SD1 = _base(unet_shapes(SD1_UNET, "original"), below("cond_stage_model.transformer.", clip_text(768))) | TABLES
SD2 = _base(unet_shapes(SD2_UNET, "original"), below("cond_stage_model.model.", open_clip_text(1024))) | TABLES
SDXL = _base(
    unet_shapes(SDXL_UNET, "original"),
    below("conditioner.embedders.0.transformer.", clip_text(768))
    | below("conditioner.embedders.1.model.", open_clip_text(1280)),
)
LORA = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 768),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": (320, 4),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.alpha": (),
    "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 768),
    "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": (3072, 4),
}
PEFT_LORA = {
    "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": (4, 2048),
    "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_B.weight": (640, 4),
}
MOTION = {
    "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight": (320,),
    "module.up_blocks.3.motion_modules.2.temporal_transformer.proj_out.bias": (320,),
}
# A text-to-image UNet of another family: names that only it has.
FLUX = {"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": (9216, 3072)}
SD3 = {"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (4608, 1536)}
INPAINTING = SD1 | below("model.diffusion_model.", unet_shapes(with_inputs(SD1_UNET, 9), "original"))

# What a whole file of each kind holds: name of the layout, (its layout, what is said, kind, family).
WHOLE = {
    "sd1": (SD1, "complete checkpoint", "base model", "Stable Diffusion 1.x"),
    "sd2": (SD2, "complete checkpoint", "base model", "Stable Diffusion 2.x"),
    "sdxl": (SDXL, "complete checkpoint", "base model", "Stable Diffusion XL"),
    "sd1_unet": (unet_shapes(SD1_UNET, "diffusers"), "UNet in diffusers' layout", "base model", "Stable Diffusion 1.x"),
    "xl_unet": (unet_shapes(SDXL_UNET, "diffusers"), "UNet in diffusers' layout", "base model", "Stable Diffusion XL"),
    "vae": (vae_shapes("diffusers"), "VAE in diffusers' layout", "VAE", None),
    "clip": (clip_text(768), "CLIP text encoder", "text encoder", None),
    "open_clip": (open_clip_text(1024), "OpenCLIP text encoder", "text encoder", None),
    "controlnet": (
        below("control_model.", control_keys.control_shapes(SD1_UNET)),
        "ControlNet in the original layout",
        "ControlNet",
        "Stable Diffusion 1.x",
    ),
    "controlnet_diffusers": (
        control_keys.diffusers_control_shapes(SD2_UNET),
        "ControlNet in diffusers' layout",
        "ControlNet",
        "Stable Diffusion 2.x",
    ),
    "pasd": (
        unet_shapes(SD1_UNET, "diffusers") | control_keys.pasd_additions(),
        "PASD's UNet with pixel-aware attention",
        "restoration control",
        "Stable Diffusion 1.x",
    ),
    "pasd_light": (
        unet_shapes(SD1_UNET, "diffusers") | control_keys.pasd_light_additions(),
        "PASD light's UNet with a third attention",
        "restoration control",
        "Stable Diffusion 1.x",
    ),
    "pasd_rrdb": (
        control_keys.pasd_control(blocks=2),
        "PASD's or PASD light's ControlNet (both are of one shape)",
        "restoration control",
        "Stable Diffusion 1.x",
    ),
    "seesr": (
        unet_shapes(SD2_UNET, "diffusers") | control_keys.seesr_additions(),
        "SeeSR's UNet with representation attention",
        "restoration control",
        "Stable Diffusion 2.x",
    ),
    "stablesr_cfw": (
        vae_shapes("original")
        | control_keys.stablesr_fusion()
        | {"loss.perceptual_loss.lin0.model.1.weight": (1, 64, 1, 1)},
        "StableSR's feature wrapping with its VAE",
        "restoration control",
        "Stable Diffusion 2.x",
    ),
    "osediff": (
        below("state_dict_unet.", one_step_keys.osediff_unet()) | below("state_dict_vae.", one_step_keys.osediff_vae()),
        "OSEDiff",
        "one-step restorer",
        "Stable Diffusion 2.x",
    ),
    "pisasr": (
        below("state_dict_unet.", one_step_keys.pisasr_unet()),
        "PiSA-SR",
        "one-step restorer",
        "Stable Diffusion 2.x",
    ),
    "s3diff": (
        below("state_dict_unet.", one_step_keys.s3diff_unet())
        | below("state_dict_vae.", one_step_keys.s3diff_vae())
        | one_step_keys.s3diff_steering(),
        "S3Diff",
        "one-step restorer",
        "Stable Diffusion 2.x",
    ),
    "dloral": (
        below("state_dict_unet.", one_step_keys.dloral_unet())
        | below("state_dict_bpp.", one_step_keys.dloral_frames()),
        "DLoRAL",
        "one-step restorer",
        "Stable Diffusion 2.x",
    ),
    "lora": (LORA, "LoRA in kohya's layout", "LoRA", "Stable Diffusion 1.x"),
    "lora_peft": (PEFT_LORA, "LoRA in diffusers' layout", "LoRA", "Stable Diffusion XL"),
    "motion": (MOTION, "AnimateDiff's motion modules", "motion modules", "Stable Diffusion 1.x"),
    "flux": (FLUX, "transformer of Flux, or of a model like it", "base model", None),
    "sd3": (SD3, "transformer of Stable Diffusion 3", "base model", None),
}


def stored(shapes, path: Path, contents=None) -> Path:
    """Write a pickle in which every tensor is one number, repeated: full-size shapes in a small file."""
    tensors = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    torch.save(tensors if contents is None else contents(tensors), path)
    return path
