"""Command line: ``python -m vldm_core …``."""

import json
import logging
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SettingsError
from ..notices import Notices
from ..wording import counted
from . import checkpoints as cli_checkpoints
from . import describe as cli_describe
from . import training as cli_training
from .measuring import benchmark
from .prior import PriorOptions, with_prior_options
from .support import (
    Deinterlace,
    DeinterlaceOption,
    FpsOption,
    OverwriteOption,
    StrictOption,
    bars,
    console,
    reading,
    reported,
    show_summary,
)

if TYPE_CHECKING:
    from ..reel.restore import ReelSettings

app = typer.Typer(
    name="vldm_core",
    no_args_is_help=True,
    add_completion=False,
    help="Restore old film.",
    pretty_exceptions_enable=False,
)
app.command(
    "benchmark",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(benchmark)
app.add_typer(cli_training.app, name="train")

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


class Detector(StrEnum):
    """Detectors the command line offers."""

    WEIGHT_FREE = "weight-free"
    LEARNED = "learned"


DirtDetectorOption = Annotated[
    Detector | None,
    typer.Option(
        help="What tells dirt from moving objects: neural (learned) or classical (weight-free). "
        "Else the better one in the benchmark."
    ),
]
ScratchDetectorOption = Annotated[
    Detector | None,
    typer.Option(
        help="What tells scratches from the scene: neural (learned) or classical (weight-free). "
        "Else the better one in the benchmark."
    ),
]
ProtectOption = Annotated[
    Path | None,
    typer.Option(metavar="MASK", help="Picture of the film's size; where it is white, no damage is found or repaired."),
]
CodecOption = Annotated[Codec, typer.Option(help="auto: lossless FFV1 for .mkv, H.264 for .mp4 and .mov.")]
QualityOption = Annotated[
    int, typer.Option(min=0, max=51, help="CRF of H.264 and H.265: lower is better and larger; FFV1 ignores it.")
]


@app.callback()
def _configure(verbose: Annotated[bool, typer.Option(help="Log what the stages do.")] = False) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")


@app.command()
@with_prior_options
def restore(
    source: FilmIn,
    destination: FilmOut,
    dirt: Annotated[bool, typer.Option(help="Find and fill dirt, dust and hair.")] = True,
    lines: Annotated[bool, typer.Option(help="Find and repair persistent scratches.")] = True,
    flicker: Annotated[bool, typer.Option(help="Remove brightness flicker.")] = True,
    stabilise: Annotated[bool, typer.Option(help="Remove gate weave.")] = False,
    prerestore: Annotated[bool, typer.Option(help="Take blur, noise and compression off with a small network.")] = True,
    prerestore_strength: Annotated[
        float, typer.Option(min=0, max=1, help="Share of that network's change that is applied.")
    ] = 1.0,
    keep_grain: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the grain that the network takes off and that is put back.")
    ] = 0.3,
    prerestore_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Another network in the place of the one that ships.")
    ] = None,
    dirt_detector: DirtDetectorOption = None,
    scratch_detector: ScratchDetectorOption = None,
    protect: ProtectOption = None,
    device: Annotated[
        str, typer.Option(help="Where pre-restoration and prior run: auto, cpu, cuda, cuda:1 …")
    ] = "auto",
    codec: CodecOption = Codec.AUTO,
    quality: QualityOption = 16,
    deinterlace: DeinterlaceOption = Deinterlace.AUTO,
    fps: FpsOption = None,
    overwrite: OverwriteOption = False,
    strict: StrictOption = False,
    flash: Annotated[
        float,
        typer.Option(
            min=1.1, max=10, help="Light that changes by more than this factor and comes back is not flicker."
        ),
    ] = 1.4,
    *,
    prior_options: PriorOptions,
) -> None:
    """Restore a film: scratches, dirt, flicker, blur and noise and, if asked, gate weave. Audio is copied.

    With --prior, a Stable Diffusion model then adds detail, shot by shot.
    """
    from ..film.flicker.removal import FlickerSettings
    from ..film.weave.stabilise import StabiliseSettings
    from ..prerestore.shipped import PreRestoration
    from ..reel.restore import ReelSettings, restore_film
    from ..video.writing.writer import WriteSettings, refuse_existing

    notices = Notices()
    with reported():
        if not overwrite:
            refuse_existing(destination)
        write = WriteSettings(codec=codec.value, quality=quality, overwrite=overwrite)
        settings = ReelSettings(write=write, read=reading(deinterlace, fps))
        settings = _with_detection(settings, dirt_detector, scratch_detector, protect)
        settings = replace(
            settings,
            dirt=settings.dirt if dirt else None,
            lines=settings.lines if lines else None,
            flicker=FlickerSettings(flash=flash) if flicker else None,
            stabilise=StabiliseSettings() if stabilise else None,
            prerestore=None,
            strict=strict,
        )
        if prerestore:
            how = PreRestoration(
                strength=prerestore_strength, keep_grain=keep_grain, weights=prerestore_weights, device=device
            )
            settings = replace(settings, prerestore=how)
        elif prerestore_weights is not None:
            raise SettingsError("--prerestore-weights and --no-prerestore contradict each other; leave one out")
        prior_options.check()
        if prior_options.prior is None:
            with bars() as progress:
                report = restore_film(source, destination, settings, progress, notices=notices)
        else:
            from ..reel.prior import restore_film_with_prior

            whole = prior_options.settings(settings)
            pipeline = prior_options.open(device)
            with bars() as progress:
                report = restore_film_with_prior(source, destination, pipeline, whole, progress, notices=notices)
        console.print(
            f"{destination}: {counted(report.frames, 'frame')}, {counted(len(report.shots), 'shot')}, "
            f"{report.dirt_share:.2%} of the picture filled, {report.scratch_share:.2%} repaired as scratches, "
            f"{report.frames / report.seconds:.1f} frames per second",
            highlight=False,
        )
        show_summary(notices)


