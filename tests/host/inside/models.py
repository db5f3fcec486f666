"""Tiny models of the host's own classes with random weights, and the diffusers twin of one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import comfy.cldm.cldm
import comfy.clip_vision
import comfy.controlnet
import comfy.latent_formats
import comfy.ldm.models.autoencoder
import comfy.model_base
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models_base
import comfy.utils
import torch

# Width of a token of text.
CONTEXT = 64
# Width of a head of attention in nets of Stable Diffusion 2's kind.
HEAD_CHANNELS = 16
CPU = torch.device("cpu")

# CLIP, both halves, as wide as the tiny UNet's text.
CLIP_CONFIG = {
    "hidden_size": CONTEXT,
    "intermediate_size": 2 * CONTEXT,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
}
VISION_CONFIG = {
    **CLIP_CONFIG,
    "attention_dropout": 0.0,
    "hidden_act": "quick_gelu",
    "image_size": 32,
    "layer_norm_eps": 1e-05,
    "model_type": "clip_vision_model",
    "num_channels": 3,
    "patch_size": 8,
    "projection_dim": CONTEXT,
}
VAE_CONFIG = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 64,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "dropout": 0.0,
}


def filled(module: Any, *, seed: int = 0, std: float | None = None) -> Any:
    """Give the host's layers, which come without values, random ones.

    Args:
        module: Changed in place, and returned.
        seed: Of the values.
        std: Of weights; None for what neither fades nor grows with depth.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("mix_factor"):
                parameter.fill_(0.5)
            elif parameter.ndim >= 2:
                parameter.normal_(std=std or parameter[0].numel() ** -0.5, generator=generator)
            else:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
    return module


def shaken(module: Any, *, bias: float = 0.1) -> Any:
    """Fill every parameter, those without a plane too, from torch's own generator."""
    with torch.no_grad():
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5 if parameter.ndim >= 2 else bias)
    return module


def patcher(model: Any) -> Any:
    """Return what the host passes around as MODEL."""
    return comfy.model_patcher.ModelPatcher(model, CPU, CPU)


def network_shape(widths: Sequence[int], context: int, *, linear: bool) -> dict[str, Any]:
    """Return the host's configuration of a UNet of Stable Diffusion 2's kind, with `linear`, or of 1's.

    Heads of 2.x are equally wide at every level, those of 1.x equally many.
    """
    levels = len(widths) - 1
    return {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": widths[0],
        "channel_mult": [width // widths[0] for width in widths],
        "num_res_blocks": [2] * (levels + 1),
        "transformer_depth": [1] * 2 * levels + [0] * 2,
        "transformer_depth_output": [1] * 3 * levels + [0] * 3,
        "transformer_depth_middle": 1,
        "context_dim": context,
        "num_heads": -1 if linear else 4,
        "num_head_channels": HEAD_CHANNELS if linear else -1,
        "use_linear_in_transformer": linear,
        "use_spatial_transformer": True,
        "legacy": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
        "use_temporal_resblock": False,
        "dtype": torch.float32,
    }


def tiny_pair(prediction: str = "eps", seed: int = 0) -> tuple[Any, Any]:
    """Return a MODEL of the host's classes and diffusers' UNet with the same weights.

    Args:
        prediction: "eps" or "v".
        seed: Of the weights.
    """
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    channels = (32, 64, 128, 128)
    kinds = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    twin = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=channels,
        down_block_types=tuple(kinds),
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
        layers_per_block=2,
        cross_attention_dim=CONTEXT,
        attention_head_dim=4,
    ).eval()
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.ndim >= 2:
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        # Predictions of the size a trained network's have: samples end near unit variance.
        twin.conv_out.weight.mul_(0.5)
    return model_of(twin, prediction), twin


def model_of(twin: Any, prediction: str = "eps") -> Any:
    """Return a MODEL of the host's classes with the weights of a diffusers UNet of Stable Diffusion 1's kind, 4 heads.

    Args:
        twin: The UNet.
        prediction: "eps" or "v".
    """
    config = network_shape(twin.config.block_out_channels, twin.config.cross_attention_dim, linear=False)
    settings = comfy.supported_models_base.BASE(dict(config))
    settings.unet_config = config
    settings.latent_format = comfy.latent_formats.SD15()
    kind = comfy.model_base.ModelType.EPS if prediction == "eps" else comfy.model_base.ModelType.V_PREDICTION
    model = comfy.model_base.BaseModel(settings, model_type=kind, device="cpu").eval()
    names = comfy.utils.unet_to_diffusers(config)
    found = {names[key]: value.clone() for key, value in twin.state_dict().items()}
    missing, unexpected = model.diffusion_model.load_state_dict(found, strict=False)
    assert not missing and not unexpected, (missing, unexpected)
    return patcher(model)


def tiny_control(seed: int = 7) -> Any:
    """Return a CONTROL_NET of the host's class that fits `tiny_pair`."""
    torch.manual_seed(seed)
    net = comfy.cldm.cldm.ControlNet(
        image_size=32,
        in_channels=4,
        model_channels=32,
        hint_channels=3,
        num_res_blocks=[2, 2, 2, 2],
        channel_mult=[1, 2, 4, 4],
        transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0],
        transformer_depth_middle=1,
        context_dim=CONTEXT,
        num_heads=4,
        use_spatial_transformer=True,
        legacy=False,
        dtype=torch.float32,
        device="cpu",
        operations=comfy.ops.disable_weight_init,
    ).eval()
    return comfy.controlnet.ControlNet(shaken(net), load_device=CPU)


def tiny_autoencoder() -> Any:
    """Return the host's network of an image VAE."""
    return comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=VAE_CONFIG, embed_dim=4)


def image_vae() -> Any:
    """Return a VAE for single pictures."""
    vae = comfy.sd.VAE(sd={}, config={"params": {"ddconfig": VAE_CONFIG, "embed_dim": 4}})
    filled(vae.first_stage_model, std=0.1)
    return vae


def count_decodes(vae: Any) -> list[tuple[int, ...]]:
    """Return a list that takes the shape of the latents of every later call of the VAE's network."""
    calls: list[tuple[int, ...]] = []
    real = vae.first_stage_model.decode

    def counted(latents: torch.Tensor, **options: Any) -> torch.Tensor:
        calls.append(tuple(latents.shape))
        return real(latents, **options)

    vae.first_stage_model.decode = counted
    return calls


def tiny_clip(seed: int = 0) -> Any:
    """Return a CLIP of the host's class for Stable Diffusion 1.x."""
    target = comfy.supported_models_base.ClipTarget(comfy.sd1_clip.SD1Tokenizer, comfy.sd1_clip.SD1ClipModel)
    clip = comfy.sd.CLIP(target, model_options={"clip_l_model_config": CLIP_CONFIG, "dtype": torch.float32})
    filled(clip.cond_stage_model, seed=seed)
    return clip


def tiny_vision(folder: Path, seed: int = 1) -> Any:
    """Return a CLIP_VISION of the host's class, which reads its configuration from a file."""
    path = folder / "clip_vision.json"
    path.write_text(json.dumps(VISION_CONFIG))
    vision = comfy.clip_vision.ClipVisionModel(str(path))
    vision.model.float()
    vision.dtype = torch.float32
    filled(vision.model, seed=seed)
    return vision
