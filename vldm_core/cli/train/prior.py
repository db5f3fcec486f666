"""Commands that train parts of a Stable Diffusion prior."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..support import bars, console, reported
from .options import (
    CheckpointOption,
    OutOption,
    OverwriteOption,
    ResumeOption,
    SeedOption,
    ThreadsOption,
    app,
)

if TYPE_CHECKING:
    from ...training.diffusion.material import PriorMaterial
    from ...training.settings import TrainerSettings

PriorArgument = Annotated[
    Path,
    typer.Argument(help="Stable Diffusion 1.x or 2.x model: diffusers folder or checkpoint.", show_default=False),
]
PriorConfigOption = Annotated[
    Path | None, typer.Option(help="For a checkpoint of other sizes: diffusers folder with its configuration.")
]
PredictionOption = Annotated[
    Literal["auto", "eps", "v"], typer.Option(help="What the model predicts; auto: as its metadata or weights say.")
]
FilmDataOption = Annotated[
    list[Path], typer.Option(help="Folder with clean films and pictures, or a file; may be given several times.")
]
CacheOption = Annotated[
    Path, typer.Option(help="Folder for the films that are made and their latents; made where missing.")
]
FilmsOption = Annotated[int, typer.Option(min=1, help="Films to make to train on.")]
SideOption = Annotated[int, typer.Option(min=64, help="Height and width of the films, a multiple of 64.")]
StepsOption = Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Samples per forward pass.")]
AccumulationOption = Annotated[int, typer.Option(min=1, help="Forward passes per step.")]
RateOption = Annotated[float, typer.Option(min=0, help="Largest learning rate.")]
PrecisionOption = Annotated[
    Literal["bf16", "no"], typer.Option(help="Of the frozen model and the forward pass; no is float32.")
]
AgainOption = Annotated[
    bool, typer.Option(help="Run blocks again for the gradients: half the memory for a third more time.")
]
PromptOption = Annotated[str, typer.Option(help="What the films show.")]


def material(data: list[Path], cache: Path, *, films: int, side: int, frames: int, seed: int) -> "PriorMaterial":
    """Return where films come from and how they are made."""
    from ...training.diffusion.material import PriorMaterial

    made = PriorMaterial(data=tuple(data), cache=cache)
    return replace(made, films=replace(made.films, films=films, frames=frames, height=side, width=side, seed=seed))


def trainer(
    before: "TrainerSettings",
    *,
    steps: int,
    batch: int,
    accumulation: int,
    rate: float,
    precision: Literal["bf16", "no"],
    seed: int,
    checkpoint_every: int,
) -> "TrainerSettings":
    """Return a task's own settings of the trainer with what the command line says."""
    return replace(
        before,
        steps=steps,
        batch=batch,
        accumulation=accumulation,
        rate=rate,
        precision=precision,
        seed=seed,
        checkpoint_every=checkpoint_every,
        validate_every=checkpoint_every,
    )


@app.command("temporal")
def train_temporal(
    prior: PriorArgument,
    data: FilmDataOption,
    out: OutOption,
    cache: CacheOption,
    prior_config: PriorConfigOption = None,
    prediction: PredictionOption = "auto",
    films: FilmsOption = 1000,
    side: SideOption = 512,
    frames: Annotated[int, typer.Option(min=2, help="Frames of a sample.")] = 8,
    steps: StepsOption = 20000,
    batch: BatchOption = 1,
    accumulation: AccumulationOption = 4,
    rate: RateOption = 1e-4,
    precision: PrecisionOption = "bf16",
    checkpointing: AgainOption = True,
    attention: Annotated[bool, typer.Option(help="Attention over frames beside the convolutions.")] = True,
    consistency: Annotated[float, typer.Option(min=0, help="Weight of the flow-consistency loss.")] = 0.1,
    prompt: PromptOption = "",
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    threads: ThreadsOption = None,
    checkpoint_every: CheckpointOption = 1000,
) -> None:
    """Train temporal layers on a frozen model: with them it samples a clip, and not frame by frame."""
    with reported():
        from ...training.diffusion.prior import open_training_prior
        from ...training.run import check_output
        from ...training.temporal_layers.run import train_temporal_layers
        from ...training.temporal_layers.task import TemporalTrainingSettings

    with reported(), bars() as progress:
        settings = TemporalTrainingSettings(frames=frames, attention=attention, consistency=consistency, prompt=prompt)
        settings = replace(
            settings,
            trainer=trainer(
                settings.trainer,
                steps=steps,
                batch=batch,
                accumulation=accumulation,
                rate=rate,
                precision=precision,
                seed=seed,
                checkpoint_every=checkpoint_every,
            ),
        )
        given = material(data, cache, films=films, side=side, frames=max(frames, 16), seed=seed)
        given.check()
        check_output(out, out.with_suffix(".training"), resume=resume, overwrite=overwrite)
        layers = train_temporal_layers(
            open_training_prior(prior, config=prior_config, prediction=None if prediction == "auto" else prediction),
            given,
            out,
            settings=settings,
            checkpointing=checkpointing,
            resume=resume,
            overwrite=overwrite,
            threads=threads,
            progress=progress,
        )
    count = sum(weights.numel() for weights in layers.parameters())
    console.print(f"{out}: {count:,} weights", highlight=False)


