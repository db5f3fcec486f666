"""A pipeline's weights under the names of Stable Diffusion's original checkpoints, which ComfyUI reads."""

import re
from typing import Any

from torch import Tensor

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def original_checkpoint(pipeline: Any) -> dict[str, Tensor]:
    """Return the state dict of an original checkpoint of the kind of Stable Diffusion 1.x.

    Args:
        pipeline: With diffusers' `unet` and `vae` and transformers' `text_encoder`.
    """
    layers = pipeline.unet.config.layers_per_block
    state = {f"model.diffusion_model.{unet_name(k, layers)}": v for k, v in pipeline.unet.state_dict().items()}
    state |= {f"first_stage_model.{key}": value for key, value in original_vae(pipeline.vae).items()}
    for key, value in pipeline.text_encoder.state_dict().items():
        state[f"cond_stage_model.transformer.text_model.{key.removeprefix('text_model.')}"] = value
    return {key: value.detach().clone().contiguous() for key, value in state.items()}


def original_vae(vae: Any) -> dict[str, Tensor]:
    """Return a VAE's weights by the original names, without prefix."""
    levels = len(vae.config.block_out_channels)
    state = {}
    for key, value in vae.state_dict().items():
        name = vae_name(key, levels)
        is_projection = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", name) is not None
        state[name] = value[:, :, None, None] if is_projection else value
    return state


def unet_name(key: str, layers: int) -> str:
    """Return the original name, without prefix, of one of diffusers' UNet keys.

    Args:
        key: Of diffusers.
        layers: Residual blocks at each level of the way down.
    """
    module, _, kind = key.rpartition(".")
    if module in _UNET:
        return f"{_UNET[module]}.{kind}"
    match = re.match(r"(?P<side>down|up)_blocks\.(?P<level>\d+)\.(?P<what>\w+)\.(?P<index>\d+)\.(?P<rest>.+)", key)
    if match is None:
        match = re.match(r"mid_block\.(?P<what>\w+)\.(?P<index>\d+)\.(?P<rest>.+)", key)
        if match is None:
            raise ValueError(f"a UNet of Stable Diffusion has no {key!r}")
        place = "1" if match["what"] == "attentions" else str(2 * int(match["index"]))
        return f"middle_block.{place}.{_inside(match)}"
    level, index, rows = int(match["level"]), int(match["index"]), layers + 1
    if match["what"] == "downsamplers":
        return f"input_blocks.{rows * (level + 1)}.0.op.{kind}"
    if match["what"] == "upsamplers":
        # Behind the transformer, which the deepest level lacks.
        return f"output_blocks.{rows * level + layers}.{1 if level == 0 else 2}.conv.{kind}"
    place = (
        f"input_blocks.{rows * level + index + 1}"
        if match["side"] == "down"
        else f"output_blocks.{rows * level + index}"
    )
    return f"{place}.{1 if match['what'] == 'attentions' else 0}.{_inside(match)}"


def _inside(match: re.Match[str]) -> str:
    rest = match["rest"]
    if match["what"] == "attentions":
        return rest
    module, _, kind = rest.rpartition(".")
    return f"{_RESNET[module]}.{kind}"


def vae_name(key: str, levels: int) -> str:
    """Return the original name, without prefix, of one of diffusers' VAE keys.

    Args:
        key: Of diffusers.
        levels: Sizes at which the VAE works.
    """
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    key = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", key)
    key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}", key)
    key = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", key)
    key = re.sub(r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    if found := re.fullmatch(r"(.+)mid_block\.attentions\.0\.(.+)\.(weight|bias)", key):
        return f"{found[1]}mid.attn_1.{_VAE_ATTENTION[found[2]]}.{found[3]}"
    return key
