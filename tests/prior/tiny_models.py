"""Stable Diffusion's real classes at tiny sizes, with seeded random weights."""

import torch
from torch import nn

from vldm_core.prior.call import UNetCall
from vldm_core.prior.controls.diffbir.branch import DiffBirControl
from vldm_core.prior.controls.network.encoder import EncoderConfig

CONTEXT = 64


def tiny_unet(
    seed: int = 0, *, block_out_channels: tuple[int, ...] = (32, 64, 128, 128), context: int = CONTEXT
) -> nn.Module:
    """A diffusers UNet of SD 1.x's shape: four levels, the last without attention, context of width 64."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    kinds = ["CrossAttnDownBlock2D"] * (len(block_out_channels) - 1) + ["DownBlock2D"]
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=block_out_channels,
        down_block_types=tuple(kinds),
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
        layers_per_block=2,
        cross_attention_dim=context,
        attention_head_dim=4,
        norm_num_groups=32,
    )
    # Convolutions made to pass a signal of order one: PyTorch's own initialisation fades out over this depth.
    with torch.no_grad():
        for parameter in unet.parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=(parameter[0].numel()) ** -0.5)
    return unet.eval()


def tiny_diffbir(seed: int = 3) -> DiffBirControl:
    """DiffBIR's control for the UNet of the tiny pipeline, with weights that act."""
    torch.manual_seed(seed)
    config = EncoderConfig(
        in_channels=8, channels=(32, 64), attended=(True, False), context=CONTEXT, heads=(1, 1), linear=False
    )
    control = DiffBirControl(config)
    with torch.no_grad():
        for parameter in control.parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=(parameter[0].numel()) ** -0.5)
    return control.eval()


def whole_clip(frames: int, *, chunks: tuple[int, ...] = (0,), cut: int | None = None) -> UNetCall:
    """A call over all frames of a clip, with a cut before frame `cut`."""
    segments = ((0, frames),) if cut is None else ((0, cut), (cut, frames))
    return UNetCall(frames=tuple(range(frames)), chunks=chunks, segments=segments)