@app.command("control")
def train_control(
    prior: PriorArgument,
    data: FilmDataOption,
    out: OutOption,
    cache: CacheOption,
    prior_config: PriorConfigOption = None,
    prediction: PredictionOption = "auto",
    prerestorer: Annotated[
        Path | None, typer.Option(help="Network whose frames are the hints; else the one that ships.")
    ] = None,
    films: FilmsOption = 1000,
    side: SideOption = 512,
    steps: StepsOption = 30000,
    batch: BatchOption = 4,
    accumulation: AccumulationOption = 4,
    rate: RateOption = 1e-4,
    precision: PrecisionOption = "bf16",
    checkpointing: AgainOption = True,
    prompt: PromptOption = "",
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    threads: ThreadsOption = None,
    checkpoint_every: CheckpointOption = 1000,
) -> None:
    """Train a control branch on a frozen model: with it the damaged film steers what is sampled."""
    with reported():
        from ...prerestore.network import KIND
        from ...prerestore.shipped import load_prerestorer
        from ...training.control_branch.run import train_control_branch
        from ...training.control_branch.task import ControlTrainingSettings
        from ...training.diffusion.prior import open_training_prior
        from ...training.run import check_output

    with reported(), bars() as progress:
        settings = ControlTrainingSettings(prompt=prompt)
        settings = replace(
            settings,
            trainer=trainer(
                settings.trainer,
                steps=steps,
                batch=batch,
                accumulation=accumulation,
                rate=rate,
                precision=precision,
                seed=seed,
                checkpoint_every=checkpoint_every,
            ),
        )
        given = material(data, cache, films=films, side=side, frames=16, seed=seed)
        given.check()
        check_output(out, out.with_suffix(".training"), resume=resume, overwrite=overwrite)
        network = load_prerestorer() if prerestorer is None else KIND.load(prerestorer)
        control = train_control_branch(
            open_training_prior(prior, config=prior_config, prediction=None if prediction == "auto" else prediction),
            given,
            out,
            prerestorer=network,
            settings=settings,
            checkpointing=checkpointing,
            resume=resume,
            overwrite=overwrite,
            threads=threads,
            progress=progress,
        )
    count = sum(weights.numel() for weights in control.parameters())
    console.print(f"{out}: {count:,} weights; read it as a restoration control of DiffBIR's kind", highlight=False)


@app.command("lora")
def train_lora(
    prior: PriorArgument,
    data: Annotated[
        Path,
        typer.Option(
            help="Folder with a subfolder of films for each era, such as 1900s/ or newsreel/, or with films and their "
            "tables of shots."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the files and the map of eras, eras.json.")],
    cache: CacheOption,
    era: Annotated[list[str] | None, typer.Option(help="Train for this era only; may be given several times.")] = None,
    prior_config: PriorConfigOption = None,
    prediction: PredictionOption = "auto",
    pictures: Annotated[int, typer.Option(min=1, help="Pictures that are cut of an era's films.")] = 400,
    side: Annotated[int, typer.Option(min=64, help="Height and width of the pictures, a multiple of 64.")] = 512,
    rank: Annotated[int, typer.Option(min=1, help="Rank of every update.")] = 16,
    alpha: Annotated[float, typer.Option(min=0, help="What is added is multiplied by alpha / rank.")] = 16.0,
    layout: Annotated[
        Literal["kohya", "peft"],
        typer.Option(help="Names of the tensors: kohya's, which most know, or PEFT's."),
    ] = "kohya",
    prompt: Annotated[
        str, typer.Option(help="What the pictures show; {era} stands for the era.")
    ] = "a film still from the {era}",
    steps: StepsOption = 1500,
    batch: BatchOption = 2,
    accumulation: AccumulationOption = 2,
    rate: RateOption = 1e-4,
    precision: PrecisionOption = "bf16",
    checkpointing: AgainOption = True,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    threads: ThreadsOption = None,
    checkpoint_every: CheckpointOption = 250,
) -> None:
    """Train a LoRA for each era on films of the era, as they are: with their grain, tones and lenses."""
    with reported():
        from ...training.diffusion.prior import open_training_prior
        from ...training.era_lora.examples import EraPictureSettings
        from ...training.era_lora.reels import era_reels
        from ...training.era_lora.run import MAP, chosen_eras, train_era_loras
        from ...training.era_lora.task import LoraTrainingSettings

    with reported(), bars() as progress:
        settings = LoraTrainingSettings(rank=rank, alpha=alpha, prompt=prompt)
        settings = replace(
            settings,
            trainer=trainer(
                settings.trainer,
                steps=steps,
                batch=batch,
                accumulation=accumulation,
                rate=rate,
                precision=precision,
                seed=seed,
                checkpoint_every=checkpoint_every,
            ),
        )
        chosen = era or []
        chosen_eras(era_reels(data), chosen)
        found = train_era_loras(
            open_training_prior(prior, config=prior_config, prediction=None if prediction == "auto" else prediction),
            data,
            out,
            cache,
            eras=chosen,
            pictures=EraPictureSettings(pictures=pictures, side=side, seed=seed),
            settings=settings,
            layout=layout,
            checkpointing=checkpointing,
            resume=resume,
            overwrite=overwrite,
            threads=threads,
            progress=progress,
        )
    console.print(f"{out / MAP}: {', '.join(found.eras)}", highlight=False)
