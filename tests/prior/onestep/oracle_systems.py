"""The published systems with the oracles' weights, in files as they are published, and the networks they ran on."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.oracles import Oracle
from vldm_core.prior.call import UNetCall, UNetInput
from vldm_core.prior.onestep.reading import read_one_step
from vldm_core.prior.onestep.run.headless import DiffusersHost
from vldm_core.prior.onestep.system import OneStepSystem

from ..controls.oracle_unets import published_unet
from .oracle_files import published_files

NAMES = ("osediff", "pisasr", "s3diff", "hypir", "dloral")


def system_of(name: str, oracle: Oracle, folder: Path) -> OneStepSystem:
    """The system, read by the project's own loader."""
    return read_one_step(published_files(name, oracle, folder))


def base_unet(oracle: Oracle) -> nn.Module:
    """The UNet that the original ran on; for DLoRAL, which needs none, one of another seed with 4 channels."""
    if "unet" in oracle.about["weights"]:
        return published_unet(oracle.about["config"]["unet"], oracle.weights("unet"))
    from diffusers import UNet2DConditionModel

    torch.manual_seed(11)
    return UNet2DConditionModel(**{**oracle.about["config"]["unet"], "in_channels": 4}).eval()


def base_vae(oracle: Oracle) -> Any:
    """The VAE; its decoder was not run, and is random. Systems that leave the VAE alone have one of another oracle."""
    from diffusers import AutoencoderKL

    torch.manual_seed(12)
    vae = AutoencoderKL(**oracle.about["config"].get("vae", {"block_out_channels": (4,), "norm_num_groups": 2}))
    if "vae" in oracle.about["weights"]:
        found = vae.load_state_dict(oracle.weights("vae"), strict=False)
        assert not found.unexpected_keys
    return vae.eval()


def host_of(oracle: Oracle) -> DiffusersHost:
    """Both."""
    return DiffusersHost(base_unet(oracle), base_vae(oracle))


def call_of(x: Tensor, time: Tensor, text: Tensor) -> UNetCall:
    """One pass over a batch."""
    frames = tuple(range(len(x)))
    inputs = UNetInput(x=x, timesteps=time, context=text)
    return UNetCall(frames=frames, chunks=(0,), segments=((0, len(x)),), inputs=inputs)


@torch.no_grad()
def predicted(
    host: DiffusersHost, system: OneStepSystem, x: Tensor, text: Tensor, negative: Tensor | None = None, **how: Any
) -> Tensor:
    """eps of a batch: the weighted sum of the system's passes."""
    settings = {"invention": 1.0, "guidance": system.format.guidance, "scores": None, **how}
    time = torch.full((len(x),), system.format.step.timestep)
    total = torch.zeros(len(x), 4, *x.shape[-2:])
    for each in system.passes(**settings):
        with host.with_unet(each.change) as predict:
            chosen = negative if each.negative else text
            assert chosen is not None
            total += each.weight * predict(call_of(x, time, chosen.expand(len(x), -1, -1)))
    return total
