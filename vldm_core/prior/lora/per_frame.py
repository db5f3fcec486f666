"""LoRA with a strength per frame, so that every shot of a clip can have its own.

Merging a LoRA into the weights, as loaders do, gives all frames of a batch the same strength. Here the low-rank update
runs beside the layer instead (E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", equation 3),

    h = W x + s(frame) · (alpha / rank) · B A x,

with s looked up for every frame of the batch. Several of them may be attached at once.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import SettingsError
from ...files.weights import read_contents, read_header
from ...wording import counted
from ..attachment import Attached, Attachment
from ..call import UNetCall
from ..unet import UNetView
from .keys import lora_keys, peft_settings

# Paths inside a block, in diffusers' words and in the other layout's.
_RESNET_LAYERS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """One layer's update.

    Attributes:
        down: A, (rank, in, …).
        up: B, (out, rank, …).
        scale: alpha / rank.
    """

    down: Tensor
    up: Tensor
    scale: float


def read_lora(path: Path) -> dict[str, LowRank]:
    """Read a LoRA's updates of the UNet, by diffusers' path of the layer with dots turned into underscores.

    Updates of the text encoder are left out: they do not act per frame; the host's own LoRA loader applies them.

    Raises:
        WeightFileError: The file is unreadable, or no LoRA in kohya's, PEFT's or diffusers' layout.
        SettingsError: It changes no UNet, or holds half of an update.
    """
    header = read_header(path)
    keys = {key: entry for key, entry in lora_keys(header.shapes, path).items() if entry.unet}
    if not keys:
        raise SettingsError(f"{path.name} changes the text encoder only; use the host's own LoRA loader for it")
    tensors = read_contents(path)
    settings = peft_settings(header.metadata, path) or {}
    found: dict[str, dict[str, Tensor]] = {}
    alphas: dict[str, float] = {}
    for key, entry in keys.items():
        name = entry.layer.replace(".", "_")
        if entry.role == "alpha":
            alphas[name] = float(tensors[key])
            continue
        found.setdefault(name, {})[entry.role] = tensors[key].float()
        if "unet.lora_alpha" in settings and entry.format == "diffusers":
            pattern = settings.get("unet.alpha_pattern") or {}
            alphas[name] = float(pattern.get(entry.layer, settings["unet.lora_alpha"]))
    result = {}
    for name, sides in found.items():
        if set(sides) != {"down", "up"}:
            raise SettingsError(f"{path.name}: {name} has only its {', '.join(sides)} half; download the file again")
        rank = sides["down"].shape[0]
        result[name] = LowRank(down=sides["down"], up=sides["up"], scale=alphas.get(name, rank) / rank)
    return result


def named_layers(view: UNetView) -> dict[str, nn.Module]:
    """Return every layer a LoRA may name, by diffusers' path with underscores; in ComfyUI's layout by its own too."""
    table = dict(view.unet.named_modules()) if view.layout == "comfy" else {}
    table |= layers_by_name(view)
    return {name.replace(".", "_"): module for name, module in table.items() if name}


def layers_by_name(view: UNetView) -> dict[str, nn.Module]:
    """Return every layer by its path in diffusers, whatever the layout."""
    if view.layout == "diffusers":
        return {name: module for name, module in view.unet.named_modules() if name}
    return dict(_twins(view))


def _twins(view: UNetView) -> Iterator[tuple[str, nn.Module]]:
    """Give ComfyUI's layers their names in diffusers."""
    unet = view.unet
    yield "conv_in", unet.input_blocks[0][0]  # type: ignore
    yield "conv_norm_out", unet.out[0]  # type: ignore
    yield "conv_out", unet.out[2]  # type: ignore
    yield "time_embedding.linear_1", unet.time_embed[0]  # type: ignore
    yield "time_embedding.linear_2", unet.time_embed[2]  # type: ignore
    for site in view.sites.values():
        place = _diffusers_place(site.name)
        if site.kind == "attn":
            for path, module in site.module.named_modules():
                if path:
                    yield f"{place}.{path}", module
        else:
            for theirs, ours in _RESNET_LAYERS.items():
                yield f"{place}.{theirs}", site.module.get_submodule(ours)
    yield from _samplers(view)


def _diffusers_place(name: str) -> str:
    parts = name.split(".")
    plural = {"res": "resnets", "attn": "attentions"}[parts[-1]]
    if parts[0] == "mid":
        return f"mid_block.{plural}.{parts[1] if len(parts) == 3 else 0}"
    return f"{parts[0]}_blocks.{parts[1]}.{plural}.{parts[2]}"


