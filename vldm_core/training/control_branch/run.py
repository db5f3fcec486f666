"""The training of a control branch, from a model and a folder of clips and photographs to a file of a control."""

from pathlib import Path
from typing import cast

from ...prerestore.network import PreRestorer
from ...prior.controls.diffbir.branch import DiffBirControl
from ...progress import Progress, silent
from ..diffusion.hints import pre_restored
from ..diffusion.latent_films import LatentClips
from ..diffusion.material import PriorMaterial
from ..diffusion.objective import Objective
from ..diffusion.prior import TrainingPrior
from ..run import TrainingRun
from .branch import new_branch, save_branch
from .task import ControlledUNet, ControlTask, ControlTrainingSettings


def train_control_branch(
    prior: TrainingPrior,
    material: PriorMaterial,
    out: Path,
    *,
    prerestorer: PreRestorer | None,
    settings: ControlTrainingSettings | None = None,
    checkpointing: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> DiffBirControl:
    """Train a control branch on a frozen model.

    Args:
        prior: The model.
        material: Films and pictures, and where their latents are kept.
        out: File to write; see `TrainingRun` for it and for what lies beside it.
        prerestorer: Makes the hints of aged and repaired films; None gives the branch the repaired films themselves.
        settings: How it is trained.
        checkpointing: Run the UNet's blocks again for the gradients instead of keeping what they computed.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Replace weights and checkpoint that are there.
        threads: Threads of torch and OpenCV; None leaves them as they are.
        progress: Called once per film and per step; may raise to interrupt.

    Returns:
        The control with averaged weights.

    Raises:
        SettingsError: The settings do not fit each other or the checkpoint, or something would be replaced unasked.
        FilmFileError: There is nothing to train on or to validate on. All of these before any film is made.
    """
    settings = settings or ControlTrainingSettings()
    hint, name = (None, "repaired") if prerestorer is None else pre_restored(prerestorer)
    run = TrainingRun(
        out=out,
        settings=settings.trainer,
        description={"task": "control branch", "prior": prior.name, "hint": name, "losses": settings.description()},
        resume=resume,
        overwrite=overwrite,
        threads=threads,
        progress=progress,
    )
    run.prepare()
    material.check()
    films = material.make(prior, validation=False, hint=hint, hint_name=name, progress=progress)
    kept = material.make(prior, validation=True, hint=hint, hint_name=name, progress=progress)
    texts = prior.texts([settings.prompt, ""])
    trainer = settings.trainer
    clips = LatentClips(films, frames=1, seed=trainer.seed, batch=trainer.batch)
    with run.start():
        control = new_branch(prior.unet)
    prior.make_ready(precision=trainer.precision, checkpointing=checkpointing)
    objective = Objective(prior.schedule, prior.prediction, settings.objective)
    task = ControlTask(ControlledUNet(prior.unet, control), objective, settings, texts, kept, decode=prior.pictures)
    trained = cast(ControlledUNet, run.train(task, clips)).control
    save_branch(trained, out)
    return trained
