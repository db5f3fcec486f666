"""The VAE of an oracle in diffusers' class, through diffusers' own converter."""

CONFIG = {
    "block_out_channels": (32, 64, 128, 128),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}


def vae_of(weights):
    """Build the VAE of weights in the layout of StableSR's file; what is not in a plain VAE is left aside."""
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    plain = {key: value for key, value in weights.items() if "fusion_layer" not in key}
    vae = AutoencoderKL(**CONFIG).eval().requires_grad_(False)
    converted = convert_ldm_vae_checkpoint(plain, dict(vae.config))
    vae.load_state_dict({key: value.reshape(vae.state_dict()[key].shape) for key, value in converted.items()})
    return vae


def decoder_of(vae):
    """Return unscaled decoding as the core calls it, without clamping: the oracle's picture is not clamped."""
    return lambda latents: (vae.decode(latents).sample + 1) / 2


def encoder_of(vae):
    """Return encoding as the core calls it."""
    return lambda pictures: vae.encode(pictures * 2 - 1)
