"""Weight files: what is in them, without running anything that is in them.

Safetensors files say in their header which tensors they hold, so most mistakes are found before a tensor is read. Files
of PyTorch's older format are pickles; they are read with `weights_only=True`, which refuses everything but tensors and
plain containers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ..errors import VLDMError
from .training_leftovers import harmless_globals

PICKLED = (".ckpt", ".pt", ".pth", ".bin")
SUFFIXES = (".safetensors", *PICKLED)
ALSO_PICKLED = (".pkl",)
"""What one-step restorers call the same pickles; only their own folder of weights lists them."""

_PICKLE_BEGINS = (b"\x80", b"PK")
"""First bytes of pickles since protocol 2, and of the archives that PyTorch puts them into."""

_NO_MEMORY = "allocate memory"
"""What PyTorch's plain RuntimeErrors say when the memory of the CPU does not suffice."""


class WeightFileError(VLDMError):
    """A weight file is missing, damaged or made for something else."""


@dataclass(frozen=True, kw_only=True)
class WeightHeader:
    """What a safetensors file says about itself.

    Attributes:
        shapes: Shape of every tensor by its key.
        metadata: Text metadata; empty where the file has none.
    """

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str] = field(default_factory=dict)


def read_header(path: Path) -> WeightHeader:
    """Read which tensors a safetensors file holds, but none of the tensors.

    Raises:
        WeightFileError: The file is missing, damaged or no safetensors file.
    """
    _check(path, (".safetensors",))
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            return WeightHeader(shapes=shapes, metadata=dict(file.metadata() or {}))
    except (SafetensorError, OSError) as error:
        raise WeightFileError(f"{path} is not a readable safetensors file ({error}); download it again") from error


def read_tensor(path: Path, key: str) -> Tensor:
    """Read one tensor of a safetensors file.

    Raises:
        WeightFileError: The file is missing, damaged, or has no such tensor.
    """
    _check(path, (".safetensors",))
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(key)
    except (SafetensorError, OSError) as error:
        raise WeightFileError(f"{key} of {path} cannot be read ({error}); download it again") from error


def read_contents(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Read a weight file: tensors, and for a pickle whatever plain values lie beside them.

    Args:
        path: The file.
        mapped: Leave the tensors of a pickle on the disk until they are looked at, where its layout allows it.

    Raises:
        WeightFileError: The file is missing, damaged, of another kind, or holds more than plain data.
    """
    _check(path, (*SUFFIXES, *ALSO_PICKLED))
    if path.suffix.lower() == ".safetensors":
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise WeightFileError(f"{path} is not a readable safetensors file ({error}); download it again") from error
    try:
        with torch.serialization.safe_globals(harmless_globals()):
            contents = torch.load(
                path, map_location="cpu", weights_only=True, mmap=True if mapped and is_zipfile(path) else None
            )
    except OSError as error:
        raise WeightFileError(f"{path} cannot be read ({error.strerror or error}); look at it and its disk") from error
    except Exception as error:  # the unpickler raises whatever a damaged file makes it raise
        if isinstance(error, MemoryError) or _NO_MEMORY in str(error):
            # No fault of the file.
            raise
        if not isinstance(error, UnpicklingError) or _no_pickle(path):
            raise WeightFileError(
                f"{path} could not be read as plain weights ({type(error).__name__}): it is damaged, or was not "
                "downloaded whole; download it again"
            ) from error
        raise WeightFileError(
            f"{path} could not be read as plain weights ({type(error).__name__}); a file that holds more than tensors "
            "may run code and is refused: get it as .safetensors"
        ) from error
    if not isinstance(contents, Mapping):
        raise WeightFileError(f"{path} holds a {type(contents).__name__}, not a table of weights")
    return dict(contents)


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read which tensors a weight file holds, those below `state_dict` or those at the top, and `module.` taken away.

    Raises:
        WeightFileError: See :func:`read_contents`.
    """
    if path.suffix.lower() == ".safetensors":
        found = read_header(path).shapes
    else:
        found = {key: tuple(tensor.shape) for key, tensor in tensors_of(read_contents(path, mapped=True)).items()}
    return {bare(key): shape for key, shape in found.items()}


def read_wanted(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Read some tensors of a weight file and leave the others on the disk.

    Args:
        path: The file.
        wanted: Chooses keys as :func:`read_shapes` gives them.

    Raises:
        WeightFileError: See :func:`read_contents`.
    """
    if path.suffix.lower() != ".safetensors":
        contents = tensors_of(read_contents(path, mapped=True))
        return {bare(key): tensor for key, tensor in contents.items() if wanted(bare(key))}
    keys = [key for key in read_header(path).shapes if wanted(bare(key))]
    with safe_open(path, framework="pt") as file:
        return {bare(key): file.get_tensor(key) for key in keys}


def bare(key: str) -> str:
    """Return a key without what training on several devices puts before it."""
    return key.removeprefix("module.")


def tensors_of(contents: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a file's contents: those at the top, or those below `state_dict`."""
    inner = contents.get("state_dict")
    table = inner if isinstance(inner, Mapping) else contents
    return {str(key): value for key, value in table.items() if isinstance(value, Tensor)}


def some(keys: list[str], most: int = 3) -> str:
    """Return the first few keys for an error message, and how many more there are."""
    shown = ", ".join(keys[:most])
    return shown if len(keys) <= most else f"{shown} and {len(keys) - most} more"


def _no_pickle(path: Path) -> bool:
    """Tell whether a file begins as no pickle and no archive does: a web page, Git LFS's pointer, nothing."""
    with path.open("rb") as file:
        return not file.read(2).startswith(_PICKLE_BEGINS)


def _check(path: Path, suffixes: tuple[str, ...]) -> None:
    if path.is_dir():
        raise WeightFileError(f"{path} is a folder; name a file ({', '.join(suffixes)})")
    if path.suffix.lower() not in suffixes:
        raise WeightFileError(f"{path} does not end in {' or '.join(suffixes)}")
    if not path.is_file():
        raise WeightFileError(f"{path} does not exist")
