"""Trains the line network on cached examples, in steps that can be interrupted at any time.

What happens in a step depends on its number and the seed alone, so a run that was interrupted and resumed gives the
same weights, bit by bit, as one that was not (on one machine, with one number of threads).
"""

import logging
import math
import os
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...data.clean_shots import TrainingMaterial
from ...errors import FilmFileError, SettingsError
from ...film.scratches.network import KIND, LineNetwork, LineNetworkConfig
from ...progress import Progress, silent
from ..output import check_output
from .examples import LineExamples, LineExampleSettings, load_line_examples, make_line_examples, tensors

CHECKPOINT_FORMAT = 1

_COST = 2.0
# One to train on and one to hold out.
_LEAST_FILES = 2

_LOG = logging.getLogger(__name__)

# Places in the planes and numbers that change their sign under a reflection.
_TILT, _DISPLACEMENT, _LUMA = 11, 3, 5


@dataclass(frozen=True, kw_only=True)
class LineTrainingSettings:
    """How the network is trained.

    Attributes:
        steps: Steps of the optimiser.
        batch: Examples per step.
        scratches: Share of scratches in a batch.
        rate: Learning rate after the warm-up; it falls to 0 along a cosine.
        warmup: Steps over which it rises.
        decay: Weight decay.
        average: Share of the running average of the weights that is kept per step; the average is what is saved.
        held_out: Share of the examples, whole source files, that calibrate the output and are not trained on.
        checkpoint_every: Steps between checkpoints.
        seed: Another seed gives other weights.
    """

    steps: int = 1400
    batch: int = 64
    scratches: float = 0.4
    rate: float = 2e-3
    warmup: int = 100
    decay: float = 2e-2
    average: float = 0.995
    held_out: float = 0.12
    checkpoint_every: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "warmup", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise SettingsError(f"training {name} is {getattr(self, name)}; use 1 or more")
        if not 0 < self.rate < 1:
            raise SettingsError(f"the learning rate is {self.rate}; use more than 0 and less than 1")
        for name in ("scratches", "average", "held_out"):
            if not 0 < getattr(self, name) < 1:
                raise SettingsError(f"training {name} is {getattr(self, name)}; use a share between 0 and 1")


def train_line_network(
    examples: LineExamples,
    out: Path,
    settings: LineTrainingSettings | None = None,
    shape: LineNetworkConfig | None = None,
    *,
    resume: bool = False,
    progress: Progress = silent,
) -> LineNetwork:
    """Train on examples and write the network.

    Args:
        examples: From `make_line_examples`.
        out: File to write; the checkpoint lies beside it, with the suffix `.checkpoint`.
        settings: How it is trained.
        shape: Size of the network.
        resume: Go on from the checkpoint, if there is one.
        progress: Called once per step.

    Returns:
        The averaged, calibrated network.

    Raises:
        SettingsError: There are too few examples, or only of one kind.
        FilmFileError: The checkpoint is of another run.
    """
    settings, shape = settings or LineTrainingSettings(), shape or LineNetworkConfig()
    held = held_out(examples, settings)
    parts = tensors(examples)
    kept = [torch.from_numpy(np.flatnonzero(~held & (examples.labels == kind))) for kind in (0, 1)]
    if not all(len(indices) for indices in kept):
        raise SettingsError(
            f"there are {len(kept[1])} scratches and {len(kept[0])} other lines to train on; make more examples"
        )
    run = _Run(settings, shape)
    checkpoint = out.with_suffix(".checkpoint")
    if resume and checkpoint.exists():
        run.load(checkpoint)
    while run.step < settings.steps:
        loss = run.advance(*_batch(parts, kept, settings, run.step))
        if run.step % settings.checkpoint_every == 0 or run.step == settings.steps:
            run.save(checkpoint)
            _LOG.info("step %d: loss %.4f", run.step, loss)
        progress("train", run.step, settings.steps)
    network = run.averaged()
    checked = [part[torch.from_numpy(np.flatnonzero(held))] for part in parts]
    calibrate(network, checked)
    figures = held_out_figures(network, checked)
    _LOG.info("held out: %s", figures)
    out.parent.mkdir(parents=True, exist_ok=True)
    KIND.save(network, out)
    return network


