"""Names and shapes of every tensor that published control branches and restorers add to Stable Diffusion."""

from dataclasses import replace
from itertools import pairwise

from .unet_keys import (
    SD1_UNET,
    SD2_UNET,
    Shape,
    UNetSizes,
    down,
    half_shapes,
    pair,
    skip_channels,
    transformer_shapes,
    up,
    with_inputs,
)

IMAGE_TOKENS = 512
"""Channels of the tokens of RAM, which SeeSR attends to."""

# Channels of the small network that ControlNet reads its hint with, before those of the UNet.
_HINT = (16, 32, 96, 256)
# Channels between the two convolutions of a spatial modulation, and of the structure that it reads (StableSR).
_SPADE, _STRUCTURE = 128, 256
# Fusions of the decoder with their channels, and what a layer of their dense blocks adds (StableSR).
_FUSED, _FUSION_GROWTH = ((1, 256), (2, 512)), 32


def control_shapes(sizes: UNetSizes) -> dict[str, Shape]:
    """ControlNet in the original layout, with the network that reads its hint."""
    found, number = latent_control_shapes(sizes) | pair("input_hint_block.0", (_HINT[0], 3, 3, 3)), 2
    for narrow, wide in pairwise(_HINT):
        for outputs in (narrow, wide):
            found |= pair(f"input_hint_block.{number}", (outputs, narrow, 3, 3))
            number += 2
    return found | pair(f"input_hint_block.{number}", (sizes.width, _HINT[-1], 3, 3))


def latent_control_shapes(sizes: UNetSizes) -> dict[str, Shape]:
    """A control branch in the original layout that gets its hint beside the noisy latent (DiffBIR: 8 channels)."""
    found = half_shapes(sizes, "original")
    for number, channels in enumerate(skip_channels(sizes)):
        found |= pair(f"zero_convs.{number}.0", (channels, channels, 1, 1))
    last = skip_channels(sizes)[-1]
    return found | pair("middle_block_out.0", (last, last, 1, 1))


def diffbir_control() -> dict[str, Shape]:
    """DiffBIR's control branch, of all its versions."""
    return latent_control_shapes(with_inputs(SD2_UNET, 8))


def coser_branch() -> dict[str, Shape]:
    """CoSeR's shared control branch: the hint joins after the first convolution, two levels have no attention."""
    return latent_control_shapes(replace(SD2_UNET, depths=(1, 0, 1, 0))) | pair(
        "hint_zero_conv", (SD2_UNET.width, 4, 3, 3)
    )


def diffusers_control_shapes(sizes: UNetSizes) -> dict[str, Shape]:
    """ControlNet in diffusers' layout."""
    found = half_shapes(sizes, "diffusers")
    for number, channels in enumerate(skip_channels(sizes)):
        found |= pair(f"controlnet_down_blocks.{number}", (channels, channels, 1, 1))
    last, hint = skip_channels(sizes)[-1], "controlnet_cond_embedding"
    found |= pair("controlnet_mid_block", (last, last, 1, 1)) | pair(f"{hint}.conv_in", (_HINT[0], 3, 3, 3))
    for number, (narrow, wide) in enumerate(pairwise(_HINT)):
        found |= pair(f"{hint}.blocks.{2 * number}", (narrow, narrow, 3, 3))
        found |= pair(f"{hint}.blocks.{2 * number + 1}", (wide, narrow, 3, 3))
    return found | pair(f"{hint}.conv_out", (sizes.width, _HINT[-1], 3, 3))


def pasd_control(*, blocks: int = 0) -> dict[str, Shape]:
    """PASD's ControlNet, of the full and the light version.

    Args:
        blocks: Residual-in-residual dense blocks of its embedding; 2 in the files whose names say rrdb.
    """
    found, hint = diffusers_control_shapes(SD1_UNET), "controlnet_cond_embedding"
    for number, channels in enumerate(_HINT[1:]):
        found |= pair(f"{hint}.to_rgbs.{number}", (3, channels, 3, 3))
    for block in range(blocks):
        found |= dense_shapes(f"{hint}.preprocesser.{block}", _HINT[0], _HINT[0])
    return found


