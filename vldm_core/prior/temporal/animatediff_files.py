"""Files of AnimateDiff's motion modules, in both layouts that are about.

The original layout (`mm_sd_v15_v2.ckpt`, `v3_sd15_mm.ckpt` …) has 28 keys per module, two of them tables of positions;
diffusers' `MotionAdapter` has 27, with one table. Which version a file is follows from its content: version 2 alone has
a module in the middle of the UNet; without one, 24 positions are version 1 and 32 are version 3.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ...files.tensors import write_tensors
from ...files.weights import WeightFileError, read_contents, read_header, some, tensors_of
from .animatediff import HEADS, MotionConfig, MotionModules, MotionModuleSettings, MotionVersion, module_name

MotionLayout = Literal["original", "diffusers"]

_KEY = re.compile(
    r"(?P<place>(?:down|up)_blocks\.\d+|mid_block)\.motion_modules\.(?P<index>\d+)\."
    r"(?P<original>temporal_transformer\.)?(?P<rest>.+)"
)
_BLOCK = "transformer_blocks.0."
_SDXL_WIDTHS = (320, 640, 1280)

_SAME = {
    "norm.": ("norm.", "norm."),
    "proj_in.": ("proj_in.", "proj_in."),
    "proj_out.": ("proj_out.", "proj_out."),
    "attentions.0.norm.": (f"{_BLOCK}norms.0.", f"{_BLOCK}norm1."),
    "attentions.1.norm.": (f"{_BLOCK}norms.1.", f"{_BLOCK}norm2."),
    "attentions.0.to_out.": (f"{_BLOCK}attention_blocks.0.to_out.0.", f"{_BLOCK}attn1.to_out.0."),
    "attentions.1.to_out.": (f"{_BLOCK}attention_blocks.1.to_out.0.", f"{_BLOCK}attn2.to_out.0."),
    "ff_norm.": (f"{_BLOCK}ff_norm.", f"{_BLOCK}norm3."),
    "ff_in.": (f"{_BLOCK}ff.net.0.proj.", f"{_BLOCK}ff.net.0.proj."),
    "ff_out.": (f"{_BLOCK}ff.net.2.", f"{_BLOCK}ff.net.2."),
}
"""Our name of a layer: its name in the original and in diffusers' layout. All have a weight and a bias."""

_ATTENTION = (
    (f"{_BLOCK}attention_blocks.0.", f"{_BLOCK}attn1."),
    (f"{_BLOCK}attention_blocks.1.", f"{_BLOCK}attn2."),
)
_POSITIONS = (
    (f"{_BLOCK}attention_blocks.0.pos_encoder.pe", f"{_BLOCK}pos_embed.pe"),
    (f"{_BLOCK}attention_blocks.1.pos_encoder.pe", f"{_BLOCK}pos_embed.pe"),
)


