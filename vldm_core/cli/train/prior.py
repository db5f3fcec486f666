"""Commands that train parts of a Stable Diffusion prior."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ...errors import SettingsError
from ..support import bars, console, reported, with_options
from .options import CheckpointOption, OutOption, app
from .prior_options import AccumulationOption, BatchOption, FilmTrainingOptions, PriorTrainingOptions, StepsOption

if TYPE_CHECKING:
    from ...prerestore.network import PreRestorer

PriorArgument = Annotated[
    Path,
    typer.Argument(help="Stable Diffusion 1.x or 2.x model: diffusers folder or checkpoint.", show_default=False),
]


@dataclass(frozen=True, kw_only=True)
class TemporalTrainingOptions(FilmTrainingOptions):
    """The options of `train temporal`."""

    steps: StepsOption = 20000
    batch: BatchOption = 1
    accumulation: AccumulationOption = 4
    frames: Annotated[int, typer.Option(min=2, help="Frames of a sample.")] = 8
    attention: Annotated[bool, typer.Option(help="Attention over frames beside the convolutions.")] = True
    consistency: Annotated[float, typer.Option(min=0, help="Weight of the flow-consistency loss.")] = 0.1
    carried_noise: Annotated[
        float, typer.Option(min=0, max=1, help="Share of samples whose noise moves with the picture.")
    ] = 0.5
    control: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Control of train control, or DiffBIR's, that steers the model meanwhile: it conditions the layers "
            "on the damaged film.",
        ),
    ] = None
    prerestorer: Annotated[
        Path | None, typer.Option(help="--control only: network whose frames are the hints; else the one that ships.")
    ] = None
    latent_head: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="--control only: pre-restorer whose own latents are the hints."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ControlTrainingOptions(FilmTrainingOptions):
    """The options of `train control`."""

    steps: StepsOption = 30000
    batch: BatchOption = 4
    accumulation: AccumulationOption = 4
    prerestorer: Annotated[
        Path | None, typer.Option(help="Network whose frames are the hints; else the one that ships.")
    ] = None
    latent_head: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Pre-restorer whose latent head gives the hints and is trained along; the new one is written beside "
            "the control, NAME.prerestorer.safetensors.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class LoraTrainingOptions(PriorTrainingOptions):
    """The options of `train lora`."""

    steps: StepsOption = 1500
    batch: BatchOption = 2
    accumulation: AccumulationOption = 2
    checkpoint_every: CheckpointOption = 250
    cache: Annotated[Path, typer.Option(help="Folder for the pictures that are cut and their latents.")]
    era: Annotated[list[str] | None, typer.Option(help="Train for this era only; may be given several times.")] = None
    pictures: Annotated[int, typer.Option(min=1, help="Pictures that are cut of an era's films.")] = 400
    validation_pictures: Annotated[int, typer.Option(min=1, help="Pictures of the films that are kept apart.")] = 48
    side: Annotated[int, typer.Option(min=64, help="Height and width of the pictures, a multiple of 64.")] = 512
    rank: Annotated[int, typer.Option(min=1, help="Rank of every update.")] = 16
    alpha: Annotated[float, typer.Option(min=0, help="What is added is multiplied by alpha / rank.")] = 16.0
    layout: Annotated[
        Literal["kohya", "peft"], typer.Option(help="Names of the tensors: kohya's, which most know, or PEFT's.")
    ] = "kohya"
    prompt: Annotated[str, typer.Option(help="What the pictures show; {era} stands for the era.")] = (
        "a film still from the {era}"
    )


@app.command("temporal")
@with_options("options", TemporalTrainingOptions)
def train_temporal(prior: PriorArgument, out: OutOption, *, options: TemporalTrainingOptions) -> None:
    """Train temporal layers on a frozen model: with them it samples a clip, and not frame by frame."""
    with reported():
        from ...prior.controls.reading import find_control, read_control
        from ...training.control_branch.branch import heads_of
        from ...training.temporal_layers.run import train_temporal_layers
        from ...training.temporal_layers.task import TemporalTrainingSettings

    with reported(), bars() as progress:
        settings = TemporalTrainingSettings(
            frames=options.frames,
            carried=options.carried_noise,
            attention=options.attention,
            consistency=options.consistency,
            prompt=options.prompt,
        )
        settings = replace(settings, trainer=options.trainer(settings.trainer))
        given = options.material(out)
        network, head = _hinting(options.prerestorer, options.latent_head)
        if options.control is None and (options.prerestorer or options.latent_head) is not None:
            raise SettingsError("--prerestorer and --latent-head make the hints of a control; give --control FILE too")
        if options.control is not None and (refusal := find_control([options.control]).refusal()):
            raise SettingsError(refusal)
        opened = options.open(prior)
        control = None
        if options.control is not None:
            control = read_control([options.control], heads=heads_of(opened.unet))
        layers = train_temporal_layers(
            opened,
            given,
            out,
            control=control,
            prerestorer=network,
            head=head,
            settings=settings,
            progress=progress,
            **options.running,
        )
    count = sum(weights.numel() for weights in layers.parameters())
    console.print(f"{out}: {count:,} weights", highlight=False)


@app.command("control")
@with_options("options", ControlTrainingOptions)
def train_control(prior: PriorArgument, out: OutOption, *, options: ControlTrainingOptions) -> None:
    """Train a control branch on a frozen model: with it the damaged film steers what is sampled."""
    with reported():
        from ...training.control_branch.run import check_head_file, head_file, train_control_branch
        from ...training.control_branch.task import ControlTrainingSettings

    with reported(), bars() as progress:
        settings = ControlTrainingSettings(prompt=options.prompt)
        settings = replace(settings, trainer=options.trainer(settings.trainer))
        given = options.material(out)
        network, head = _hinting(options.prerestorer, options.latent_head)
        if head:
            check_head_file(out, resume=options.resume, overwrite=options.overwrite)
        control = train_control_branch(
            options.open(prior),
            given,
            out,
            prerestorer=network,
            head=head,
            settings=settings,
            progress=progress,
            **options.running,
        )
    count = sum(weights.numel() for weights in control.parameters())
    console.print(f"{out}: {count:,} weights; read it as a restoration control of DiffBIR's kind", highlight=False)
    if head:
        console.print(f"{head_file(out)}: the pre-restorer whose latents it looks at", highlight=False)


def _hinting(prerestorer: Path | None, head: Path | None) -> "tuple[PreRestorer, bool]":
    """Return the network that makes the hints, and whether its latent head does.

    Raises:
        SettingsError: Both are given, or the one whose head is meant has none.
    """
    from ...prerestore.shipped import PreRestoration, load_prerestorer
    from ...training.diffusion.hints import check_head

    if prerestorer is not None and head is not None:
        raise SettingsError("--prerestorer and --latent-head were both given; the one with the latent head is enough")
    network = load_prerestorer(PreRestoration(weights=head or prerestorer))
    if head is not None:
        check_head(network)
    return network, head is not None


@app.command("lora")
@with_options("options", LoraTrainingOptions)
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
    *,
    options: LoraTrainingOptions,
) -> None:
    """Train a LoRA for each era on films of the era, as they are: with their grain, tones and lenses."""
    with reported():
        from ...training.era_lora.examples import EraPictureSettings
        from ...training.era_lora.reels import era_reels
        from ...training.era_lora.run import MAP, chosen_eras, train_era_loras
        from ...training.era_lora.task import LoraTrainingSettings

    with reported(), bars() as progress:
        settings = LoraTrainingSettings(rank=options.rank, alpha=options.alpha, prompt=options.prompt)
        settings = replace(settings, trainer=options.trainer(settings.trainer))
        pictures = EraPictureSettings(
            pictures=options.pictures,
            validation_pictures=options.validation_pictures,
            side=options.side,
            seed=options.seed,
        )
        eras = options.era or []
        # Before the model is opened.
        chosen_eras(era_reels(data), eras)
        found = train_era_loras(
            options.open(prior),
            data,
            out,
            options.cache,
            eras=eras,
            pictures=pictures,
            settings=settings,
            layout=options.layout,
            progress=progress,
            **options.running,
        )
    console.print(f"{out / MAP}: {', '.join(found.eras)}", highlight=False)
