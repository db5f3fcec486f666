"""Pre-restorers from files: the one that ships with the package, or a user's own."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import torch

from ..errors import SettingsError
from ..files.networks import WEIGHTS
from ..machine.devices import chosen_device
from .network import KIND, PreRestorer
from .run import PreRestoreSettings

SHIPPED = WEIGHTS / "prerestore_small.safetensors"
"""The pre-restorer that ships with the package."""

Precision = Literal["auto", "float32", "float16", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class PreRestoration(PreRestoreSettings):
    """Which pre-restorer is applied, where it runs, and how.

    Attributes:
        weights: File of a pre-restorer, or None for the one that ships with the package.
        device: A device of PyTorch, or "auto": the first GPU, else the processor.
        precision: Of the network; "auto" is float16 on a GPU and float32 on the processor.
    """

    weights: str | os.PathLike[str] | None = None
    device: str = "auto"
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision not in get_args(Precision):
            raise SettingsError(
                f"pre-restore precision is {self.precision!r}; use one of {', '.join(get_args(Precision))}"
            )


def load_prerestorer(chosen: PreRestoration | None = None) -> PreRestorer:
    """Return a pre-restorer on its device; one file is read once for a device and precision, until it changes.

    Args:
        chosen: Weights, device and precision; defaults to `PreRestoration()`.

    Raises:
        WeightFileError: The file is missing, damaged, or does not hold a pre-restorer.
        SettingsError: There is no such device here.
    """
    chosen = chosen or PreRestoration()
    path = SHIPPED if chosen.weights is None else Path(chosen.weights)
    device = chosen_device(chosen.device)
    precision = chosen.precision
    if precision == "auto":
        precision = "float32" if device.type == "cpu" else "float16"
    try:
        status = path.stat()
    except OSError:
        # Reading says what is wrong.
        return KIND.load(path)
    return _loaded(path, status.st_mtime_ns, status.st_size, device, getattr(torch, precision))


@lru_cache(maxsize=2)
def _loaded(path: Path, _changed: int, _size: int, device: torch.device, dtype: torch.dtype) -> PreRestorer:
    return KIND.load(path).to(device=device, dtype=dtype)
