"""Flow-guided propagation: neighbouring frames agree on their clean latents along the motion.

Training-free propagation of Upscale-A-Video (arXiv:2312.06640, section 3.3), written from its equations. In a few late
steps, x0 is averaged along the optical flow, first from the last frame to the first, then back, each frame with the
already averaged one next to it. Where forward and backward flow do not return to the same pixel (occlusions, wrong
flow), a frame keeps what it has. It works on any sampler and any network, because only x0 is changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SettingsError
from ..video.shots import Shot, covering_shots
from .latent_flow import consistent, to_latent_flow, warp_nearest
from .state import StepState


@dataclass(frozen=True, kw_only=True)
class PropagationSettings:
    """How strongly and when frames are joined.

    Attributes:
        blend: β, share of the neighbour, 0 (off) … 1. Late in the schedule 0.5 is safe; 1 would copy one frame
            through the shot.
        at: When, as shares of the schedule, each 0 … 1. The default is steps 24, 26 and 28 of 30. Early steps decide
            the layout, and joined there they may smear what the flow has wrong.
    """

    blend: float = 0.5
    at: tuple[float, ...] = (24 / 30, 26 / 30, 28 / 30)

    def __post_init__(self) -> None:
        if not 0 <= self.blend <= 1:
            raise SettingsError(f"propagation blend is {self.blend}; use 0 (off) … 1")
        if not all(0 <= share <= 1 for share in self.at):
            raise SettingsError(f"propagation happens at {self.at}; use shares of the schedule, 0 … 1")

    def active(self, state: StepState) -> bool:
        """Tell whether this step is one of those chosen."""
        return self.blend > 0 and state.step in {min(round(share * state.steps), state.steps - 1) for share in self.at}


class FlowPropagation:
    """The propagation as a transform of x0."""

    def __init__(
        self,
        settings: PropagationSettings,
        *,
        forward: Tensor,
        backward: Tensor,
        height: int,
        width: int,
        shots: Sequence[Shot] | None = None,
    ) -> None:
        """Prepare the propagation of one clip; keeps flow at latent size only.

        Args:
            settings: How.
            forward: (T-1, 2, H, W), picture pixels: entry t lives on frame t and looks up frame t+1.
            backward: (T-1, 2, H, W): entry t lives on frame t+1 and looks up frame t.
            height: Latent rows.
            width: Latent columns.
            shots: The shots of the clip; None where it is one. Entries across cuts are not read.

        Raises:
            SettingsError: The flows do not belong together or the shots do not cover the clip.
        """
        if forward.shape != backward.shape:
            raise SettingsError(
                f"forward flow is {tuple(forward.shape)}, backward {tuple(backward.shape)}; give both for each pair"
            )
        self._settings = settings
        self._shots = covering_shots(shots, len(forward) + 1)
        self._forward = to_latent_flow(forward, height, width)
        self._backward = to_latent_flow(backward, height, width)

    def __call__(self, x0: Tensor, x: Tensor, state: StepState) -> Tensor:
        """Join the frames of x0 (T, 4, h, w) in the chosen steps; the noisy x is not looked at."""
        if not self._settings.active(state):
            return x0
        return propagate(x0, self._forward, self._backward, self._shots, self._settings.blend)


def propagate(x0: Tensor, forward: Tensor, backward: Tensor, shots: Sequence[Shot], blend: float) -> Tensor:
    """Average latents along the flow, backward in time and then forward.

    Args:
        x0: (T, C, h, w).
        forward: (T-1, 2, h, w), latent pixels: entry t lives on frame t and looks up frame t+1.
        backward: (T-1, 2, h, w), latent pixels: entry t lives on frame t+1 and looks up frame t.
        shots: The shots of the clip; no pair across a cut is joined.
        blend: β, share of the neighbour.

    Returns:
        (T, C, h, w). Pixels that are valid in neither direction are bit-equal to those of `x0`.

    Raises:
        SettingsError: The shapes do not belong together.
    """
    wanted = (len(x0) - 1, 2, *x0.shape[-2:])
    if tuple(forward.shape) != wanted or tuple(backward.shape) != wanted:
        raise SettingsError(
            f"for a clip of {tuple(x0.shape)} flow must be {wanted}; "
            f"it is {tuple(forward.shape)} forward and {tuple(backward.shape)} backward"
        )
    forward, backward = forward.to(x0.device), backward.to(x0.device)
    frames = list(x0.unbind(0))
    for shot in shots:
        for t in range(shot.last - 2, shot.first - 1, -1):
            frames[t] = _join(frames[t], frames[t + 1], forward[t], backward[t], blend)
        for t in range(shot.first, shot.last - 1):
            frames[t + 1] = _join(frames[t + 1], frames[t], backward[t], forward[t], blend)
    return torch.stack(frames)


def _join(here: Tensor, there: Tensor, flow: Tensor, back: Tensor, blend: float) -> Tensor:
    """Mix what `flow` finds in the other frame into this one where the flow can be trusted."""
    found, _ = warp_nearest(there, flow)
    return torch.where(consistent(flow, back), blend * found + (1 - blend) * here, here)
