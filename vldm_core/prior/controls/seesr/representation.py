"""SeeSR's transformers in the UNet, which read the tagger's embedding of the picture (RCA, section 3.3).

One lies behind each of the UNet's own transformers, which read the text: a whole spatial transformer, added to what
comes in. In the middle it lies before the second residual block.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ....errors import SettingsError
from ....files.published import below, fill, numbered, shape_of
from ....files.weights import WeightFileError, some
from ...unet import UNetView
from ..control import ControlPlace, Features, PlaceChange
from ..network.blocks import SpatialTransformer

ADDED = ".image_attentions."
"""Stands in the names of all tensors that SeeSR adds to a UNet."""
TOKENS = "tokens"
"""Name of the embedding among the features."""
_PLACE = re.compile(r"(?:(down|up)_blocks\.(\d+)|mid_block)\.image_attentions\.(\d+)\.")


class RepresentationAttention(nn.Module):
    """The transformers, by the canonical names of the UNet's layers.

    Args:
        layers: Each transformer by the layer that it follows: "down.0.1", "mid".
        width: Channels of the embedding.
    """

    def __init__(self, layers: Mapping[str, SpatialTransformer], width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.ModuleDict({_own(layer): transformer for layer, transformer in layers.items()})

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor], what: str) -> "RepresentationAttention":
        """Build the transformers that a UNet's file holds.

        Args:
            tensors: Those of the file whose names hold `ADDED`.
            what: Name of the file in messages.

        Raises:
            WeightFileError: They do not fit; the message lists why.
        """
        prefixes: dict[str, str] = {}
        strange = []
        for key in tensors:
            if match := _PLACE.match(key):
                side, level, row = match.groups()
                prefixes[f"{side}.{level}.{row}" if side else "mid"] = match[0]
            else:
                strange.append(key)
        if strange or not prefixes:
            raise WeightFileError(
                f"{what} does not fit: unexpected: {some(strange)}; take the published file"
                if strange
                else f"{what} holds no {ADDED.strip('.')}; take SeeSR's own UNet, not that of Stable Diffusion 2"
            )
        layers, widths = {}, set()
        with torch.device("meta"):
            for layer, prefix in prefixes.items():
                inside = below(tensors, prefix)
                channels = shape_of(inside, "norm.weight", 1)[0]
                width = shape_of(inside, "transformer_blocks.0.attn2.to_k.weight", 2)[1]
                # The UNet that they join says how many heads there are.
                layers[layer] = SpatialTransformer(
                    channels,
                    width,
                    1,
                    linear=inside["proj_in.weight"].ndim == 2 if "proj_in.weight" in inside else True,
                    depth=len(numbered(inside, "transformer_blocks.")),
                )
                widths.add(width)
            if len(widths) != 1:
                raise WeightFileError(f"{what} reads embeddings of {sorted(widths)} channels; one width is needed")
            found = cls(layers, widths.pop())
        names = {f"{_own(layer)}.": prefix for layer, prefix in prefixes.items()}

        def published(key: str) -> str:
            own, _, rest = key.partition(".")
            return f"{names[f'{own}.']}{rest}"

        fill(found.layers, tensors, what, published=published)
        return found

    def places(self, view: UNetView) -> list[ControlPlace]:
        """Return the UNet's transformers, whose outputs the added ones take.

        Raises:
            SettingsError: The UNet has its transformers elsewhere or in another width.
        """
        sites = {_own(site.layer): site for site in view.of_kind("attn")}
        widths = {
            name: layer.norm.num_channels
            for name, layer in self.layers.items()
            if isinstance(layer, SpatialTransformer)
        }
        wrong = sorted(
            name.replace("_", ".")
            for name in sites.keys() | widths.keys()
            if name not in sites or widths.get(name) != sites[name].channels
        )
        if wrong:
            raise SettingsError(
                f"SeeSR's transformers do not lie where this UNet has its own, or are of another width, at "
                f"{some(wrong)}; choose a model of the family that the control was made for"
            )
        return [
            ControlPlace(
                module=sites[name].module,
                at="output",
                change=_behind(layer, sites[name].heads),
                scale=sites[name].scale,
                costly=True,
            )
            for name, layer in self.layers.items()
        ]


def _behind(layer: nn.Module, heads: int) -> PlaceChange:
    def change(passing: Tensor, features: Features) -> Tensor:
        tokens = features.get(TOKENS)
        return passing if tokens is None else layer(passing, tokens.to(passing), heads=heads)

    return change


def _own(layer: str) -> str:
    return layer.replace(".", "_")
