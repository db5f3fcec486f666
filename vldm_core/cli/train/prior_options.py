"""The options that every training on a Stable Diffusion prior has."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import CheckpointOption, OverwriteOption, ResumeOption, SeedOption, ThreadsOption

if TYPE_CHECKING:
    from ...training.diffusion.material import PriorMaterial
    from ...training.diffusion.prior import TrainingPrior
    from ...training.settings import TrainerSettings

StepsOption = Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Samples per forward pass.")]
AccumulationOption = Annotated[int, typer.Option(min=1, help="Forward passes per step.")]
RateOption = Annotated[float, typer.Option(min=0, help="Largest learning rate.")]


@dataclass(frozen=True, kw_only=True)
class PriorTrainingOptions:
    """What the command line says of a training on a prior; the help of each option says what it is."""

    prior_config: Annotated[
        Path | None, typer.Option(help="For a checkpoint of other sizes: diffusers folder with its configuration.")
    ] = None
    prediction: Annotated[
        Literal["auto", "eps", "v"],
        typer.Option(help="What the model predicts; auto: as its metadata or weights say."),
    ] = "auto"
    steps: StepsOption
    batch: BatchOption
    accumulation: AccumulationOption
    rate: RateOption = 1e-4
    precision: Annotated[
        Literal["bf16", "no"], typer.Option(help="Of the frozen model and the forward pass; no is float32.")
    ] = "bf16"
    checkpointing: Annotated[
        bool, typer.Option(help="Run blocks again for the gradients: half the memory for a third more time.")
    ] = True
    seed: SeedOption = 0
    resume: ResumeOption = False
    overwrite: OverwriteOption = False
    threads: ThreadsOption = None
    checkpoint_every: CheckpointOption = 1000

    def trainer(self, before: "TrainerSettings") -> "TrainerSettings":
        """Return a task's own settings of the trainer with what is said here."""
        names = ("steps", "batch", "accumulation", "rate", "precision", "seed", "checkpoint_every")
        said: dict[str, Any] = {name: getattr(self, name) for name in names}
        return replace(before, **said, validate_every=self.checkpoint_every)

    def open(self, prior: Path) -> "TrainingPrior":
        """Open the model."""
        from ...training.diffusion.prior import open_training_prior

        prediction = None if self.prediction == "auto" else self.prediction
        return open_training_prior(prior, config=self.prior_config, prediction=prediction)

    @property
    def running(self) -> dict[str, Any]:
        """What the run itself takes."""
        return {name: getattr(self, name) for name in ("checkpointing", "resume", "overwrite", "threads")}


@dataclass(frozen=True, kw_only=True)
class FilmTrainingOptions(PriorTrainingOptions):
    """The options of a training on films that are made of clean films and pictures."""

    data: Annotated[
        list[Path], typer.Option(help="Folder with clean films and pictures, or a file; may be given several times.")
    ]
    cache: Annotated[
        Path, typer.Option(help="Folder for the films that are made and their latents; made where missing.")
    ]
    films: Annotated[int, typer.Option(min=1, help="Films to make to train on.")] = 1000
    validation_films: Annotated[int, typer.Option(min=1, help="Films to make of the files that are kept apart.")] = 24
    side: Annotated[int, typer.Option(min=64, help="Height and width of the films, a multiple of 64.")] = 512
    prompt: Annotated[str, typer.Option(help="What the films show.")] = ""

    def material(self, out: Path) -> "PriorMaterial":
        """Return where films come from, after a look at whether the run can begin: before the model is opened.

        Args:
            out: File that will be written.

        Raises:
            SettingsError: It would replace something unasked.
            FilmFileError: There is nothing to train on.
        """
        from ...training.diffusion.material import PriorMaterial
        from ...training.run import check_output

        made = PriorMaterial(data=tuple(self.data or ()), cache=self.cache, validation_films=self.validation_films)
        films = replace(made.films, films=self.films, height=self.side, width=self.side, seed=self.seed)
        made = replace(made, films=films)
        made.check()
        check_output(out, out.with_suffix(".training"), resume=self.resume, overwrite=self.overwrite)
        return made
