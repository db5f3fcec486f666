"""UNets of the oracles in diffusers' classes, and one forward pass of them as a call of a clip."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vldm_core.prior.attachment import Attachment
from vldm_core.prior.call import UNetCall, UNetInput
from vldm_core.prior.checkpoints.original_names import unet_name
from vldm_core.prior.unet import UNetView


def unet_of(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    """Build diffusers' UNet from the configuration and weights of an original one (`input_blocks.…`).

    Keys may carry the prefix of complete checkpoints. What is not in a plain UNet is left aside.
    """
    from diffusers import UNet2DConditionModel

    width, multipliers = config["model_channels"], config["channel_mult"]
    channels = tuple(width * factor for factor in multipliers)
    kinds = ["CrossAttnDownBlock2D"] * (len(channels) - 1) + ["DownBlock2D"]
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=channels,
        down_block_types=tuple(kinds),
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
        layers_per_block=config["num_res_blocks"],
        cross_attention_dim=config["context_dim"],
        attention_head_dim=tuple(count // config["num_head_channels"] for count in channels),
        use_linear_projection=config["use_linear_in_transformer"],
    )
    plain = {key.removeprefix("model.diffusion_model."): value for key, value in weights.items()}
    unet.load_state_dict({key: plain[unet_name(key, config["num_res_blocks"])] for key in unet.state_dict()})
    return unet.eval()


def published_unet(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    """Build diffusers' UNet from the configuration and weights of one of its kin (`down_blocks.…`).

    What is not in a plain UNet is left aside.
    """
    from diffusers import UNet2DConditionModel

    own = inspect.signature(UNet2DConditionModel.__init__).parameters
    unet = UNet2DConditionModel(**{key: value for key, value in config.items() if key in own})
    unet.load_state_dict({key: weights[key] for key in unet.state_dict()})
    return unet.eval()


@torch.no_grad()
def run(
    unet: nn.Module,
    x: Tensor,
    timesteps: Tensor,
    context: Tensor,
    *attachments: Attachment,
    call: Mapping[str, Any] | None = None,
) -> Tensor:
    """Run diffusers' UNet once with attachments; `call` overrides parts of the call."""
    frames = tuple(range(len(x)))
    values = {"frames": frames, "chunks": (0,), "segments": ((0, len(frames)),), **(call or {})}
    inputs = UNetInput(x=x, timesteps=timesteps, context=context)
    about = UNetCall(**values, inputs=inputs)
    from contextlib import ExitStack

    with ExitStack() as stack:
        view = UNetView(unet)
        for attachment in attachments:
            stack.enter_context(attachment.attached(view))
            stack.enter_context(attachment.during(about))
        return unet(x, timesteps, context).sample
