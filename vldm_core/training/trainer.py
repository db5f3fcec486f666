"""Trains a network on a data set in steps that can be interrupted at any time.

What is trained is a `Task`: a module, what its loss is on a batch, and how it is validated. Everything else is here:
the optimiser and its learning rate, mixed precision and gradient accumulation (through accelerate), a running average
of the weights, checkpoints, and a record for TensorBoard. All networks of the package are tasks of this trainer.

Exact resume: batches are a function of the seed and of how many samples were used before, and chance inside a step is
seeded by the number of the step. So a run that was interrupted gives the same weights, bit for bit, as one that was not
(on a processor, with one number of threads).
"""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from ..data.samples import NumberedSamples
from ..errors import SettingsError, VLDMError
from ..machine.companions import importing
from ..progress import Progress, silent
from .checkpoints import Checkpoints
from .record import Record
from .settings import TrainerSettings

with importing("accelerate", "'vldm[train]'"):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import set_seed

_LOG = logging.getLogger(__name__)

# Apart, so that the steps of two seeds share no number of a step.
_SEEDS_APART = 1_000_003


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


class Trainer:
    """Trains one task.

    Args:
        task: What is trained.
        data: Samples; their blocks must be as long as a batch.
        settings: How.
        folder: For checkpoints and record; None keeps neither.
        description: What else makes the run what it is, plain values; a checkpoint with another one is refused.

    Raises:
        SettingsError: Nothing in the module requires gradients, or the blocks of the data are of another length.
    """

    def __init__(
        self,
        task: Task,
        data: NumberedSamples[Any],
        settings: TrainerSettings,
        folder: Path | None = None,
        *,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        if data.batch != settings.batch:
            raise SettingsError(f"the data comes in blocks of {data.batch}, batches are of {settings.batch}; use one")
        self._task, self._data, self.settings, self._folder = task, data, settings, folder
        self.accelerator = _accelerator(settings)
        self._checkpoints = (
            Checkpoints(folder, run_description(settings, description or {})) if folder is not None else None
        )
        parameters = [p for p in task.module.parameters() if p.requires_grad]
        if not parameters:
            raise SettingsError("nothing in the module requires gradients; there is nothing to train")
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=settings.rate, betas=settings.betas)
        self._module, self._optimiser, self._schedule = self.accelerator.prepare(
            task.module, optimiser, learning_rate(optimiser, settings)
        )
        # The same parameters, wherever preparing has put them; a network that is only partly trained is averaged in
        # that part alone.
        self._trained = nn.ParameterList(p for p in task.module.parameters() if p.requires_grad)
        self._average = self.accelerator.prepare_model(
            AveragedModel(self._trained, avg_fn=_running_average(settings)), evaluation_mode=True
        )
        self._frozen = {name for name, p in self._module.named_parameters() if not p.requires_grad}
        self.accelerator.register_save_state_pre_hook(self._leave_frozen_weights_out)
        data.share(self.accelerator.process_index, self.accelerator.num_processes)
        self.step = 0

    def run(self, *, resume: bool = False, progress: Progress = silent) -> nn.Module:
        """Train to the last step.

        Args:
            resume: Go on from the checkpoint in the folder, if there is one; else those there are removed.
            progress: Called once per step; may raise to interrupt. The last checkpoint stays.

        Returns:
            The task's module with the averaged weights.

        Raises:
            SettingsError: The checkpoint is of another run, or damaged.
            VLDMError: The loss is not a number any more.
        """
        settings = self.settings
        self._begin(resume)
        record = Record(self._folder if self.accelerator.is_main_process else None)
        batches = self._batches()
        losses: list[float] = []
        try:
            while self.step < settings.steps:
                rate = self._schedule.get_last_lr()[0]
                loss, parts = self._advance(batches)
                losses.append(loss)
                if not math.isfinite(loss):
                    raise VLDMError(
                        f"the loss is {loss} at step {self.step}; resume with a lower learning rate, "
                        "from the last checkpoint"
                    )
                if self.step % settings.record_every == 0:
                    mean = sum(losses) / len(losses)
                    record.figures({"loss": mean, "rate": rate, **parts}, self.step)
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
        # Without the autocast that accelerate wraps around a module: what is returned works in float32.
        return self.accelerator.unwrap_model(self._module, keep_fp32_wrapper=False)

    def _begin(self, resume: bool) -> None:
        if self._checkpoints is None:
            return
        found = self._checkpoints.load(self.accelerator, strict=not self._frozen) if resume else None
        if found is not None:
            self.step, data = found
            self._data.load_state_dict(data)
        elif self.accelerator.is_main_process:
            self._checkpoints.clear()

    def _advance(self, batches: Iterator[Any]) -> tuple[float, dict[str, float]]:
        """Do one step of the optimiser."""
        settings = self.settings
        self._module.train()
        set_seed(settings.seed * _SEEDS_APART + self.step, device_specific=True)
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
            self._data.advance(settings.batch * self.accelerator.num_processes)
        self._schedule.step()
        self.step += 1
        self._average.update_parameters(self._trained)
        return total, parts

    def _batches(self) -> Iterator[Any]:
        """Batches from where the data set is, on the device, without end."""
        device, settings = self.accelerator.device, self.settings
        # A loader draws a number when it begins; from the generator of the steps, resuming would be seen in them.
        own = torch.Generator()
        while True:
            loader = DataLoader(self._data, batch_size=settings.batch, num_workers=settings.workers, generator=own)
            for batch in loader:
                yield _moved(batch, device)

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """Within the block the module has the averaged weights, ready to be looked at; after it, its own."""
        own = [p.detach().clone() for p in self._trained]
        self._use_average()
        try:
            with torch.no_grad():
                yield self._task.module
        finally:
            with torch.no_grad():
                for parameter, weights in zip(self._trained, own, strict=True):
                    parameter.copy_(weights)

    def _use_average(self) -> None:
        with torch.no_grad():
            for parameter, weights in zip(self._trained, self._average.module, strict=True):
                parameter.copy_(weights)
        self._task.module.eval()

    def _save(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.save(self.accelerator, self.step, self._data.state_dict())

    def _leave_frozen_weights_out(self, models: list[nn.Module], weights: list[dict[str, Tensor]], folder: str) -> None:
        """Keep what is not trained out of a checkpoint: it is in the file that the network was read from."""
        for model, state in zip(models, weights, strict=True):
            if model is self._module:
                for name in self._frozen:
                    state.pop(name, None)


def run_description(settings: TrainerSettings, description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes a run what it is: two with the same description give the same weights."""
    return {"settings": settings.lasting(), **description}


def learning_rate(optimiser: torch.optim.Optimizer, settings: TrainerSettings) -> LRScheduler:
    """Return a learning rate that rises over the warm-up and then falls along half a cosine."""
    rise = LinearLR(optimiser, start_factor=1 / settings.warmup, total_iters=settings.warmup - 1)
    fall = CosineAnnealingLR(optimiser, max(1, settings.steps - settings.warmup), eta_min=settings.final_rate)
    return SequentialLR(optimiser, [rise, fall], milestones=[settings.warmup])


def _running_average(settings: TrainerSettings) -> Any:
    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        step = int(count) + 1
        return averaged.lerp(current.to(averaged), 1 - min(settings.average, step / (step + settings.youth)))

    return average


def _accelerator(settings: TrainerSettings) -> Accelerator:
    # accelerate keeps one precision for the whole process; the next training in it may be of another network.
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=settings.precision,
        cpu=not torch.cuda.is_available(),
        gradient_accumulation_steps=settings.accumulation,
        step_scheduler_with_optimizer=False,
    )


def _moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: _moved(value, device) for key, value in batch.items()}
    return batch
