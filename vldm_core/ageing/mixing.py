"""Mixed frames: a transfer whose shutter or fields fall between two frames of the film shows both at once."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from ..arrays import FloatArray
from ..errors import SettingsError
from .randomness import generator
from .validation import require_span, require_within

MixKind = Literal["blend", "fields"]


@dataclass(frozen=True, kw_only=True)
class MixingModel:
    """Which frames are mixed with the next one, and how.

    Attributes:
        kind: ``"blend"`` lays both over each other; ``"fields"`` interlaces them line by line.
        probability: Share of frames that are mixed, 0 … 1.
        share: Smallest and largest share of the next frame in a blend.
    """

    kind: MixKind = "fields"
    probability: float = 0.1
    share: tuple[float, float] = (0.3, 0.5)

    def __post_init__(self) -> None:
        if self.kind not in get_args(MixKind):
            raise SettingsError(f"mixing.kind is {self.kind!r}; choose blend or fields.")
        require_within("mixing.probability", self.probability, 0, 1)
        require_span("mixing.share", self.share, 0, 0.5)


class Mixture(NamedTuple):
    """How a frame is mixed with the next: ``share`` of it everywhere, or all of it on every other row."""

    kind: MixKind
    share: float
    parity: int

    def of(self, one: FloatArray, other: FloatArray) -> FloatArray:
        """Return the mixture of two pictures or masks, (H, W, …)."""
        if self.kind == "blend":
            return one + np.float32(self.share) * (other - one)
        mixed = one.copy()
        mixed[self.parity :: 2] = other[self.parity :: 2]
        return mixed


class MixingLayer:
    """Tells how any frame is mixed."""

    def __init__(self, model: MixingModel, seed: int) -> None:
        self._model, self._seed = model, seed
        self._parity = int(generator(seed, "field order").integers(0, 2))

    def at(self, index: int) -> Mixture | None:
        """Return how frame ``index`` is mixed with the next film frame, or None."""
        stream = generator(self._seed, "mixing", index)
        if stream.random() >= self._model.probability:
            return None
        return Mixture(self._model.kind, stream.uniform(*self._model.share), self._parity)
