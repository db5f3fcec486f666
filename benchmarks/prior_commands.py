"""Commands of the small world, in which the trained parts of a prior are tried."""

from pathlib import Path
from typing import Annotated

import typer

from vldm_core.cli.support import bars, reported

from .options import JsonOption, PageOption

_DATA = "Folder with clips/, photos/ and film/."
_CACHE = "Folder for films and latents; what is there already is not made again."

CacheOption = Annotated[Path, typer.Option(help=_CACHE)]


def benchmark_prior(
    data: Annotated[Path, typer.Option(help=_DATA)],
    cache: CacheOption,
    weights: Annotated[
        Path | None, typer.Option(help="Folder that a small world was trained into; else the one that ships.")
    ] = None,
    parts: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Of: temporal, control, masks, lora, latent, fusion; else all.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Held-out clips of each kind.")] = 12,
    seeds: Annotated[int, typer.Option(min=1, help="Of the noise; each clip is sampled with every one.")] = 2,
    pictures: Annotated[Path | None, typer.Option(help="Folder for pictures of what each part does.")] = None,
    json_file: JsonOption = None,
    markdown: PageOption = None,
) -> None:
    """What trained temporal layers, control, LoRAs, latent head and fusion are good for, in a small world."""
    from .common.page import command_line
    from .prior.benchmark import PARTS, PriorBenchmarkSettings, run_prior_benchmark
    from .prior.page import write_json, write_page
    from .prior.world.models import SHIPPED

    with reported():
        chosen = PARTS if parts is None else tuple(parts.split(","))
        settings = PriorBenchmarkSettings(parts=chosen, clips=clips, seeds=seeds)
        with bars() as progress:
            report = run_prior_benchmark(
                data, cache, weights=weights or SHIPPED, settings=settings, pictures=pictures, progress=progress
            )
        if json_file is not None:
            write_json(report, json_file)
        if markdown is not None:
            shown = {
                "data": "DIR",
                "weights": weights and "WORLD",
                "cache": "CACHE",
                "parts": parts,
                "clips": clips,
                "seeds": seeds,
                "pictures": pictures,
                "markdown": markdown,
            }
            defaults = {"clips": 12, "seeds": 2}
            write_page(report, markdown, command=command_line("prior", shown, defaults), pictures=pictures)
        typer.echo(report.text())


def train_world(
    data: Annotated[Path, typer.Option(help=_DATA)],
    out: Annotated[Path, typer.Option(help="Folder for the weights.")],
    cache: CacheOption,
    part: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="vae, unet, temporal, control, eras, prerestorer, fusion; else all."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from checkpoints; finished parts stay.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch.")] = None,
) -> None:
    """Train the small world and everything that joins it; about two hours of a processor core."""
    from .prior.world.training import train_parts

    with reported(), bars() as progress:
        train_parts(data, cache, out, parts=part or (), resume=resume, threads=threads, progress=progress)


def benchmark_one_step(
    systems: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Of: osediff, pisasr, s3diff, hypir, dloral; else all.")
    ] = None,
    width: Annotated[int, typer.Option(min=32, help="Channels of the UNet's first level.")] = 320,
    vae_width: Annotated[int, typer.Option(min=32, help="Channels of the VAE's first level.")] = 128,
    side: Annotated[int, typer.Option(min=64, help="Of the square picture in pixels; DLoRAL needs 512.")] = 512,
    frames: Annotated[int, typer.Option(min=1, help="Of the clip.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is timed.")] = 3,
    device: Annotated[str, typer.Option(help="A device of PyTorch.")] = "cpu",
    json_file: JsonOption = None,
) -> None:
    """What a frame costs in one step, beside one pass of the UNet and the VAE's encoding and decoding."""
    from .onestep.benchmark import SYSTEMS, OneStepBenchmarkSettings, run_one_step_benchmark

    with reported():
        settings = OneStepBenchmarkSettings(
            systems=SYSTEMS if systems is None else tuple(systems.split(",")),
            width=width,
            vae_width=vae_width,
            side=side,
            frames=frames,
            rounds=rounds,
            device=device,
        )
        with bars() as progress:
            report = run_one_step_benchmark(settings, progress)
        if json_file is not None:
            report.write_json(json_file)
        typer.echo(report.text())
