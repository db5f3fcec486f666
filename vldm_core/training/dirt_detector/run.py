"""The training of the dirt detector, from a folder of clips and photographs to its weights."""

from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from ...errors import SettingsError
from ...film.dirt.network import KIND, DirtNetwork, DirtNetworkConfig
from ...progress import Progress, silent
from ..run import TrainingRun
from .calibration import calibrated
from .examples import DirtExampleSettings, load_examples, make_examples
from .task import DirtSquares, DirtTask, DirtTrainingSettings


def train_dirt_detector(
    data: Path,
    out: Path,
    cache: Path,
    *,
    textures: Path | None = None,
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
        | {"examples": asdict(examples) | {"textures": textures is not None}},
        resume=resume,
        overwrite=overwrite,
        threads=threads,
        progress=progress,
    )
    run.prepare()
    files = make_examples(data, cache, examples, textures=textures, progress=progress)
    return train_on_examples(run, *load_examples(files), settings, config)


def train_on_examples(
    run: TrainingRun, planes: Tensor, labels: Tensor, settings: DirtTrainingSettings, config: DirtNetworkConfig
) -> DirtNetwork:
    """Train on examples and write the network.

    Args:
        run: Prepared.
        planes: (N, len(PLANES), S, S) int8, see `examples`.
        labels: (N, S, S) uint8.
        settings: How the network is trained.
        config: Its shape.

    Raises:
        SettingsError: The examples are smaller than the squares, or too few to hold some out.
    """
    held = max(1, round(len(planes) * settings.held_out))
    if len(planes) <= held:
        raise SettingsError(f"{len(planes)} examples leave none beside the {held} to calibrate with; make more shots")
    # The last ones, so that no shot is on both sides but the one at the border.
    split = len(planes) - held
    samples = DirtSquares(
        planes[:split], labels[:split], side=settings.side, seed=run.settings.seed, batch=run.settings.batch
    )
    with run.start():
        network = DirtNetwork(config)
        torch.nn.init.constant_(cast(Tensor, network.head.bias), settings.start)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = cast(DirtNetwork, run.train(DirtTask(network, settings, planes[split:], labels[split:]), samples))
    network = calibrated(trained, planes[split:], labels[split:], alarm_cost=settings.alarm_cost)
    KIND.save(network, run.out)
    return network
