"""Stage-1 restorers of tiny size with random weights, and their files."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vldm_core.prerestore.architectures.architecture import Stage1Architecture
from vldm_core.prerestore.architectures.rrdb import BSRNet, RRDBConfig
from vldm_core.prerestore.architectures.scunet import SCUNetConfig, StageOneSCUNet
from vldm_core.prerestore.architectures.swin_ir import StageOneSwinIR, SwinIRConfig

SWINIR = StageOneSwinIR(), SwinIRConfig(width=12, depths=(2, 2), heads=(2, 3), hidden=24, trained_side=16)
BSRNET = BSRNet(), RRDBConfig(width=8, blocks=2, growth=4)
# 32 is the only growth that spandrel, and so the host's loader, knows.
BSRNET_OF_SPANDREL = BSRNet(), RRDBConfig(width=4, blocks=1, growth=32)
SCUNET = StageOneSCUNet(), SCUNetConfig(blocks=(2, 0, 0, 1, 0, 0, 1))

TINY: dict[str, tuple[Stage1Architecture[Any], Any]] = {"swinir": SWINIR, "bsrnet": BSRNET, "scunet": SCUNET}


def network(name: str, seed: int = 0) -> nn.Module:
    """A network that does something everywhere."""
    kind, config = TINY[name]
    torch.manual_seed(seed)
    made = kind.build(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return made


def published(name: str, seed: int = 0) -> dict[str, Tensor]:
    """The state dict of a file of that kind."""
    return TINY[name][0].published_state(network(name, seed))


def write(path: Path, contents: dict[str, Any]) -> Path:
    """Write a weight file in the format of its suffix."""
    if path.suffix == ".safetensors":
        save_file({key: tensor.contiguous() for key, tensor in contents.items()}, path)
    else:
        torch.save(contents, path)
    return path
