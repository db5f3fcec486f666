"""A frozen UNet that a control branch steers, as diffusers runs it: the branch's residuals join skips and middle."""

from typing import Any

from torch import Tensor, nn

from ...prior.controls.diffbir.branch import DiffBirControl
from ...prior.unet import UNetView


class MiddleResidual:
    """Adds the middle's residual where a restoration control adds it when it is used: before attached layers see it.

    Args:
        view: Of a UNet to which nothing is attached yet; it is hooked for good.
    """

    def __init__(self, view: UNetView) -> None:
        self.residual: Tensor | None = None
        view["mid.1.res"].module.register_forward_hook(self._add)

    def _add(self, _module: nn.Module, _arguments: Any, output: Tensor) -> Tensor:
        return output if self.residual is None else output + self.residual.to(output)


def controlled(
    unet: Any,
    control: DiffBirControl,
    noisy: Tensor,
    timesteps: Tensor,
    context: Tensor,
    hint: Tensor,
    *,
    middle: MiddleResidual | None = None,
) -> Tensor:
    """Predict under a control.

    Args:
        unet: diffusers' `UNet2DConditionModel`; it is run in the precision of its weights.
        control: In single precision, or under an autocast.
        noisy: (B, 4, h, w).
        timesteps: (B,).
        context: (B, L, C).
        hint: (B, 4, h, w), scaled latents.
        middle: Of the UNet, where layers are attached to it; None adds the residual behind the middle, which is the
            same without layers.

    Returns:
        (B, 4, h, w), what the UNet predicts, in single precision.
    """
    parameter = next(unet.parameters())
    found = control.residuals(noisy, timesteps, context, hint)
    behind = found["middle"].to(parameter)
    if middle is not None:
        # Kept until the next pass: with checkpointing the blocks run again for the gradients.
        middle.residual, behind = behind, behind.new_zeros(())
    return unet(
        noisy.to(parameter),
        timesteps,
        context.to(parameter),
        down_block_additional_residuals=[
            found[f"residual.{i}"].to(parameter) for i in range(len(control.branch.zero_convs))
        ],
        mid_block_additional_residual=behind,
    ).sample.float()
