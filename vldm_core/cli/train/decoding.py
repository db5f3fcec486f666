"""Commands that train what comes behind the sampling: the fusion, and a decoder that sees several frames."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..support import bars, console, reported, with_options
from .options import OutOption, app
from .prior import PriorArgument
from .prior_options import AccumulationOption, BatchOption, FilmTrainingOptions, RateOption, StepsOption


@dataclass(frozen=True, kw_only=True)
class FusionTrainingOptions(FilmTrainingOptions):
    """The options of `train fusion`."""

    steps: StepsOption = 6000
    batch: BatchOption = 4
    accumulation: AccumulationOption = 1
    rate: RateOption = 4e-4
    precision: Annotated[Literal["bf16", "no"], typer.Option(help="Of the forward pass; no is float32.")] = "no"
    source: Annotated[
        Literal["latent", "decoder", "picture"],
        typer.Option(
            help="What comes from the prior: its clean latent, what the VAE's decoder sees, or the decoded picture."
        ),
    ] = "latent"
    sample_side: Annotated[int, typer.Option(min=64, help="Height and width of a sample, a multiple of 8.")] = 256
    prerestorer: Annotated[
        Path | None, typer.Option(help="Network whose features are fused; else the one that ships.")
    ] = None
    temporal: Annotated[Path | None, typer.Option(help="Temporal layers that the prior is sampled with.")] = None
    control: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Restoration control that it is sampled with. Repeatable.")
    ] = None
    strength: Annotated[float, typer.Option(min=0, max=1, help="How far clips are noised.")] = 0.4
    sampling_steps: Annotated[int, typer.Option(min=1, help="Steps of the sampler's whole schedule.")] = 20
    cfg: Annotated[float, typer.Option(min=0, help="How strongly the prompt guides.")] = 1.0


@dataclass(frozen=True, kw_only=True)
class DecoderTrainingOptions(FilmTrainingOptions):
    """The options of `train temporal-decoder`."""

    steps: StepsOption = 4000
    batch: BatchOption = 1
    accumulation: AccumulationOption = 2
    precision: Annotated[Literal["bf16", "no"], typer.Option(help="Of the forward pass; no is float32.")] = "no"
    frames: Annotated[int, typer.Option(min=2, help="Frames of a sample.")] = 8
    sample_side: Annotated[int, typer.Option(min=64, help="Height and width of a sample, a multiple of 8.")] = 256
    noise: Annotated[
        float, typer.Option(min=0, max=1, help="Noise on the latents, of which the scaled ones spread by 1.")
    ] = 0.1


@app.command("fusion")
@with_options("options", FusionTrainingOptions)
def train_fusion(prior: PriorArgument, out: OutOption, *, options: FusionTrainingOptions) -> None:
    """Train what fuses the prior's result with the pre-restored picture; it begins as that picture."""
    with reported():
        from ...prerestore.shipped import PreRestoration, load_prerestorer
        from ...prior.controls.grouping import find_controls
        from ...prior.controls.reading import read_control
        from ...prior.temporal.files import read_temporal_layers
        from ...prior.unet import UNetView
        from ...training.fusion.run import sample_with
        from ...training.fusion.run import train_fusion as train
        from ...training.fusion.task import FusionTrainingSettings

    with reported(), bars() as progress:
        settings = FusionTrainingSettings(source=options.source, side=options.sample_side)
        settings = replace(settings, trainer=options.trainer(settings.trainer))
        given = options.material(out)
        network = load_prerestorer(PreRestoration(weights=options.prerestorer))
        systems = [tuple(dict.fromkeys(found.parts.values())) for found in find_controls(options.control or ())]
        opened = options.open(prior)
        if options.temporal is not None:
            opened.pipeline.attach(read_temporal_layers(options.temporal, UNetView(opened.unet)), "temporal")
        sample, sampled_as = sample_with(
            opened.pipeline,
            strength=options.strength,
            steps=options.sampling_steps,
            cfg=options.cfg,
            seed=options.seed,
            prompt=options.prompt,
            controls=[read_control(files) for files in systems],
        )
        running = {name: value for name, value in options.running.items() if name != "checkpointing"}
        fusion = train(
            opened,
            given,
            out,
            prerestorer=network,
            sample=sample,
            sampled_as=sampled_as,
            settings=settings,
            progress=progress,
            **running,
        )
    count = sum(weights.numel() for weights in fusion.parameters())
    console.print(f"{out}: {count:,} weights", highlight=False)


@app.command("temporal-decoder")
@with_options("options", DecoderTrainingOptions)
def train_temporal_decoder(prior: PriorArgument, out: OutOption, *, options: DecoderTrainingOptions) -> None:
    """Train a VAE decoder that sees several frames at once, in the layout of Stable Video Diffusion's."""
    with reported():
        from ...training.temporal_decoder.run import train_temporal_decoder as train
        from ...training.temporal_decoder.task import DecoderTrainingSettings

    with reported(), bars() as progress:
        settings = DecoderTrainingSettings(frames=options.frames, side=options.sample_side, noise=options.noise)
        settings = replace(settings, trainer=options.trainer(settings.trainer))
        given = options.material(out)
        running = {name: value for name, value in options.running.items() if name != "checkpointing"}
        decoder = train(options.open(prior), given, out, settings=settings, progress=progress, **running)
    count = sum(weights.numel() for weights in decoder.parameters())
    console.print(f"{out}: {count:,} weights; --temporal-vae takes it", highlight=False)
