"""A clip of several shots through the pre-restorer, with the latents of its own head where it has one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import SettingsError
from ..progress import Progress, Pulse, silent
from ..video.shots import Shot, covering_shots
from .network import PreRestorer
from .run import PreRestoreSettings, pre_restore_stream


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnLatents:
    """A pre-restorer whose own latents a prior begins with, and its controls look at, in the place of the VAE's.

    Attributes:
        network: On its device, with a latent head.
        settings: How frames are pre-restored. Heads are trained without grain.

    Raises:
        SettingsError: The network has no latent head.
    """

    network: PreRestorer
    settings: PreRestoreSettings = field(default_factory=lambda: PreRestoreSettings(keep_grain=0.0))

    def __post_init__(self) -> None:
        if self.network.latent is None:
            raise SettingsError(
                "this pre-restorer has no latents of its own, and the one that ships has none; give the weights of "
                "train prerestore --vae MODEL, or of train control --latent-head"
            )


def pre_restore_shots(
    frames: Tensor,
    network: PreRestorer,
    settings: PreRestoreSettings,
    *,
    masks: Tensor | None = None,
    shots: Sequence[Shot] | None = None,
    progress: Progress = silent,
) -> tuple[Tensor, Tensor | None]:
    """Pre-restore a clip, each shot by itself.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        network: On its device.
        settings: How.
        masks: (T, H, W), 1 = repaired.
        shots: Shots that cover the clip; None is one shot.
        progress: Called per frame; may raise to interrupt.

    Returns:
        (T, 3, H, W) in [0, 1], and the head's latents (T, 4, h, w), unscaled, or None where there is no head; h and w
        are H / 8 and W / 8, rounded up.
    """
    result, latents = torch.empty_like(frames), []
    pulse = Pulse(progress, "pre-restore", len(frames))
    for shot in covering_shots(shots, len(frames)):
        pairs = ((frames[t], None if masks is None else masks[t]) for t in range(shot.first, shot.last))
        for t, made in enumerate(pre_restore_stream(pairs, network, settings, beat=pulse.beat), shot.first):
            result[t] = made.image
            if made.latent is not None:
                latents.append(made.latent.float().cpu())
            pulse.step(result[t])
    return result, torch.stack(latents) if latents else None
