"""LoRA files: what they are, and their use in diffusers' UNet.

In ComfyUI the host's own loader applies LoRA files. This module reads what a file is from its header, for planning and
for clear errors, and applies files without the host, through diffusers' PEFT backend. Both naming schemes are read:

- kohya's, `lora_unet_down_blocks_0_attentions_0_….lora_down.weight`, `.lora_up.weight` and `.alpha`;
- diffusers', `unet.down_blocks.0.attentions.0.….lora_A.weight` and `.lora_B.weight`, and its older
  `….processor.to_q_lora.down.weight`.

A layer of either changes W to W + strength · alpha / rank · up·down (Hu et al., arXiv:2106.09685); a file without alpha
means alpha = rank.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from torch import Tensor, nn

from ..errors import SettingsError
from .weight_files import WeightFileError, read_contents, read_header, some

LoraFormat = Literal["kohya", "diffusers"]

_BASES = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL"}
_KOHYA = re.compile(r"lora_(unet|te\d?)_([^.]+)\.(lora_down\.weight|lora_up\.weight|alpha)")
_PEFT = re.compile(
    r"(unet|text_encoder(?:_2)?)\.(.+)\.(lora_A(?:\.default)?\.weight|lora_B(?:\.default)?\.weight|alpha)"
)
_OLDER = re.compile(r"(unet|text_encoder(?:_2)?)\.(.+?)(?:_lora|\.lora|\.lora_linear_layer)\.((?:down|up)\.weight)")
_ROLES = {"lora_down": "down", "lora_A": "down", "down": "down", "lora_up": "up", "lora_B": "up", "up": "up"}
_PEFT_METADATA = "lora_adapter_metadata"
_STRONGEST = 10.0


@dataclass(frozen=True, kw_only=True)
class LoraInfo:
    """What a LoRA file is.

    Attributes:
        format: How its keys are named.
        unet_layers: Layers of the UNet that it changes.
        text_layers: Layers of the text encoder that it changes.
        ranks: All ranks that occur, ascending.
        context_dim: Width of the text conditioning of the model it was made for; None where the file does not show it.
    """

    format: LoraFormat
    unet_layers: int
    text_layers: int
    ranks: tuple[int, ...]
    context_dim: int | None

    @property
    def base(self) -> str | None:
        """Family of models it was made for: "SD 1.x", "SD 2.x", "SDXL", or None where the file does not show it."""
        return None if self.context_dim is None else _BASES.get(self.context_dim)


@dataclass(frozen=True, kw_only=True)
class LoraKey:
    """What one key of a LoRA file names; `layer` is spelt as the file's format spells it."""

    format: LoraFormat
    unet: bool
    layer: str
    role: str


def inspect_lora(path: Path) -> LoraInfo:
    """Say what a LoRA file is, from its header alone.

    Raises:
        WeightFileError: The file is unreadable, or no LoRA file of a known format.
    """
    shapes = read_header(path).shapes
    keys = lora_keys(shapes, path)
    down = {key: entry for key, entry in keys.items() if entry.role == "down"}
    contexts = {
        shapes[key][1]
        for key, entry in down.items()
        if entry.unet and entry.layer.replace("_", ".").endswith("attn2.to.k") and len(shapes[key]) == 2
    }
    return LoraInfo(
        format=next(iter(keys.values())).format,
        unet_layers=sum(entry.unet for entry in down.values()),
        text_layers=sum(not entry.unet for entry in down.values()),
        ranks=tuple(sorted({shapes[key][0] for key in down})),
        context_dim=contexts.pop() if len(contexts) == 1 else None,
    )


class UNetLoras:
    """LoRA files in a diffusers UNet: read once, then used in any mixture, shot by shot.

    Only the UNet's part of a file is used. Nothing is in use at first.

    Args:
        unet: diffusers' `UNet2DConditionModel`, without adapters of its own.
        files: LoRA files of either format.

    Raises:
        WeightFileError: A file is unreadable, no LoRA, or made for another UNet. The UNet is as before then.
        SettingsError: The UNet already has adapters.
    """

    def __init__(self, unet: nn.Module, files: Iterable[Path]) -> None:
        if getattr(unet, "peft_config", None):
            raise SettingsError("the UNet already has LoRA adapters; remove them first")
        # PEFT's methods come with a mixin that a plain module does not declare.
        self._unet = cast(Any, unet)
        self._names: dict[Path, str] = {}
        layers = {
            name: tuple(module.weight.shape)
            for name, module in unet.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d)
        }
        states = {path: _unet_state(path, layers) for path in dict.fromkeys(files)}
        try:
            for index, (path, (state, alphas, metadata)) in enumerate(states.items()):
                self._names[path] = f"vldm_{index}"
                self._unet.load_lora_adapter(
                    state,
                    prefix="unet",
                    adapter_name=self._names[path],
                    network_alphas=None if metadata else alphas,
                    metadata=metadata,
                )
        except BaseException:
            self.remove()
            raise
        self.use({})

    def use(self, strengths: Mapping[Path, float]) -> None:
        """Use these files at these strengths, and no others.

        Args:
            strengths: Strength of each file in use; 0 is off, and with nothing on the UNet computes what it did before.

        Raises:
            SettingsError: A file was not given at the start, or a strength is out of range.
        """
        for path, strength in strengths.items():
            if path not in self._names:
                raise SettingsError(f"{path} was not loaded; loaded are {some([str(p) for p in self._names])}")
            check_strength(strength, str(path))
        on = {self._names[path]: strength for path, strength in strengths.items() if strength != 0}
        if not on:
            self._unet.disable_lora()
            return
        self._unet.enable_lora()
        self._unet.set_adapters(list(on), list(on.values()))

    def remove(self) -> None:
        """Take all files out of the UNet. Doing it twice is harmless."""
        if self._names:
            self._unet.unload_lora()
            self._names = {}


