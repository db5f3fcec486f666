"""Names and shapes of every tensor of a UNet of Stable Diffusion, in the original and in diffusers' layout.

They follow from a few sizes (R. Rombach et al., CVPR 2022, for 1.x and 2.x; D. Podell et al., ICLR 2024, for XL):
levels of two residual blocks going down, three going up, each with a transformer where the level has one. The control
branches of ControlNet and DiffBIR are copies of the half that goes down.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Layout = Literal["original", "diffusers"]
Shape = tuple[int, ...]

_ROWS_DOWN, _ROWS_UP = 2, 3


@dataclass(frozen=True, kw_only=True)
class UNetSizes:
    """What the names and shapes follow from.

    Attributes:
        context: Channels of the text conditioning.
        linear: Whether transformers are entered by a linear layer (2.x, XL) or by a 1×1 convolution (1.x).
        width: Channels of the first level.
        factors: Channels of every level over `width`.
        depths: Blocks of the transformers of every level, 0 where it has none.
        middle: Blocks of the transformer in the middle.
        inputs: Channels that go in.
        vector: Channels of a further condition beside the time (XL); 0 is none.
    """

    context: int
    linear: bool
    width: int = 320
    factors: tuple[int, ...] = (1, 2, 4, 4)
    depths: tuple[int, ...] = (1, 1, 1, 0)
    middle: int = 1
    inputs: int = 4
    vector: int = 0


SD1_UNET = UNetSizes(context=768, linear=False)
SD2_UNET = UNetSizes(context=1024, linear=True)
SDXL_UNET = UNetSizes(context=2048, linear=True, factors=(1, 2, 4), depths=(0, 2, 10), middle=10, vector=2816)

UNETS = {"Stable Diffusion 1.x": SD1_UNET, "Stable Diffusion 2.x": SD2_UNET, "Stable Diffusion XL": SDXL_UNET}
"""Sizes of the published UNets by the name of their family."""


@dataclass(frozen=True, kw_only=True)
class UNetPlace:
    """One module of a UNet.

    Attributes:
        kind: What it is.
        original: Its name in the original layout.
        diffusers: Its name in diffusers' layout.
        inputs: Channels that go in.
        outputs: Channels that come out.
        depth: Blocks of a transformer.
        skip: On the way up, channels of the connection from the way down that arrives at the row.
    """

    kind: Literal["block", "transformer", "halving", "doubling"]
    original: str
    diffusers: str
    inputs: int
    outputs: int
    depth: int = 0
    skip: int = 0


def unet_shapes(sizes: UNetSizes, layout: Layout) -> dict[str, Shape]:
    """Return every tensor of a UNet with its shape."""
    first, time, last = _outer(layout)
    head = dict(pair(f"{last}0" if layout == "original" else "conv_norm_out", (sizes.width,)))
    head |= pair(f"{last}2" if layout == "original" else "conv_out", (4, sizes.width, 3, 3))
    return _entry(sizes, first, time) | _inside([*down(sizes), *up(sizes)], sizes, layout) | head


def half_shapes(sizes: UNetSizes, layout: Layout) -> dict[str, Shape]:
    """Return every tensor of the half of a UNet that goes down, the middle included, as control branches copy it."""
    first, time, _ = _outer(layout)
    return _entry(sizes, first, time) | _inside(list(down(sizes)), sizes, layout)


def down(sizes: UNetSizes) -> Iterator[UNetPlace]:
    """Yield the modules on the way down and in the middle, in the order in which they run."""
    number, channels = 1, sizes.width
    for level, (factor, depth) in enumerate(zip(sizes.factors, sizes.depths, strict=True)):
        for row in range(_ROWS_DOWN):
            wide = factor * sizes.width
            yield UNetPlace(
                kind="block",
                original=f"input_blocks.{number}.0",
                diffusers=f"down_blocks.{level}.resnets.{row}",
                inputs=channels,
                outputs=wide,
            )
            channels = wide
            if depth:
                yield _transformer(f"input_blocks.{number}.1", f"down_blocks.{level}.attentions.{row}", wide, depth)
            number += 1
        if level < len(sizes.factors) - 1:
            yield UNetPlace(
                kind="halving",
                original=f"input_blocks.{number}.0.op",
                diffusers=f"down_blocks.{level}.downsamplers.0.conv",
                inputs=channels,
                outputs=channels,
            )
            number += 1
    for row in range(2):
        yield UNetPlace(
            kind="block",
            original=f"middle_block.{2 * row}",
            diffusers=f"mid_block.resnets.{row}",
            inputs=channels,
            outputs=channels,
        )
    yield _transformer("middle_block.1", "mid_block.attentions.0", channels, sizes.middle)


def up(sizes: UNetSizes) -> Iterator[UNetPlace]:
    """Yield the modules on the way up, in the order in which they run."""
    skips = skip_channels(sizes)
    channels, number = skips[-1], 0
    for level, (factor, depth) in enumerate(zip(sizes.factors[::-1], sizes.depths[::-1], strict=True)):
        wide = factor * sizes.width
        for row in range(_ROWS_UP):
            skip = skips.pop()
            yield UNetPlace(
                kind="block",
                original=f"output_blocks.{number}.0",
                diffusers=f"up_blocks.{level}.resnets.{row}",
                inputs=channels + skip,
                outputs=wide,
                skip=skip,
            )
            channels = wide
            if depth:
                names = f"output_blocks.{number}.1", f"up_blocks.{level}.attentions.{row}"
                yield _transformer(*names, wide, depth, skip)
            if row == _ROWS_UP - 1 and level < len(sizes.factors) - 1:
                yield UNetPlace(
                    kind="doubling",
                    original=f"output_blocks.{number}.{2 if depth else 1}.conv",
                    diffusers=f"up_blocks.{level}.upsamplers.0.conv",
                    inputs=wide,
                    outputs=wide,
                )
            number += 1


def skip_channels(sizes: UNetSizes) -> list[int]:
    """Return the channels of every connection from the way down to the way up, from the top."""
    found = [sizes.width]
    for level, factor in enumerate(sizes.factors):
        found += [factor * sizes.width] * (_ROWS_DOWN + (level < len(sizes.factors) - 1))
    return found


def transformer_shapes(name: str, channels: int, context: int, *, linear: bool, depth: int = 1) -> dict[str, Shape]:
    """Return every tensor of a spatial transformer; both layouts name them alike."""
    entrance = (channels, channels) if linear else (channels, channels, 1, 1)
    found = dict(pair(f"{name}.norm", (channels,)))
    for number in range(depth):
        block = f"{name}.transformer_blocks.{number}"
        for attention, wide in (("attn1", channels), ("attn2", context)):
            found[f"{block}.{attention}.to_q.weight"] = (channels, channels)
            for part in "kv":
                found[f"{block}.{attention}.to_{part}.weight"] = (channels, wide)
            found |= pair(f"{block}.{attention}.to_out.0", (channels, channels))
        for norm in range(1, 4):
            found |= pair(f"{block}.norm{norm}", (channels,))
        found |= pair(f"{block}.ff.net.0.proj", (8 * channels, channels))
        found |= pair(f"{block}.ff.net.2", (channels, 4 * channels))
    return found | pair(f"{name}.proj_in", entrance) | pair(f"{name}.proj_out", entrance)


def pair(name: str, shape: Shape) -> dict[str, Shape]:
    """Return the weight and the bias of a layer."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def with_inputs(sizes: UNetSizes, inputs: int) -> UNetSizes:
    """Return the same sizes with another number of channels that go in."""
    return replace(sizes, inputs=inputs)


