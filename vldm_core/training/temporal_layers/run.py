"""The training of temporal layers, from a model and a folder of clips and photographs to a file of layers."""

from dataclasses import replace
from pathlib import Path
from typing import cast

from ...errors import SettingsError
from ...prerestore.network import PreRestorer
from ...prior.controls.control import ControlSystem
from ...prior.controls.diffbir.branch import DiffBirControl
from ...prior.temporal.files import save_temporal_layers
from ...prior.temporal.layers import TemporalConfig, TemporalLayers
from ...prior.unet import UNetView
from ...progress import Progress, silent
from ..diffusion.hints import head_latents, pre_restored
from ..diffusion.latent_films import LatentClips, LatentFilms
from ..diffusion.material import PriorMaterial
from ..diffusion.objective import Objective
from ..diffusion.prior import TrainingPrior
from ..fingerprints import fingerprint
from ..run import TrainingRun
from .task import ClipUNet, TemporalTask, TemporalTrainingSettings


def train_temporal_layers(
    prior: TrainingPrior,
    material: PriorMaterial,
    out: Path,
    *,
    control: ControlSystem | None = None,
    prerestorer: PreRestorer | None = None,
    head: bool = False,
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
        control: Steers the model while the layers are trained, as it will when they are used: its hints are the damaged
            films, so that the layers are conditioned on their latents. DiffBIR's, or one of `train_control_branch`;
            None trains the layers on the model alone.
        prerestorer: Makes the hints of aged and repaired films; None gives the control the repaired films themselves.
        head: Whether the hints are what the pre-restorer's latent head gives, and not its encoded frames.
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
    if control is not None and not isinstance(control, DiffBirControl):
        raise SettingsError(
            f"layers are trained under controls of DiffBIR's kind, such as train control writes; this is {control.name}"
        )
    hint, planes, name = None, None, "repaired"
    if control is not None and prerestorer is not None:
        if head:
            planes, name = head_latents(prerestorer, prior.scale)
        else:
            hint, name = pre_restored(prerestorer)
    config = TemporalConfig.for_unet(UNetView(prior.unet), heads=settings.heads, attention=settings.attention)
    steered = {} if control is None else {"control": fingerprint(control), "hint": name}
    run = TrainingRun(
        out=out,
        settings=settings.trainer,
        description={"task": "temporal layers", "prior": prior.name, "losses": settings.description(), **steered},
        resume=resume,
        overwrite=overwrite,
        threads=threads,
        progress=progress,
    )
    run.prepare()
    material = replace(material, films=replace(material.films, frames=max(material.films.frames, settings.frames)))
    material.check()

    def films(*, validation: bool) -> LatentFilms:
        return material.make(prior, validation=validation, hint=hint, planes=planes, hint_name=name, progress=progress)

    given, kept = films(validation=False), films(validation=True)
    texts = prior.texts([settings.prompt, ""])
    trainer = settings.trainer
    clips = LatentClips(given, frames=settings.frames, seed=trainer.seed, batch=trainer.batch)
    with run.start():
        layers = TemporalLayers(config)
    prior.make_ready(precision=trainer.precision, checkpointing=checkpointing)
    objective = Objective(prior.schedule, prior.prediction, settings.objective)
    module = ClipUNet(prior.unet, layers, control)
    task = TemporalTask(module, objective, settings, texts, kept, decode=prior.pictures)
    trained = cast(ClipUNet, run.train(task, clips)).layers
    save_temporal_layers(trained, out)
    return trained
