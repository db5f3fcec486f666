"""What a prior is given of a damaged film: the pre-restored frames."""

from torch import Tensor

from ...prerestore.network import PreRestorer
from ...prerestore.run import PreRestoreSettings, pre_restore
from ..fingerprints import fingerprint
from .latent_films import Hint

_SETTINGS = PreRestoreSettings(keep_grain=0.0)
"""A prior is to be given the picture; grain comes back at the end."""


def pre_restored(network: PreRestorer) -> tuple[Hint, str]:
    """Return what pre-restores films with a network, and a name for it."""

    def hint(frames: Tensor, masks: Tensor) -> Tensor:
        return pre_restore(frames, network, _SETTINGS, masks=masks)[0]

    return hint, f"pre-restored-{fingerprint(network)}"
