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
from ...film.dirt.features import PLANES, SIGNED_PLANES
from ...film.dirt.network import KINDS, DirtNetwork
from ..settings import TrainerSettings
from ..trainer import Validation
from .examples import BLOTCH, DIRT, FAINT_BLOTCH, FAINT_DIRT, STEPS

_OPPOSITES = {"before": "after", "after": "before", "earlier": "later", "later": "earlier"}
_REVERSED = [PLANES.index(" ".join(_OPPOSITES.get(word, word) for word in name.split(" "))) for name in PLANES]
"""For each plane, which one stands in its place when time runs backwards."""


@dataclass(frozen=True, kw_only=True)
class DirtTrainingSettings:
    """How the network is trained.

    Attributes:
        trainer: Steps, rates and precision. The forward pass is in bfloat16, half the work where the processor knows
            it; the weights stay float32.
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
        steps=3600,
        batch=16,
        rate=2e-3,
        final_rate=0.0,
        decay=1e-3,
        average=0.998,
        precision="bf16",
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
    """One sample: planes (len(PLANES), S, S) int8 and labels (S, S) uint8, as in the examples."""

    planes: Tensor
    labels: Tensor


class DirtSquares(NumberedSamples[Square]):
    """Squares of examples, turned and mirrored; some as negatives, some with time reversed.

    Args:
        planes: (N, len(PLANES), side, side) int8, see `examples`.
        labels: (N, side, side) uint8.
        side: Of the squares, px.
        seed: Another seed gives other squares.
        batch: Samples in a block.

    Raises:
        SettingsError: The examples are smaller than the squares.
    """

    def __init__(self, planes: Tensor, labels: Tensor, *, side: int, seed: int, batch: int) -> None:
        super().__init__(seed=seed, batch=batch)
        if planes.shape[-1] < side or not len(planes):
            raise SettingsError(
                f"{len(planes)} examples of {planes.shape[-1]} px cannot give squares of {side} px; make more or "
                "larger ones"
            )
        self._planes, self._labels, self._side = planes, labels, side

    def sample(self, index: int) -> Square:
        """Return one sample; see `NumberedSamples`."""
        stream, side = np.random.default_rng([self.seed, index]), self._side
        number = int(stream.integers(len(self._planes)))
        top, left = (int(value) for value in stream.integers(self._planes.shape[-1] - side + 1, size=2))
        rows, columns = slice(top, top + side), slice(left, left + side)
        planes, labels = self._planes[number, :, rows, columns], self._labels[number, rows, columns]
        if stream.random() < 0.5:
            planes = torch.cat([-planes[: len(SIGNED_PLANES)], planes[len(SIGNED_PLANES) :]])
        if stream.random() < 0.5:
            planes = planes[_REVERSED]
        for axis in (-1, -2):
            if stream.random() < 0.5:
                planes, labels = planes.flip(axis), labels.flip(axis)
        if stream.random() < 0.5:
            planes, labels = planes.transpose(-1, -2), labels.transpose(-1, -2)
        return Square(planes=planes.contiguous(), labels=labels.contiguous())


class DirtTask:
    """What the trainer needs to know of the network.

    Args:
        module: The network.
        settings: Weights of the loss.
        planes: (N, len(PLANES), S, S) int8 of examples that are not trained on.
        labels: (N, S, S) uint8 of these.
    """

    def __init__(self, module: DirtNetwork, settings: DirtTrainingSettings, planes: Tensor, labels: Tensor) -> None:
        self.module: nn.Module = module
        self._settings, self._planes, self._labels = settings, planes, labels

    def loss(self, module: nn.Module, batch: Square) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        return dirt_loss(module(floats(batch["planes"])).float(), batch["labels"], self._settings)

    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`."""
        device = next(module.parameters()).device
        with torch.no_grad():
            losses = [
                float(dirt_loss(module(floats(planes.to(device))), labels.to(device), self._settings)[0])
                for planes, labels in zip(self._planes.split(8), self._labels.split(8), strict=True)
            ]
        return Validation(figures={"loss": sum(losses) / len(losses)})


def floats(planes: Tensor) -> Tensor:
    """Return 8-bit planes as the network looks at them, laid out as processors like them."""
    return planes.contiguous(memory_format=torch.channels_last).float().div_(STEPS)


def dirt_loss(logits: Tensor, labels: Tensor, settings: DirtTrainingSettings) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Cross entropy and soft Dice over the pixels that count.

    A pixel that is too faintly damaged counts neither way; nor does a pixel that one kind covers for the other kind.

    Args:
        logits: (N, 2, H, W).
        labels: (N, H, W) uint8, see `examples.DIRT`.
        settings: Weight of the cross entropy.

    Returns:
        The loss and its two parts, all ().
    """
    entropies, overlaps = [], []
    for kind, (own, faint, other) in enumerate(((DIRT, FAINT_DIRT, BLOTCH), (BLOTCH, FAINT_BLOTCH, DIRT))):
        truth = (labels & own) > 0
        counts = (truth | ((labels & (faint | other)) == 0)).float()
        target, found = truth.float(), logits[:, kind]
        entropy = functional.binary_cross_entropy_with_logits(found, target, reduction="none")
        entropies.append(settings.evidence * (entropy * counts).sum() / counts.sum().clamp(min=1))
        probability = torch.sigmoid(found) * counts
        both, least = (probability * target).sum(), settings.least_overlap
        overlaps.append(1 - (2 * both + least) / (probability.sum() + target.sum() + least))
    parts = {"entropy": torch.stack(entropies).mean(), "overlap": torch.stack(overlaps).mean()}
    assert len(overlaps) == len(KINDS)
    return parts["entropy"] + parts["overlap"], parts
