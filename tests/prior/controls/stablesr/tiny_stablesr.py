"""A tiny StableSR in the published layout, with random weights, and UNets that it fits."""

import torch
from torch import Tensor, nn

from vldm_core.prior.controls.stablesr.config import ModulationConfig, StructureEncoderConfig
from vldm_core.prior.controls.stablesr.files import control_of
from vldm_core.prior.controls.stablesr.network import SpatialModulation, StructureEncoder
from vldm_core.prior.controls.stablesr.system import StableSrControl, residual_blocks
from vldm_core.prior.unet import UNetView

from ...tiny_models import tiny_unet

ENCODER, UNET = "structcond_stage_model.", "model.diffusion_model."
CONFIG = StructureEncoderConfig(width=32, widths=(32, 32, 64, 64), out_channels=64)
SHALLOW = StructureEncoderConfig(width=32, widths=(32, 64), attention=(True, False), out_channels=64)
"""For a UNet of two levels."""


def _random(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Weights that fill every parameter, so that nothing is switched off."""
    generator, found = torch.Generator().manual_seed(seed), {}
    for name, tensor in network.state_dict().items():
        values = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim > 1:
            found[name] = values * tensor[0].numel() ** -0.5
        else:
            found[name] = 0.1 * values + (1.0 if name.endswith("norm.weight") or ".0.weight" in name else 0.0)
    return found


def encoder_file(config: StructureEncoderConfig = CONFIG) -> dict[str, Tensor]:
    return {ENCODER + key: value for key, value in _random(StructureEncoder(config), 1).items()}


def stablesr_file(unet: nn.Module | None = None, config: StructureEncoderConfig = CONFIG) -> dict[str, Tensor]:
    """What StableSR adds to a UNet with the levels of the encoder; None is `tiny_unet`."""
    file = encoder_file(config)
    for seed, (place, site) in enumerate(residual_blocks(UNetView(unet or tiny_unet())).items()):
        layer = SpatialModulation(ModulationConfig(channels=site.channels, label_channels=config.out_channels))
        file |= {f"{UNET}{place}.spade.{key}": value for key, value in _random(layer, 10 + seed).items()}
    return file


def stablesr_control(unet: nn.Module | None = None, config: StructureEncoderConfig = CONFIG) -> StableSrControl:
    return control_of(stablesr_file(unet, config))


class GivenFeatures(StructureEncoder):
    """Features that were given, whatever is looked at."""

    def __init__(self, features: list[Tensor]) -> None:
        super().__init__(CONFIG)
        self.given = features

    def forward(self, latent: Tensor, step: Tensor) -> tuple[Tensor, ...]:
        assert len(latent) == len(step) == len(self.given[0])
        return tuple(self.given)


def oracle_modulation(weights: dict[str, Tensor]) -> dict[str, SpatialModulation]:
    """The modulation inside the UNet of an oracle, by place."""
    places: dict[str, dict[str, Tensor]] = {}
    for key, value in weights.items():
        place, spade, rest = key.removeprefix(UNET).partition(".spade.")
        if spade:
            places.setdefault(place, {})[rest] = value
    return {place: SpatialModulation.from_published(own) for place, own in places.items()}
