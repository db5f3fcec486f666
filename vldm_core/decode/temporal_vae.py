"""Stable Video Diffusion's temporal VAE decoder without ComfyUI: from a file or folder to a decoder of latents.

SVD keeps the encoder of Stable Diffusion 1.x and 2.x and replaces the decoder by one that also mixes neighbouring
frames (A. Blattmann et al., "Stable Video Diffusion", 2023; A. Blattmann et al., "Align Your Latents", CVPR 2023,
section 3.1.1: every residual block gets a temporal twin, both are mixed with a learned weight). So it decodes the
latents of SD 1.x and 2.x as they are, and takes most of the flicker of frame-by-frame decoding out.

diffusers' class does the arithmetic; it is imported when a decoder is made, never before. Two layouts are read:

- a folder in diffusers' layout (``config.json`` and a safetensors file);
- one safetensors file in the layout of SVD's release, with or without the prefix ``first_stage_model.``. Its decoder is
  recognised by ``decoder.mid.block_1.mix_factor``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SettingsError
from ..machine.companions import HEADLESS, importing
from .chunks import Decode

LATENT_SCALE = 0.18215
"""Factor between the VAE's latents and those that the UNet of SD 1.x and 2.x works on."""

_MIDDLE_BLOCKS = 2
"""Residual blocks of the middle in the original layout, whatever a level has."""
_MARK = "decoder.mid.block_1.mix_factor"
_PREFIX = "first_stage_model."
_BLOCK_NAMES = {"nin_shortcut": "conv_shortcut"}
_TIME_NAMES = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
}
_ATTENTION_NAMES = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_OUTER_NAMES = {
    "conv_in": "conv_in",
    "norm_out": "conv_norm_out",
    "conv_out": "conv_out",
    "conv_out.time_mix_conv": "time_conv_out",
}


def is_temporal(keys: Iterable[str]) -> bool:
    """Tell whether the keys of a checkpoint in the LDM layout hold a temporal decoder."""
    return any(key.removeprefix(_PREFIX) == _MARK for key in keys)


