"""The training of the small world, from clips and photographs to weights: first the model, then what joins it."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from vldm_core.errors import SettingsError
from vldm_core.files.weights import read_contents, tensors_of
from vldm_core.progress import Progress, silent
from vldm_core.training.diffusion.latent_films import LatentClips
from vldm_core.training.diffusion.material import PriorMaterial
from vldm_core.training.diffusion.objective import Objective, ObjectiveSettings
from vldm_core.training.diffusion.prior import training_prior
from vldm_core.training.run import TrainingRun

from .films import world_material
from .models import halve, new_pipeline, save_part
from .parts_training import ROUTES, PartsTraining
from .unet_training import UNET, UNetTask
from .vae_training import VAE, Crops, VaeTask, even_out, start_gently

_SNR_LIMIT = 5.0

PARTS = ("vae", "unet", "temporal", "control", "eras", "prerestorer", "fusion")
"""All that is trained, in an order in which each has what it needs."""


def train_parts(
    data: Path,
    cache: Path,
    out: Path,
    *,
    parts: Sequence[str] = (),
    resume: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> None:
    """Train the small world and what joins it.

    Args:
        data: Folder with `clips`, `photos` and `film`.
        cache: Folder for films and latents.
        out: Folder for the weights; parts find there what they join.
        parts: Of `PARTS`; none named is all.
        resume: Go on from checkpoints, and leave what is finished as it is.
        threads: Threads of torch; None leaves them as they are.
        progress: Called once per film and per step; may raise to interrupt.

    Raises:
        SettingsError: A part is not known, or a file would be replaced unasked.
        FilmFileError: There is nothing to train on.
    """
    if unknown := [part for part in parts if part not in PARTS]:
        raise SettingsError(f"there is no part {unknown[0]!r} of the small world; use some of {', '.join(PARTS)}")
    material = world_material(data, cache)
    material.check()
    out.mkdir(parents=True, exist_ok=True)
    join = PartsTraining(weights=out, material=material, data=data, resume=resume, threads=threads, progress=progress)
    vae, unet = out / "vae.safetensors", out / "unet.safetensors"
    steps: dict[str, list[tuple[Path, Callable[[], None]]]] = {
        "vae": [(vae, lambda: train_vae(material, vae, resume=resume, threads=threads, progress=progress))],
        "unet": [(unet, lambda: train_unet(material, vae, unet, resume=resume, threads=threads, progress=progress))],
        "temporal": [(out / "temporal.safetensors", join.temporal)],
        "control": [(out / "control.safetensors", join.control)],
        # Finished eras are left alone by their own training.
        "eras": [(out / "eras" / "unfinished", join.eras)],
        "prerestorer": [(out / "prerestorer.safetensors", join.prerestorer)],
        "fusion": [(out / f"fusion_{source}.safetensors", partial(join.fusion, source)) for source in ROUTES],
    }
    for part in PARTS:
        for file, train in steps[part] if not parts or part in parts else ():
            if not (resume and file.is_file()):
                train()
                # What ships is to be small.
                for written in (file,) if file.is_file() else sorted(file.parent.glob("*.safetensors")):
                    halve(written)


def train_vae(
    material: PriorMaterial, out: Path, *, resume: bool = False, threads: int | None = None, progress: Progress = silent
) -> None:
    """Train the VAE and write its weights.

    Args:
        material: Films.
        out: File.
        resume: Go on from the checkpoint, if there is one.
        threads: Threads of torch; None leaves them as they are.
        progress: Called once per film and per step.
    """
    run = TrainingRun(
        out=out, settings=VAE, description={"task": "world VAE"}, resume=resume, threads=threads, progress=progress
    )
    run.prepare()
    films = material.make_films(validation=False, progress=progress)
    kept = material.make_films(validation=True, progress=progress)
    with run.start():
        vae = new_pipeline().vae.to(memory_format=torch.channels_last)
        start_gently(vae)
    trained = run.train(VaeTask(vae, kept), Crops(films, seed=VAE.seed, batch=VAE.batch))
    even_out(trained, films[:64])
    save_part(trained, out)


def train_unet(
    material: PriorMaterial,
    vae: Path,
    out: Path,
    *,
    resume: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> None:
    """Train the UNet on the latents of a trained VAE and write its weights.

    Args:
        material: Films.
        vae: File of `train_vae`.
        out: File.
        resume: Go on from the checkpoint, if there is one.
        threads: Threads of torch; None leaves them as they are.
        progress: Called once per film and per step.
    """
    run = TrainingRun(
        out=out, settings=UNET, description={"task": "world UNet"}, resume=resume, threads=threads, progress=progress
    )
    run.prepare()
    with run.start():
        pipeline = new_pipeline()
    weights = tensors_of(read_contents(vae))
    pipeline.vae.load_state_dict({key: value.float() for key, value in weights.items()})
    prior = training_prior(pipeline)
    films = material.make(prior, validation=False, progress=progress)
    kept = material.make(prior, validation=True, progress=progress)
    objective = Objective(prior.schedule, prior.prediction, ObjectiveSettings(snr_limit=_SNR_LIMIT))
    task = UNetTask(prior, objective, films, kept)
    save_part(run.train(task, LatentClips(films, frames=1, seed=UNET.seed, batch=UNET.batch)), out)
