"""What the trainer needs to know of the scratch network: examples as samples, the loss, and how it is judged."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...data.samples import NumberedSamples
from ...errors import SettingsError
from ...film.scratches.network import ScratchNetwork
from ..settings import TrainerSettings
from ..trainer import Validation
from .examples import ScratchExamples

# Places in the planes and numbers that change their sign under a reflection.
_TILT, _DISPLACEMENT, _LUMA = 11, 3, 5


@dataclass(frozen=True, kw_only=True)
class ScratchTrainingSettings:
    """How the network is trained.

    Attributes:
        trainer: Steps, rates and precision.
        scratches: Share of scratches in a batch; among the candidates one in ten is one, and most steps would teach
            hardly anything of them.
        doubt: Share of the label that is taken off: a little doubt about every label keeps the output from running
            away.
        noise: Standard deviation of what is added to the numbers that describe a candidate, which are about −3 … 3.
        held_out: Share of the examples, whole source files, that calibrate the output and are not trained on.
        mark_cost: How many missed scratches a mark on the scene counts for in the calibration, since it costs picture.
    """

    trainer: TrainerSettings = TrainerSettings(
        steps=1400,
        batch=64,
        rate=2e-3,
        final_rate=0.0,
        decay=2e-2,
        average=0.995,
        checkpoint_every=250,
        validate_every=0,
        record_every=100,
    )
    scratches: float = 0.4
    doubt: float = 0.04
    noise: float = 0.05
    held_out: float = 0.12
    mark_cost: float = 2.0

    def __post_init__(self) -> None:
        for name in ("scratches", "held_out"):
            if not 0 < getattr(self, name) < 1:
                raise SettingsError(f"training {name} is {getattr(self, name)}; use a share between 0 and 1")
        if not 0 <= self.doubt < 1:
            raise SettingsError(f"training doubt is {self.doubt}; use a share from 0 to below 1")
        if not 0 <= self.noise < math.inf:
            raise SettingsError(f"training noise is {self.noise}; use 0 or more")
        if not 0 < self.mark_cost < math.inf:
            raise SettingsError(f"training mark_cost is {self.mark_cost}; use more than 0")

    def description(self) -> dict[str, Any]:
        """Return what makes the run what it is, beside the trainer's own settings."""
        return {name: value for name, value in asdict(self).items() if name != "trainer"}


class ScratchSample(TypedDict):
    """One sample, see `Appearance`: near (6, 24, 33), far (3, 24, 33), times (4, 24, 16), numbers (18,), label ()."""

    near: Tensor
    far: Tensor
    times: Tensor
    numbers: Tensor
    label: Tensor


class ScratchSamples(NumberedSamples[ScratchSample]):
    """Candidates, as many scratches in a batch as asked for, reflected by chance in every way that makes sense.

    Args:
        examples: To draw from.
        settings: Share of scratches, and noise.
        seed: Another seed gives other samples.
        batch: Samples in a block.

    Raises:
        SettingsError: All examples are of one kind.
    """

    def __init__(self, examples: ScratchExamples, settings: ScratchTrainingSettings, *, seed: int, batch: int) -> None:
        super().__init__(seed=seed, batch=batch)
        self._examples, self._settings = examples, settings
        self._kinds = [np.flatnonzero(examples.labels == kind) for kind in (0, 1)]
        if not all(len(kind) for kind in self._kinds):
            others, scratches = map(len, self._kinds)
            raise SettingsError(
                f"there are {scratches} scratches and {others} other lines to train on; make more examples"
            )
        self._scratches = max(1, round(batch * settings.scratches))

    def sample(self, index: int) -> ScratchSample:
        """Return one sample; see `NumberedSamples`."""
        stream = np.random.default_rng([self.seed, index])
        kind = self._kinds[int(index % self.batch < self._scratches)]
        number = int(kind[int(stream.integers(len(kind)))])
        near, far, times, numbers, label = (part[0] for part in tensors(self._examples, [number]))
        mirrored, upside_down, backwards, negative = (bool(stream.random() < 0.5) for _ in range(4))
        numbers = numbers + torch.from_numpy(stream.normal(0, self._settings.noise, len(numbers)).astype(np.float32))
        if mirrored:
            near, far = near.flip(2), far.flip(2)
            times[_DISPLACEMENT] *= -1
        if upside_down:
            near, far, times = near.flip(1), far.flip(1), times.flip(1)
        if backwards:
            times = times.flip(2)
        if mirrored is not upside_down:
            numbers[_TILT] *= -1
        if negative:
            near = near.clone()
            near[_LUMA] *= -1
        return ScratchSample(near=near, far=far, times=times, numbers=numbers, label=label)


class ScratchTask:
    """What the trainer needs to know of the network.

    Args:
        module: The network.
        settings: Doubt about labels.
        held: Pictures, numbers and labels, see `tensors`, of examples that are not trained on.
    """

    def __init__(self, module: ScratchNetwork, settings: ScratchTrainingSettings, held: Sequence[Tensor]) -> None:
        self.module: nn.Module = module
        self._settings, self._held = settings, held

    def loss(self, module: nn.Module, batch: ScratchSample) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        logits = module(batch["near"], batch["far"], batch["times"], batch["numbers"]).float()
        doubt = self._settings.doubt
        target = batch["label"] * (1 - doubt) + doubt / 2
        return functional.binary_cross_entropy_with_logits(logits, target), {}

    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`."""
        device = next(module.parameters()).device
        *seen, labels = (part.to(device) for part in self._held)
        with torch.no_grad():
            return Validation(figures=figures(module(*seen), labels))


def tensors(examples: ScratchExamples, numbers: Sequence[int] | None = None) -> tuple[Tensor, ...]:
    """Return pictures, numbers and labels of examples as float tensors: near, far, times, numbers, labels.

    Args:
        examples: The examples.
        numbers: Which of them; None takes all.
    """
    parts = (examples.near, examples.far, examples.times, examples.numbers, examples.labels)
    chosen = parts if numbers is None else tuple(part[np.asarray(numbers)] for part in parts)
    return tuple(torch.from_numpy(np.asarray(part, np.float32)) for part in chosen)


def figures(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return share of scratches accepted, share of other lines accepted, and log loss, for logits (n,)."""
    found, true = logits > 0, labels > 0
    return {
        "examples": float(len(labels)),
        "recall": float(found[true].float().mean()),
        "false_share": float(found[~true].float().mean()),
        "log_loss": float(functional.binary_cross_entropy_with_logits(logits, labels)),
    }


def held_out(examples: ScratchExamples, settings: ScratchTrainingSettings) -> np.ndarray:
    """Choose the examples that are not trained on, (n,) bool: whole source files, as many as make up the share."""
    sources = np.unique(examples.sources)
    order = np.random.default_rng([settings.trainer.seed, 0x5E]).permutation(len(sources))
    held = np.zeros(len(examples), bool)
    for source in sources[order][: len(sources) - 1]:
        if held.mean() >= settings.held_out:
            break
        held |= examples.sources == source
    return held
