"""A tiny restoration control in its published layout, read as the loader node reads it."""

from pathlib import Path
from typing import Any

import torch
from inside.models import CONTEXT, shaken
from pack.nodes.host.prior.controls import LoadedControl, load_control
from pack.vldm_core.prior.controls.diffbir.branch import DiffBirControl
from pack.vldm_core.prior.controls.network.encoder import EncoderConfig
from safetensors.torch import save_file


def write_diffbir(path: Path, seed: int = 11, **config: Any) -> None:
    """Write a control of DiffBIR's shape that fits `tiny_pair`, or the shape given."""
    shape: dict[str, Any] = {
        "in_channels": 8,
        "channels": (32, 64, 128, 128),
        "attended": (True, True, True, False),
        "context": CONTEXT,
    }
    torch.manual_seed(seed)
    control = shaken(DiffBirControl(EncoderConfig(**(shape | config))))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in control.branch.state_dict().items()}, path)


def tiny_diffbir(folder: Path, seed: int = 11) -> LoadedControl:
    """Return a loaded control that fits `tiny_pair`."""
    path = folder / f"diffbir_{seed}.safetensors"
    write_diffbir(path, seed)
    return load_control([path])
