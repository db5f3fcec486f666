"""What the trainer needs to know of the dirt network: squares of examples, the loss, and how it is judged."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...data.samples import NumberedSamples
from ...errors import SettingsError
from ...film.dirt.features import COARSE_PLANES, FINE_PLANES, SCALE, SIGNED_COARSE
from ...film.dirt.network import KINDS, DirtNetwork
from ..settings import TrainerSettings
from ..trainer import Validation
from .examples import BLOTCH, DIRT, FAINT_BLOTCH, FAINT_DIRT, FAINT_SCRATCH, SCRATCH, UNKNOWN

_OPPOSITES = {"before": "after", "after": "before", "earlier": "later", "later": "earlier"}


def _reversed(names: tuple[str, ...]) -> list[int]:
    return [names.index(" ".join(_OPPOSITES.get(word, word) for word in name.split(" "))) for name in names]


_REVERSED = _reversed(FINE_PLANES), _reversed(COARSE_PLANES)
"""For each plane, which one stands in its place when time runs backwards."""

COUNTED = ((DIRT, FAINT_DIRT), (SCRATCH, FAINT_SCRATCH), (BLOTCH, FAINT_BLOTCH))
"""For each output of the network, the bits of what it is to find and of what is too faint."""


@dataclass(frozen=True, kw_only=True)
class DirtTrainingSettings:
    """How the network is trained.

    Attributes:
        trainer: Steps, rates and precision.
        side: Side of the squares that are cut from the examples, px, a multiple of 8.
        evidence: Weight of the cross entropy beside the overlap (soft Dice) in the loss. The overlap alone would not
            tell a sure answer from a lucky one.
        least_overlap: Pixels that are counted as found in every batch, so that a batch with little damage in it has no
            overlap of nearly nothing with nearly nothing, whose gradient would be noise.
        start: Output of the untrained network, a logit: hardly anything is dirt, and the start should say so.
        held_out: Share of the examples that calibrate the output and are not trained on.
        alarm_cost: How many right marks a false alarm counts for in the calibration: the examples, cut where there is
            most to be found, hold one and a half times the damage of a film of medium wear, and so show too few of its
            false alarms.
    """

    trainer: TrainerSettings = TrainerSettings(
        steps=4200,
        batch=16,
        rate=3e-3,
        final_rate=0.0,
        decay=1e-3,
        average=0.998,
        precision="no",
        checkpoint_every=250,
        validate_every=0,
        record_every=100,
    )
    side: int = 128
    evidence: float = 8.0
    least_overlap: float = 50.0
    start: float = -4.0
    held_out: float = 0.06
    alarm_cost: float = 1.5

    def __post_init__(self) -> None:
        if self.side < 8 or self.side % 8:
            raise SettingsError(f"the side of training squares is {self.side}; use a multiple of 8")
        if not 0 < self.held_out < 1:
            raise SettingsError(f"training held_out is {self.held_out}; use a share between 0 and 1")
        for name in ("evidence", "least_overlap", "alarm_cost"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingsError(f"training {name} is {getattr(self, name)}; use more than 0")
        if not -20 <= self.start <= 20:
            raise SettingsError(f"training start is {self.start}; use a logit from -20 to 20")

    def description(self) -> dict[str, Any]:
        """Return what makes the run what it is, beside the trainer's own settings."""
        return {name: value for name, value in asdict(self).items() if name != "trainer"}


class Square(TypedDict):
    """One sample: planes (len(FINE_PLANES), S, S) and (len(COARSE_PLANES), S / 2, S / 2) int8, labels (S, S) uint8."""

    fine: Tensor
    coarse: Tensor
    labels: Tensor