def _transformer(original: str, diffusers: str, channels: int, depth: int, skip: int = 0) -> UNetPlace:
    return UNetPlace(
        kind="transformer",
        original=original,
        diffusers=diffusers,
        inputs=channels,
        outputs=channels,
        depth=depth,
        skip=skip,
    )


def _outer(layout: Layout) -> tuple[str, tuple[str, str, str, str], str]:
    """Return the names of the first convolution, of the embeddings of time and of a vector, and of the end."""
    if layout == "original":
        return "input_blocks.0.0", ("time_embed.0", "time_embed.2", "label_emb.0.0", "label_emb.0.2"), "out."
    names = ("time_embedding.linear_1", "time_embedding.linear_2", "add_embedding.linear_1", "add_embedding.linear_2")
    return "conv_in", names, ""


def _entry(sizes: UNetSizes, first: str, time: tuple[str, str, str, str]) -> dict[str, Shape]:
    wide = 4 * sizes.width
    found = pair(first, (sizes.width, sizes.inputs, 3, 3))
    found |= pair(time[0], (wide, sizes.width)) | pair(time[1], (wide, wide))
    if sizes.vector:
        found |= pair(time[2], (wide, sizes.vector)) | pair(time[3], (wide, wide))
    return found


def _inside(places: list[UNetPlace], sizes: UNetSizes, layout: Layout) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for place in places:
        name = getattr(place, layout)
        if place.kind == "block":
            found |= _block(name, place.inputs, place.outputs, 4 * sizes.width, layout)
        elif place.kind == "transformer":
            found |= transformer_shapes(name, place.outputs, sizes.context, linear=sizes.linear, depth=place.depth)
        else:
            found |= pair(name, (place.outputs, place.inputs, 3, 3))
    return found


_BLOCK_NAMES: dict[Layout, tuple[str, ...]] = {
    "original": ("in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3", "skip_connection"),
    "diffusers": ("norm1", "conv1", "time_emb_proj", "norm2", "conv2", "conv_shortcut"),
}


def _block(name: str, inputs: int, outputs: int, time: int, layout: Layout) -> dict[str, Shape]:
    shapes: tuple[Shape, ...] = (
        (inputs,),
        (outputs, inputs, 3, 3),
        (outputs, time),
        (outputs,),
        (outputs, outputs, 3, 3),
        (outputs, inputs, 1, 1),
    )
    found: dict[str, Shape] = {}
    for part, shape in zip(_BLOCK_NAMES[layout], shapes, strict=True):
        if inputs != outputs or shape != shapes[-1]:
            found |= pair(f"{name}.{part}", shape)
    return found
