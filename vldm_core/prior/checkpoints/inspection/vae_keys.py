"""Names and shapes of every tensor of Stable Diffusion's VAE, in the original and in diffusers' layout."""

from .unet_keys import Layout, Shape, pair

_WIDTH, _FACTORS, _LATENT = 128, (1, 2, 4, 4), 4
_NAMES: dict[Layout, dict[str, str]] = {
    "original": {
        "down": "down.{level}.block.{row}",
        "halving": "down.{level}.downsample.conv",
        "up": "up.{level}.block.{row}",
        "doubling": "up.{level}.upsample.conv",
        "middle": "mid.block_{number}",
        "shortcut": "nin_shortcut",
        "norm": "norm_out",
    },
    "diffusers": {
        "down": "down_blocks.{level}.resnets.{row}",
        "halving": "down_blocks.{level}.downsamplers.0.conv",
        "up": "up_blocks.{turned}.resnets.{row}",
        "doubling": "up_blocks.{turned}.upsamplers.0.conv",
        "middle": "mid_block.resnets.{row}",
        "shortcut": "conv_shortcut",
        "norm": "conv_norm_out",
    },
}


def vae_shapes(layout: Layout) -> dict[str, Shape]:
    """Return every tensor of the VAE with its shape."""
    found = encoder_shapes(layout) | _decoder(layout)
    return found | pair("post_quant_conv", (_LATENT, _LATENT, 1, 1))


def encoder_shapes(layout: Layout) -> dict[str, Shape]:
    """Return every tensor of the encoder, the convolution behind it included."""
    names, channels = _NAMES[layout], _WIDTH
    found = pair("encoder.conv_in", (_WIDTH, 3, 3, 3))
    for level, factor in enumerate(_FACTORS):
        for row in range(2):
            name = names["down"].format(level=level, row=row)
            found |= _block(f"encoder.{name}", channels, factor * _WIDTH, names)
            channels = factor * _WIDTH
        if level < len(_FACTORS) - 1:
            found |= pair(f"encoder.{names['halving'].format(level=level)}", (channels, channels, 3, 3))
    found |= _middle("encoder", channels, layout)
    found |= pair(f"encoder.{names['norm']}", (channels,))
    found |= pair("encoder.conv_out", (2 * _LATENT, channels, 3, 3))
    return found | pair("quant_conv", (2 * _LATENT, 2 * _LATENT, 1, 1))


def _decoder(layout: Layout) -> dict[str, Shape]:
    names, channels = _NAMES[layout], _FACTORS[-1] * _WIDTH
    found = pair("decoder.conv_in", (channels, _LATENT, 3, 3)) | _middle("decoder", channels, layout)
    for level in reversed(range(len(_FACTORS))):
        place = {"level": level, "turned": len(_FACTORS) - 1 - level}
        for row in range(3):
            name = names["up"].format(**place, row=row)
            found |= _block(f"decoder.{name}", channels, _FACTORS[level] * _WIDTH, names)
            channels = _FACTORS[level] * _WIDTH
        if level:
            found |= pair(f"decoder.{names['doubling'].format(**place)}", (channels, channels, 3, 3))
    found |= pair(f"decoder.{names['norm']}", (channels,))
    return found | pair("decoder.conv_out", (3, channels, 3, 3))


def _middle(side: str, channels: int, layout: Layout) -> dict[str, Shape]:
    names = _NAMES[layout]
    found: dict[str, Shape] = {}
    for row in range(2):
        found |= _block(f"{side}.{names['middle'].format(row=row, number=row + 1)}", channels, channels, names)
    if layout == "original":
        found |= pair(f"{side}.mid.attn_1.norm", (channels,))
        for part in ("q", "k", "v", "proj_out"):
            found |= pair(f"{side}.mid.attn_1.{part}", (channels, channels, 1, 1))
        return found
    found |= pair(f"{side}.mid_block.attentions.0.group_norm", (channels,))
    for part in ("to_q", "to_k", "to_v", "to_out.0"):
        found |= pair(f"{side}.mid_block.attentions.0.{part}", (channels, channels))
    return found


def _block(name: str, inputs: int, outputs: int, names: dict[str, str]) -> dict[str, Shape]:
    found = pair(f"{name}.norm1", (inputs,)) | pair(f"{name}.conv1", (outputs, inputs, 3, 3))
    found |= pair(f"{name}.norm2", (outputs,)) | pair(f"{name}.conv2", (outputs, outputs, 3, 3))
    return found | (pair(f"{name}.{names['shortcut']}", (outputs, inputs, 1, 1)) if inputs != outputs else {})