def _samplers(view: UNetView) -> Iterator[tuple[str, nn.Module]]:
    level = 0
    for block in list(view.unet.input_blocks)[1:]:  # type: ignore
        if hasattr(block[0], "op"):
            yield f"down_blocks.{level}.downsamplers.0.conv", block[0].op
            level += 1
    level = 0
    for block in view.unet.output_blocks:  # type: ignore
        if hasattr(block[-1], "conv") and not hasattr(block[-1], "in_layers"):
            yield f"up_blocks.{level}.upsamplers.0.conv", block[-1].conv
            level += 1


class ShotLora(Attachment):
    """A LoRA that acts on every frame with a strength of its own.

    Args:
        updates: From `read_lora`.
        strengths: One per frame of the clip, or a single one for all. Frames with 0 are left exactly as they are.

    Raises:
        SettingsError: A strength is not finite.
    """

    def __init__(self, updates: Mapping[str, LowRank], strengths: Sequence[float] | float) -> None:
        super().__init__()
        values = [float(strengths)] if isinstance(strengths, int | float) else [float(value) for value in strengths]
        if not values or not all(map(math.isfinite, values)):
            raise SettingsError(f"a LoRA needs one finite strength for every frame, got {values[:8]}")
        self._strengths = values
        self._for_all = isinstance(strengths, int | float)
        self._names = tuple(updates)
        self._scales = tuple(update.scale for update in updates.values())
        self.downs = nn.ParameterList(nn.Parameter(u.down, requires_grad=False) for u in updates.values())
        self.ups = nn.ParameterList(nn.Parameter(u.up, requires_grad=False) for u in updates.values())

    @property
    def for_all(self) -> bool:
        """Whether there is one strength for all frames, so that it fits any clip."""
        return self._for_all

    def changes(self, view: UNetView) -> list[tuple[nn.Module, Callable[[Tensor, UNetCall], Tensor]]]:
        """Not used: the update needs the layer's input. Checks that the UNet has every layer."""
        self._layers(view)
        return []

    def attach(self, view: UNetView) -> Attached:
        """Hook every layer that the LoRA names.

        Raises:
            SettingsError: The UNet lacks a layer or has it in another size.
        """
        handles = [layer.register_forward_hook(self._update(index)) for index, layer in enumerate(self._layers(view))]
        return Attached(handles)

    def _layers(self, view: UNetView) -> list[nn.Module]:
        layers = named_layers(view)
        found = []
        for name, down, up in zip(self._names, self.downs, self.ups, strict=True):
            layer = layers.get(name)
            weight = None if layer is None else getattr(layer, "weight", None)
            if layer is None or weight is None:
                raise SettingsError(f"this UNet has no layer {name}; the LoRA was made for another model")
            if (up.shape[0], down.shape[1]) != tuple(weight.shape[:2]):
                raise SettingsError(
                    f"{name} is {tuple(weight.shape[:2])} here and ({up.shape[0]}, {down.shape[1]}) in the LoRA, which "
                    "was made for another Stable Diffusion version"
                )
            found.append(layer)
        return found

    def _update(self, index: int) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(layer: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
            if self._call is None:
                raise SettingsError("a LoRA per frame ran without being told which frames the batch holds")
            strengths = self._of_batch(self._call)
            if not any(strengths):
                return output
            x = arguments[0]
            down, up = self.downs[index].to(x), self.ups[index].to(x)
            if isinstance(layer, nn.Conv2d):
                down, up = (half if half.ndim == 4 else half[..., None, None] for half in (down, up))
                update = functional.conv2d(functional.conv2d(x, down, stride=layer.stride, padding=layer.padding), up)
            else:
                update = functional.linear(functional.linear(x, down.flatten(1)), up.flatten(1))
            factor = torch.tensor(strengths, device=x.device, dtype=x.dtype) * self._scales[index]
            return output + update * factor.view(-1, *(1,) * (output.ndim - 1))

        return hook

    def _of_batch(self, call: UNetCall) -> list[float]:
        if self._for_all:
            return self._strengths * (len(call.frames) * len(call.chunks))
        if max(call.frames) >= len(self._strengths):
            raise SettingsError(
                f"the LoRA has strengths for {len(self._strengths)} frames, frame {max(call.frames)} is sampled; "
                "make them from the same shots"
            )
        return [self._strengths[frame] for frame in call.frames] * len(call.chunks)


def strengths_of_shots(lengths: Sequence[int], strengths: Sequence[float]) -> list[float]:
    """Give every frame the strength of its shot.

    Args:
        lengths: Frames of each shot.
        strengths: One for each shot.

    Raises:
        SettingsError: Their counts differ.
    """
    if len(lengths) != len(strengths):
        raise SettingsError(
            f"got {counted(len(strengths), 'strength')} for {counted(len(lengths), 'shot')}; give one for each"
        )
    return [value for length, value in zip(lengths, strengths, strict=True) for _ in range(length)]
