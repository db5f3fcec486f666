"""The networks of the one-step oracles as MODEL and VAE of the host."""

from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.sd
import comfy.supported_models_base
import comfy.utils
import torch
from inside.models import filled, network_shape, patcher
from pack.vldm_core.prior.checkpoints.original_names import vae_name


def oracle_model(oracle: Any) -> Any:
    """Return the MODEL; for DLoRAL, which brings its UNet, one of 4 channels with other weights."""
    config = oracle.about["config"]["unet"]
    shape = network_shape(config["block_out_channels"], config["cross_attention_dim"], linear=True)
    settings = comfy.supported_models_base.BASE(dict(shape))
    settings.unet_config, settings.latent_format = shape, comfy.latent_formats.SD15()
    made = comfy.model_base.BaseModel(settings, device="cpu").eval()
    if "unet" in oracle.about["weights"]:
        names = comfy.utils.unet_to_diffusers(shape)
        found = {names[key]: value for key, value in oracle.weights("unet").items()}
        made.diffusion_model.load_state_dict(found)
    else:
        filled(made.diffusion_model, seed=21)
    return patcher(made)


def oracle_vae(oracle: Any) -> Any:
    """Return the VAE of OSEDiff's and S3Diff's oracles; its decoder is random."""
    config = oracle.about["config"]["vae"]
    widths = config["block_out_channels"]
    shape = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 64,
        "in_channels": 3,
        "out_ch": 3,
        "ch": widths[0],
        "ch_mult": [width // widths[0] for width in widths],
        "num_res_blocks": config["layers_per_block"],
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    vae = comfy.sd.VAE(sd={}, config={"params": {"ddconfig": shape, "embed_dim": 4}})
    filled(vae.first_stage_model, std=0.1)
    own = vae.first_stage_model.state_dict()
    for key, value in oracle.weights("vae").items():
        name = vae_name(key, len(widths))
        own[name] = value.reshape(own[name].shape).clone()
    vae.first_stage_model.load_state_dict(own)
    vae.first_stage_model.to(torch.float32)
    vae.vae_dtype = torch.float32
    return vae