def _with_detection(
    settings: "ReelSettings", dirt: Detector | None, scratch: Detector | None, protect: Path | None
) -> "ReelSettings":
    if dirt is not None and settings.dirt is not None:
        settings = replace(settings, dirt=replace(settings.dirt, detector=dirt.value))
    if scratch is not None and settings.lines is not None:
        settings = replace(settings, lines=replace(settings.lines, detector=scratch.value))
    return replace(settings, protect=protect)


@app.command()
def detect(
    source: FilmIn,
    directory: Annotated[Path, typer.Argument(help="Folder for dirt.mkv and scratch.mkv.")],
    dirt_detector: DirtDetectorOption = None,
    scratch_detector: ScratchDetectorOption = None,
    protect: ProtectOption = None,
    deinterlace: DeinterlaceOption = Deinterlace.AUTO,
    fps: FpsOption = None,
    overwrite: OverwriteOption = False,
    strict: StrictOption = False,
) -> None:
    """Find damage and write it as lossless mask films: 255 is damage, 0 is not."""
    from ..reel.masks import detect_film
    from ..reel.restore import ReelSettings
    from ..video.writing.writer import WriteSettings

    notices = Notices()
    with reported():
        settings = ReelSettings(write=WriteSettings(overwrite=overwrite), read=reading(deinterlace, fps), strict=strict)
        settings = _with_detection(settings, dirt_detector, scratch_detector, protect)
        with bars() as progress:
            detect_film(source, directory, settings, progress=progress, notices=notices)
        show_summary(notices)


@app.command()
def simulate(
    source: FilmIn,
    destination: FilmOut,
    masks: Annotated[
        Path | None, typer.Option(help="Folder for a mask film per kind of damage: dirt.mkv, scratch.mkv, tears.mkv …")
    ] = None,
    clean: Annotated[
        Path | None, typer.Option(help="File for the clean frames that the aged ones show, also where frames are lost.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same damage.")] = 0,
    preset: Annotated[
        str, typer.Option(help="light, worn, heavy, a decade from 1890s to 1990s, '8mm amateur' or newsreel.")
    ] = "worn",
    textures: Annotated[
        Path | None, typer.Option(help="Folder of RGBA pictures of defects, a subfolder per kind; else drawn.")
    ] = None,
    codec: CodecOption = Codec.AUTO,
    quality: QualityOption = 16,
    deinterlace: DeinterlaceOption = Deinterlace.AUTO,
    fps: FpsOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Age a film with simulated damage, for demonstrations and measurements."""
    from ..ageing import SimulationSettings
    from ..reel.masks import simulate_film
    from ..video.writing.writer import WriteSettings

    with reported(), bars() as progress:
        simulate_film(
            source,
            destination,
            settings=replace(SimulationSettings.preset(preset), textures=textures),
            seed=seed,
            masks=masks,
            clean=clean,
            write=WriteSettings(codec=codec.value, quality=quality, overwrite=overwrite),
            read=reading(deinterlace, fps),
            progress=progress,
        )


@app.command()
def shots(
    source: FilmIn,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    deinterlace: DeinterlaceOption = Deinterlace.AUTO,
) -> None:
    """List the shots of a film: first and last frame, counted from 0."""
    from ..reel.restore import find_shots
    from ..video.shots import ShotSettings

    with reported():
        with bars() as progress, reading(deinterlace, None).open(source) as film:
            found = find_shots(film, ShotSettings(), progress)
        rows = [{"shot": i, "first": shot.first, "last": shot.last - 1} for i, shot in enumerate(found)]
        if as_json:
            typer.echo(json.dumps(rows))
            return
        for row in rows:
            typer.echo("{shot:4d}  {first:7d} – {last:d}".format(**row))


app.command()(cli_describe.describe)
app.command()(cli_checkpoints.inspect)
app.command()(cli_checkpoints.unpack)


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
    overwrite: Annotated[bool, typer.Option(help="Replace files of the same name; else a number is added.")] = False,
) -> None:
    """Run a workflow on a ComfyUI server: upload inputs, queue, follow, fetch the results."""
    from .queue_client import load_workflow, run_workflow

    with reported():
        prompt = load_workflow(workflow)
        with bars() as progress:
            results = run_workflow(
                prompt,
                server=server,
                sets=settings or (),
                out=out,
                progress=progress,
                timeout=timeout,
                overwrite=overwrite,
            )
        for path in results:
            typer.echo(path)


def main() -> None:
    """Run the command line."""
    app()