class DirtSquares(NumberedSamples[Square]):
    """Squares of examples, turned and mirrored; some as negatives, some with time reversed.

    Args:
        fine: (N, len(FINE_PLANES), side, side) int8, see `examples`.
        coarse: (N, len(COARSE_PLANES), side / 2, side / 2) int8.
        labels: (N, side, side) uint8.
        side: Of the squares, px.
        seed: Another seed gives other squares.
        batch: Samples in a block.

    Raises:
        SettingsError: The examples are smaller than the squares.
    """

    def __init__(self, fine: Tensor, coarse: Tensor, labels: Tensor, *, side: int, seed: int, batch: int) -> None:
        super().__init__(seed=seed, batch=batch)
        if fine.shape[-1] < side or not len(fine):
            raise SettingsError(
                f"{len(fine)} examples of {fine.shape[-1]} px cannot give squares of {side} px; make more or "
                "larger ones"
            )
        self._fine, self._coarse, self._labels, self._side = fine, coarse, labels, side

    def sample(self, index: int) -> Square:
        """Return one sample; see `NumberedSamples`."""
        stream, side = np.random.default_rng([self.seed, index]), self._side
        number = int(stream.integers(len(self._fine)))
        top, left = (2 * int(value) for value in stream.integers((self._fine.shape[-1] - side) // 2 + 1, size=2))
        rows, columns = slice(top, top + side), slice(left, left + side)
        fine, labels = self._fine[number, :, rows, columns], self._labels[number, rows, columns]
        coarse = self._coarse[number, :, top // 2 : (top + side) // 2, left // 2 : (left + side) // 2]
        if stream.random() < 0.5:
            fine, coarse = -fine, torch.cat([-coarse[:SIGNED_COARSE], coarse[SIGNED_COARSE:]])
        if stream.random() < 0.5:
            fine, coarse = fine[_REVERSED[0]], coarse[_REVERSED[1]]
        # Film runs upright: sums along steep lines are not what they are on their side.
        for axis in (-1, -2):
            if stream.random() < 0.5:
                fine, coarse, labels = fine.flip(axis), coarse.flip(axis), labels.flip(axis)
        return Square(fine=fine.contiguous(), coarse=coarse.contiguous(), labels=labels.contiguous())


class DirtTask:
    """What the trainer needs to know of the network.

    Args:
        module: The network.
        settings: Weights of the loss.
        held: Planes and labels of examples that are not trained on, see `examples.load_examples`.
    """

    def __init__(
        self, module: DirtNetwork, settings: DirtTrainingSettings, held: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        self.module: nn.Module = module
        self._settings, self._held = settings, held

    def loss(self, module: nn.Module, batch: Square) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        logits = module(floats(batch["fine"]), floats(batch["coarse"])).float()
        return dirt_loss(logits, batch["labels"], self._settings)

    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`."""
        device = next(module.parameters()).device
        with torch.no_grad():
            losses = [
                float(
                    dirt_loss(
                        module(floats(fine.to(device)), floats(coarse.to(device))), labels.to(device), self._settings
                    )[0]
                )
                for fine, coarse, labels in zip(*(part.split(8) for part in self._held), strict=True)
            ]
        return Validation(figures={"loss": sum(losses) / len(losses)})


def floats(planes: Tensor) -> Tensor:
    """Return 8-bit planes as the network looks at them."""
    return planes.float().div_(SCALE.step)


def dirt_loss(logits: Tensor, labels: Tensor, settings: DirtTrainingSettings) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Cross entropy and soft Dice over the pixels that count.

    A pixel that is too faintly damaged counts neither way; nor does a pixel that one kind covers for the other kinds.

    Args:
        logits: (N, len(KINDS), H, W).
        labels: (N, H, W) uint8, see `examples.DIRT`.
        settings: Weight of the cross entropy.

    Returns:
        The loss and its two parts, all ().
    """
    entropies, overlaps = [], []
    for kind, (own, faint) in enumerate(COUNTED):
        truth = (labels & own) > 0
        counts = (truth | ((labels & neither_way(own, faint)) == 0)).float()
        target, found = truth.float(), logits[:, kind]
        entropy = functional.binary_cross_entropy_with_logits(found, target, reduction="none")
        entropies.append(settings.evidence * (entropy * counts).sum() / counts.sum().clamp(min=1))
        probability = torch.sigmoid(found) * counts
        both, least = (probability * target).sum(), settings.least_overlap
        overlaps.append(1 - (2 * both + least) / (probability.sum() + target.sum() + least))
    parts = {"entropy": torch.stack(entropies).mean(), "overlap": torch.stack(overlaps).mean()}
    assert len(overlaps) == len(KINDS)
    return parts["entropy"] + parts["overlap"], parts


def neither_way(own: int, faint: int) -> int:
    """Return the bits of pixels that count neither way for an output, unless they are what it is to find."""
    return faint | UNKNOWN | ((DIRT | SCRATCH | BLOTCH) & ~own)
