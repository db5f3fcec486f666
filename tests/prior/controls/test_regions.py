"""Windows and tiles over a control equal the whole; what reusing a look costs and changes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from vldm_core.prior.controls.control import RestorationControl
from vldm_core.prior.controls.material import ControlMaterial
from vldm_core.prior.controls.settings import ControlSettings
from vldm_core.prior.controls.use import ControlUse
from vldm_core.prior.denoiser import ClipDenoiser, DenoiserSettings
from vldm_core.prior.unet import UNetView
from vldm_core.sampling.cfg import CfgSettings
from vldm_core.sampling.guidance import GuidanceSettings
from vldm_core.sampling.regions.tiles import TileSettings
from vldm_core.sampling.regions.windows import WindowSettings
from vldm_core.sampling.restoration import RestorationSettings
from vldm_core.sampling.schedule import NoiseSchedule

from ..test_pipeline import PLAIN, film
from ..tiny_models import CONTEXT, tiny_diffbir, tiny_unet
from ..tiny_pipeline import tiny_pipeline

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SCHEDULE = NoiseSchedule.stable_diffusion()
FRAMES, HEIGHT, WIDTH = 7, 16, 24
BOTH: dict[str, Any] = {"windows": WindowSettings(length=4, overlap=2), "tiles": TileSettings(size=8, overlap=4)}


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def local(network: nn.Module) -> nn.Module:
    """Make a network of real blocks look at single places: no norms over the picture, no neighbours, no attention."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.Conv2d) and child.kernel_size == (3, 3):
                with torch.no_grad():
                    centre = child.weight[..., 1, 1].clone()
                    child.weight.zero_()
                    child.weight[..., 1, 1] = 2 * centre
            elif name == "transformer_blocks":
                for parameter in child.parameters():
                    nn.init.zeros_(parameter)
    return network


@pytest.fixture(scope="module")
def real():
    return tiny_unet(block_out_channels=(32, 64)), tiny_diffbir()


@pytest.fixture(scope="module")
def places():
    return local(tiny_unet(block_out_channels=(32, 64))), local(tiny_diffbir())


@torch.no_grad()
def denoised(networks, material: ControlMaterial, settings: ControlSettings | None = None, **regions) -> torch.Tensor:
    unet, system = networks
    control = RestorationControl(system, material, settings)
    denoiser = ClipDenoiser(
        unet,
        timestep=SCHEDULE.timestep,
        sigmas=(3.0, 1.0, 0.0),
        positive=draw(FRAMES, 5, CONTEXT, seed=1),
        negative=draw(1, 5, CONTEXT, seed=2),
        settings=DenoiserSettings(cfg=CfgSettings(scale=2.0), **regions),
        attachments=[control],
    )
    with control.attached(UNetView(unet)):
        return denoiser(3 * draw(FRAMES, 4, HEIGHT, WIDTH, seed=3), 3.0)


def material(frames: int = FRAMES, seed: int = 4) -> ControlMaterial:
    damage = torch.zeros(FRAMES, HEIGHT, WIDTH)
    damage[2:5, 3:9, 5:15] = 1
    return ControlMaterial(hint=draw(frames, 4, HEIGHT, WIDTH, seed=seed), damage=damage)


@pytest.mark.parametrize("hints", [FRAMES, 1])
def test_windows_and_tiles_equal_the_whole(places, hints) -> None:
    settings = ControlSettings(over_frames=((0, 1), (6, 0.3)), in_damage=0.25)
    whole = denoised(places, material(hints), settings)
    assert (denoised(places, material(hints), settings, **BOTH) - whole).abs().max() < 1e-5
    assert (denoised(places, material(hints, seed=5), settings) - whole).abs().max() > 1e-2
    assert (denoised(places, material(hints)) - whole).abs().max() > 1e-2


def test_windows_equal_the_whole_with_attention_and_norms(real) -> None:
    settings = ControlSettings(over_frames=((0, 1), (6, 0.3)), in_damage=0.25)
    whole = denoised(real, material(), settings)
    assert (denoised(real, material(), settings, windows=BOTH["windows"]) - whole).abs().max() < 1e-5
    assert (denoised(real, material(seed=5), settings) - whole).abs().max() > 1e-2


@pytest.mark.parametrize("weighting", ["mse", "edges"])
@pytest.mark.parametrize("space", ["latent", "rgb"])
def test_guidance_over_windows_and_tiles_is_that_of_the_whole(places, space, weighting) -> None:
    """A whole sampling: the pull is towards the film, whatever parts the control was computed in."""
    pipeline = tiny_pipeline()
    pipeline.register_modules(unet=places[0])
    plain = replace(PLAIN, guidance=None)
    guided = replace(plain, guidance=GuidanceSettings(scale=0.5, space=space, weighting=weighting))

    def made(settings: RestorationSettings) -> torch.Tensor:
        use = ControlUse(system=places[1], settings=ControlSettings(over_frames=((0, 1), (4, 0.5))))
        call: dict[str, Any] = {"fitting": None, "num_inference_steps": 4, "strength": 1.0, "output": "latents"}
        return pipeline(film(5, 64, 96), controls=[use], settings=settings, **call).latents

    whole = made(guided)
    assert (made(replace(guided, **BOTH)) - whole).abs().max() < 1e-5 * whole.abs().max().clamp(min=1)
    assert (made(plain) - whole).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize(("reuse", "looks", "largest"), [(1, 20, 0.0), (2, 10, 0.1), (3, 7, 0.17)])
def test_a_look_serves_as_many_steps_as_it_is_told(reuse, looks, largest) -> None:
    """The differences are those of random weights; they bound what the lag alone does."""
    pipeline, system = tiny_pipeline(), tiny_diffbir()
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    system.branch.register_forward_pre_hook(counted)
    call: dict[str, Any] = {"settings": PLAIN, "output": "latents", "fitting": None, "num_inference_steps": 20}

    def made(settings: ControlSettings) -> torch.Tensor:
        nonlocal count
        count = 0
        use = ControlUse(system=system, settings=settings)
        return pipeline(film(2), controls=[use], strength=1.0, **call).latents

    always, off = made(ControlSettings()), made(ControlSettings(strength=0))
    found = made(ControlSettings(reuse=reuse))
    assert count == looks
    lag, effect = (found - always).square().mean().sqrt(), (always - off).square().mean().sqrt()
    assert lag <= largest * effect and (reuse == 1 or lag > 0.02 * effect)
