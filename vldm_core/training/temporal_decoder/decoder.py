"""A temporal decoder that begins as the decoder of an image VAE, and its file in the layout of SVD's release.

Every residual block gets a temporal twin whose last convolution starts at zero, and a 3-D convolution over three frames
follows the last layer, starting as the identity (A. Blattmann et al., "Align your Latents", CVPR 2023, section 3.1.1;
"Stable Video Diffusion", 2023). SVD's decoder has no 1×1 convolution before it as Stable Diffusion's VAE has; it goes
into the first convolution, which is exact but for the bias at the rim of the picture.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...decode.temporal_vae import new_decoder
from ...files.tensors import write_tensors
from ...prior.checkpoints.original_names import original_vae, vae_name

_TEMPORAL = ("temporal_res_block", "time_mixer", "time_conv_out")


def new_temporal_decoder(vae: Any) -> nn.Module:
    """Return diffusers' `TemporalDecoder` that decodes every frame as the VAE does.

    Args:
        vae: diffusers' `AutoencoderKL`; it is not changed.

    Returns:
        The decoder on the processor. Its temporal layers and first convolution require gradients, the rest does not.
    """
    config = vae.config
    decoder = new_decoder(
        config.block_out_channels,
        config.layers_per_block,
        in_channels=config.latent_channels,
        out_channels=config.out_channels,
    )
    state = {_spatial(key): value.detach().float() for key, value in vae.decoder.state_dict().items()}
    before = vae.post_quant_conv
    weight = state["conv_in.weight"]
    state["conv_in.bias"] = state["conv_in.bias"] + torch.einsum("oihw,i->o", weight, before.bias.detach().float())
    state["conv_in.weight"] = torch.einsum("oihw,ij->ojhw", weight, before.weight.detach().float()[:, :, 0, 0])
    missing, unexpected = decoder.load_state_dict(state, strict=False)
    assert not unexpected and all(any(word in key for word in _TEMPORAL) for key in missing), (missing, unexpected)
    with torch.no_grad():
        for name, module in decoder.named_modules():
            if name.endswith("temporal_res_block"):
                nn.init.zeros_(module.conv2.weight)
                nn.init.zeros_(module.conv2.bias)
        nn.init.dirac_(decoder.time_conv_out.weight)
        nn.init.zeros_(decoder.time_conv_out.bias)
    for name, parameter in decoder.named_parameters():
        parameter.requires_grad_(name.startswith("conv_in.") or any(word in name for word in _TEMPORAL))
    return decoder


def _spatial(key: str) -> str:
    """Return where a tensor of an image decoder lies in a temporal one."""
    return re.sub(r"(resnets\.\d+)\.", r"\1.spatial_res_block.", key)


def save_temporal_decoder(decoder: nn.Module, vae: Any, path: Path) -> None:
    """Write a VAE file in the layout of SVD's release: the encoder of the VAE, and the temporal decoder.

    ComfyUI's Load VAE, Temporal VAE Decode and `--temporal-vae` read it.

    Args:
        decoder: Of `new_temporal_decoder`.
        vae: diffusers' `AutoencoderKL`, whose encoder goes into the file.
        path: File.
    """
    tensors = svd_names(decoder)
    encoder = {key: value.detach().float() for key, value in original_vae(vae).items()}
    behind_weight, behind_bias = encoder["quant_conv.weight"][:, :, 0, 0], encoder["quant_conv.bias"]
    last = "encoder.conv_out"
    bias = behind_weight @ encoder[f"{last}.bias"] + behind_bias
    encoder[f"{last}.weight"] = torch.einsum("oi,ijhw->ojhw", behind_weight, encoder[f"{last}.weight"])
    encoder[f"{last}.bias"] = bias
    tensors |= {key: value for key, value in encoder.items() if key.startswith("encoder.")}
    write_tensors(tensors, path)


def svd_names(decoder: nn.Module) -> dict[str, Tensor]:
    """Return a temporal decoder's weights by the names of SVD's release, beginning with ``decoder.``."""
    levels = len(decoder.up_blocks)  # type: ignore[arg-type]
    found: dict[str, Tensor] = {}
    for key, value in decoder.state_dict().items():
        name = vae_name(f"decoder.{key}", levels)
        for ours, theirs in _IN_TIME.items():
            name = name.replace(ours, theirs)
        is_projection = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", name) is not None
        found[name] = value.detach()[:, :, None, None] if is_projection else value.detach()
    return found


_IN_TIME = {
    ".spatial_res_block.": ".",
    ".temporal_res_block.norm1.": ".time_stack.in_layers.0.",
    ".temporal_res_block.conv1.": ".time_stack.in_layers.2.",
    ".temporal_res_block.norm2.": ".time_stack.out_layers.0.",
    ".temporal_res_block.conv2.": ".time_stack.out_layers.3.",
    ".time_mixer.mix_factor": ".mix_factor",
    "decoder.time_conv_out.": "decoder.conv_out.time_mix_conv.",
}
"""What the temporal decoder has beside an image decoder, in diffusers' words and in those of SVD's release."""
