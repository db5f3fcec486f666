"""StableSR on a UNet: the structure encoder before every pass, modulation inside every residual block.

The encoder reads the degraded latent and the time step, no text and no noise, so it runs once for each frame and serves
all chunks of conditioning; so do γ and β, which every block computes of the feature of its own size. What is modulated
is the block's branch, before its skip is added: behind the last convolution.

The UNet is that of Stable Diffusion 2.1, which was frozen in training. The published files are for non-commercial use
(S-Lab License 1.0).
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from torch import Tensor, nn

from ....errors import SettingsError
from ....files.weights import some
from ...unet import Site, UNetView
from ...unet_families import SD2_TEXT, check_text, family_of
from ..control import ControlPlace, ControlRequest, ControlSystem, Features, PlaceChange
from ..material import HintKind
from .network import SpatialModulation, StructureEncoder

_LEVEL = "level.{}"


class StableSrControl(ControlSystem):
    """StableSR's control.

    Args:
        encoder: The structure encoder.
        modulation: The layers of every residual block, by the original's name of it, such as "input_blocks.1.0".
    """

    name: ClassVar[str] = "StableSR"
    hint: ClassVar[HintKind] = "latent"
    reads_text: ClassVar[bool] = False
    scales_itself: ClassVar[bool] = False

    def __init__(self, encoder: StructureEncoder, modulation: Mapping[str, SpatialModulation]) -> None:
        super().__init__()
        self.encoder = encoder
        self.modulation = nn.ModuleDict({place.replace(".", "_"): layers for place, layers in modulation.items()})
        self._places = dict(modulation)

    def features(self, request: ControlRequest) -> Features:
        """Return `level.0` …: the feature of every level of the UNet, one for each frame."""
        found = self.encoder(request.hint, request.timesteps)
        return {_LEVEL.format(level): feature for level, feature in enumerate(found)}

    def places(self, view: UNetView) -> Iterable[ControlPlace]:
        """Return the last convolution of every residual block.

        Raises:
            SettingsError: The UNet is of another family.
        """
        if family_of(view) is not None:
            # Residual blocks of other families are alike, and the files hold nothing else of the UNet.
            check_text(view, SD2_TEXT, self.name)
        sites = residual_blocks(view)
        if sites.keys() != self._places.keys():
            strange = sorted(sites.keys() ^ self._places.keys())
            raise SettingsError(
                f"this file of StableSR modulates {len(self._places)} residual blocks and this UNet has {len(sites)}; "
                f"they differ in {some(strange)}; choose a Stable Diffusion 2.1 model"
            )
        found = []
        for name, layers in self._places.items():
            site = sites[name]
            if site.channels != layers.config.channels:
                raise SettingsError(
                    f"StableSR's modulation of {name} has {layers.config.channels} channels and the UNet has "
                    f"{site.channels} there; choose a Stable Diffusion 2.1 model"
                )
            level = site.scale.bit_length() - 1
            if level >= len(self.encoder.config.widths):
                raise SettingsError(
                    f"StableSR's encoder gives features of {len(self.encoder.config.widths)} sizes, and {name} of this "
                    "UNet works on a smaller one; choose a Stable Diffusion 2.1 model"
                )
            found.append(
                ControlPlace(
                    module=_last_convolution(site, view),
                    at="output",
                    change=_change(layers, _LEVEL.format(level)),
                    scale=site.scale,
                )
            )
        return found


def residual_blocks(view: UNetView) -> dict[str, Site]:
    """Return a UNet's residual blocks by the names of the original, in the order in which they run."""
    found: dict[str, Site] = {}
    number, level, rising = 0, "0", 0
    for site in view.of_kind("res"):
        side, *rest = site.name.split(".")
        if side == "mid":
            # Between the two stands the transformer.
            found[f"middle_block.{2 * int(rest[0])}"] = site
        elif side == "up":
            found[f"output_blocks.{rising}.0"] = site
            rising += 1
        else:
            # Every level but the first begins with what halves the picture.
            number += 1 if rest[0] == level else 2
            level = rest[0]
            found[f"input_blocks.{number}.0"] = site
    return found


def _last_convolution(site: Site, view: UNetView) -> nn.Module:
    if view.layout == "comfy":
        return site.module.out_layers[-1]  # type: ignore
    return site.module.conv2  # type: ignore[return-value]


def _change(layers: SpatialModulation, feature: str) -> PlaceChange:
    def change(hidden: Tensor, features: Features) -> Tensor:
        structure = features[feature].to(hidden)
        gamma, beta = layers.look(structure)
        return layers(hidden, gamma, beta)

    return change