def convert_decoder(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the decoder's tensors from SVD's release to diffusers' ``TemporalDecoder``.

    Args:
        checkpoint: Whole checkpoint; keys outside the decoder are left out.

    Returns:
        State dict of ``TemporalDecoder``.

    Raises:
        SettingsError: There is no temporal decoder in it, or a key is not known.
    """
    if not is_temporal(checkpoint):
        raise SettingsError(
            f"the checkpoint has no {_MARK}, so its VAE is not temporal; use the VAE of Stable Video Diffusion"
        )
    prefix = _PREFIX if _PREFIX + _MARK in checkpoint else ""
    prefix += "decoder."
    bare = {key.removeprefix(prefix): value for key, value in checkpoint.items() if key.startswith(prefix)}
    levels = 1 + max(int(key.split(".")[1]) for key in bare if key.startswith("up."))
    result = {}
    for key, value in bare.items():
        name = _decoder_key(key, levels)
        # The 1×1 convolutions of the attention are linear layers in diffusers.
        is_projection = re.fullmatch(r"mid\.attn_1\.(q|k|v|proj_out)\.weight", key) is not None
        result[name] = value.flatten(1) if is_projection else value
    return result


def _decoder_key(key: str, levels: int) -> str:
    module, _, kind = key.rpartition(".")
    if module in _OUTER_NAMES:
        return f"{_OUTER_NAMES[module]}.{kind}"
    if found := re.fullmatch(r"mid\.attn_1\.(\w+)", module):
        return f"mid_block.attentions.0.{_named(_ATTENTION_NAMES, found[1], key)}.{kind}"
    if found := re.fullmatch(r"up\.(\d+)\.upsample\.conv", module):
        return f"up_blocks.{levels - 1 - int(found[1])}.upsamplers.0.conv.{kind}"
    if found := re.match(r"mid\.block_(\d+)\.(.+)", key):
        return f"mid_block.resnets.{int(found[1]) - 1}.{_block_key(found[2], key)}"
    if found := re.match(r"up\.(\d+)\.block\.(\d+)\.(.+)", key):
        return f"up_blocks.{levels - 1 - int(found[1])}.resnets.{found[2]}.{_block_key(found[3], key)}"
    raise SettingsError(f"the temporal decoder has an unknown tensor {key!r}; use a VAE of Stable Video Diffusion")


def _block_key(key: str, whole: str) -> str:
    """Rename a tensor of a residual block, spatial, temporal or the mixer."""
    if key == "mix_factor":
        return "time_mixer.mix_factor"
    module, _, kind = key.rpartition(".")
    if module.startswith("time_stack."):
        return f"temporal_res_block.{_named(_TIME_NAMES, module.removeprefix('time_stack.'), whole)}.{kind}"
    return f"spatial_res_block.{_BLOCK_NAMES.get(module, module)}.{kind}"


def _named(names: Mapping[str, str], name: str, whole: str) -> str:
    if name not in names:
        raise SettingsError(
            f"the temporal decoder has an unknown tensor {whole!r}; use a VAE of Stable Video Diffusion"
        )
    return names[name]


def load_temporal_decoder(path: str | Path, *, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Load a temporal decoder; the encoder, which SD has too, is left out.

    Args:
        path: Folder in diffusers' layout, or a safetensors file in the layout of SVD's release.
        dtype: Of the weights.

    Returns:
        diffusers' ``TemporalDecoder`` in eval mode on the CPU.

    Raises:
        SettingsError: Nothing is there, or it is no temporal decoder.
    """
    path = Path(path)
    if path.is_dir():
        with importing("diffusers", HEADLESS):
            from diffusers import AutoencoderKLTemporalDecoder

        if not (path / "config.json").is_file():
            raise SettingsError(f"{path} has no config.json; give the folder of the VAE (usually named 'vae')")
        whole = AutoencoderKLTemporalDecoder.from_pretrained(
            path, torch_dtype=dtype, local_files_only=True, use_safetensors=True
        )
        return whole.decoder.eval()
    if not path.is_file():
        raise SettingsError(f"there is no temporal VAE at {path}; give a folder or a safetensors file")
    return build_temporal_decoder(convert_decoder(_read_decoder(path)), dtype=dtype)


def _read_decoder(path: Path) -> dict[str, Tensor]:
    """Read only the decoder's tensors, so that a whole SVD checkpoint need not fit in memory."""
    from safetensors import safe_open

    if path.suffix != ".safetensors":
        raise SettingsError(f"{path} is not a safetensors file; convert it first, pickles are not read")
    with safe_open(str(path), framework="pt") as file:
        wanted = [key for key in file.keys() if key.removeprefix(_PREFIX).startswith("decoder.")]  # noqa: SIM118
        return {key: file.get_tensor(key) for key in wanted}


def build_temporal_decoder(weights: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Make a ``TemporalDecoder`` whose sizes are read from its weights.

    Args:
        weights: State dict in diffusers' layout.
        dtype: Of the weights.
    """
    levels = 1 + max(int(key.split(".")[1]) for key in weights if key.startswith("up_blocks."))
    layers = 1 + max(int(key.split(".")[3]) for key in weights if key.startswith("up_blocks.0.resnets."))
    width = "up_blocks.{}.resnets.0.spatial_res_block.conv1.weight"
    with torch.device("meta"):
        decoder = new_decoder(
            tuple(weights[width.format(level)].shape[0] for level in reversed(range(levels))),
            layers - 1,
            middle=1 + max(int(key.split(".")[2]) for key in weights if key.startswith("mid_block.resnets.")),
            in_channels=weights["conv_in.weight"].shape[1],
            out_channels=weights["conv_out.weight"].shape[0],
        )
    decoder.load_state_dict({key: value.to(dtype) for key, value in weights.items()}, strict=True, assign=True)
    return decoder.eval().requires_grad_(False)


def new_decoder(
    widths: Sequence[int],
    layers: int,
    *,
    middle: int = _MIDDLE_BLOCKS,
    in_channels: int = 4,
    out_channels: int = 3,
) -> Any:
    """Return a ``TemporalDecoder`` without weights worth having, of the shape of a VAE of Stable Diffusion.

    Args:
        widths: Channels at 1, 1/2, 1/4 … of the size.
        layers: Residual blocks of a level on the way down; on the way up there is one more.
        middle: Residual blocks of the middle. diffusers gives it as many as a level has; in the original it has two.
        in_channels: Of the latent.
        out_channels: Of the picture.
    """
    with importing("diffusers", HEADLESS):
        from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import TemporalDecoder
        from diffusers.models.unets.unet_3d_blocks import MidBlockTemporalDecoder

    decoder: Any = TemporalDecoder(
        in_channels=in_channels,
        out_channels=out_channels,
        block_out_channels=tuple(widths),  # type: ignore[arg-type]
        layers_per_block=layers,
    )
    if middle != layers:
        decoder.mid_block = MidBlockTemporalDecoder(
            num_layers=middle, in_channels=widths[-1], out_channels=widths[-1], attention_head_dim=widths[-1]
        )
    return decoder


def temporal_decode(decoder: Any, *, scale: float = LATENT_SCALE) -> Decode:
    """Return the decoder as `chunks.decode_chunks` wants it; all frames of a call are one run of frames.

    Args:
        decoder: diffusers' ``TemporalDecoder``, on the device where it is to work.
        scale: What the latents are multiplied with; 0.18215 for latents of the core, 1 for those of the VAE itself.

    Returns:
        Latents (F, 4, h, w) to pictures (F, 3, 8h, 8w) in [0, 1], float32, on the decoder's device.
    """

    @torch.no_grad()
    def run(latents: Tensor) -> Tensor:
        weight = decoder.conv_in.weight
        # 0 = a frame of a film; 1 would switch the temporal layers off.
        film = torch.zeros(1, len(latents), dtype=weight.dtype, device=weight.device)
        pictures = decoder((latents / scale).to(weight), num_frames=len(latents), image_only_indicator=film)
        return (pictures.float() / 2 + 0.5).clamp(0, 1)

    return run
