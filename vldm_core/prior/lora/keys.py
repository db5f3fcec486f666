"""The keys of LoRA files: what each names, in every layout that is about.

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
from typing import Any, Literal

from ...errors import SettingsError
from ...files.weights import WeightFileError, some

LoraFormat = Literal["kohya", "diffusers"]

_KOHYA = re.compile(r"lora_(unet|te\d?)_([^.]+)\.(lora_down\.weight|lora_up\.weight|alpha)")
_PEFT = re.compile(
    r"(unet|text_encoder(?:_2)?)\.(.+)\.(lora_A(?:\.default)?\.weight|lora_B(?:\.default)?\.weight|alpha)"
)
_OLDER = re.compile(r"(unet|text_encoder(?:_2)?)\.(.+?)(?:_lora|\.lora|\.lora_linear_layer)\.((?:down|up)\.weight)")
_ROLES = {"lora_down": "down", "lora_A": "down", "down": "down", "lora_up": "up", "lora_B": "up", "up": "up"}
_PEFT_METADATA = "lora_adapter_metadata"
_STRONGEST = 10.0


@dataclass(frozen=True, kw_only=True)
class LoraKey:
    """What one key of a LoRA file names; `layer` is spelt as the file's format spells it."""

    format: LoraFormat
    unet: bool
    layer: str
    role: str


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
        raise WeightFileError(f"{path} is not a LoRA file of kohya's or diffusers' format; it holds {some(unknown)}")
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


def peft_settings(metadata: Mapping[str, str], path: Path) -> dict[str, Any] | None:
    """Return the settings that newer diffusers writes into the header, of which PEFT makes its configuration."""
    text = metadata.get(_PEFT_METADATA)
    if text is None:
        return None
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise WeightFileError(f"{path} has unreadable metadata {_PEFT_METADATA!r} ({error})") from error
