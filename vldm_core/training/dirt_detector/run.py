"""The training of the dirt detector, from a folder of clips and photographs to its weights."""

from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ...errors import SettingsError
from ...film.dirt.network import KIND, DirtNetwork, DirtNetworkConfig
from ...progress import Progress, silent
from ..run import TrainingRun
from .calibration import calibrated
from .examples import DirtExampleSettings, load_examples, make_examples
from .real_film import RealFilm, make_film_examples
from .task import DirtSquares, DirtTask, DirtTrainingSettings


def train_dirt_detector(
    data: Path,
    out: Path,
    cache: Path,
    *,
    textures: Path | None = None,
    films: Path | None = None,
    examples: DirtExampleSettings | None = None,
    settings: DirtTrainingSettings | None = None,
    config: DirtNetworkConfig | None = None,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> DirtNetwork:
    """Make examples from a folder of clips and photographs and train on them.

    Args:
        data: Folder with films and pictures, or with `clips/` and `photos/`; files kept for validation are left out.
        out: File to write; see `TrainingRun` for it and for what lies beside it.
        cache: Folder for the examples; those that are there already are not made again.
        textures: Folder of scanned shapes, see `SimulationSettings.textures`.
        films: Folder of real films, see `real_film`; None does without.
        examples: How examples are made.
        settings: How the network is trained.
        config: Shape of the network.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Replace weights and checkpoint that are there.
        threads: Threads of torch and OpenCV; None leaves them as they are.
        progress: Called once per shot and per step; may raise to interrupt.

    Returns:
        The averaged, calibrated network.

    Raises:
        SettingsError: Something would be replaced unasked, the checkpoint is of another run, or there are too few
            examples.
        FilmFileError: There is nothing to train on.
    """
    examples, settings, config = (
        examples or DirtExampleSettings(),
        settings or DirtTrainingSettings(),
        config or DirtNetworkConfig(),
    )
    run = TrainingRun(
        out=out,
        settings=settings.trainer,
        description={"task": "dirt detector", "network": asdict(config), "losses": settings.description()}
        | {"examples": asdict(examples) | {"textures": textures is not None, "films": films is not None}},
        resume=resume,
        overwrite=overwrite,
        threads=threads,
        progress=progress,
    )
    run.prepare()
    files = make_examples(data, cache, examples, textures=textures, progress=progress)
    if films is not None:
        files += make_film_examples(RealFilm(films), cache, examples, textures=textures, progress=progress)
    order = np.random.default_rng(examples.seed).permutation(len(files))
    return train_on_examples(run, load_examples([files[number] for number in order]), settings, config)


def train_on_examples(
    run: TrainingRun,
    examples: tuple[Tensor, Tensor, Tensor],
    settings: DirtTrainingSettings,
    config: DirtNetworkConfig,
) -> DirtNetwork:
    """Train on examples and write the network.

    Args:
        run: Prepared.
        examples: Planes and labels, see `examples.load_examples`.
        settings: How the network is trained.
        config: Its shape.

    Raises:
        SettingsError: The examples are smaller than the squares, or too few to hold some out.
    """
    count = len(examples[0])
    keep = max(1, round(count * settings.held_out))
    if count <= keep:
        raise SettingsError(f"{count} examples leave none beside the {keep} to calibrate with; make more shots")
    # The last ones, so that no shot is on both sides but the one at the border.
    fine, coarse, labels = (part[: count - keep] for part in examples)
    held = (examples[0][count - keep :], examples[1][count - keep :], examples[2][count - keep :])
    samples = DirtSquares(fine, coarse, labels, side=settings.side, seed=run.settings.seed, batch=run.settings.batch)
    with run.start():
        network = DirtNetwork(config)
        torch.nn.init.constant_(cast(Tensor, network.head.bias), settings.start)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = cast(DirtNetwork, run.train(DirtTask(network, settings, held), samples))
    network = calibrated(trained, held, alarm_cost=settings.alarm_cost)
    KIND.save(network, run.out)
    return network
