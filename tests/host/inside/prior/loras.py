"""LoRAs with random weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from inside.sampling import random

RANK = 4


def lora_tensors(
    layers: Mapping[str, Any], names: Sequence[str], alpha: float | None = None
) -> dict[str, torch.Tensor]:
    """Return the tensors of a LoRA file for some of the layers, by their names, large enough to be seen."""
    tensors = {}
    for index, name in enumerate(names):
        weight, key = layers[name].weight, f"lora_unet_{name}"
        plane = [1] * (weight.ndim - 2)
        down = random(RANK, *weight.shape[1:], seed=index) / weight[0].numel() ** 0.5
        tensors[f"{key}.lora_down.weight"] = down
        tensors[f"{key}.lora_up.weight"] = random(weight.shape[0], RANK, *plane, seed=index + 50)
        if alpha is not None:
            tensors[f"{key}.alpha"] = torch.tensor(alpha)
    return tensors
