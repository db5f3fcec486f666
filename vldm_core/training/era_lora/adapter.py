"""A LoRA on a UNet: begun by PEFT, written in kohya's layout or in PEFT's (E. Hu et al., arXiv:2106.09685)."""

from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ...errors import SettingsError
from ...files.tensors import write_tensors
from ...machine.companions import HEADLESS, importing

with importing("peft", HEADLESS):
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

LoraLayout = Literal["kohya", "peft"]
NAME = "era"

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""Layers that a LoRA of Stable Diffusion is usually on."""

LOOK = (*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2")
"""Those, the rest of the transformers and the convolutions: grain and tones are made by convolutions."""


def add_lora(unet: Any, *, rank: int, alpha: float, layers: tuple[str, ...] = LOOK) -> None:
    """Add a LoRA that changes nothing yet, and let only its weights require gradients.

    Args:
        unet: diffusers' `UNet2DConditionModel`.
        rank: Of every update.
        alpha: What the LoRA adds is multiplied by alpha / rank.
        layers: Endings of the names of the layers that it is on.
    """
    unet.add_adapter(
        LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(layers), init_lora_weights="gaussian"),  # type: ignore[arg-type]
        adapter_name=NAME,
    )
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(f".{NAME}." in name)
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def take_lora_off(unet: Any) -> None:
    """Let a UNet be as it was."""
    unet.unload_lora()


def save_lora(unet: nn.Module, path: Path, *, alpha: float, layout: LoraLayout = "kohya") -> None:
    """Write the LoRA that is on a UNet.

    Args:
        unet: With a LoRA of `add_lora`.
        path: File.
        alpha: That it was added with; kohya's layout holds it, in PEFT's it is folded into the weights.
        layout: Names of the tensors: "kohya" is what most loaders know, "peft" what diffusers writes.

    Raises:
        SettingsError: The layout is not known.
    """
    if layout not in get_args(LoraLayout):
        raise SettingsError(f"the layout of a LoRA is {layout!r}; use one of {', '.join(get_args(LoraLayout))}")
    tensors: dict[str, Tensor] = {}
    for key, value in get_peft_model_state_dict(unet, adapter_name=NAME).items():
        layer, _, rest = key.rpartition(".lora_")
        side = rest.split(".")[0]
        weights = value.detach().float().cpu()
        if layout == "kohya":
            name = f"lora_unet_{layer.replace('.', '_')}"
            tensors[f"{name}.lora_{'down' if side == 'A' else 'up'}.weight"] = weights
            tensors[f"{name}.alpha"] = torch.tensor(float(alpha))
        else:
            rank = weights.shape[0] if side == "A" else weights.shape[1]
            # Without its alpha a file of this layout means alpha = rank.
            tensors[f"unet.{layer}.lora_{side}.weight"] = weights * (alpha / rank if side == "B" else 1.0)
    write_tensors(tensors, path)
