"""Trains the dirt network on cached examples, in steps that can be interrupted at any time.

What happens in a step depends on its number and the seed alone, so a run that was interrupted and resumed gives the
same weights, bit by bit, as one that was not (on one machine, with one number of threads).
"""

import logging
import math
import os
import pickle
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...errors import FilmFileError, SettingsError
from ...film.dirt.features import PLANES, SIGNED_PLANES
from ...film.dirt.network import KIND, KINDS, DirtNetwork, DirtNetworkConfig
from ...metrics.detection import score_detection
from ...progress import Progress, silent
from ..output import check_output
from .examples import BLOTCH, DIRT, FAINT_BLOTCH, FAINT_DIRT, STEPS, ExampleSettings, generate_examples, load_examples

CHECKPOINT_FORMAT = 1

_ALARM_COST = 1.5
"""How many right marks a false alarm counts for in the calibration: the examples, cut where there is most to be found,
hold one and a half times the damage of a film of medium wear, and so show too few of its false alarms."""

_LOG = logging.getLogger(__name__)

_OPPOSITES = {"before": "after", "after": "before", "earlier": "later", "later": "earlier"}
_REVERSED = [PLANES.index(" ".join(_OPPOSITES.get(word, word) for word in name.split(" "))) for name in PLANES]
"""For each plane, which one stands in its place when time runs backwards."""


@dataclass(frozen=True, kw_only=True)
class DirtTrainingSettings:
    """How the network is trained.

    Attributes:
        steps: Steps of the optimiser.
        batch: Examples per step.
        side: Side of the squares that are cut from the examples, px, a multiple of 8.
        rate: Learning rate after the warm-up; it falls to 0 along a cosine.
        warmup: Steps over which it rises.
        decay: Weight decay.
        average: Share of the running average of the weights that is kept per step; the average is what is saved.
        evidence: Weight of the cross entropy beside the overlap (soft Dice) in the loss.
        held_out: Share of the examples that calibrate the output and are not trained on.
        checkpoint_every: Steps between checkpoints.
        half: Whether the convolutions of training run in bfloat16, half the work where the processor knows it; the
            weights stay float32.
        seed: Another seed gives other weights.
    """

    steps: int = 3600
    batch: int = 16
    side: int = 128
    rate: float = 2e-3
    warmup: int = 100
    decay: float = 1e-3
    average: float = 0.998
    evidence: float = 8.0
    held_out: float = 0.06
    checkpoint_every: int = 250
    half: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "warmup", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise SettingsError(f"training {name} is {getattr(self, name)}; use 1 or more")
        if self.side < 8 or self.side % 8:
            raise SettingsError(f"the side of training squares is {self.side}; use a multiple of 8")
        if not 0 < self.rate < 1:
            raise SettingsError(f"the learning rate is {self.rate}; use more than 0 and less than 1")
        if not 0 <= self.average < 1 or not 0 < self.held_out < 1:
            raise SettingsError(
                f"training average is {self.average} and held_out is {self.held_out}; use shares below 1"
            )


def train_dirt_network(
    planes: Tensor,
    labels: Tensor,
    out: Path,
    settings: DirtTrainingSettings | None = None,
    config: DirtNetworkConfig | None = None,
    *,
    resume: bool = False,
    progress: Progress = silent,
) -> DirtNetwork:
    """Train on examples and write the network.

    Args:
        planes: (N, len(PLANES), S, S) int8, see `dirt_examples`.
        labels: (N, S, S) uint8.
        out: File to write; the checkpoint lies beside it, with the suffix `.checkpoint`.
        settings: How it is trained.
        config: Shape of the network.
        resume: Go on from the checkpoint, if there is one.
        progress: Called once per step.

    Returns:
        The averaged, calibrated network.

    Raises:
        SettingsError: The examples are smaller than the squares, or too few to hold some out.
        FilmFileError: The checkpoint is of another run.
    """
    settings, config = settings or DirtTrainingSettings(), config or DirtNetworkConfig()
    held = max(1, round(len(planes) * settings.held_out))
    if planes.shape[-1] < settings.side or len(planes) <= held:
        raise SettingsError(
            f"{len(planes)} examples of {planes.shape[-1]} px cannot give squares of {settings.side} px and {held} "
            "to calibrate with; make more or larger ones"
        )
    run = _Run(settings, config)
    checkpoint = out.with_suffix(".checkpoint")
    if resume and checkpoint.is_file():
        run.load(checkpoint)
    # The last ones, so that no shot is on both sides but the one at the border.
    trained = slice(0, len(planes) - held)
    losses: list[float] = []
    while run.step < settings.steps:
        losses.append(run.advance(*_batch(planes[trained], labels[trained], settings, run.step)))
        if run.step % settings.checkpoint_every == 0 or run.step == settings.steps:
            run.save(checkpoint)
        if run.step % 100 == 0:
            _LOG.info("step %d: mean loss %.4f", run.step, sum(losses[-100:]) / len(losses[-100:]))
        progress("train", run.step, settings.steps)
    network = run.averaged(config)
    network = calibrated(network, planes[-held:], labels[-held:])
    out.parent.mkdir(parents=True, exist_ok=True)
    KIND.save(network, out)
    return network


