"""The host's own UNet in the shapes of the oracles, and one pass of a UNet of either host with a control."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
import comfy.ops
import comfy.utils
import torch
from inside.models import network_shape
from pack.vldm_core.prior.call import UNetCall, UNetInput
from pack.vldm_core.prior.controls.control import RestorationControl
from pack.vldm_core.prior.unet import UNetView
from torch import Tensor


def hosts_network(
    weights: Mapping[str, Tensor], widths: Sequence[int], context: int, *, linear: bool
) -> openaimodel.UNetModel:
    """Return the host's network with the weights of a plain UNet, under its own names or under diffusers'."""
    shape = network_shape(widths, context, linear=linear)
    found = openaimodel.UNetModel(**shape, device="cpu", operations=comfy.ops.disable_weight_init).eval()
    own = comfy.utils.unet_to_diffusers(shape) if "conv_in.weight" in weights else {}
    found.load_state_dict({own.get(key, key): value for key, value in weights.items()})
    return found


@torch.no_grad()
def passed(
    unet: Any,
    x: Tensor,
    timesteps: Tensor,
    context: Tensor,
    control: RestorationControl | None = None,
    *,
    chunks: tuple[int, ...] = (0,),
    **options: Any,
) -> Tensor:
    """Run a UNet of either host once, (chunks · T, 4, h, w), with a control or alone."""
    frames = tuple(range(len(x) // len(chunks)))
    inputs = UNetInput(x=x, timesteps=timesteps, context=context)
    call = UNetCall(frames=frames, chunks=chunks, segments=((0, len(frames)),), inputs=inputs)
    with ExitStack() as stack:
        if control is not None:
            stack.enter_context(control.attached(UNetView(unet)))
            stack.enter_context(control.during(call))
        found = unet(x, timesteps, context, **options)
    return found if isinstance(found, Tensor) else found.sample
