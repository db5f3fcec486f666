"""The training of a control branch, from a model and a folder of clips and photographs to a file of a control."""

import copy
from pathlib import Path
from typing import cast

from ...errors import SettingsError
from ...prerestore.network import KIND, PreRestorer
from ...prior.controls.diffbir.branch import DiffBirControl
from ...progress import Progress, silent
from ..diffusion.hints import head_planes, pre_restored
from ..diffusion.latent_films import LatentClips, LatentFilms
from ..diffusion.material import PriorMaterial
from ..diffusion.objective import Objective
from ..diffusion.prior import TrainingPrior
from ..run import TrainingRun
from .branch import new_branch, save_branch
from .task import ControlledUNet, ControlTask, ControlTrainingSettings, HintHead

_HELD = 24
"""Films of which what the head sees is held in memory: 67 MB each for 16 frames of 512×512."""


def train_control_branch(
    prior: TrainingPrior,
    material: PriorMaterial,
    out: Path,
    *,
    prerestorer: PreRestorer | None,
    head: bool = False,
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
        head: Whether the hints are what the pre-restorer's latent head gives, and the head is trained along; the
            pre-restorer with the new head is written to `head_file(out)`.
        settings: How it is trained.
        checkpointing: Run the UNet's blocks again for the gradients instead of keeping what they computed.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Replace weights and checkpoint that are there.
        threads: Threads of torch and OpenCV; None leaves them as they are.
        progress: Called once per film and per step; may raise to interrupt.

    Returns:
        The control with averaged weights.

    Raises:
        SettingsError: The settings do not fit each other or the checkpoint, there is no latent head, or something would
            be replaced unasked.
        FilmFileError: There is nothing to train on or to validate on. All of these before any film is made.
    """
    settings = settings or ControlTrainingSettings()
    hint, planes, name = None, None, "repaired"
    if head:
        if prerestorer is None:
            raise SettingsError("a latent head is trained along, but there is no pre-restorer that has one; give it")
        check_head_file(out, resume=resume, overwrite=overwrite)
        planes, name = head_planes(prerestorer)
    elif prerestorer is not None:
        hint, name = pre_restored(prerestorer)
    described = settings.description() | ({"latent": settings.latent} if head else {})
    run = TrainingRun(
        out=out,
        settings=settings.trainer,
        description={"task": "control branch", "prior": prior.name, "hint": name, "losses": described},
        resume=resume,
        overwrite=overwrite,
        threads=threads,
        progress=progress,
    )
    run.prepare()
    material.check()

    def films(*, validation: bool) -> LatentFilms:
        return material.make(prior, validation=validation, hint=hint, planes=planes, hint_name=name, progress=progress)

    given, kept = films(validation=False), films(validation=True)
    texts = prior.texts([settings.prompt, ""])
    trainer = settings.trainer
    held = {"held": _HELD} if head else {}
    clips = LatentClips(given, frames=1, seed=trainer.seed, batch=trainer.batch, **held)
    with run.start():
        control = new_branch(prior.unet)
    prior.make_ready(precision=trainer.precision, checkpointing=checkpointing)
    objective = Objective(prior.schedule, prior.prediction, settings.objective)
    network = copy.deepcopy(prerestorer) if head else None
    own = None if network is None or network.latent is None else HintHead(network.latent.float(), prior.scale)
    module = ControlledUNet(prior.unet, control, own)
    trained = cast(
        ControlledUNet,
        run.train(ControlTask(module, objective, settings, texts, kept, decode=prior.pictures), clips),
    )
    if network is not None:
        # First, so that a run whose own file is there has written both.
        KIND.save(network.float().cpu(), head_file(out))
    save_branch(trained.control, out)
    return trained.control


def head_file(out: Path) -> Path:
    """Return where the pre-restorer whose head was trained along is written, beside the control."""
    return out.with_suffix(f".prerestorer{out.suffix}")


def check_head_file(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Check that the pre-restorer with the new head replaces nothing unasked.

    Raises:
        SettingsError: It would.
    """
    if head_file(out).exists() and not resume and not overwrite:
        raise SettingsError(f"{head_file(out)} would be replaced; name another file, or give --overwrite to begin anew")
