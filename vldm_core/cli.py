"""Command line: ``python -m vldm_core …``."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from .errors import FilmFileWarning, VLDMError

app = typer.Typer(
    name="vldm_core",
    no_args_is_help=True,
    add_completion=False,
    help="Restore old film.",
    pretty_exceptions_enable=False,
)
benchmark_app = typer.Typer(no_args_is_help=True, help="Measure the stages beside their baselines, all in one run.")
app.add_typer(benchmark_app, name="benchmark")

console = Console(stderr=True)

FilmIn = Annotated[Path, typer.Argument(help="Film file, or a folder with an image sequence.", show_default=False)]
FilmOut = Annotated[
    Path,
    typer.Argument(help="File to write (.mkv, .mp4, .mov), or a folder for an image sequence.", show_default=False),
]


class Codec(StrEnum):
    """Codecs the command line offers."""

    AUTO = "auto"
    FFV1 = "ffv1"
    H264 = "h264"
    H265 = "h265"


CodecOption = Annotated[Codec, typer.Option(help="auto: lossless FFV1 for .mkv, H.264 for .mp4 and .mov.")]
QualityOption = Annotated[
    int, typer.Option(min=0, max=51, help="CRF of H.264 and H.265: lower is better and larger; FFV1 ignores it.")
]


class _Bars:
    """One rich progress bar per phase."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def __call__(self, phase: str, done: int, total: int | None, preview: Tensor | None = None) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase, total=total)
        self._progress.update(self._tasks[phase], completed=done, total=total)