def train_on_material(
    data: Path,
    out: Path,
    cache: Path,
    *,
    textures: Path | None = None,
    examples: ExampleSettings | None = None,
    settings: DirtTrainingSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> DirtNetwork:
    """Make examples from a folder of clips and photographs and train on them.

    Args:
        data: Folder with films and pictures, or with `clips/` and `photos/`; files kept for validation are left out.
        out: File to write.
        cache: Folder for the examples; those that are there already are not made again.
        textures: Folder of scanned shapes, see `SimulationSettings.textures`.
        examples: How examples are made.
        settings: How the network is trained.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Replace weights and checkpoint that are there.
        threads: Threads of torch and OpenCV; None leaves them as they are.
        progress: Called once per shot and per step.

    Raises:
        SettingsError: Something would be replaced unasked, or there are too few examples.
        FilmFileError: There is nothing to train on, or the checkpoint is of another run.
    """
    checkpoint = out.with_suffix(".checkpoint")
    check_output(out, checkpoint, resume=resume, overwrite=overwrite)
    if resume and checkpoint.is_file():
        # Before the examples, which take hours.
        _Run(settings or DirtTrainingSettings(), DirtNetworkConfig()).load(checkpoint)
    if threads is not None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    files = generate_examples(data, cache, examples or ExampleSettings(), textures=textures, progress=progress)
    return train_dirt_network(*load_examples(files), out, settings, resume=resume, progress=progress)


class _Run:
    """The state of a training run."""

    def __init__(self, settings: DirtTrainingSettings, config: DirtNetworkConfig) -> None:
        self.settings, self.step = settings, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = DirtNetwork(config)
            # Hardly anything is dirt, and the start should say so.
            torch.nn.init.constant_(self.network.head.bias, -4.0)  # type: ignore[arg-type]
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.rate, betas=(0.9, 0.99), weight_decay=settings.decay
        )

    def advance(self, planes: Tensor, labels: Tensor) -> float:
        """Do one step; returns its loss."""
        settings = self.settings
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate * _schedule(self.step, settings)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=settings.half):
            logits = self.network(planes)
        loss = dirt_loss(logits.float(), labels, evidence=settings.evidence)
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

    def averaged(self, config: DirtNetworkConfig) -> DirtNetwork:
        """Return a network with the averaged weights."""
        network = DirtNetwork(config)
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
            stored = DirtTrainingSettings(**state["settings"])
            same = replace(stored, checkpoint_every=self.settings.checkpoint_every) == self.settings
            if state["format"] != CHECKPOINT_FORMAT or not same:
                raise FilmFileError(f"{path} is of a run with other settings ({stored}); delete it or use those")
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average, self.step = state["average"], int(state["step"])
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
            raise FilmFileError(f"{path} is not a checkpoint of this training ({error}); delete it") from error


