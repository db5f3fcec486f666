"""One step of every training on a prior at the sizes of Stable Diffusion 1.5, without numbers: no layer is forgotten.

On the meta device tensors have shapes alone, so that nearly a billion weights take no memory.
"""

import pytest
import torch
from torch import nn

from vldm_core.prerestore.network import SMALL, PreRestorer
from vldm_core.prior.checkpoints.families import SD1
from vldm_core.prior.temporal.layers import TemporalConfig, TemporalLayers
from vldm_core.prior.unet import UNetView
from vldm_core.sampling.schedule import NoiseSchedule
from vldm_core.training.control_branch.branch import new_branch
from vldm_core.training.control_branch.task import ControlledUNet, ControlTask, ControlTrainingSettings, HintHead
from vldm_core.training.diffusion.latent_films import LatentClip
from vldm_core.training.diffusion.objective import Objective
from vldm_core.training.diffusion.prior import TrainingPrior
from vldm_core.training.era_lora.adapter import add_lora
from vldm_core.training.era_lora.task import LoraTask, LoraTrainingSettings
from vldm_core.training.fusion.examples import FusionExample
from vldm_core.training.fusion.task import FusionTask, FusionTrainingSettings, new_fusion, prior_of
from vldm_core.training.prerestorer.examples import RepairedClip
from vldm_core.training.prerestorer.task import LatentTarget, PreRestoreTask, PreRestoreTrainingSettings
from vldm_core.training.temporal_decoder.decoder import new_temporal_decoder
from vldm_core.training.temporal_decoder.examples import DecoderClip
from vldm_core.training.temporal_decoder.task import DecoderTask, DecoderTrainingSettings
from vldm_core.training.temporal_layers.task import ClipUNet, TemporalTask, TemporalTrainingSettings

META = torch.device("meta")
FRAMES, SIDE = 4, 512


@pytest.fixture
def unet():
    from diffusers import UNet2DConditionModel

    with META:
        return UNet2DConditionModel.from_config(SD1.unet).requires_grad_(False)


@pytest.fixture
def vae():
    from diffusers import AutoencoderKL

    with META:
        return AutoencoderKL.from_config(SD1.autoencoder).requires_grad_(False)


@pytest.fixture
def objective():
    return Objective(NoiseSchedule.stable_diffusion(), "eps")


def shapes(*size: int) -> torch.Tensor:
    return torch.empty(*size, device=META)


def clip() -> LatentClip:
    side = SIDE // 8
    return LatentClip(
        clean=shapes(1, FRAMES, 4, side, side),
        hint=shapes(1, FRAMES, 4, side, side),
        masks=shapes(1, FRAMES, side, side),
        flow=shapes(1, FRAMES - 1, 2, side, side),
        visible=shapes(1, FRAMES - 1, side, side),
        film=0,
    )


TEXTS = shapes(2, 77, SD1.context)


def step(task, batch, trained: nn.Module) -> int:
    """Do a step; return how many weights have a gradient, which all that are trained must have."""
    loss, parts = task.loss(task.module, batch)
    assert loss.shape == () and parts
    loss.backward()
    weights = [p for p in trained.parameters() if p.requires_grad]
    assert weights and all(p.grad is not None for p in weights)
    others = [p for p in task.module.parameters() if not p.requires_grad]
    assert all(p.grad is None for p in others)
    return sum(p.numel() for p in weights)


def test_temporal_layers(unet, objective) -> None:
    with META:
        layers = TemporalLayers(TemporalConfig.for_unet(UNetView(unet)))
    task = TemporalTask(ClipUNet(unet, layers), objective, TemporalTrainingSettings(carried=0), TEXTS)
    assert 150e6 < step(task, clip(), layers) < 250e6


def test_temporal_layers_under_a_control(unet, objective) -> None:
    with META:
        layers, control = TemporalLayers(TemporalConfig.for_unet(UNetView(unet))), new_branch(unet)
    task = TemporalTask(ClipUNet(unet, layers, control), objective, TemporalTrainingSettings(carried=0), TEXTS)
    assert 150e6 < step(task, clip(), layers) < 250e6


def test_control_branch_with_a_latent_head(unet, objective) -> None:
    with META:
        control, network = new_branch(unet), PreRestorer(SMALL)
    module = ControlledUNet(unet, control, HintHead(network.latent, 0.18215))
    batch = clip() | {"hint": shapes(1, FRAMES, 192 + SMALL.widths[2], SIDE // 8, SIDE // 8)}
    assert 340e6 < step(ControlTask(module, objective, ControlTrainingSettings(), TEXTS), batch, module) < 400e6
    assert module.head.head.patches.weight.grad is not None


def test_latent_head(vae) -> None:
    with META:
        network = PreRestorer(SMALL).requires_grad_(False)
    network.latent.requires_grad_(True)
    pairs, film = (1, FRAMES - 1, 2, SIDE, SIDE), (1, FRAMES, 3, SIDE, SIDE)
    batch = RepairedClip(
        frames=shapes(*film),
        target=shapes(*film),
        masks=shapes(1, FRAMES, SIDE, SIDE),
        backward=shapes(*pairs),
        forward=shapes(*pairs),
        nearby=shapes(1, FRAMES, 6, SIDE, SIDE),
    )
    task = PreRestoreTask(network, PreRestoreTrainingSettings(head_only=True), latents=LatentTarget(vae))
    assert step(task, batch, network) == sum(p.numel() for p in network.latent.parameters())


def test_control_branch(unet, objective) -> None:
    with META:
        control = new_branch(unet)
    task = ControlTask(ControlledUNet(unet, control), objective, ControlTrainingSettings(), TEXTS)
    assert 340e6 < step(task, clip(), control) < 400e6


def test_era_lora(unet, objective) -> None:
    with META:
        add_lora(unet, rank=16, alpha=16.0)
    task = LoraTask(unet, objective, LoraTrainingSettings(), TEXTS)
    assert 14e6 < step(task, clip(), unet) < 15e6


@pytest.mark.parametrize("source", ["latent", "decoder", "picture"])
def test_fusion(source, vae) -> None:
    prior = TrainingPrior(
        unet=None, vae=vae, schedule=NoiseSchedule.stable_diffusion(), prediction="eps", pipeline=None, name=""
    )
    with META:
        network = PreRestorer(SMALL).requires_grad_(False)
        fusion = new_fusion(source, network, prior)
    half, quarter, eighth = SMALL.widths
    batch = FusionExample(
        picture=shapes(1, 3, SIDE, SIDE),
        target=shapes(1, 3, SIDE, SIDE),
        latent=shapes(1, 4, SIDE // 8, SIDE // 8),
        half=shapes(1, half, SIDE // 2, SIDE // 2),
        quarter=shapes(1, quarter, SIDE // 4, SIDE // 4),
        eighth=shapes(1, eighth, SIDE // 8, SIDE // 8),
    )
    task = FusionTask(fusion, prior_of(source, network, prior), prior.pictures, FusionTrainingSettings())
    assert step(task, batch, fusion) > 1e5


def test_temporal_decoder(vae) -> None:
    with META:
        decoder = new_temporal_decoder(vae).to(META)
    task = DecoderTask(decoder, 0.18215, DecoderTrainingSettings())
    batch = DecoderClip(
        latents=shapes(1, FRAMES, 4, 32, 32),
        frames=shapes(1, FRAMES, 3, 256, 256),
        flow=shapes(1, FRAMES - 1, 2, 256, 256),
        visible=shapes(1, FRAMES - 1, 256, 256),
    )
    assert 14e6 < step(task, batch, decoder) < 15e6
