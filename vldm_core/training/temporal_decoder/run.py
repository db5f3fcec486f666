"""The training of a temporal decoder, from a model and a folder of clips and photographs to a VAE file."""

from pathlib import Path

from torch import nn

from ...progress import Progress, silent
from ..diffusion.material import PriorMaterial
from ..diffusion.prior import TrainingPrior
from ..run import TrainingRun
from .decoder import new_temporal_decoder, save_temporal_decoder
from .examples import DecoderClips
from .task import DecoderTask, DecoderTrainingSettings


def train_temporal_decoder(
    prior: TrainingPrior,
    material: PriorMaterial,
    out: Path,
    *,
    settings: DecoderTrainingSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> nn.Module:
    """Train a temporal decoder on the VAE of a model.

    Args:
        prior: The model; its VAE is not changed.
        material: Films and pictures, and where their latents are kept.
        out: File to write; see `TrainingRun` for it and for what lies beside it.
        settings: How it is trained.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Replace weights and checkpoint that are there.
        threads: Threads of torch and OpenCV; None leaves them as they are.
        progress: Called once per film and per step; may raise to interrupt.

    Returns:
        diffusers' `TemporalDecoder` with averaged weights.

    Raises:
        SettingsError: The settings do not fit each other or the checkpoint, or something would be replaced unasked.
        FilmFileError: There is nothing to train on or to validate on. All of these before any film is made.
    """
    settings = settings or DecoderTrainingSettings()
    run = TrainingRun(
        out=out,
        settings=settings.trainer,
        description={"task": "temporal decoder", "prior": prior.name, "losses": settings.description()},
        resume=resume,
        overwrite=overwrite,
        threads=threads,
        progress=progress,
    )
    run.prepare()
    material.check()
    films = material.make(prior, validation=False, progress=progress)
    kept = material.make(prior, validation=True, progress=progress)
    trainer = settings.trainer
    clips = DecoderClips(films, frames=settings.frames, side=settings.side, seed=trainer.seed, batch=trainer.batch)
    with run.start():
        decoder = new_temporal_decoder(prior.vae)
    trained = run.train(DecoderTask(decoder, prior.scale, settings, kept, plain=prior.pictures), clips)
    save_temporal_decoder(trained, prior.vae, out)
    return trained