def pasd_additions() -> dict[str, Shape]:
    """What PASD adds to the UNet: a transformer over the control's features for every row on the way up."""
    rows = [place for place in up(SD1_UNET) if place.kind == "block"]
    found: dict[str, Shape] = {}
    for place in rows:
        name = place.diffusers.replace("resnets", "pixel_attentions")
        found |= transformer_shapes(name, place.outputs, place.skip, linear=False)
    return found


def pasd_light_additions() -> dict[str, Shape]:
    """What PASD light adds to the UNet: a third attention in every transformer on the way up."""
    found: dict[str, Shape] = {}
    for place in up(SD1_UNET):
        if place.kind != "transformer":
            continue
        channels, skip, name = place.outputs, place.skip, place.diffusers
        found |= pair(f"{name}.proj_in_plus", (skip, skip, 1, 1))
        block = f"{name}.transformer_blocks.0"
        found |= pair(f"{block}.norm2_plus", (channels,))
        found[f"{block}.attn2_plus.to_q.weight"] = (channels, channels)
        found |= {f"{block}.attn2_plus.to_{part}.weight": (channels, skip) for part in "kv"}
        found |= pair(f"{block}.attn2_plus.to_out.0", (channels, channels))
    return found


def seesr_additions(*, control: bool = False) -> dict[str, Shape]:
    """What SeeSR adds to the UNet, or to its ControlNet: a transformer over the picture's tokens after every one."""
    places = list(down(SD2_UNET)) if control else [*down(SD2_UNET), *up(SD2_UNET)]
    found: dict[str, Shape] = {}
    for place in places:
        if place.kind == "transformer":
            name = place.diffusers.replace("attentions", "image_attentions")
            found |= transformer_shapes(name, place.outputs, IMAGE_TOKENS, linear=True)
    return found


def seesr_control() -> dict[str, Shape]:
    """SeeSR's ControlNet."""
    return diffusers_control_shapes(SD2_UNET) | seesr_additions(control=True)


def stablesr_modulation() -> dict[str, Shape]:
    """What StableSR adds to the UNet: a spatial modulation in every residual block."""
    found: dict[str, Shape] = {}
    for place in [*down(SD2_UNET), *up(SD2_UNET)]:
        if place.kind == "block":
            name = f"{place.original}.spade"
            found |= pair(f"{name}.param_free_norm", (place.outputs,))
            found |= pair(f"{name}.mlp_shared.0", (_SPADE, _STRUCTURE, 3, 3))
            for layer in ("mlp_gamma", "mlp_beta"):
                found |= pair(f"{name}.{layer}", (place.outputs, _SPADE, 3, 3))
    return found


def stablesr_fusion() -> dict[str, Shape]:
    """What StableSR's feature wrapping adds to the VAE's decoder: two fusions with the encoder's features."""
    found: dict[str, Shape] = {}
    for number, wide in _FUSED:
        name = f"decoder.fusion_layer_{number}"
        for block, inputs in (("encode_enc_1", 2 * wide), ("encode_enc_3", wide)):
            found |= pair(f"{name}.{block}.norm1", (inputs,)) | pair(f"{name}.{block}.conv1", (wide, inputs, 3, 3))
            found |= pair(f"{name}.{block}.norm2", (wide,)) | pair(f"{name}.{block}.conv2", (wide, wide, 3, 3))
            if inputs != wide:
                found |= pair(f"{name}.{block}.conv_out", (wide, inputs, 1, 1))
        for row in range(2):
            found |= dense_shapes(f"{name}.encode_enc_2.{row}", wide, _FUSION_GROWTH)
    return found


def dense_shapes(name: str, width: int, growth: int) -> dict[str, Shape]:
    """A residual-in-residual dense block (X. Wang et al., ECCVW 2018)."""
    found: dict[str, Shape] = {}
    for dense in range(1, 4):
        for layer in range(1, 6):
            outputs = growth if layer < 5 else width
            found |= pair(f"{name}.rdb{dense}.conv{layer}", (outputs, width + (layer - 1) * growth, 3, 3))
    return found
