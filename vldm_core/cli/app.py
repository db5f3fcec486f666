"""Command line: ``python -m vldm_core …``."""

import json
import logging
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import SettingsError
from ..notices import Notices
from . import checkpoints as cli_checkpoints
from . import describe as cli_describe
from . import runs as cli_runs
from .measuring import benchmark
from .prior import PriorOptions
from .record import commands as cli_record
from .runs import RunOptions, show_report
from .stages import DetectionOptions, RestoringOptions
from .support import (
    Deinterlace,
    DeinterlaceOption,
    FpsOption,
    OverwriteOption,
    StrictOption,
    bars,
    reading,
    reported,
    show_summary,
    with_options,
)
from .train.commands import app as train_app

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
app.add_typer(train_app, name="train")
app.add_typer(cli_record.app, name="record")

FilmIn = Annotated[Path, typer.Argument(help="Film file, or a folder with an image sequence.", show_default=False)]
FilmOut = Annotated[
    Path,
    typer.Argument(
        help="File to write (.mkv, .mp4, .mov); or a folder for an image sequence, or a pattern in one: DIR/%06d.dpx, "
        ".exr, .tif, .png.",
        show_default=False,
    ),
]


class Codec(StrEnum):
    """Codecs the command line offers."""

    AUTO = "auto"
    FFV1 = "ffv1"
    H264 = "h264"
    H265 = "h265"
    PRORES = "prores"


CodecOption = Annotated[
    Codec,
    typer.Option(
        help="auto: lossless FFV1 for .mkv, H.264 for .mp4 and .mov. prores (.mov, .mkv): 422 HQ, or 4444 where the "
        "film is RGB, 4:4:4 or has transparency."
    ),
]
CrfOption = Annotated[
    int, typer.Option(min=0, max=51, help="Of H.264 and H.265: lower is better and larger; others ignore it.")
]


BitsOption = Annotated[
    Literal["8", "10", "12", "16", "32"] | None,
    typer.Option(
        help="Bits per sample of the result; else those of the film. H.264 8, 10; H.265 8 to 12; ProRes 10; FFV1 8 to "
        "16; PNG and TIFF 8, 16; DPX 8 to 16; EXR 16 (half) and 32 (float).",
        show_default=False,
    ),
]


@app.callback()
def _configure(verbose: Annotated[bool, typer.Option(help="Log what the stages do.")] = False) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")


@app.command()
@with_options("prior_options", PriorOptions)
@with_options("run_options", RunOptions)
@with_options("options", RestoringOptions)
def restore(
    source: FilmIn,
    destination: FilmOut,
    *,
    options: RestoringOptions,
    device: Annotated[str, typer.Option(help="Where networks and prior run: auto, cpu, cuda, cuda:1 …")] = "auto",
    codec: CodecOption = Codec.AUTO,
    crf: CrfOption = 16,
    bits: BitsOption = None,
    deinterlace: DeinterlaceOption = Deinterlace.AUTO,
    fps: FpsOption = None,
    overwrite: OverwriteOption = False,
    strict: StrictOption = False,
    record: Annotated[
        bool | None,
        typer.Option(
            "--record/--no-record",
            help="Write OUT.record.zip: every repair with the pixels that were there before, for the commands record "
            "show, undo and report. On but with --prior, where it holds a lossless copy of the film besides.",
        ),
    ] = None,
    report_file: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Also write what was done as .json: shots, damage, notices, settings, times, files.",
            show_default=False,
        ),
    ] = None,
    run_options: RunOptions,
    prior_options: PriorOptions,
) -> None:
    """Restore a film: scratches, dirt, flicker, grain and noise and, if asked, gate weave. Audio is copied.

    What is finished is kept in OUT.vldm while the film is made: the same command goes on where it was ended.
    --quality says how much effort is made; docs/command_line.md says what each level does and how long it takes. With
    --prior, a Stable Diffusion model then adds detail, shot by shot.
    """
    from ..reel.delivery.run_report import TimedProgress, check_report_path, report_facts, write_report
    from ..reel.record.file import record_path
    from ..reel.resumable.run import restore_reel
    from ..stages.settings import before_a_prior
    from ..video.writing.writer import WriteSettings, refuse_existing

    notices = Notices()
    with reported():
        if not overwrite:
            refuse_existing(destination)
        write = WriteSettings(
            codec=codec.value, quality=crf, bits=None if bits is None else int(bits), overwrite=overwrite
        )
        recorded = prior_options.prior is None if record is None else record
        settings = options.reel(
            write=write,
            read=reading(deinterlace, fps),
            strict=strict,
            record=record_path(destination) if recorded else None,
        )
        if prior_options.prior is not None and options.leaves_the_picture_open:
            # What comes before a prior is what it was made to be given.
            settings = replace(settings, **before_a_prior())
        if settings.prerestore is not None:
            settings = replace(settings, prerestore=replace(settings.prerestore, device=device))
        prior_options.check()
        if report_file is not None:
            check_report_path(report_file, overwrite=overwrite)
        options.keep(settings)
        if prior_options.prior is None:
            with bars() as shown:
                progress = TimedProgress(shown)
                report = restore_reel(
                    source, destination, settings, progress, run=run_options.settings(report_file), notices=notices
                )
        else:
            from ..reel.prior import restore_film_with_prior

            whole = prior_options.settings(settings)
            pipeline = prior_options.open(device)
            with bars() as shown:
                progress = TimedProgress(shown)
                report = restore_film_with_prior(
                    source, destination, pipeline, whole, progress, run=run_options.settings(), notices=notices
                )
        show_report(destination, report)
        show_summary(notices)
        if report_file is not None:
            facts = report_facts(report, settings, source, destination, notices=notices, passes=progress.seconds)
            write_report(report_file, facts)


