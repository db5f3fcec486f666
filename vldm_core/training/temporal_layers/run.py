"""The training of temporal layers, from a model and a folder of clips and photographs to a file of layers."""

from dataclasses import replace
from pathlib import Path
from typing import cast

from ...prior.temporal.files import save_temporal_layers
from ...prior.temporal.layers import TemporalConfig, TemporalLayers
from ...prior.unet import UNetView
from ...progress import Progress, silent
from ..diffusion.latent_films import LatentClips
from ..diffusion.material import PriorMaterial
from ..diffusion.objective import Objective
from ..diffusion.prior import TrainingPrior
from ..run import TrainingRun
from .task import ClipUNet, TemporalTask, TemporalTrainingSettings


def train_temporal_layers(
    prior: TrainingPrior,
    material: PriorMaterial,
    out: Path,
    *,
    settings: TemporalTrainingSettings | None = None,
    checkpointing: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> TemporalLayers:
    """Train temporal layers on a frozen model.

    Args:
        prior: The model.
        material: Films and pictures, and where their latents are kept.
        out: File to write; see `TrainingRun` for it and for what lies beside it.
        settings: How they are trained.
        checkpointing: Run the UNet's blocks again for the gradients instead of keeping what they computed: about half
            the memory for a third more time, and the same weights.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Replace weights and checkpoint that are there.
        threads: Threads of torch and OpenCV; None leaves them as they are.
        progress: Called once per film and per step; may raise to interrupt.

    Returns:
        The layers with averaged weights.

    Raises:
        SettingsError: The settings do not fit each other or the checkpoint, or something would be replaced unasked.
        FilmFileError: There is nothing to train on or to validate on. All of these before any film is made.
    """
    settings = settings or TemporalTrainingSettings()
    config = TemporalConfig.for_unet(UNetView(prior.unet), heads=settings.heads, attention=settings.attention)
    run = TrainingRun(
        out=out,
        settings=settings.trainer,
        description={"task": "temporal layers", "prior": prior.name, "losses": settings.description()},
        resume=resume,
        overwrite=overwrite,
        threads=threads,
        progress=progress,
    )
    run.prepare()
    material = replace(material, films=replace(material.films, frames=max(material.films.frames, settings.frames)))
    material.check()
    films = material.make(prior, validation=False, progress=progress)
    kept = material.make(prior, validation=True, progress=progress)
    texts = prior.texts([settings.prompt, ""])
    trainer = settings.trainer
    clips = LatentClips(films, frames=settings.frames, seed=trainer.seed, batch=trainer.batch)
    with run.start():
        layers = TemporalLayers(config)
    prior.make_ready(precision=trainer.precision, checkpointing=checkpointing)
    objective = Objective(prior.schedule, prior.prediction, settings.objective)
    task = TemporalTask(ClipUNet(prior.unet, layers), objective, settings, texts, kept, decode=prior.pictures)
    trained = cast(ClipUNet, run.train(task, clips)).layers
    save_temporal_layers(trained, out)
    return trained
