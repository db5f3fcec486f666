"""What every training run does: look first whether it may write, go on or begin anew, train, hand back the network."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import nn

from ..data.samples import NumberedSamples
from ..errors import SettingsError
from ..progress import Progress, silent
from .checkpoints import Checkpoints, newest_checkpoint
from .settings import TrainerSettings
from .trainer import Task, Trainer, run_description


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """One run: where it writes, what it may replace, and who watches.

    Attributes:
        out: File with the weights that the run ends with. Checkpoints and record lie beside it, in a folder with the
            suffix `.training`.
        settings: How it trains.
        description: What else makes the run what it is, plain values: the network, the examples, the losses.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Begin anew where there is none to go on from, and replace what is there.
        threads: Threads of torch and OpenCV; None leaves them as they are.
        progress: Called once per step; may raise to interrupt.
    """

    out: Path
    settings: TrainerSettings
    description: Mapping[str, Any]
    resume: bool = False
    overwrite: bool = False
    threads: int | None = None
    progress: Progress = silent

    @property
    def folder(self) -> Path:
        """Folder with checkpoints and record."""
        return self.out.with_suffix(".training")

    def prepare(self) -> None:
        """Look whether the run may write and go on, before any other work, and set the number of threads.

        Raises:
            SettingsError: Something would be replaced that was not asked for, the file cannot be written, or the
                checkpoint is of another run or damaged.
        """
        check_output(self.out, self.folder, resume=self.resume, overwrite=self.overwrite)
        if self.resume:
            Checkpoints(self.folder, run_description(self.settings, self.description)).check()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
            cv2.setNumThreads(self.threads)

    @contextmanager
    def start(self) -> Iterator[None]:
        """Within the block, random numbers are those of the seed: a network made there starts the same every time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            yield

    def train(self, task: Task, samples: NumberedSamples[Any]) -> nn.Module:
        """Train to the last step.

        Returns:
            The task's module with the averaged weights.

        Raises:
            SettingsError: The checkpoint is of another run, or damaged.
            VLDMError: The loss is not a number any more.
        """
        trainer = Trainer(task, samples, self.settings, self.folder, description=self.description)
        module = trainer.run(resume=self.resume, progress=self.progress)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        return module


def check_output(out: Path, folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Check that a run may write its files: nothing that is there is replaced unasked.

    Args:
        out: File with the weights that the run ends with.
        folder: With the checkpoints that the run can be resumed from.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Begin anew where there is none to go on from, and replace what is there.

    Raises:
        SettingsError: Something would be replaced that was not asked for, or the file cannot be written.
    """
    if out.suffix.lower() != ".safetensors":
        raise SettingsError(f"{out} does not end in .safetensors; give such a name for the weights")
    if out.is_dir():
        raise SettingsError(f"{out} is a folder; give the name of a file in it")
    checkpoint = newest_checkpoint(folder)
    if overwrite or (resume and checkpoint is not None):
        return
    # Checkpoints of earlier versions: they cannot be gone on from, and hold hours of work.
    earlier = next((path for path in (out.with_suffix(".checkpoint"), folder / "state.pt") if path.is_file()), None)
    if resume and earlier is not None:
        raise SettingsError(
            f"{earlier} was written by an earlier version, which alone can go on from it; finish the run with that "
            "version, name another file, or give --overwrite to begin anew"
        )
    if resume and out.is_file():
        raise SettingsError(
            f"{out} is there, but no checkpoint in {folder} to resume from; name another file, or give --overwrite to "
            "begin anew and replace it"
        )
    there = [path for path in (out if out.is_file() else None, checkpoint) if path is not None]
    if there and not resume:
        more = "--resume to go on from the checkpoint, or " if checkpoint is not None else ""
        raise SettingsError(
            f"{' and '.join(map(str, there))} would be replaced; name another file, or give {more}--overwrite to begin "
            "anew"
        )
