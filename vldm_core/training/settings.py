"""How the trainer trains; what is trained has settings of its own, with these in them."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ..errors import SettingsError

Precision = Literal["no", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """How a network is trained.

    Attributes:
        steps: Steps of the optimiser.
        batch: Samples per forward pass.
        accumulation: Forward passes per step.
        rate: Learning rate after the warm-up; it falls along a cosine to `final_rate`.
        final_rate: Learning rate that the cosine ends at.
        warmup: Steps over which the rate rises: the running means of AdamW know little at first, and full steps by them
            would throw away what the start was good for.
        decay: Weight decay; biases, norms and other vectors have none, since they do not grow to fit noise.
        betas: Shares that the running means of the gradient and of its square keep per step (AdamW). 0.99 for the
            square, and not the usual 0.999, because these runs are short.
        clip: Largest norm of the gradient; a batch of odd examples may not undo what many have taught.
        average: Share of the running average of the weights that is kept per step; the average is the result.
        youth: Steps by which that share is held back at the beginning: step n keeps at most n / (n + youth), or else
            a short run would end with the weights of its start.
        precision: Of the forward pass: "no" is float32.
        workers: Processes that make samples; 0 makes them in this one.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between validations; 0 validates at the end only.
        record_every: Steps between records of the loss.
        seed: Of the steps and of the network's start; that of the data is the data set's.
    """

    steps: int = 1000
    batch: int = 4
    accumulation: int = 1
    rate: float = 4e-4
    final_rate: float = 1e-6
    warmup: int = 100
    decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    average: float = 0.998
    youth: int = 10
    precision: Precision = "no"
    workers: int = 0
    checkpoint_every: int = 200
    validate_every: int = 500
    record_every: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulation", "warmup", "youth", "checkpoint_every", "record_every"):
            if getattr(self, name) < 1:
                raise SettingsError(f"training {name} is {getattr(self, name)}; use 1 or more")
        for name in ("workers", "validate_every", "seed"):
            if getattr(self, name) < 0:
                raise SettingsError(f"training {name} is {getattr(self, name)}; use 0 or more")
        if not 0 <= self.decay < 1:
            raise SettingsError(f"training decay is {self.decay}; use a share from 0 to below 1")
        if not 0 <= self.final_rate <= self.rate or not 0 < self.rate < 1:
            raise SettingsError(
                f"training rate is {self.rate} and final_rate {self.final_rate}; use 0 <= final_rate <= rate < 1, "
                "and a rate above 0"
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise SettingsError(f"training betas are {self.betas}; use two shares from 0 to below 1")
        if not 0 <= self.average < 1 or not 0 < self.clip < math.inf:
            raise SettingsError(f"training average is {self.average} and clip {self.clip}; use 0 … 1 and above 0")
        if self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise SettingsError(f"training precision is {self.precision!r}; use one of {known}")

    def lasting(self) -> dict[str, Any]:
        """Return the settings that make the result what it is; the others may change when a run is resumed."""
        passing = ("checkpoint_every", "validate_every", "record_every", "workers")
        return {name: value for name, value in asdict(self).items() if name not in passing}
