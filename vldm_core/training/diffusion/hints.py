"""What a prior is given of a damaged film: pre-restored frames, or what the pre-restorer gives without a VAE."""

import torch
from torch import Tensor

from ...errors import SettingsError
from ...prerestore.layers.latent_head import LatentHead
from ...prerestore.network import PreRestorer
from ...prerestore.run import PreRestoredFrame, PreRestoreSettings, pre_restore, pre_restore_stream
from ..fingerprints import fingerprint
from .latent_films import Hint, Planes

_SETTINGS = PreRestoreSettings(keep_grain=0.0)
"""A prior is to be given the picture; grain comes back at the end."""


def pre_restored(network: PreRestorer) -> tuple[Hint, str]:
    """Return what pre-restores films with a network, and a name for it."""

    def hint(frames: Tensor, masks: Tensor) -> Tensor:
        return pre_restore(frames, network, _SETTINGS, masks=masks)[0]

    return hint, f"pre-restored-{fingerprint(network)}"


def head_latents(network: PreRestorer, scale: float) -> tuple[Planes, str]:
    """Return what gives the latents of a network's own head, (T, 4, h, w), scaled, and a name for it.

    Args:
        network: With a latent head.
        scale: Factor between the VAE's latents and the scaled ones.

    Raises:
        SettingsError: The network has no latent head.
    """
    check_head(network)

    def planes(frames: Tensor, masks: Tensor) -> Tensor:
        latents = pre_restore(frames, network, _SETTINGS, masks=masks)[1]
        assert latents is not None
        return scale * latents.float()

    return planes, f"latent-head-{fingerprint(network)}"


def head_planes(network: PreRestorer) -> tuple[Planes, str]:
    """Return what gives the planes that a network's latent head sees, (T, C, h, w), and a name for it.

    Args:
        network: With a latent head; what it is, and not what its head is, decides the planes.

    Raises:
        SettingsError: The network has no latent head.
    """
    check_head(network)

    def planes(frames: Tensor, masks: Tensor) -> Tensor:
        made = pre_restore_stream(zip(frames, masks, strict=True), network, _SETTINGS, features=True)
        return torch.cat([_seen(frame).float().cpu() for frame in made])

    return planes, f"head-planes-{fingerprint(network)}"


def check_head(network: PreRestorer) -> None:
    """Check that a network has a latent head.

    Raises:
        SettingsError: It has none.
    """
    if network.latent is None:
        raise SettingsError(
            "this pre-restorer has no latent head; train one on it with train prerestore --from FILE --vae MODEL "
            "--head-only"
        )


def _seen(frame: PreRestoredFrame) -> Tensor:
    assert frame.features is not None
    return LatentHead.seen(frame.image[None], frame.features[2][None])