def check_strength(strength: float, what: str) -> None:
    """Check a LoRA strength.

    Raises:
        SettingsError: It is no number between -10 and 10.
    """
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not abs(strength) <= _STRONGEST:
        raise SettingsError(
            f"the LoRA strength of {what} must be a number between {-_STRONGEST:g} and {_STRONGEST:g}; got {strength!r}"
        )


def lora_keys(names: Iterable[str], path: Path) -> Mapping[str, LoraKey]:
    """Return what every key of a file means.

    Raises:
        WeightFileError: Some mean nothing, or the formats are mixed.
    """
    found: dict[str, LoraKey] = {}
    unknown = []
    for name in names:
        entry = _key(name)
        if entry is None:
            unknown.append(name)
        else:
            found[name] = entry
    if not any(entry.role == "down" for entry in found.values()):
        raise WeightFileError(f"{path} is no LoRA file of kohya's or diffusers' format; it holds {some(unknown)}")
    if unknown:
        raise WeightFileError(
            f"{path} holds {some(unknown)}, which plain LoRA does not have (LoHa, LoKr and DoRA are not supported here)"
        )
    if len({entry.format for entry in found.values()}) > 1:
        raise WeightFileError(f"{path} mixes keys of kohya's and of diffusers' format")
    return MappingProxyType(found)


def _key(name: str) -> LoraKey | None:
    if match := _KOHYA.fullmatch(name):
        part, layer, role = match.groups()
        return LoraKey(format="kohya", unet=part == "unet", layer=layer, role=_ROLES.get(role.split(".")[0], role))
    match = _PEFT.fullmatch(name) or _OLDER.fullmatch(name)
    if match is None:
        return None
    part, layer, role = match.groups()
    layer = re.sub(r"\bto_out$", "to_out.0", layer.replace(".processor.", "."))
    return LoraKey(format="diffusers", unet=part == "unet", layer=layer, role=_ROLES.get(role.split(".")[0], role))


def _unet_state(
    path: Path, layers: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, Tensor], dict[str, float], dict[str, Any] | None]:
    """Return the UNet's part of a file in PEFT's naming, the alpha of every layer, and PEFT's own settings if any.

    Raises:
        WeightFileError: The file is no LoRA or made for another UNet; found from the header where possible.
    """
    header = read_header(path)
    keys = {key: entry for key, entry in lora_keys(header.shapes, path).items() if entry.unet}
    if not keys:
        raise WeightFileError(f"{path} changes the text encoder only; there is nothing to load into the UNet")
    spelling = {name.replace(".", "_"): name for name in layers}
    shapes: dict[tuple[str, str], tuple[int, ...]] = {}
    places: dict[str, str] = {}
    for key, entry in keys.items():
        places[key] = spelling.get(entry.layer, "") if entry.format == "kohya" else entry.layer
        if places[key] not in layers:
            raise WeightFileError(
                f"{path} changes {entry.layer}, which this UNet does not have; it is for another model"
            )
        shapes[places[key], entry.role] = header.shapes[key]
    for layer in dict.fromkeys(places.values()):
        _check_layer(path, layer, layers[layer], shapes.get((layer, "down")), shapes.get((layer, "up")))
    tensors = read_contents(path)
    state: dict[str, Tensor] = {}
    alphas = {f"unet.{layer}.alpha": float(shapes[layer, "down"][0]) for layer in places.values()}
    for key, entry in keys.items():
        if entry.role == "alpha":
            alphas[f"unet.{places[key]}.alpha"] = float(tensors[key])
        else:
            state[f"unet.{places[key]}.lora_{'A' if entry.role == 'down' else 'B'}.weight"] = tensors[key]
    return state, alphas, peft_settings(header.metadata, path)


def _check_layer(
    path: Path,
    layer: str,
    weight: tuple[int, ...],
    down: tuple[int, ...] | None,
    up: tuple[int, ...] | None,
) -> None:
    if down is None or up is None:
        raise WeightFileError(f"{path} has only half of the weights of {layer}; download it again")
    if len(down) < 2 or len(up) < 2 or down[1] != weight[1] or up[0] != weight[0] or down[0] != up[1]:
        raise WeightFileError(
            f"{path} changes {layer} by {down} and {up}, but its weight in this UNet is {weight}; "
            "the file is for another model"
        )


def peft_settings(metadata: Mapping[str, str], path: Path) -> dict[str, Any] | None:
    """Return the settings that newer diffusers writes into the header, of which PEFT makes its configuration."""
    text = metadata.get(_PEFT_METADATA)
    if text is None:
        return None
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise WeightFileError(f"{path} has unreadable metadata {_PEFT_METADATA!r} ({error})") from error
