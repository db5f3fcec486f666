"""Commands that train the networks that ship with the package."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...machine.companions import HEADLESS, importing
from ..support import bars, console, reported
from .options import (
    CheckpointOption,
    DataOption,
    OutOption,
    OverwriteOption,
    ResumeOption,
    SeedOption,
    ThreadsOption,
    app,
)

if TYPE_CHECKING:
    from torch import nn


class PreRestorerSize(StrEnum):
    """Sizes of the pre-restorer that the command line offers."""

    SMALL = "small"
    BASE = "base"


class PreRestorerMixing(StrEnum):
    """Ways in which the pre-restorer mixes a frame with its aligned neighbours."""

    ATTENTION = "attention"
    CONV3D = "conv3d"


class TrainingPrecision(StrEnum):
    """Precisions of the forward pass that the command line offers."""

    BF16 = "bf16"
    NO = "no"


@app.command("dirt-detector")
def train_dirt_detector(
    data: DataOption,
    out: OutOption,
    cache: Annotated[Path, typer.Option(help="Folder for the examples: 3.5 MB per shot, made where missing.")],
    textures: Annotated[Path | None, typer.Option(help="Folder with scanned shapes of dirt, hair and stains.")] = None,
    films: Annotated[
        Path | None, typer.Option(help="Folder with real, damaged films: where they agree with themselves they teach.")
    ] = None,
    shots: Annotated[int, typer.Option(min=1, help="Shots to make examples of.")] = 520,
    hard_shots: Annotated[int, typer.Option(min=0, help="Shots besides, in which things move very fast.")] = 180,
    film_shots: Annotated[int, typer.Option(min=0, help="Stretches of real film besides.")] = 48,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 4200,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    checkpoint_every: CheckpointOption = 250,
) -> None:
    """Train the detector of dirt, scratches of one frame and blotches on clean material that the simulation ages."""
    with reported():
        from ...training.dirt_detector.examples import DirtExampleSettings
        from ...training.dirt_detector.run import train_dirt_detector as train
        from ...training.dirt_detector.task import DirtTrainingSettings

    with reported(), bars() as progress:
        settings = DirtTrainingSettings()
        network = train(
            data,
            out,
            cache,
            textures=textures,
            films=films,
            examples=DirtExampleSettings(shots=shots, hard_shots=hard_shots, film_shots=film_shots, seed=seed),
            settings=replace(
                settings, trainer=replace(settings.trainer, steps=steps, seed=seed, checkpoint_every=checkpoint_every)
            ),
            resume=resume,
            overwrite=overwrite,
            threads=threads,
            progress=progress,
        )
    console.print(f"{out}: calibrated by {network.config.offset}", highlight=False)


@app.command("line-detector")
def train_scratch_detector(
    data: DataOption,
    out: OutOption,
    cache: Annotated[Path, typer.Option(help="Folder for the examples: 0.2 MB per shot, made where missing.")],
    shots: Annotated[int, typer.Option(min=1, help="Shots to make examples of.")] = 1200,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 1400,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    checkpoint_every: CheckpointOption = 250,
) -> None:
    """Train the network that tells scratches from upright things of the scene."""
    with reported():
        from ...training.scratch_detector.examples import ScratchExampleSettings
        from ...training.scratch_detector.run import train_scratch_detector as train
        from ...training.scratch_detector.task import ScratchTrainingSettings

    with reported(), bars() as progress:
        settings = ScratchTrainingSettings()
        train(
            data,
            out,
            cache,
            examples=ScratchExampleSettings(shots=shots, seed=seed),
            settings=replace(
                settings, trainer=replace(settings.trainer, steps=steps, seed=seed, checkpoint_every=checkpoint_every)
            ),
            resume=resume,
            overwrite=overwrite,
            threads=threads,
            progress=progress,
        )
    console.print(f"{out} written", highlight=False)


@app.command("prerestore")
def train_prerestore(
    data: DataOption,
    out: OutOption,
    cache: Annotated[Path, typer.Option(help="Folder for the aged and repaired films, made where missing.")],
    films: Annotated[int, typer.Option(min=1, help="Films to make.")] = 400,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 3000,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    threads: ThreadsOption = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples per step.")] = 6,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make samples; 0 makes them in this one.")] = 0,
    precision: Annotated[
        TrainingPrecision,
        typer.Option(help="Of the forward pass; bf16 is quicker where the processor knows it, no is float32."),
    ] = TrainingPrecision.NO,
    size: Annotated[
        PreRestorerSize, typer.Option(help="small is what ships; base has sixteen times the weights and wants a GPU.")
    ] = PreRestorerSize.SMALL,
    mixing: Annotated[
        PreRestorerMixing,
        typer.Option(help="How a frame takes from its neighbours: by attention in windows, or by a 3-D convolution."),
    ] = PreRestorerMixing.ATTENTION,
    vae: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Stable Diffusion model (folder or checkpoint), or the folder of its VAE, to train a latent head "
            "against; else it gets none.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FILE", help="Begin with these weights and their shape; shipped: those that ship."
        ),
    ] = None,
    head_only: Annotated[
        bool, typer.Option("--head-only", help="Train the latent head alone; the pictures of --from stay as they are.")
    ] = False,
    overwrite: OverwriteOption = False,
    checkpoint_every: CheckpointOption = 200,
) -> None:
    """Train the network that restores a shot before Stable Diffusion sees it, on films aged and repaired."""
    with reported():
        from ...prerestore.network import BASE, SMALL
        from ...prerestore.shipped import SHIPPED
        from ...training.prerestorer.run import train_prerestorer
        from ...training.prerestorer.task import PreRestoreTrainingSettings

    shapes = {PreRestorerSize.SMALL: SMALL, PreRestorerSize.BASE: BASE}
    with reported(), bars() as progress:
        settings = PreRestoreTrainingSettings()
        network = train_prerestorer(
            data,
            out,
            cache,
            config=replace(shapes[size], mixing=mixing.value),
            settings=replace(
                settings,
                trainer=replace(
                    settings.trainer,
                    steps=steps,
                    batch=batch,
                    precision=precision.value,
                    workers=workers,
                    seed=seed,
                    checkpoint_every=checkpoint_every,
                ),
                films=replace(settings.films, films=films, seed=seed),
                head_only=head_only,
            ),
            vae=None if vae is None else _autoencoder(vae),
            start=None if start is None else SHIPPED if start == "shipped" else Path(start),
            resume=resume,
            overwrite=overwrite,
            threads=threads,
            progress=progress,
        )
    count = sum(weights.numel() for weights in network.parameters())
    console.print(f"{out}: {count:,} weights, {'a' if vae else 'no'} latent head", highlight=False)


def _autoencoder(folder: Path) -> "nn.Module":
    """Read a VAE of Stable Diffusion from its folder or from a whole model, never from the network."""
    from ...files.weights import WeightFileError

    if folder.is_file() or (folder / "model_index.json").is_file():
        from ...training.diffusion.prior import open_training_prior

        return open_training_prior(folder).vae
    advice = "give the folder of Stable Diffusion's VAE in diffusers' layout (usually named 'vae')"
    if not (folder / "config.json").is_file():
        raise WeightFileError(f"{folder} has no config.json; {advice}")
    from safetensors import SafetensorError

    with importing("diffusers", HEADLESS):
        from diffusers import AutoencoderKL

    try:
        config = AutoencoderKL.load_config(folder, local_files_only=True)
        if config.get("_class_name") != "AutoencoderKL":
            raise WeightFileError(f"{folder} holds a {config.get('_class_name')}, not an AutoencoderKL; {advice}")
        vae: Any = AutoencoderKL.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise WeightFileError(f"{folder} holds no readable AutoencoderKL ({error}); {advice}") from error
    shape = vae.config.latent_channels, 2 ** (len(vae.config.block_out_channels) - 1)
    if shape != (4, 8):
        raise WeightFileError(f"{folder} gives {shape[0]} channels at 1/{shape[1]} of the size, not 4 at 1/8; {advice}")
    return vae
