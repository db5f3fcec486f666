"""How the UNet looks at the ControlNet's residuals pixel by pixel (pixel-aware cross-attention, arXiv:2308.14469, 3.2).

Behind every layer of the way up stands a whole spatial transformer whose keys and values are the positions of the
residual that was added to that layer's own skip: the residual as it is added, with its strength, not its sum with the
skip. PASD light puts one attention inside the UNet's own transformers instead, between the text and the feed-forward,

    x ← x + attention(q = norm(x), k = v = proj(residual)).

Files say neither how many heads there are nor where the layers lie in a host: both come from the UNet that they join.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ....errors import SettingsError
from ....files.published import below, fill, numbered, shape_of
from ....files.weights import WeightFileError, some
from ...unet import Site, UNetView
from ..control import ControlPlace, Features, PlaceChange
from ..network.blocks import Attention, SpatialTransformer
from .windows import PixelAttentionWindows

WHOLE = ".pixel_attentions."
"""Stands in the names of all tensors that PASD adds to a UNet."""
LIGHT = ("attn2_plus.", "norm2_plus.", "proj_in_plus.")
"""One of these stands in the names of all tensors that PASD light adds."""

Windows = Callable[[], PixelAttentionWindows]


class PixelReader(nn.Module):
    """Base of both: layers of the way up, by their canonical names.

    Args:
        layers: Each by the layer of the UNet that it joins: "up.0.1".
    """

    place: re.Pattern[str]

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({_own(layer): module for layer, module in layers.items()})

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor], what: str) -> "PixelReader":
        """Build the layers that a UNet's file holds.

        Args:
            tensors: What PASD adds to a UNet, in diffusers' layout.
            what: Name of the file in messages.

        Raises:
            WeightFileError: They do not fit; the message lists why.
        """
        prefixes = {f"up.{place[1]}.{place[2]}": place[0] for key in tensors if (place := cls.place.match(key))}
        strange = [key for key in tensors if not key.startswith(tuple(prefixes.values()))]
        if strange or not prefixes:
            raise WeightFileError(
                f"{what} does not fit: unexpected: {some(strange)}; take the published file"
                if strange
                else f"{what} holds nothing that PASD adds; take PASD's own UNet, not that of Stable Diffusion 1.5"
            )
        with torch.device("meta"):
            found = cls({layer: cls.like(below(tensors, prefix)) for layer, prefix in prefixes.items()})
        starts = {_own(layer): prefix for layer, prefix in prefixes.items()}

        def published(key: str) -> str:
            own, _, rest = key.partition(".")
            return f"{starts[own]}{rest}"

        fill(found.layers, tensors, what, published=published)
        return found

    @staticmethod
    def like(tensors: Mapping[str, Tensor]) -> nn.Module:
        """Build one layer without its weights.

        Raises:
            WeightFileError: The tensors are those of something else.
        """
        raise NotImplementedError

    def places(self, view: UNetView, skips: tuple[int, ...], windows: Windows) -> list[ControlPlace]:
        """Return where the layers join a UNet.

        Args:
            view: The UNet.
            skips: Channels of the residuals, in the order of the way down.
            windows: Says what a position looks at, when it looks.

        Raises:
            SettingsError: The UNet has other layers.
        """
        sites = [site for site in view.layers() if site.name.startswith("up.")]
        known = {_own(site.layer): (site, index) for index, site in enumerate(sites)}
        wrong = [name for name in self.layers if name not in known]
        for name in self.layers.keys() & known.keys():
            site, index = known[name]
            channels, context = self.widths(self.layers[name])
            if (channels, context) != (site.channels, skips[-1 - index]):
                wrong.append(name)
        if wrong:
            raise SettingsError(
                "PASD's pixel attention does not fit this UNet's layers, or they are of another width, at "
                f"{some([name.replace('_', '.') for name in sorted(wrong)])}; choose a model of the family that the "
                "control was made for"
            )
        found: list[ControlPlace] = []
        for name, layer in self.layers.items():
            site, index = known[name]
            # The way up takes residuals from the end.
            residual = f"residual.{len(skips) - 1 - index}"
            found += self.at(layer, site, residual, heads_at(site, view), windows)
        return found

    @staticmethod
    def widths(layer: nn.Module) -> tuple[int, int]:
        """Return the channels of a layer and of the residual that it reads."""
        raise NotImplementedError

    @staticmethod
    def at(layer: nn.Module, site: Site, residual: str, heads: int, windows: Windows) -> Iterable[ControlPlace]:
        """Return where one layer joins.

        Raises:
            SettingsError: The UNet's transformer is another one.
        """
        raise NotImplementedError


class PixelTransformers(PixelReader):
    """PASD's: a spatial transformer behind each layer."""

    place = re.compile(r"up_blocks\.(\d+)\.pixel_attentions\.(\d+)\.")

    @staticmethod
    def like(tensors: Mapping[str, Tensor]) -> SpatialTransformer:
        """See the base."""
        return SpatialTransformer(
            shape_of(tensors, "norm.weight", 1)[0],
            shape_of(tensors, "transformer_blocks.0.attn2.to_k.weight", 2)[1],
            1,
            linear=_is_linear(tensors, "proj_in.weight"),
            depth=len(numbered(tensors, "transformer_blocks.")),
        )

    @staticmethod
    def widths(layer: nn.Module) -> tuple[int, int]:
        """See the base."""
        assert isinstance(layer, SpatialTransformer)
        first = layer.transformer_blocks[0]
        return int(layer.norm.num_channels), int(first.attn2.to_k.in_features)  # type: ignore[union-attr, arg-type]

    @staticmethod
    def at(layer: nn.Module, site: Site, residual: str, heads: int, windows: Windows) -> Iterable[ControlPlace]:
        """See the base."""

        def change(passing: Tensor, features: Features) -> Tensor:
            pixels = features[residual].to(passing)
            attend = windows().attend(*passing.shape[-2:])
            return layer(passing, pixels.flatten(2).transpose(1, 2), attend, heads=heads)

        yield ControlPlace(module=site.module, at="output", change=change, scale=site.scale, costly=True)