@contextmanager
def _bars() -> Iterator[_Bars]:
    columns = (
        TextColumn("{task.description:>16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bars(progress)


@contextmanager
def _reported() -> Iterator[None]:
    """Turn expected failures into one line and an exit code; everything else keeps its traceback."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", FilmFileWarning)
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            yield
    except VLDMError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        console.print("interrupted")
        raise typer.Exit(130) from error


def _show_warning(message: Warning | str, *_: object) -> None:
    console.print(f"warning: {message}", style="yellow", markup=False, highlight=False)


@app.callback()
def _configure(verbose: Annotated[bool, typer.Option(help="Log what the stages do.")] = False) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")


@app.command()
def restore(
    source: FilmIn,
    destination: FilmOut,
    dirt: Annotated[bool, typer.Option(help="Find and fill dirt, dust and hair.")] = True,
    lines: Annotated[bool, typer.Option(help="Find and undo persistent line scratches.")] = True,
    flicker: Annotated[bool, typer.Option(help="Remove brightness flicker.")] = True,
    stabilise: Annotated[bool, typer.Option(help="Remove gate weave.")] = False,
    codec: CodecOption = Codec.AUTO,
    quality: QualityOption = 16,
) -> None:
    """Restore a film: lines, dirt, flicker and, if asked, gate weave. Audio is copied."""
    from .film.stabilise import StabiliseSettings
    from .reel.restore import ReelSettings, restore_film
    from .video.writer import WriteSettings

    with _reported():
        settings = ReelSettings(write=WriteSettings(codec=codec.value, quality=quality))
        settings = replace(
            settings,
            dirt=settings.dirt if dirt else None,
            lines=settings.lines if lines else None,
            flicker=settings.flicker if flicker else None,
            stabilise=StabiliseSettings() if stabilise else None,
        )
        with _bars() as progress:
            report = restore_film(source, destination, settings, progress)
        console.print(
            f"{destination}: {report.frames} frames, {len(report.shots)} shots, "
            f"{report.dirt_share:.2%} of the picture filled, {report.scratch_share:.2%} mended, "
            f"{report.frames / report.seconds:.1f} frames per second",
            highlight=False,
        )


@app.command()
def detect(
    source: FilmIn, directory: Annotated[Path, typer.Argument(help="Folder for dirt.mkv and scratch.mkv.")]
) -> None:
    """Find damage and write it as lossless mask films: 255 is damage, 0 is not."""
    from .reel.masks import detect_film

    with _reported(), _bars() as progress:
        detect_film(source, directory, progress=progress)


@app.command()
def simulate(
    source: FilmIn,
    destination: FilmOut,
    masks: Annotated[Path | None, typer.Option(help="Folder for dirt.mkv, hair.mkv and scratch.mkv.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same damage.")] = 0,
    preset: Annotated[str, typer.Option(help="How much damage.")] = "worn",
    codec: CodecOption = Codec.AUTO,
    quality: QualityOption = 16,
) -> None:
    """Age a film with simulated damage, for demonstrations and measurements."""
    from .film.degradation import SimulationSettings
    from .reel.masks import simulate_film
    from .video.writer import WriteSettings

    with _reported(), _bars() as progress:
        simulate_film(
            source,
            destination,
            settings=SimulationSettings.preset(preset),
            seed=seed,
            masks=masks,
            write=WriteSettings(codec=codec.value, quality=quality),
            progress=progress,
        )


@app.command()
def shots(
    source: FilmIn, as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False
) -> None:
    """List the shots of a film: first and last frame, counted from 0."""
    from .reel.restore import find_shots
    from .video.reader import open_film
    from .video.shots import ShotSettings

    with _reported():
        with _bars() as progress, open_film(source) as film:
            found = find_shots(film, ShotSettings(), progress)
        rows = [{"shot": i, "first": shot.first, "last": shot.last - 1} for i, shot in enumerate(found)]
        if as_json:
            typer.echo(json.dumps(rows))
            return
        for row in rows:
            typer.echo("{shot:4d}  {first:7d} – {last:d}".format(**row))


@app.command()
def queue(
    workflow: Annotated[Path, typer.Argument(help="Workflow in API format.", show_default=False)],
    server: Annotated[str, typer.Option(help="Address of the ComfyUI server.")] = "http://127.0.0.1:8188",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NODE.INPUT=VALUE", help="Change an input; NODE is an id, a title or a type. Repeatable."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    timeout: Annotated[float | None, typer.Option(min=1, help="Give up after so many seconds.")] = None,
) -> None:
    """Run a workflow on a ComfyUI server: upload inputs, queue, follow, fetch the results."""
    from .queue import load_workflow, run_workflow

    with _reported():
        prompt = load_workflow(workflow)
        with _bars() as progress:
            results = run_workflow(
                prompt, server=server, sets=settings or (), out=out, progress=progress, timeout=timeout
            )
        for path in results:
            typer.echo(path)


@benchmark_app.command("film")
def benchmark_film(
    data: Annotated[Path, typer.Option(help="Folder with clips/, photos/ and film/.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
    quick: Annotated[bool, typer.Option(help="Fewer clips and frames, for a first look.")] = False,
) -> None:
    """Detection, repair, flicker and cost of the film stages beside the classical methods."""
    from .evaluation.film_benchmark import FilmBenchmarkSettings, format_report, run_film_benchmark

    with _reported():
        settings = FilmBenchmarkSettings.quick() if quick else FilmBenchmarkSettings()
        with _bars() as progress:
            report = run_film_benchmark(data, json_path=json_file, settings=settings, progress=progress)
        typer.echo(format_report(report))


@benchmark_app.command("sampler")
def benchmark_sampler(
    host: Annotated[Path | None, typer.Option(help="ComfyUI folder; else $COMFYUI_PATH, else ~/comfy/ComfyUI.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
    quick: Annotated[bool, typer.Option(help="A narrow UNet, for a first look.")] = False,
    latent: Annotated[int | None, typer.Option(min=8, help="Side of the latents; 8 pixels each.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Repeats; ratios are medians over them.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="GROUP", help="Measure this group. Repeatable.")] = None,
) -> None:
    """Time and memory per frame and step beside the host's sampler, AnimateDiff-Evolved and diffusers, as ratios."""
    from .evaluation.sampler_benchmark import SamplerBenchmarkSettings, format_report, run_sampler_benchmark

    with _reported():
        settings = SamplerBenchmarkSettings.quick() if quick else SamplerBenchmarkSettings()
        chosen = {"latent": latent, "rounds": rounds, "threads": threads, "groups": tuple(only or ()) or None}
        settings = replace(settings, **{name: value for name, value in chosen.items() if value is not None})  # type: ignore
        with _bars() as progress:
            report = run_sampler_benchmark(host, json_path=json_file, settings=settings, progress=progress)
        typer.echo(format_report(report))


def main() -> None:
    """Run the command line."""
    app()