def read_motion_modules(
    path: Path, settings: MotionModuleSettings | None = None, *, version: MotionVersion | None = None
) -> MotionModules:
    """Read motion modules from a .safetensors, .ckpt, .pt or .pth file of either layout.

    Args:
        path: The file.
        settings: How the modules are used.
        version: Version of the modules; None recognises it.

    Raises:
        WeightFileError: The file is unreadable or holds something else.
        SettingsError: The settings do not fit the modules.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            _modules_in({_bare(key): shape for key, shape in read_header(path).shapes.items()})
        return motion_modules_from(tensors_of(read_contents(path)), settings, version=version)
    except WeightFileError as error:
        raise error if str(path) in str(error) else WeightFileError(f"{path}: {error}") from error


def motion_modules_from(
    state: Mapping[str, Tensor], settings: MotionModuleSettings | None = None, *, version: MotionVersion | None = None
) -> MotionModules:
    """Make motion modules from a state dict of either layout, with or without the prefix `module.`.

    Raises:
        WeightFileError: The state dict holds something else, or not all of the modules.
        SettingsError: The settings do not fit the modules.
    """
    state = {_bare(key): tensor for key, tensor in state.items()}
    modules = _modules_in({key: tuple(tensor.shape) for key, tensor in state.items()})
    ours: dict[str, Tensor] = {}
    for layer, (prefix, layout) in modules.items():
        for name, tensor in _ours(state, prefix, layout).items():
            ours[f"layers.{module_name(layer)}.{name}"] = tensor
    _check_family(modules, ours)
    positions = {tensor.shape[0] for name, tensor in ours.items() if name.endswith(".positions")}
    if len(positions) != 1:
        raise WeightFileError(f"the modules know different numbers of positions: {sorted(positions)}")
    (most,) = positions
    config = MotionConfig(
        version=version or _version(set(modules), most),
        channels=tuple((layer, ours[f"layers.{module_name(layer)}.norm.weight"].shape[0]) for layer in modules),
        positions=most,
        heads=HEADS,
    )
    with torch.device("meta"):
        result = MotionModules(config, settings)
    try:
        result.load_state_dict(ours, assign=True)
    except RuntimeError as error:
        raise WeightFileError(f"the motion modules do not have the published shape: {error}") from error
    return result.eval().requires_grad_(False)


def motion_state(modules: MotionModules, layout: MotionLayout = "original") -> dict[str, Tensor]:
    """Return the weights under the keys of a layout, without copying them.

    Raises:
        WeightFileError: The two tables of positions of a module differ, and diffusers' layout has room for one.
    """
    column = 0 if layout == "original" else 1
    state: dict[str, Tensor] = {}
    for layer, _ in modules.config.channels:
        own = modules.layers[module_name(layer)].state_dict()
        prefix = _prefix(layer) + ("temporal_transformer." if layout == "original" else "")
        for name, tensor in own.items():
            if name.endswith(".positions"):
                key = prefix + _POSITIONS[_attention_index(name)][column]
                if key in state and not torch.equal(state[key], tensor[None]):
                    raise WeightFileError(f"layer {layer} has two different tables of positions; save it as original")
                state[key] = tensor[None]
            elif name.endswith(".to_qkv.weight"):
                start = prefix + _ATTENTION[_attention_index(name)][column]
                for part, weight in zip("qkv", tensor.chunk(3), strict=True):
                    state[f"{start}to_{part}.weight"] = weight
            else:
                stem, _, kind = name.rpartition(".")
                state[prefix + _SAME[f"{stem}."][column] + kind] = tensor
    return state


def save_motion_modules(modules: MotionModules, path: Path, layout: MotionLayout = "original") -> None:
    """Write motion modules as safetensors, for any program that reads the layout."""
    tensors = {key: tensor.detach().clone().contiguous() for key, tensor in motion_state(modules, layout).items()}
    write_tensors(tensors, path, {"animatediff_version": modules.config.version})


def _bare(key: str) -> str:
    return key.removeprefix("module.")


def _modules_in(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[str, MotionLayout]]:
    """Return layer -> (key prefix, layout) of every motion module, in the order the layers run; check all keys."""
    found: dict[str, tuple[str, MotionLayout]] = {}
    other = []
    for key in shapes:
        match = _KEY.fullmatch(key)
        if match is None:
            other.append(key)
            continue
        layout: MotionLayout = "original" if match["original"] else "diffusers"
        found[_layer(match["place"], match["index"])] = (key.removesuffix(match["rest"]), layout)
    if not found:
        raise WeightFileError(f"no AnimateDiff motion modules in here; it holds {some(other) or 'no weights'}")
    if other:
        raise WeightFileError(
            f"besides motion modules this holds {some(other)}, which would be lost; only plain motion modules are read"
        )
    if len({layout for _, layout in found.values()}) > 1:
        raise WeightFileError("some modules are in AnimateDiff's layout and some in diffusers'")
    for prefix, layout in found.values():
        wanted = _keys(prefix, layout)
        present = {key for key in shapes if key.startswith(prefix)}
        if missing := sorted(wanted - present):
            raise WeightFileError(f"weights are missing: {some(missing)}; download the file again")
        if unknown := sorted(present - wanted):
            raise WeightFileError(
                f"weights that no published motion module for Stable Diffusion 1.x has: {some(unknown)}"
            )
    return {layer: found[layer] for layer in sorted(found, key=_order)}


def _check_family(modules: Mapping[str, object], ours: Mapping[str, Tensor]) -> None:
    """Check that the modules are not those of AnimateDiff's beta for SDXL, whose UNet has three levels."""
    widths = {layer: ours[f"layers.{module_name(layer)}.norm.weight"].shape[0] for layer in modules}
    if "down.3.0" not in widths and [widths.get(f"down.{level}.0") for level in range(3)] == list(_SDXL_WIDTHS):
        raise WeightFileError(
            "these motion modules are for Stable Diffusion XL, which is not supported; choose some for Stable "
            "Diffusion 1.x, such as mm_sd_v15_v2.ckpt or v3_sd15_mm.ckpt"
        )


def _keys(prefix: str, layout: MotionLayout) -> set[str]:
    column = 0 if layout == "original" else 1
    keys = {prefix + names[column] + kind for names in _SAME.values() for kind in ("weight", "bias")}
    keys |= {f"{prefix}{names[column]}to_{part}.weight" for names in _ATTENTION for part in "qkv"}
    return keys | {prefix + names[column] for names in _POSITIONS}


def _ours(state: Mapping[str, Tensor], prefix: str, layout: MotionLayout) -> dict[str, Tensor]:
    """Return the weights of one module under our names."""
    column = 0 if layout == "original" else 1
    own = {
        ours + kind: state[prefix + names[column] + kind]
        for ours, names in _SAME.items()
        for kind in ("weight", "bias")
    }
    channels = own["norm.weight"].shape[0]
    for index in range(2):
        start = prefix + _ATTENTION[index][column]
        parts = [state[f"{start}to_{part}.weight"] for part in "qkv"]
        table = state[prefix + _POSITIONS[index][column]]
        if table.shape[-1] != channels or any(part.shape != (channels, channels) for part in parts):
            raise WeightFileError(f"{start}* does not fit the {channels} channels of its module")
        own[f"attentions.{index}.to_qkv.weight"] = torch.cat(parts)
        own[f"attentions.{index}.positions"] = table.reshape(-1, channels)
    return own


def _version(layers: set[str], positions: int) -> MotionVersion:
    if "mid" in layers:
        return "v2"
    if positions in (24, 32):
        return "v1" if positions == 24 else "v3"
    raise WeightFileError(
        f"modules that know {positions} positions and have none in the middle are not a published version "
        "(v1: 24, v3: 32); say which version they are"
    )


def _layer(place: str, index: str) -> str:
    if place == "mid_block":
        return "mid"
    side, _, level = place.partition("_blocks.")
    return f"{side}.{level}.{index}"


def _prefix(layer: str) -> str:
    if layer == "mid":
        return "mid_block.motion_modules.0."
    side, level, index = layer.split(".")
    return f"{side}_blocks.{level}.motion_modules.{index}."


def _order(layer: str) -> tuple[int, ...]:
    side, *numbers = layer.split(".")
    return (("down", "mid", "up").index(side), *map(int, numbers))


def _attention_index(name: str) -> int:
    return int(name.split(".")[1])