def dirt_loss(logits: Tensor, labels: Tensor, *, evidence: float) -> Tensor:
    """Cross entropy and soft Dice over the pixels that count.

    A pixel that is too faintly damaged counts neither way; nor does a pixel that one kind covers for the other kind.

    Args:
        logits: (N, 2, H, W).
        labels: (N, H, W) uint8, see `dirt_examples.DIRT`.
        evidence: Weight of the cross entropy.
    """
    total = logits.new_zeros(())
    for kind, (own, faint, other) in enumerate(((DIRT, FAINT_DIRT, BLOTCH), (BLOTCH, FAINT_BLOTCH, DIRT))):
        truth = (labels & own) > 0
        counts = (truth | ((labels & (faint | other)) == 0)).float()
        target, found = truth.float(), logits[:, kind]
        entropy = functional.binary_cross_entropy_with_logits(found, target, reduction="none")
        total = total + evidence * (entropy * counts).sum() / counts.sum().clamp(min=1)
        probability = torch.sigmoid(found) * counts
        overlap = (probability * target).sum()
        total = total + 1 - (2 * overlap + 50) / (probability.sum() + target.sum() + 50)
    return total / len(KINDS)


def calibrated(network: DirtNetwork, planes: Tensor, labels: Tensor) -> DirtNetwork:
    """Return the network with the offsets at which a probability of 0.5 gives each kind its best F1 at 1 px tolerance.

    A false alarm counts `_ALARM_COST` times in the precision. What is too faint, or of the other kind, counts neither
    way, as in `dirt_loss`.

    Args:
        network: Trained network.
        planes: (N, len(PLANES), S, S) int8 examples it was not trained on.
        labels: (N, S, S) uint8.
    """
    with torch.inference_mode():
        logits = torch.cat([network(_floats(part)) for part in planes.split(8)])
    offset = []
    for kind, (own, besides) in enumerate(((DIRT, FAINT_DIRT | BLOTCH), (BLOTCH, FAINT_BLOTCH | DIRT))):
        truth = (labels & own) > 0
        ignore = ((labels & besides) > 0) & ~truth
        f1 = {}
        for level in torch.arange(-3.0, 3.01, 0.5).tolist():
            found = (logits[:, kind] + level > 0).float()
            score = score_detection(found, truth.float(), tolerance=1, ignore=ignore)
            recall, precision = score.recall or 0.0, score.precision or 0.0
            precision /= precision + _ALARM_COST * (1 - precision)
            f1[level] = 2 * recall * precision / (recall + precision) if recall and precision else 0.0
        # Of several that are as good, the one that changes least.
        offset.append(max((value, -abs(level), level) for level, value in f1.items())[-1])
    result = DirtNetwork(replace(network.config, offset=(offset[0], offset[1])))
    result.load_state_dict(network.state_dict())
    return result.eval()


def _schedule(step: int, settings: DirtTrainingSettings) -> float:
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    return 0.5 * (1 + math.cos(math.pi * (step - settings.warmup) / max(1, settings.steps - settings.warmup)))


def _floats(planes: Tensor) -> Tensor:
    return planes.contiguous(memory_format=torch.channels_last).float().div_(STEPS)


def _batch(planes: Tensor, labels: Tensor, settings: DirtTrainingSettings, step: int) -> tuple[Tensor, Tensor]:
    """Return the examples of a step, cut, turned and mirrored; some as negatives, some with time reversed."""
    stream = np.random.default_rng([settings.seed, step])
    seen, found = [], []
    for one, truth in _draw(planes, labels, settings, stream):
        # As bytes, which are quicker to move than what they stand for.
        if stream.random() < 0.5:
            one = torch.cat([-one[: len(SIGNED_PLANES)], one[len(SIGNED_PLANES) :]])
        if stream.random() < 0.5:
            one = one[_REVERSED]
        for axis in (-1, -2):
            if stream.random() < 0.5:
                one, truth = one.flip(axis), truth.flip(axis)
        if stream.random() < 0.5:
            one, truth = one.transpose(-1, -2), truth.transpose(-1, -2)
        seen.append(one)
        found.append(truth)
    return _floats(torch.stack(seen)), torch.stack(found)


def _draw(
    planes: Tensor, labels: Tensor, settings: DirtTrainingSettings, stream: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    side = settings.side
    for _ in range(settings.batch):
        number = int(stream.integers(len(planes)))
        top, left = (int(value) for value in stream.integers(planes.shape[-1] - side + 1, size=2))
        rows, columns = slice(top, top + side), slice(left, left + side)
        yield planes[number, :, rows, columns], labels[number, rows, columns]
