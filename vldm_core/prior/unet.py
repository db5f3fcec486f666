"""One view over Stable Diffusion's UNet in its two module layouts.

ComfyUI's `UNetModel` and diffusers' `UNet2DConditionModel` are the same network under different names. A `UNetView`
gives every place that an attachment may hook a canonical name and finds the host's module for it:

- `down.L.R.res`, `down.L.R.attn`: residual block and spatial transformer R of resolution level L, on the way down;
- `mid.0.res`, `mid.attn`, `mid.1.res`;
- `up.L.R.res`, `up.L.R.attn`: on the way up, L = 0 is the deepest.

Neither host's package is imported: the layouts are told apart by their attributes. ComfyUI never *calls* its
`TimestepEmbedSequential` containers, so only the layers inside them are places to hook.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from ..errors import VLDMError

Layout = Literal["comfy", "diffusers"]
Kind = Literal["res", "attn"]


class UNetLayoutError(VLDMError):
    """The model is no UNet of Stable Diffusion 1.x, 2.x or XL."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place in the UNet.

    Attributes:
        name: Canonical name, e.g. "down.0.1.attn".
        kind: Residual block or spatial transformer.
        module: The host's module. Its output is (B, channels, h, w), possibly wrapped (see `attachment`).
        channels: Channels of its output.
        scale: The latent's sides are divided by this here.
        last: Whether this is the last module of its layer, where layers that follow the pair hook.
    """

    name: str
    kind: Kind
    module: nn.Module
    channels: int
    scale: int
    last: bool

    @property
    def layer(self) -> str:
        """Name without the kind: "down.0.1", "mid.0", "mid" or "up.2.0"."""
        return self.name.rsplit(".", 1)[0]

    @property
    def heads(self) -> int:
        """Attention heads of a spatial transformer, which no file says."""
        return int(self.module.transformer_blocks[0].attn1.heads)  # type: ignore[index, union-attr, arg-type]


class UNetView:
    """Canonical names over a UNet of either layout.

    Args:
        unet: ComfyUI's `UNetModel` or diffusers' `UNet2DConditionModel`.

    Raises:
        UNetLayoutError: The model is neither.
    """

    def __init__(self, unet: nn.Module) -> None:
        self.unet = unet
        self.layout = layout_of(unet)
        sites = list(_comfy_sites(unet) if self.layout == "comfy" else _diffusers_sites(unet))
        self.sites = {site.name: site for site in sites}

    def __getitem__(self, name: str) -> Site:
        """Return a site by its canonical name.

        Raises:
            UNetLayoutError: This UNet has no such site.
        """
        try:
            return self.sites[name]
        except KeyError:
            raise UNetLayoutError(f"this UNet has no {name!r}; it has {', '.join(self.sites)}") from None

    def of_kind(self, kind: Kind) -> tuple[Site, ...]:
        """Return all residual blocks or all spatial transformers, in the order they run."""
        return tuple(site for site in self.sites.values() if site.kind == kind)

    def layers(self) -> tuple[Site, ...]:
        """Return the last site of every layer: the transformer, or the residual block where there is none.

        `mid` is the middle transformer. What follows a layer (a motion module) hooks here.
        """
        return tuple(s for s in self.sites.values() if s.last)

    def resblock_norms(self) -> tuple[nn.Module, ...]:
        """Return the GroupNorms of all residual blocks and the one before the last convolution."""
        norms: list[nn.Module] = []
        for site in self.of_kind("res"):
            if self.layout == "comfy":
                norms += [site.module.in_layers[0], site.module.out_layers[0]]  # type: ignore
            else:
                norms += [site.module.norm1, site.module.norm2]  # type: ignore[list-item]
        norms.append(self.unet.out[0] if self.layout == "comfy" else self.unet.conv_norm_out)  # type: ignore
        return tuple(norms)

    @property
    def context_dim(self) -> int:
        """Width of the text conditioning: 768 for SD 1.x, 1024 for SD 2.x, 2048 for SDXL."""
        attention = self.of_kind("attn")[0].module
        return int(attention.transformer_blocks[0].attn2.to_k.in_features)  # type: ignore


def layout_of(unet: nn.Module) -> Layout:
    """Return whose layout a UNet of images has.

    Raises:
        UNetLayoutError: It is no such UNet: a transformer, or a video model.
    """
    if any(_has_time_of_its_own(module) for module in unet.modules()):
        raise UNetLayoutError(
            f"{type(unet).__name__} is a video model such as Stable Video Diffusion, with temporal layers of its "
            "own; choose an image model: Stable Diffusion 1.x, 2.x or XL"
        )
    if all(hasattr(unet, name) for name in ("input_blocks", "output_blocks", "middle_block")):
        return "comfy"
    if all(hasattr(unet, name) for name in ("down_blocks", "up_blocks", "mid_block")):
        return "diffusers"
    raise UNetLayoutError(
        f"{type(unet).__name__} is not a UNet of Stable Diffusion 1.x, 2.x or XL; choose a model of these families"
    )


def _has_time_of_its_own(module: nn.Module) -> bool:
    """Tell whether a module mixes frames: the blocks of Stable Video Diffusion in ComfyUI's and diffusers' layout."""
    names = ("time_stack", "time_mixer", "temporal_transformer_blocks", "temporal_res_block")
    return any(isinstance(getattr(module, name, None), nn.Module) for name in names)


def _comfy_sites(unet: nn.Module) -> Iterator[Site]:
    level = index = 0
    scale = 1
    for block in list(unet.input_blocks)[1:]:  # type: ignore[arg-type]
        first = block[0]
        if not _is_comfy_resblock(first):
            level, index, scale = level + 1, 0, scale * 2
            continue
        yield from _comfy_layer(f"down.{level}.{index}", block, scale)
        index += 1
    middle = list(unet.middle_block)  # type: ignore[arg-type]
    residual = [layer for layer in middle if _is_comfy_resblock(layer)]
    transformers = [layer for layer in middle if _is_transformer(layer)]
    if len(residual) != 2 or len(transformers) != 1:
        raise UNetLayoutError(f"the middle block has {len(residual)} ResBlocks and {len(transformers)} transformers")
    yield from _middle(residual[0], transformers[0], residual[1], int(residual[0].out_channels), scale)
    level = index = 0
    for block in unet.output_blocks:  # type: ignore[union-attr]
        yield from _comfy_layer(f"up.{level}.{index}", block, scale)
        index += 1
        if not (_is_comfy_resblock(block[-1]) or _is_transformer(block[-1])):
            level, index, scale = level + 1, 0, scale // 2


def _is_comfy_resblock(layer: nn.Module) -> bool:
    return hasattr(layer, "in_layers") and hasattr(layer, "emb_layers")


def _is_transformer(layer: nn.Module) -> bool:
    return hasattr(layer, "transformer_blocks")


def _comfy_layer(name: str, block: nn.Module, scale: int) -> Iterator[Site]:
    layers = list(block)  # type: ignore[call-overload]
    residual = layers[0]
    transformer = next((layer for layer in layers[1:] if _is_transformer(layer)), None)
    yield from _layer(name, residual, transformer, int(residual.out_channels), scale)


def _layer(name: str, residual: nn.Module, transformer: nn.Module | None, channels: int, scale: int) -> Iterator[Site]:
    yield Site(
        name=f"{name}.res", kind="res", module=residual, channels=channels, scale=scale, last=transformer is None
    )
    if transformer is not None:
        yield Site(name=f"{name}.attn", kind="attn", module=transformer, channels=channels, scale=scale, last=True)


def _middle(first: nn.Module, attention: nn.Module, second: nn.Module, channels: int, scale: int) -> Iterator[Site]:
    yield Site(name="mid.0.res", kind="res", module=first, channels=channels, scale=scale, last=False)
    yield Site(name="mid.attn", kind="attn", module=attention, channels=channels, scale=scale, last=True)
    yield Site(name="mid.1.res", kind="res", module=second, channels=channels, scale=scale, last=False)


def _diffusers_sites(unet: nn.Module) -> Iterator[Site]:
    scale = 1
    down = list(unet.down_blocks)  # type: ignore[arg-type]
    for level, block in enumerate(down):
        yield from _diffusers_block(f"down.{level}", block, scale)
        if getattr(block, "downsamplers", None) is not None:
            scale *= 2
    middle = unet.mid_block
    if middle is None or len(middle.resnets) != 2 or len(middle.attentions) != 1:  # type: ignore
        raise UNetLayoutError("the middle block is not ResBlock, transformer, ResBlock")
    residual, attention = list(middle.resnets), middle.attentions[0]  # type: ignore
    yield from _middle(residual[0], attention, residual[1], int(residual[0].out_channels), scale)  # type: ignore
    for level, block in enumerate(unet.up_blocks):  # type: ignore
        yield from _diffusers_block(f"up.{level}", block, scale)
        if getattr(block, "upsamplers", None) is not None:
            scale //= 2


def _diffusers_block(name: str, block: nn.Module, scale: int) -> Iterator[Site]:
    attentions = getattr(block, "attentions", None)
    for index, residual in enumerate(block.resnets):  # type: ignore
        attention = None if attentions is None else attentions[index]
        yield from _layer(f"{name}.{index}", residual, attention, int(residual.out_channels), scale)
