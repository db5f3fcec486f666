"""Trains a network on a data set in steps that can be interrupted at any time.

What is trained is a `Task`: a module, what its loss is on a batch, and how it is validated. Everything else is here:
the optimiser and its schedule, mixed precision and gradient accumulation (through accelerate), a running average of the
weights, checkpoints, and a record for TensorBoard. Temporal layers, LoRAs and control branches are trained by other
tasks with the same trainer.

Exact resume: batches are a function of the seed and of how many samples were used before, and chance inside a step is
seeded by the number of the step. So a run that was interrupted gives the same weights, bit for bit, as one that was not
(on a processor, with one number of threads).
"""

import logging
import math
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from ..errors import SettingsError, VLDMError
from ..machine.companions import importing
from ..progress import Progress, silent

with importing("accelerate", "'vldm[train]'"):
    from accelerate import Accelerator
    from accelerate.utils import set_seed

_LOG = logging.getLogger(__name__)

Precision = Literal["no", "bf16", "fp16"]

_STATE_FILE = "state.pt"


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What validation found.

    Attributes:
        figures: By name, for the record.
        pictures: By name, (3, H, W) in [0, 1], for the record.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    pictures: Mapping[str, Tensor] = field(default_factory=dict)


class Task(Protocol):
    """What is trained."""

    module: nn.Module
    """Holds the weights; those that require gradients are trained."""

    def loss(self, module: nn.Module, batch: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a batch, and its parts for the record.

        Args:
            module: What to run: `module`, wrapped for the machine.
            batch: As the loader gives it, on the device.
        """
        ...

    def validate(self, module: nn.Module) -> Validation:
        """Look at how good the averaged weights are, without gradients."""
        ...


class ResumableDataset(Protocol):
    """A data set that can be told where to go on; `pairs.DegradedClips` is one."""

    def advance(self, samples: int) -> None:
        """Count samples as used."""
        ...

    def state_dict(self) -> dict[str, int]:
        """Return where the data set is."""
        ...

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to where a data set was."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """How a network is trained.

    Attributes:
        steps: Steps of the optimiser.
        batch: Samples per forward pass.
        accumulation: Forward passes per step.
        rate: Learning rate after the warm-up; it falls along a cosine to `final_rate`.
        final_rate: Learning rate at the end.
        warmup: Steps over which the rate rises.
        decay: Weight decay; biases, norms and other vectors have none.
        clip: Largest norm of the gradient.
        average: Share of the running average of the weights that is kept per step; the average is the result.
        precision: Of the forward pass: "no" is float32.
        workers: Processes that make samples; 0 makes them in this one.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between validations; 0 validates at the end only.
        record_every: Steps between records of the loss.
        seed: Of the steps; that of the data is the data set's.
    """

    steps: int = 1000
    batch: int = 4
    accumulation: int = 1
    rate: float = 4e-4
    final_rate: float = 1e-6
    warmup: int = 100
    decay: float = 1e-4
    clip: float = 1.0
    average: float = 0.998
    precision: Precision = "no"
    workers: int = 0
    checkpoint_every: int = 200
    validate_every: int = 500
    record_every: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulation", "warmup", "checkpoint_every", "record_every"):
            if getattr(self, name) < 1:
                raise SettingsError(f"training {name} is {getattr(self, name)}; use 1 or more")
        for name in ("workers", "validate_every", "seed", "decay"):
            if getattr(self, name) < 0:
                raise SettingsError(f"training {name} is {getattr(self, name)}; use 0 or more")
        if not 0 < self.final_rate <= self.rate < 1:
            raise SettingsError(f"learning rates are {self.rate} and {self.final_rate}; use 0 < final_rate <= rate < 1")
        if not 0 <= self.average < 1 or self.clip <= 0:
            raise SettingsError(f"training average is {self.average} and clip {self.clip}; use 0 … 1 and above 0")
        if self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise SettingsError(f"training precision is {self.precision!r}; use one of {known}")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.final_rate + (self.rate - self.final_rate) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


class Trainer:
    """Trains one task.

    Args:
        task: What is trained.
        data: Samples; its blocks must be as long as a batch (`DegradedClips(batch=…)`).
        settings: How.
        folder: For checkpoint and record; None keeps neither.
        description: What else makes the run what it is, plain values; a checkpoint with another one is refused.

    Raises:
        SettingsError: Nothing in the module requires gradients.
    """

    def __init__(
        self,
        task: Task,
        data: IterableDataset[Any],
        settings: TrainerSettings,
        folder: Path | None = None,
        *,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        self._task, self._data, self.settings, self._folder = task, data, settings, folder
        self._description = {"settings": _lasting(settings), **dict(description or {})}
        self.accelerator = Accelerator(
            mixed_precision=settings.precision,
            cpu=not torch.cuda.is_available(),
            gradient_accumulation_steps=settings.accumulation,
        )
        parameters = [(name, p) for name, p in task.module.named_parameters() if p.requires_grad]
        if not parameters:
            raise SettingsError("nothing in the module requires gradients; there is nothing to train")
        groups = [
            {"params": [p for _, p in parameters if p.ndim > 1], "weight_decay": settings.decay},
            {"params": [p for _, p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.99))
        self._module, self._optimiser = self.accelerator.prepare(task.module, optimiser)
        self._average = {name: p.detach().clone() for name, p in parameters}
        self.step = 0
        self._scale = self.accelerator.num_processes

    def run(self, *, resume: bool = False, progress: Progress = silent) -> nn.Module:
        """Train to the last step.

        Args:
            resume: Go on from the checkpoint in the folder, if there is one.
            progress: Called once per step; may raise to interrupt. The last checkpoint stays.

        Returns:
            The task's module with the averaged weights.

        Raises:
            SettingsError: The checkpoint is of another run.
            VLDMError: The loss is no number any more.
        """
        settings = self.settings
        if resume:
            self._load()
        record = _Record(self._folder if self.accelerator.is_main_process else None)
        batches = self._batches()
        losses: list[float] = []
        try:
            while self.step < settings.steps:
                loss, parts = self._advance(batches)
                losses.append(loss)
                if not math.isfinite(loss):
                    raise VLDMError(
                        f"the loss is {loss} at step {self.step}; resume with a lower learning rate, "
                        "from the last checkpoint"
                    )
                if self.step % settings.record_every == 0:
                    mean = sum(losses) / len(losses)
                    record.figures({"loss": mean, "rate": settings.rate_at(self.step - 1), **parts}, self.step)
                    _LOG.info("step %d: loss %.5f", self.step, mean)
                    losses.clear()
                last = self.step == settings.steps
                if last or self.step % settings.checkpoint_every == 0:
                    self._save()
                if last or (settings.validate_every and self.step % settings.validate_every == 0):
                    with self.averaged() as module:
                        found = self._task.validate(module)
                    record.figures({f"validation/{name}": value for name, value in found.figures.items()}, self.step)
                    record.pictures(found.pictures, self.step)
                    _LOG.info("step %d: %s", self.step, ", ".join(f"{k} {v:.4f}" for k, v in found.figures.items()))
                progress("train", self.step, settings.steps)
        finally:
            record.close()
        self._use_average()
        return self._task.module

    def _advance(self, batches: Iterator[Any]) -> tuple[float, dict[str, float]]:
        """Do one step of the optimiser."""
        settings = self.settings
        for group in self._optimiser.param_groups:
            group["lr"] = settings.rate_at(self.step)
        self._module.train()
        set_seed(settings.seed * 1_000_003 + self.step, device_specific=True)
        total, parts = 0.0, {}
        for _ in range(settings.accumulation):
            with self.accelerator.accumulate(self._module):
                with self.accelerator.autocast():
                    loss, found = self._task.loss(self._module, next(batches))
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self._module.parameters(), settings.clip)
                self._optimiser.step()
                self._optimiser.zero_grad()
            total += float(self.accelerator.reduce(loss.detach(), "mean")) / settings.accumulation
            parts = {name: float(value.detach()) for name, value in found.items()}
            self._data.advance(settings.batch * self._scale)  # type: ignore[attr-defined]
        self.step += 1
        # A young average would remember the random start.
        keep = min(settings.average, self.step / (self.step + 10))
        with torch.no_grad():
            for name, parameter in self._trained():
                self._average[name].lerp_(parameter.to(self._average[name]), 1 - keep)
        return total, parts

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        for name, parameter in self.accelerator.unwrap_model(self._module).named_parameters():
            if parameter.requires_grad:
                yield name, parameter

    def _batches(self) -> Iterator[Any]:
        """Batches from where the data set is, on the device, without end."""
        device, settings = self.accelerator.device, self.settings
        # A loader draws a number when it begins; from the generator of the steps, resuming would be seen in them.
        own = torch.Generator()
        while True:
            loader = DataLoader(self._data, batch_size=settings.batch, num_workers=settings.workers, generator=own)
            for batch in loader:
                yield _moved(batch, device)

    def averaged(self) -> "_Averaged":
        """Return a context in which the module has the averaged weights, ready to be looked at."""
        return _Averaged(self)

    def _use_average(self) -> None:
        with torch.no_grad():
            for name, parameter in self._trained():
                parameter.copy_(self._average[name])
        self._task.module.eval()

    def _save(self) -> None:
        if self._folder is None or not self.accelerator.is_main_process:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / (_STATE_FILE + ".part")
        torch.save(
            {
                "description": self._description,
                "step": self.step,
                "weights": {name: p.detach().cpu() for name, p in self._trained()},
                "average": {name: value.cpu() for name, value in self._average.items()},
                "optimiser": self._optimiser.state_dict(),
                "data": self._data.state_dict(),  # type: ignore[attr-defined]
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None,
            },
            part,
        )
        part.replace(self._folder / _STATE_FILE)

    def _load(self) -> None:
        if self._folder is None or not (self._folder / _STATE_FILE).is_file():
            return
        path = checkpoint_of(self._folder)
        state = torch.load(path, map_location=self.accelerator.device, weights_only=True)
        _check_description(path, state["description"], self._description)
        with torch.no_grad():
            for name, parameter in self._trained():
                parameter.copy_(state["weights"][name])
                self._average[name].copy_(state["average"][name])
        self._optimiser.load_state_dict(state["optimiser"])
        self._data.load_state_dict(state["data"])  # type: ignore[attr-defined]
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]


def checkpoint_of(folder: Path) -> Path:
    """Return the file with the checkpoint of a run that keeps it in a folder."""
    return folder / _STATE_FILE


def check_checkpoint(folder: Path, settings: TrainerSettings, description: Mapping[str, Any]) -> None:
    """Check that a run can go on from its checkpoint, if there is one, before any other work.

    Args:
        folder: As given to `Trainer`.
        settings: Likewise.
        description: Likewise.

    Raises:
        SettingsError: The checkpoint is of another run, or cannot be read.
    """
    path = checkpoint_of(folder)
    if not path.is_file():
        return
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["description"]
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise SettingsError(
            f"{path} is not a checkpoint of this training ({error}); delete it to begin anew"
        ) from error
    _check_description(path, stored, {"settings": _lasting(settings), **description})


def _check_description(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if stored != wanted:
        differing = sorted(key for key in stored.keys() | wanted.keys() if stored.get(key) != wanted.get(key))
        raise SettingsError(
            f"{path} is of another run: {', '.join(differing)} differ; use another folder, or train as it was begun"
        )


class _Averaged:
    """The module with the averaged weights inside the block, and with its own after it."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def __enter__(self) -> nn.Module:
        self._own = {name: p.detach().clone() for name, p in self._trainer._trained()}
        self._trainer._use_average()
        self._gradients = torch.no_grad()
        self._gradients.__enter__()
        return self._trainer._task.module

    def __exit__(self, *error: object) -> None:
        self._gradients.__exit__(None, None, None)
        with torch.no_grad():
            for name, parameter in self._trainer._trained():
                parameter.copy_(self._own[name])


class _Record:
    """The record of a run for TensorBoard."""

    def __init__(self, folder: Path | None) -> None:
        self._writer: Any = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "record"))

    def figures(self, figures: Mapping[str, float], step: int) -> None:
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(name, value, step)

    def pictures(self, pictures: Mapping[str, Tensor], step: int) -> None:
        if self._writer is not None:
            for name, picture in pictures.items():
                self._writer.add_image(name, picture.detach().cpu().clamp(0, 1), step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _lasting(settings: TrainerSettings) -> dict[str, Any]:
    """The settings that make the result what it is: the others may change when a run is resumed."""
    passing = ("checkpoint_every", "validate_every", "record_every", "workers")
    return {name: value for name, value in asdict(settings).items() if name not in passing}


def _moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: _moved(value, device) for key, value in batch.items()}
    return batch
