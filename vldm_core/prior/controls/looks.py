"""What controls saw lately, where one look at the hint serves several steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ..call import UNetCall


@dataclass(eq=False)
class Seen:
    """One look.

    Attributes:
        features: What the system saw.
        step: The step in which it looked.
        used: The last step that it served.
        again: Whether it serves a later step than its own.
        added: What costly places added after it, by the number of the place.
    """

    features: Mapping[str, Tensor]
    step: int
    used: int
    again: bool = False
    added: dict[int, Tensor] = field(default_factory=dict)


class Looks:
    """What was seen lately, for controls that look every few steps.

    A step is a noise level. A rising level is a new sampling. A second pass of the same region at one level is another
    evaluation of the step's sampler: what depends on the noisy latent is then looked at anew. Hosts that run each chunk
    of conditioning by itself come here once for each; what reads no text is the same for all of them.

    Args:
        reuse: Steps that one look serves.
    """

    def __init__(self, reuse: int) -> None:
        self._reuse = reuse
        self._sigma: float | None = None
        self._step = 0
        self._kept: dict[object, Seen] = {}

    def forget(self) -> None:
        """Begin as if nothing had been seen."""
        self._sigma = None
        self._kept.clear()

    def at(self, call: UNetCall) -> None:
        """Count steps, those in which the control is off too, and let go of what is too old to serve again."""
        if self._reuse == 1 or call.sigma is None or call.sigma == self._sigma:
            return
        if self._sigma is not None and call.sigma > self._sigma:
            self._kept.clear()
        self._sigma, self._step = call.sigma, self._step + 1
        # Regions that moved or shrank would else stay in memory for the rest of the sampling.
        self._kept = {key: kept for key, kept in self._kept.items() if self._step - kept.step < self._reuse}

    def known(self, call: UNetCall, reads_text: bool) -> Seen | None:
        """Return what was seen of this region within the last steps; None to look."""
        if self._reuse == 1 or call.sigma is None:
            return None
        seen = self._kept.get(_key(call, reads_text))
        if seen is None or (reads_text and seen.used == self._step):
            return None
        seen.used, seen.again = self._step, seen.step < self._step
        return seen

    def keep(self, features: Mapping[str, Tensor], call: UNetCall, reads_text: bool) -> Seen:
        """Remember what was seen."""
        seen = Seen(features=features, step=self._step, used=self._step)
        if self._reuse > 1 and call.sigma is not None:
            self._kept[_key(call, reads_text)] = seen
        return seen


def _key(call: UNetCall, reads_text: bool) -> object:
    assert call.inputs is not None
    place = call.frames, call.corner, tuple(call.inputs.x.shape[-2:])
    return (*place, call.chunks, call.prompts) if reads_text else place
