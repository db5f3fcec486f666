"""Published still-image restorers as alternatives to the pre-restorer: reading the files of DiffBIR's stage 1.

The result is what ComfyUI's own loader of image models gives, a descriptor of spandrel, so it works wherever an
UPSCALE_MODEL does. It differs from what the host makes of the same files in three ways:

- A file must have every tensor of the network and no other, so that no half-fitting file passes.
- Pictures are padded to the sides that window attention needs by repeating the border, before the network sees them.
  SCUNet does that in DiffBIR, too, and reflects in spandrel; SwinIR is given black there.
- The stage-1 part of a complete DiffBIR v1 file is understood.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SettingsError
from ..files.weights import WeightFileError, read_contents, some
from ..machine.companions import importing
from .architectures.architecture import Stage1Architecture
from .architectures.rrdb import BSRNet
from .architectures.scunet import StageOneSCUNet
from .architectures.swin_ir import StageOneSwinIR

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

ARCHITECTURES: tuple[Stage1Architecture[Any], ...] = (StageOneSwinIR(), BSRNet(), StageOneSCUNet())

_TABLES = ("state_dict", "params_ema", "params")
_WRAPPER = "module."
# Of the complete first version of DiffBIR.
_PART = "preprocess_model."
_MOST_NUMBERS = 250_000_000
"""Numbers that a file may hold: the largest restorer has 22 million."""

_HINT = "put a stage-1 file of DiffBIR here, or load other image models with the host's Load Upscale Model"
# What a file may be instead, by the keys that tell; the first that fits.
_OTHERS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("the control branch of DiffBIR", lambda key: key == "input_blocks.0.0.weight"),
    ("a Stable Diffusion checkpoint", lambda key: key.startswith("model.diffusion_model.")),
    ("a VAE", lambda key: key.startswith(("first_stage_model.", "decoder.up.", "decoder.up_blocks."))),
    (
        "a SwinIR without PixelUnshuffle, which the host's Load Upscale Model takes",
        lambda key: key == "layers.0.residual_group.blocks.0.norm1.weight",
    ),
    (
        "an ESRGAN in another layout, which the host's Load Upscale Model takes",
        lambda key: key in ("model.1.sub.0.RDB1.conv1.0.weight", "body.0.rdb1.conv1.weight"),
    ),
    ("a LoRA", lambda key: key.endswith((".lora_down.weight", ".lora_A.weight", ".lora_up.weight"))),
    ("a diffusers UNet or ControlNet", lambda key: key.startswith("down_blocks.0.")),
)


def read_stage1(path: Path) -> "ImageModelDescriptor[nn.Module]":
    """Read a stage-1 restorer of DiffBIR, ready to be used: on the CPU, in evaluation mode, without gradients.

    Args:
        path: A .safetensors, .pth, .pt or .ckpt file; which restorer it is, its keys say.

    Returns:
        A descriptor of spandrel: called with (1, 3, H, W) in [0, 1] it gives (1, 3, scale·H, scale·W) in [0, 1].

    Raises:
        WeightFileError: The file is missing, damaged, holds something else, or does not fit the network exactly.
    """
    tensors = _tensors(read_contents(path), path)
    kind = next((kind for kind in ARCHITECTURES if kind.matches(tensors)), None)
    if kind is None:
        raise WeightFileError(f"{path} is not a stage-1 restorer; it seems to be {_guess(tensors)}; {_HINT}")
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    try:
        config = kind.config_of(shapes)
    except (SettingsError, WeightFileError) as error:
        raise WeightFileError(f"{path} has keys of a {kind.name} but is none: {error}; {_HINT}") from error
    wanted = kind.published_shapes(config)
    wrong = sorted(key for key in wanted.keys() | shapes.keys() if wanted.get(key) != shapes.get(key))
    if wrong:
        raise WeightFileError(
            f"{path} does not fit a {kind.name} at {_differences(wrong, wanted, shapes)}; download it again"
        )
    numbers = sum(tensor.numel() for tensor in tensors.values())
    if numbers > _MOST_NUMBERS:
        raise WeightFileError(f"{path} asks for {numbers:,} numbers; a {kind.name} has some 20 million; {_HINT}")
    return _described(kind, config, tensors, path)


def _tensors(contents: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Unwrap a file down to its table of tensors."""
    table: Mapping[Any, Any] = contents
    while (name := next((name for name in _TABLES if isinstance(table.get(name), Mapping)), None)) is not None:
        table = table[name]
    if any(str(key).startswith(_PART) for key in table):
        table = {key[len(_PART) :]: value for key, value in table.items() if str(key).startswith(_PART)}
    if table and all(str(key).startswith(_WRAPPER) for key in table):
        table = {key[len(_WRAPPER) :]: value for key, value in table.items()}
    foreign = sorted(str(key) for key, value in table.items() if not isinstance(value, Tensor))
    if foreign or not table:
        raise WeightFileError(f"{path} is not a table of tensors: it has {some(foreign) or 'nothing'} in it; {_HINT}")
    return {str(key): value for key, value in table.items()}


def _guess(keys: Iterable[str]) -> str:
    found = sorted(keys)
    for what, tells in _OTHERS:
        if any(tells(key) for key in found):
            return what
    return f"something with the keys {some(found)}"


def _differences(wrong: list[str], wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    return some(
        [
            f"{key} (missing)"
            if key not in found
            else f"{key} (unknown)"
            if key not in wanted
            else f"{key} ({found[key]} instead of {wanted[key]})"
            for key in wrong
        ]
    )


def _described(
    kind: Stage1Architecture[Any], config: Any, tensors: Mapping[str, Tensor], path: Path
) -> "ImageModelDescriptor[nn.Module]":
    """Build the network, fill it and wrap it."""
    with importing("spandrel", "spandrel"):
        from spandrel import ImageModelDescriptor

    network = kind.build(config)
    # Tables that follow from the architecture: a file with others would look tensors up at wrong places, or outside.
    for key, table in network.named_buffers():
        found = tensors[kind.published_key(key)]
        if not torch.equal(table, found.to(table)):
            raise WeightFileError(f"{path} has other values in {key} than a {kind.name} has; download it again")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise WeightFileError(f"{path} holds numbers that are not finite; download it again")
    scale = kind.scale(config)
    descriptor = ImageModelDescriptor(
        network,
        kind.inner_state(tensors),
        architecture=kind.family(),
        purpose="Restoration" if scale == 1 else "SR",
        tags=["DiffBIR stage 1"],
        supports_half=kind.halves,
        supports_bfloat16=True,
        scale=scale,
        input_channels=3,
        output_channels=3,
        tiling=kind.tiling(),
        call_fn=partial(run_padded, multiple=kind.multiple(config), scale=scale),
    )
    descriptor.model.requires_grad_(False)
    return descriptor.eval()


def run_padded(network: nn.Module, image: Tensor, *, multiple: int, scale: int) -> Tensor:
    """Run a network on a picture whose sides are made divisible by repeating its right and bottom border.

    Args:
        network: (B, 3, H, W) to (B, 3, scale·H, scale·W).
        image: Of any size.
        multiple: What the network needs its sides to be divisible by.
        scale: Its enlargement.

    Returns:
        The result for the picture without the padding.
    """
    height, width = image.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if bottom or right:
        image = functional.pad(image, (0, right, 0, bottom), mode="replicate")
    return network(image)[..., : height * scale, : width * scale]
