"""From diffusers' names of a UNet's tensors to those of the original checkpoints, as far down as the middle.

PASD and SeeSR publish their networks under diffusers' names. The tensors are the same; only a ControlNet's 1×1
convolutions, its picture's embedding and SeeSR's further transformers have no original name and get one here.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from ....files.weights import WeightFileError, some

T = TypeVar("T")

_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_SINGLE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "controlnet_mid_block": "middle_block_out.0",
}
_DOWN = re.compile(r"down_blocks\.(\d+)\.(resnets|attentions|image_attentions|downsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions|image_attentions)\.(\d+)\.(.+)")
_CONTROL = re.compile(r"controlnet_down_blocks\.(\d+)\.(.+)")
KEPT = "controlnet_cond_embedding."
"""Begins the names of a picture's embedding, which stay."""


def original_names(tensors: Mapping[str, T]) -> dict[str, T]:
    """Rename the tensors of a ControlNet that diffusers saved.

    Args:
        tensors: By diffusers' names; values are not looked at.

    Raises:
        WeightFileError: There are names that such a network does not have; the message lists them.
    """
    rows = 1 + max((int(m[3]) for m in map(_DOWN.fullmatch, tensors) if m and m[2] == "resnets"), default=0)
    images = any(".image_attentions." in key for key in tensors)
    found, unknown = {}, []
    for key, value in tensors.items():
        name = _renamed(key, rows, images)
        if name is None:
            unknown.append(key)
        else:
            found[name] = value
    if unknown:
        raise WeightFileError(f"a ControlNet in diffusers' layout does not hold {some(unknown)}")
    return found


def _renamed(key: str, rows: int, images: bool) -> str | None:
    if key.startswith(KEPT):
        return key
    module, _, kind = key.rpartition(".")
    if module in _SINGLE:
        return f"{_SINGLE[module]}.{kind}"
    if match := _CONTROL.fullmatch(key):
        return f"zero_convs.{match[1]}.0.{match[2]}"
    if match := _DOWN.fullmatch(key):
        level, what, index, rest = int(match[1]), match[2], int(match[3]), match[4]
        if what == "downsamplers":
            return f"input_blocks.{(rows + 1) * (level + 1)}.0.{rest.replace('conv.', 'op.', 1)}"
        place = f"input_blocks.{(rows + 1) * level + index + 1}"
        return _inside(place, what, rest, {"resnets": 0, "attentions": 1, "image_attentions": 2})
    if match := _MIDDLE.fullmatch(key):
        what, index, rest = match[1], int(match[2]), match[3]
        last = 3 if images else 2
        places = {"resnets": last * index, "attentions": 1, "image_attentions": 2}
        return _inside("middle_block", what, rest, places)
    return None


def _inside(place: str, what: str, rest: str, places: Mapping[str, int]) -> str | None:
    if what != "resnets":
        return f"{place}.{places[what]}.{rest}"
    module, _, kind = rest.rpartition(".")
    return f"{place}.{places[what]}.{_RESIDUAL[module]}.{kind}" if module in _RESIDUAL else None