def train_on_material(
    data: Path | Sequence[Path],
    cache: Path,
    out: Path,
    settings: LineTrainingSettings | None = None,
    examples: LineExampleSettings | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> LineNetwork:
    """Make the examples that are missing in a folder, then train on them; see `train_line_network`.

    Args:
        data: Folders with films and pictures, or with `clips/` and `photos/`; files kept for validation are left out.
        cache: Folder for the examples.
        out: File to write.
        settings: How the network is trained.
        examples: How examples are made.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Replace weights and checkpoint that are there.
        threads: Threads of torch and OpenCV; None leaves them as they are.
        progress: Called once per file of examples and per step.

    Raises:
        SettingsError: Something would be replaced unasked, or there are too few examples.
        FilmFileError: There are fewer than two files to train on, or the checkpoint is of another run.
    """
    checkpoint = out.with_suffix(".checkpoint")
    check_output(out, checkpoint, resume=resume, overwrite=overwrite)
    if resume and checkpoint.is_file():
        # Before the examples, which take hours.
        _Run(settings or LineTrainingSettings(), LineNetworkConfig()).load(checkpoint)
    material = TrainingMaterial(data)
    if len(names := {path.stem for path in (*material.clips, *material.photos)}) < _LEAST_FILES:
        raise FilmFileError(
            f"{data}: {', '.join(names)} alone is left to train on; whole files are held out to calibrate with, so "
            "give three files or more, of which one is kept for validation"
        )
    if threads is not None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    paths = make_line_examples(data, cache, examples or LineExampleSettings(), progress)
    return train_line_network(load_line_examples(paths), out, settings, resume=resume, progress=progress)


def held_out(examples: LineExamples, settings: LineTrainingSettings) -> np.ndarray:
    """Choose the examples that are not trained on, (n,) bool: whole source files, as many as make up the share."""
    sources = np.unique(examples.sources)
    order = np.random.default_rng([settings.seed, 0x5E]).permutation(len(sources))
    held = np.zeros(len(examples), bool)
    for source in sources[order][: len(sources) - 1]:
        if held.mean() >= settings.held_out:
            break
        held |= examples.sources == source
    return held


def calibrate(network: LineNetwork, parts: Sequence[Tensor]) -> None:
    """Fit temperature and offset of a network so that its output is a probability (Platt scaling).

    The odds are then halved, so that 0.5 is where a mark on the scene, which costs picture, counts as twice as bad as a
    scratch that is missed.

    Args:
        network: Trained network; changed in place.
        parts: Pictures, numbers and labels, see `tensors`, of examples it was not trained on.
    """
    labels = parts[-1]
    if not 0 < float(labels.mean()) < 1:
        return
    with torch.inference_mode():
        logits = network.eval()(*parts[:-1]).double()
    logits, target = logits.clone(), labels.double()
    # Newton's method on the log likelihood of a logistic regression with two unknowns and a weak prior at (1, 0).
    place = torch.tensor([1.0, 0.0], dtype=torch.float64)
    design = torch.stack((logits, torch.ones_like(logits)), dim=1)
    for _ in range(30):
        probability = torch.sigmoid(design @ place)
        gradient = design.T @ (probability - target) + (place - torch.tensor([1.0, 0.0], dtype=torch.float64))
        weight = (probability * (1 - probability))[:, None]
        place = place - torch.linalg.solve(design.T @ (design * weight) + torch.eye(2, dtype=torch.float64), gradient)
    with torch.no_grad():
        network.temperature.fill_(float(place[0].clamp(0.1, 10)))
        network.offset.fill_(float(place[1].clamp(-10, 10)) - math.log(_COST))


def held_out_figures(network: LineNetwork, parts: Sequence[Tensor]) -> dict[str, float]:
    """Measure a network on examples: share of scratches accepted, share of other lines accepted, log loss."""
    labels = parts[-1]
    with torch.inference_mode():
        logits = network.eval()(*parts[:-1]) * network.temperature + network.offset
    found, true = logits > 0, labels > 0
    return {
        "examples": float(len(labels)),
        "recall": float(found[true].float().mean()),
        "false_share": float(found[~true].float().mean()),
        "log_loss": float(functional.binary_cross_entropy_with_logits(logits, labels)),
    }


class _Run:
    """The state of a training run."""

    def __init__(self, settings: LineTrainingSettings, shape: LineNetworkConfig) -> None:
        self.settings, self.shape, self.step = settings, shape, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = LineNetwork(shape)
        self.average = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.rate, betas=(0.9, 0.99), weight_decay=settings.decay
        )

    def advance(self, *batch: Tensor) -> float:
        """Do one step; returns its loss."""
        settings = self.settings
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate * _schedule(self.step, settings)
        self.network.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed * 1_000_003 + self.step)
            logits = self.network(*batch[:-1])
        # A little doubt about every label keeps the output from running away.
        target = batch[-1] * 0.96 + 0.02
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        # A young average would remember the random start.
        keep = min(settings.average, self.step / (self.step + 10))
        for key, value in self.network.state_dict().items():
            self.average[key].lerp_(value, 1 - keep)
        return float(loss.detach())

    def averaged(self) -> LineNetwork:
        """Return a network with the averaged weights."""
        network = LineNetwork(self.shape)
        network.load_state_dict(self.average)
        return network.eval()

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on."""
        part = path.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        torch.save(
            {
                "format": CHECKPOINT_FORMAT,
                "settings": asdict(self.settings),
                "shape": asdict(self.shape),
                "step": self.step,
                "network": self.network.state_dict(),
                "average": self.average,
                "optimiser": self.optimiser.state_dict(),
            },
            part,
        )
        os.replace(part, path)

    def load(self, path: Path) -> None:
        """Go on where a checkpoint stopped."""
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
            stored = LineTrainingSettings(**state["settings"])
            same = replace(stored, checkpoint_every=self.settings.checkpoint_every) == self.settings
            if state["format"] != CHECKPOINT_FORMAT or not same or state["shape"] != asdict(self.shape):
                raise FilmFileError(f"{path} is of a run with other settings ({stored}); delete it or use those")
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average, self.step = state["average"], int(state["step"])
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
            raise FilmFileError(f"{path} is not a checkpoint of this training ({error}); delete it") from error


def _schedule(step: int, settings: LineTrainingSettings) -> float:
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    return 0.5 * (1 + math.cos(math.pi * (step - settings.warmup) / max(1, settings.steps - settings.warmup)))


def _batch(
    parts: Sequence[Tensor], kept: Sequence[Tensor], settings: LineTrainingSettings, step: int
) -> tuple[Tensor, ...]:
    """Draw a batch: as many scratches as asked for, each example reflected by chance in every way that makes sense."""
    stream = np.random.default_rng([settings.seed, 0xBA, step])
    positive = max(1, round(settings.batch * settings.scratches))
    indices = torch.cat(
        [
            group[torch.from_numpy(stream.integers(len(group), size=count))]
            for group, count in zip(kept, (settings.batch - positive, positive), strict=True)
        ]
    )
    near, far, times, numbers, labels = (part[indices] for part in parts)
    mirror, upside, back, negative = (torch.from_numpy(stream.random(settings.batch) < 0.5) for _ in range(4))
    near, far = (torch.where(mirror[:, None, None, None], part.flip(3), part) for part in (near, far))
    near, far, times = (torch.where(upside[:, None, None, None], part.flip(2), part) for part in (near, far, times))
    times = torch.where(back[:, None, None, None], times.flip(3), times)
    times, numbers = times.clone(), numbers.clone()
    times[:, _DISPLACEMENT] *= torch.where(mirror, -1.0, 1.0)[:, None, None]
    numbers[:, _TILT] *= torch.where(mirror ^ upside, -1.0, 1.0)
    near[:, _LUMA] *= torch.where(negative, -1.0, 1.0)[:, None, None]
    noise = torch.from_numpy(stream.normal(0, 0.05, numbers.shape).astype(np.float32))
    return near, far, times, numbers + noise, labels
