"""The training of the scratch detector, from a folder of clips and photographs to its weights."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import torch

from ...data.clean_shots import TrainingMaterial
from ...errors import FilmFileError
from ...film.scratches.network import KIND, ScratchNetwork, ScratchNetworkConfig
from ...progress import Progress, silent
from ..run import TrainingRun
from .calibration import calibrate
from .examples import ScratchExamples, ScratchExampleSettings, load_examples, make_examples
from .task import ScratchSamples, ScratchTask, ScratchTrainingSettings, figures, held_out, tensors

_LOG = logging.getLogger(__name__)

# One to train on and one to hold out.
_LEAST_FILES = 2


def train_scratch_detector(
    data: Path | Sequence[Path],
    out: Path,
    cache: Path,
    *,
    examples: ScratchExampleSettings | None = None,
    settings: ScratchTrainingSettings | None = None,
    config: ScratchNetworkConfig | None = None,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> ScratchNetwork:
    """Make examples from a folder of clips and photographs and train on them.

    Args:
        data: Folders with films and pictures, or with `clips/` and `photos/`; files kept for validation are left out.
        out: File to write; see `TrainingRun` for it and for what lies beside it.
        cache: Folder for the examples; those that are there already are not made again.
        examples: How examples are made.
        settings: How the network is trained.
        config: Size of the network.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Replace weights and checkpoint that are there.
        threads: Threads of torch and OpenCV; None leaves them as they are.
        progress: Called once per file of examples and per step; may raise to interrupt.

    Returns:
        The averaged, calibrated network.

    Raises:
        SettingsError: Something would be replaced unasked, the checkpoint is of another run, or there are too few
            examples.
        FilmFileError: There are fewer than two files to train on.
    """
    examples, settings, config = (
        examples or ScratchExampleSettings(),
        settings or ScratchTrainingSettings(),
        config or ScratchNetworkConfig(),
    )
    run = TrainingRun(
        out=out,
        settings=settings.trainer,
        description={"task": "scratch detector", "network": asdict(config), "losses": settings.description()}
        | {"examples": asdict(examples)},
        resume=resume,
        overwrite=overwrite,
        threads=threads,
        progress=progress,
    )
    run.prepare()
    material = TrainingMaterial(data)
    if len(names := {path.stem for path in (*material.clips, *material.photos)}) < _LEAST_FILES:
        raise FilmFileError(
            f"{data}: {', '.join(names)} alone is left to train on; whole files are held out to calibrate with, so "
            "give three files or more, of which one is kept for validation"
        )
    files = make_examples(data, cache, examples, progress=progress)
    return train_on_examples(run, load_examples(files), settings, config)


def train_on_examples(
    run: TrainingRun, examples: ScratchExamples, settings: ScratchTrainingSettings, config: ScratchNetworkConfig
) -> ScratchNetwork:
    """Train on examples and write the network.

    Args:
        run: Prepared.
        examples: From `examples.load_examples`.
        settings: How the network is trained.
        config: Its size.

    Raises:
        SettingsError: There are too few examples, or only of one kind.
    """
    held = held_out(examples, settings)
    samples = ScratchSamples(examples.only(~held), settings, seed=run.settings.seed, batch=run.settings.batch)
    kept_apart = tensors(examples, np.flatnonzero(held).tolist())
    with run.start():
        network = ScratchNetwork(config)
    network = cast(ScratchNetwork, run.train(ScratchTask(network, settings, kept_apart), samples)).cpu()
    calibrate(network, kept_apart, mark_cost=settings.mark_cost)
    *seen, labels = kept_apart
    with torch.no_grad():
        logits = network(*seen) * network.temperature + network.offset
    _LOG.info("held out: %s", figures(logits, labels))
    KIND.save(network, run.out)
    return network