class _InsideBlock(nn.Module):
    """What PASD light adds to one block of a transformer."""

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.attn2_plus = Attention(channels, context, 1)
        self.norm2_plus = nn.LayerNorm(channels)

    def forward(self, x: Tensor, pixels: Tensor, size: tuple[int, int], heads: int, windows: Windows) -> Tensor:
        """Return what is added to x (B, h · w, C)."""
        attend = windows().attend(*size)
        return self.attn2_plus(self.norm2_plus(x), pixels, attend, heads=heads)


class InsideTransformer(nn.Module):
    """What PASD light adds to one transformer."""

    def __init__(self, channels: int, context: int, *, linear: bool, depth: int) -> None:
        super().__init__()
        self.proj_in_plus = nn.Linear(context, context) if linear else nn.Conv2d(context, context, 1)
        self.transformer_blocks = nn.ModuleList(_InsideBlock(channels, context) for _ in range(depth))

    def pixels(self, residual: Tensor) -> Tensor:
        """Return (B, h · w, c) for a residual (B, c, h, w)."""
        if isinstance(self.proj_in_plus, nn.Linear):
            return self.proj_in_plus(residual.flatten(2).transpose(1, 2))
        return self.proj_in_plus(residual).flatten(2).transpose(1, 2)


class InsideAttention(PixelReader):
    """PASD light's: an attention inside each block of the transformers on the way up."""

    place = re.compile(r"up_blocks\.(\d+)\.attentions\.(\d+)\.")

    @staticmethod
    def like(tensors: Mapping[str, Tensor]) -> InsideTransformer:
        """See the base."""
        channels, context = shape_of(tensors, "transformer_blocks.0.attn2_plus.to_k.weight", 2)
        return InsideTransformer(
            channels,
            context,
            linear=_is_linear(tensors, "proj_in_plus.weight"),
            depth=len(numbered(tensors, "transformer_blocks.")),
        )

    @staticmethod
    def widths(layer: nn.Module) -> tuple[int, int]:
        """See the base."""
        assert isinstance(layer, InsideTransformer)
        keys = layer.transformer_blocks[0].attn2_plus.to_k  # type: ignore[union-attr]
        return int(keys.out_features), int(keys.in_features)  # type: ignore[union-attr, arg-type]

    @staticmethod
    def at(layer: nn.Module, site: Site, residual: str, heads: int, windows: Windows) -> Iterable[ControlPlace]:
        """See the base."""
        assert isinstance(layer, InsideTransformer)
        blocks = list(getattr(site.module, "transformer_blocks", ()))
        if len(blocks) != len(layer.transformer_blocks):
            raise SettingsError(
                f"PASD light reads pixels in {len(layer.transformer_blocks)} block(s) of the transformer at "
                f"{site.layer}, and this UNet has {len(blocks)} there; choose a model of the family that the control "
                "was made for"
            )

        def read(block: _InsideBlock) -> PlaceChange:
            def change(x: Tensor, features: Features) -> Tensor:
                found = features[residual].to(x)
                return block(x, layer.pixels(found), (found.shape[-2], found.shape[-1]), heads, windows)

            return change

        for inside, block in zip(layer.transformer_blocks, blocks, strict=True):
            assert isinstance(inside, _InsideBlock)
            reading = _Reading(read(inside))
            norm = ControlPlace(
                module=block.norm3, at="picture", change=reading.before, tokens=True, scale=site.scale, costly=True
            )
            yield norm
            yield replace(norm, module=block.ff, at="output", change=reading.after)


class _Reading:
    """Adds to what runs through a block between its text attention and its feed-forward.

    No module of either host has that stream as its output. The norm before the feed-forward sees it, and what the
    feed-forward gives is added to it: what is added before the one is added once more behind the other. Other patches
    of the text attention, which may run without its module, do not matter so.
    """

    def __init__(self, read: PlaceChange) -> None:
        self._read = read
        self._added: Tensor | None = None

    def before(self, x: Tensor, features: Features) -> Tensor:
        self._added = self._read(x, features)
        return x + self._added

    def after(self, fed: Tensor, _features: Features) -> Tensor:
        assert self._added is not None
        added, self._added = self._added, None
        return fed + added


def heads_at(site: Site, view: UNetView) -> int:
    """Return how many heads a layer has: those of the UNet there, or in the middle where it has no attention."""
    return (site if site.kind == "attn" else view["mid.attn"]).heads


def _is_linear(tensors: Mapping[str, Tensor], key: str) -> bool:
    return key in tensors and tensors[key].ndim == 2


def _own(layer: str) -> str:
    return layer.replace(".", "_")
