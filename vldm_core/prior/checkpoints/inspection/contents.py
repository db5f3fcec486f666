"""Names and shapes of the tensors of any weight file, and what the file says of itself.

A safetensors file is read by its header. Pickles are opened with `weights_only=True` and stay on the disk where their
layout allows it; a pickle that holds more than plain data is refused without being run.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ....files.weights import WeightFileError, WeightHeader, read_contents, read_header, read_tensor
from ..families import SD2, SPREAD_OF_V, UNET, prediction_of
from .identify import Identity, identify
from .unet_keys import Shape

READABLE = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".pkl")
"""Suffixes of weight files; those of one-step restorers and older diffusers folders are among them."""

# Tables that hold all weights of a file, in the order in which they are looked for: averages first.
_TABLES = ("state_dict", "params_ema", "params")
_WRAPPER = "module."
# Nested tables of one-step restorers are two deep; a file that nests without end is not followed.
_DEEPEST = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckpointContents:
    """What a file holds.

    Attributes:
        shapes: Shape of every tensor; the names of nested tables stand before its key, joined with dots.
        metadata: What the file says of itself.
        tensor: Reads one tensor by its key in `shapes`.
    """

    shapes: Mapping[str, Shape]
    metadata: Mapping[str, str] = field(default_factory=dict)
    tensor: Callable[[str], Tensor]


def inspect_checkpoint(path: Path) -> Identity:
    """Tell what a checkpoint is.

    Args:
        path: A weight file, or a folder in which there is one, such as diffusers' `unet/`.

    Raises:
        WeightFileError: It is missing, damaged, of another kind, or holds more than plain data.
    """
    file = weight_file(path)
    contents = checkpoint_contents(file)
    found = identify(contents.shapes, contents.metadata)
    parts = {part.part: part for part in found.parts}
    if found.kind != "base model" and "unet_original" not in parts:
        return found
    return replace(found, prediction=_prediction(found, contents))


def weight_file(path: Path) -> Path:
    """Return the weight file that is meant: itself, or the only one of a folder.

    Raises:
        WeightFileError: There is none, or several.
    """
    if not path.is_dir():
        return path
    found = sorted(file for file in path.iterdir() if file.is_file() and file.suffix.lower() in READABLE)
    if len(found) > 1:
        # diffusers writes one file twice, in halves and in both formats; the first in this order is enough.
        whole = [file for file in found if file.stem in ("diffusion_pytorch_model", "model", "pytorch_model")]
        found = [file for file in whole if file.suffix == ".safetensors"][:1] or whole[:1] or found
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or f"none ({', '.join(READABLE)})"
        raise WeightFileError(f"the folder {path} must hold one weight file and holds {names}; name the file")
    return found[0]


def checkpoint_contents(path: Path) -> CheckpointContents:
    """Read which tensors a file holds.

    Raises:
        WeightFileError: See `inspect_checkpoint`.
    """
    if path.suffix.lower() == ".safetensors":
        header = read_header(path)
        names = _unwrapped(header.shapes)
        return CheckpointContents(
            shapes={name: header.shapes[key] for name, key in names.items()},
            metadata=header.metadata,
            tensor=lambda name: read_tensor(path, names[name]),
        )
    table: Mapping[Any, Any] = read_contents(path, mapped=True)
    texts = {str(key): value for key, value in table.items() if isinstance(value, str)}
    while (inner := next((name for name in _TABLES if isinstance(table.get(name), Mapping)), None)) is not None:
        table = table[inner]
    tensors = dict(_flat(table, ""))
    names = _unwrapped(tensors)
    return CheckpointContents(
        shapes={name: tuple(tensors[key].shape) for name, key in names.items()},
        metadata=texts,
        tensor=lambda name: tensors[names[name]],
    )


def _flat(table: Mapping[Any, Any], before: str, depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    for key, value in table.items():
        if isinstance(value, Tensor):
            yield f"{before}{key}", value
        elif isinstance(value, Mapping) and depth < _DEEPEST:
            yield from _flat(value, f"{before}{key}.", depth + 1)


def _unwrapped(keys: Mapping[str, object]) -> dict[str, str]:
    """Return key in the file by name, where training on several devices has put a word before all of them."""
    wrapped = bool(keys) and all(key.startswith(_WRAPPER) for key in keys)
    return {key[len(_WRAPPER) :] if wrapped else key: key for key in keys}


def _prediction(found: Identity, contents: CheckpointContents) -> str | None:
    """Return what a base model predicts, as a prior would take it; XL's files say it by a tensor that marks it."""
    if found.family == "Stable Diffusion XL":
        return "v" if "v_pred" in contents.shapes else None
    if found.family == "Stable Diffusion 1.x":
        return "eps"
    if found.family != SD2.name:
        return None
    header = WeightHeader(shapes=dict(contents.shapes), metadata=dict(contents.metadata))
    if SPREAD_OF_V not in header.shapes and UNET + "out.2.weight" not in header.shapes:
        return None
    return prediction_of(SD2, header, contents.tensor)
