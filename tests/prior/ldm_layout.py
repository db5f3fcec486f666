"""A text encoder's weights under the names of Stable Diffusion 2.x."""

import re

import torch
from torch import Tensor


def open_clip_text(text_encoder) -> dict[str, Tensor]:
    """Return a text encoder's weights under the names of Stable Diffusion 2.x."""
    names = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    inside = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    weights = {key.removeprefix("text_model."): value for key, value in text_encoder.state_dict().items()}
    state = {}
    for key, value in weights.items():
        if key in names:
            state[names[key]] = value
            continue
        match = re.match(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$", key)
        if match is None:
            continue
        number, module, kind = match.groups()
        place = f"transformer.resblocks.{number}"
        if module in inside:
            state[f"{place}.{inside[module]}.{kind}"] = value
        elif module == "self_attn.q_proj":
            parts = [weights[f"encoder.layers.{number}.self_attn.{which}_proj.{kind}"] for which in "qkv"]
            state[f"{place}.attn.in_proj_{kind}"] = torch.cat(parts)
    return {f"cond_stage_model.model.{key}": value.detach().clone().contiguous() for key, value in state.items()}