@app.command()
@with_options("options", DetectionOptions)
def detect(
    source: FilmIn,
    directory: Annotated[Path, typer.Argument(help="Folder for dirt.mkv and scratch.mkv.")],
    *,
    options: DetectionOptions,
    deinterlace: DeinterlaceOption = Deinterlace.AUTO,
    fps: FpsOption = None,
    overwrite: OverwriteOption = False,
    strict: StrictOption = False,
) -> None:
    """Find damage and write it as lossless mask films: 255 is damage, 0 is not.

    Look at them, edit them, and give the folder to restore --masks.
    """
    from ..reel.masks import detect_film
    from ..video.writing.writer import WriteSettings

    notices = Notices()
    with reported():
        settings = options.reel(write=WriteSettings(overwrite=overwrite), read=reading(deinterlace, fps), strict=strict)
        options.keep(settings)
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
    crf: CrfOption = 16,
    bits: BitsOption = None,
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
            write=WriteSettings(
                codec=codec.value, quality=crf, bits=None if bits is None else int(bits), overwrite=overwrite
            ),
            read=reading(deinterlace, fps),
            progress=progress,
        )


@app.command()
def shots(
    source: FilmIn,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    write_settings: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Also write a table to edit, .csv or .json, for restore --shot-settings.",
            show_default=False,
        ),
    ] = None,
    deinterlace: DeinterlaceOption = Deinterlace.AUTO,
    overwrite: OverwriteOption = False,
) -> None:
    """List the shots of a film: first and last frame, counted from 0."""
    from ..reel.restore import find_shots
    from ..video.shots import ShotSettings

    with reported():
        with bars() as progress, reading(deinterlace, None).open(source) as film:
            found = find_shots(film, ShotSettings(), progress)
        if write_settings is not None:
            from ..reel.shot_choices import write_template

            write_template(found, write_settings, overwrite=overwrite)
        rows = [{"shot": i, "first": shot.first, "last": shot.last - 1} for i, shot in enumerate(found)]
        if as_json:
            typer.echo(json.dumps(rows))
            return
        for row in rows:
            typer.echo("{shot:4d}  {first:7d} – {last:d}".format(**row))


app.command()(cli_runs.status)
app.command()(with_options("options", RunOptions)(cli_runs.resume))
app.command()(cli_runs.clean)
app.command()(cli_describe.describe)
app.command()(cli_checkpoints.inspect)
app.command()(cli_checkpoints.unpack)


@app.command()
def queue(
    workflow: Annotated[Path, typer.Argument(help="Workflow in API format.", show_default=False)],
    server: Annotated[
        list[str] | None,
        typer.Option(help="Address of the ComfyUI server, else http://127.0.0.1:8188; with --per-shot, repeatable."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NODE.INPUT=VALUE", help="Change an input; NODE is an id, a title or a type. Repeatable."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results, or with --per-shot a film.")] = Path("out"),
    per_shot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILM", help="Send this film shot by shot, one prompt each, and join the results with its sound."
        ),
    ] = None,
    film_input: Annotated[
        str | None,
        typer.Option(metavar="NODE.INPUT", help="With --per-shot: what is given the shot; else Load Video's file."),
    ] = None,
    max_frames: Annotated[
        int | None,
        typer.Option(min=1, help="With --per-shot: longer shots are sent in parts of so many frames, else whole."),
    ] = None,
    overlap: Annotated[
        int, typer.Option(min=0, help="Frames that such parts share, over which one fades into the next.")
    ] = 8,
    timeout: Annotated[float | None, typer.Option(min=1, help="Give up after so many seconds, of each prompt.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace files of the same name; else a number is added.")] = False,
) -> None:
    """Run a workflow on a ComfyUI server: upload inputs, queue, follow, fetch the results.

    With --per-shot a film of any length goes through a workflow for short clips, on one server or several; ended early,
    the same command goes on.
    """
    from .queue_client import LOCAL_SERVER, load_workflow, run_workflow

    servers = tuple(server or (LOCAL_SERVER,))
    with reported():
        prompt = load_workflow(workflow)
        if per_shot is not None:
            from ..video.writing.writer import WriteSettings, refuse_existing
            from .queue_shots import ShotQueue, run_per_shot

            if not overwrite:
                refuse_existing(out)
            how = ShotQueue(
                servers=servers,
                sets=tuple(settings or ()),
                film_input=film_input,
                write=WriteSettings(overwrite=overwrite),
                timeout=timeout,
                most_frames=max_frames,
                overlap=overlap,
            )
            with bars() as progress:
                run_per_shot(prompt, per_shot, out, how, progress)
            typer.echo(out)
            return
        if len(servers) > 1 or film_input is not None or max_frames is not None:
            raise SettingsError("several servers, --film-input and --max-frames are for --per-shot; leave them out")
        with bars() as progress:
            results = run_workflow(
                prompt,
                server=servers[0],
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
