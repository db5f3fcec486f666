"""Commands that measure: ``python -m benchmarks …``."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vldm_core.cli.support import bars, reported
from vldm_core.errors import SettingsError

app = typer.Typer(no_args_is_help=True, help="Measure the stages beside their baselines, all in one run.")


_RESOLUTION: dict[str, Any] = {
    "restorer": "prerestore",
    "prompt": "",
    "negative": "",
    "steps": 20,
    "strength": 0.4,
    "sampler": "scheduler",
    "noise-schedule": "auto",
    "start": "latent",
    "cfg": 4.0,
    "prediction": "auto",
    "control-strength": 1.0,
    "sizes": "256,368,512,768",
    "ways": "resized,padded,fitted",
    "clips": 3,
    "frames": 8,
    "device": "auto",
}
"""Defaults of the resolution study, which the command on its page leaves out."""

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")]
PageOption = Annotated[Path | None, typer.Option("--markdown", help="Write the results page to this file.")]
TableOption = Annotated[Path | None, typer.Option("--markdown", help="Write the tables to this file.")]
LanesOption = Annotated[int | None, typer.Option("--lanes", min=1, help="Clips side by side; as many as processors.")]


PeerChainOption = Annotated[
    Path | None, typer.Option("--peer-chain", help="The peers' script; else VLDM_PEER_CHAIN, else beside the data.")
]
PeerPythonOption = Annotated[
    str | None,
    typer.Option("--peer-python", help="Python with VapourSynth; else VLDM_PEER_PYTHON, else searched."),
]
PeersOption = Annotated[bool, typer.Option("--peers/--no-peers", help="Run the VapourSynth chains beside.")]


def whole_numbers(text: str, what: str) -> tuple[int, ...]:
    """Read whole numbers with commas between them.

    Raises:
        SettingsError: There is something else.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(f"{what} are {text!r}; give whole numbers with commas between them") from error


@app.command("film")
def benchmark_film(
    data: Annotated[Path, typer.Option(help="Folder with clips/, photos/, textures/ and film/.")],
    json_file: JsonOption = None,
    markdown: PageOption = None,
    strips: Annotated[
        Path | None, typer.Option(help="Folder for pictures: five frames side by side, before and after each method.")
    ] = None,
    only: Annotated[str | None, typer.Option(metavar="A,B,…", help="Of: aged, clean, real, cost; else all.")] = None,
    models: Annotated[str | None, typer.Option(metavar="A,B", help="Of: second, training; else both.")] = None,
    own: Annotated[str | None, typer.Option(metavar="A;B;…", help="Of: normal; fast; best; repair only.")] = None,
    checkout: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER", help="Another version of this repository to run. Repeatable."),
    ] = None,
    clips: Annotated[int | None, typer.Option(min=1, help="Largest number of clips for each model.")] = None,
    frames: Annotated[int | None, typer.Option(min=8, help="Frames of every clip.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Frame size; else 854x480.")] = None,
    perceptual: Annotated[bool, typer.Option(help="Measure ST-LPIPS where it is installed.")] = True,
    peers: PeersOption = True,
    peer_chain: PeerChainOption = None,
    peer_python: PeerPythonOption = None,
) -> None:
    """Whole restorations beside other programs: every kind of damage, detection, false alarms, real films and time."""
    from .common.page import command_line
    from .common.peers import find_peers
    from .film.benchmark import FilmBenchmarkSettings, run_film_benchmark
    from .film.page import write_page
    from .film.strips import write_strip
    from .film.tables import format_report
    from .memory.benchmark import read_sizes

    with reported():
        chosen: dict[str, Any] = {
            "parts": tuple(only.split(",")) if only else None,
            "models": tuple(models.split(",")) if models else None,
            "own": tuple(part.strip() for part in own.split(";")) if own else None,
            "checkouts": {name: Path(folder) for name, folder in map(_named_checkout, checkout)} if checkout else None,
            "clips": clips,
            "frames": frames,
        }
        if size is not None:
            ((chosen["width"], chosen["height"]),) = read_sizes([size])
        given = {name: value for name, value in chosen.items() if value is not None}
        settings = FilmBenchmarkSettings(perceptual=perceptual, **given)
        found = find_peers(peer_chain, peer_python, near=data) if peers else None
        with bars() as progress:
            report = run_film_benchmark(
                data,
                peers=found,
                without_peers=None if peers else "--no-peers was given.",
                json_path=json_file,
                settings=settings,
                watch=None if strips is None else partial(write_strip, strips),
                progress=progress,
            )
        if markdown is not None:
            options = {
                "data": "DIR",
                "only": only,
                "models": models,
                "own": own,
                "checkout": [f"{name}=FOLDER" for name in settings.checkouts] or None,
                "clips": clips,
                "frames": frames,
                "size": size,
                "no-perceptual": not perceptual,
                "no-peers": not peers,
                "markdown": markdown,
            }
            write_page(report, markdown, command=command_line("film", options))
        typer.echo(format_report(report))


def _named_checkout(text: str) -> tuple[str, str]:
    name, found, folder = text.partition("=")
    if not (name and found and folder):
        raise SettingsError(f"--checkout is {text!r}; give NAME=FOLDER")
    return name, folder


@app.command("detection")
def benchmark_detection(
    data: Annotated[Path, typer.Option(help="Folder with clips/, photos/ and film/.")],
    json_file: JsonOption = None,
    markdown: PageOption = None,
    curves: Annotated[Path | None, typer.Option(help="Draw the precision-recall curves into this picture.")] = None,
    quick: Annotated[bool, typer.Option(help="Fewer clips and frames, for a first look.")] = False,
    all_sources: Annotated[
        bool, typer.Option("--all-sources", help="Every clip and photo, not only those kept for validation.")
    ] = False,
    sources: Annotated[int | None, typer.Option(min=1, help="Largest number of clips and photos.")] = None,
    methods: Annotated[str | None, typer.Option(metavar="A,B,…", help="Methods to compare.")] = None,
    strata: Annotated[str | None, typer.Option(metavar="A,B,…", help="Kinds of damage to compare them on.")] = None,
    lanes: LanesOption = None,
) -> None:
    """Detection, repair, flicker and cost of the film stages beside textbook methods."""
    from .common.page import command_line
    from .detection.benchmark import DetectionBenchmarkSettings, format_report, run_detection_benchmark
    from .detection.curves import write_curves
    from .detection.page import write_page

    with reported():
        settings = DetectionBenchmarkSettings.quick() if quick else DetectionBenchmarkSettings()
        chosen: dict[str, Any] = {
            "sources": sources,
            "methods": tuple(methods.split(",")) if methods else None,
            "strata": tuple(strata.split(",")) if strata else None,
            "lanes": lanes,
        }
        given = {name: value for name, value in chosen.items() if value is not None}
        settings = replace(settings, all_sources=all_sources, **given)
        with bars() as progress:
            report = run_detection_benchmark(data, json_path=json_file, settings=settings, progress=progress)
        if curves is not None:
            write_curves(report, curves)
        if markdown is not None:
            command = command_line(
                "detection",
                {
                    "data": "DIR",
                    "quick": quick,
                    "all-sources": all_sources,
                    "sources": sources,
                    "methods": methods,
                    "strata": strata,
                    "markdown": markdown,
                    "curves": curves,
                },
            )
            write_page(report, markdown, command=command, curves=curves)
        typer.echo(format_report(report))


@app.command("harm")
def benchmark_harm(
    cases: Annotated[Path, typer.Option(help="Python file with MAKERS: functions that make clean content; it is run.")],
    names: Annotated[list[str] | None, typer.Argument(help="Which of them; else all.")] = None,
    methods: Annotated[
        str | None, typer.Option(metavar="A;B;…", help="Of: repair; repair, flicker; all stages.")
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COMMAND", help="Another program, with {in} and {out} for the films. Repeatable."),
    ] = None,
    markdown: TableOption = None,
) -> None:
    """What restoring does to clean content that must stay as it is: titles, bars, rain, leaders and the like."""
    from .common.page import write_markdown
    from .common.table import markdown_table
    from .harm.benchmark import METHODS, format_harm, harm_table, load_cases, run_harm_benchmark

    with reported():
        chosen = tuple(part.strip() for part in methods.split(";")) if methods else tuple(METHODS)
        peers = dict(_named_command(text) for text in peer or ())
        content = load_cases(cases, tuple(names or ()))
        with bars() as progress:
            figures = run_harm_benchmark(content, methods=chosen, peers=peers, progress=progress)
        if markdown is not None:
            write_markdown(markdown, [markdown_table(harm_table(figures))])
        typer.echo(format_harm(figures))


def _named_command(text: str) -> tuple[str, str]:
    name, found, command = text.partition("=")
    if not (name and found and command):
        raise SettingsError(f"--peer is {text!r}; give NAME=COMMAND")
    return name, command


@app.command("prerestore")
def benchmark_prerestore(
    data: Annotated[Path, typer.Option(help="Folder with clips/, photos/ and film/.")],
    weights: Annotated[Path | None, typer.Option(help="Network to measure; else the one that ships.")] = None,
    json_file: JsonOption = None,
    markdown: PageOption = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for pictures of every clip, and of the real films, else left out.")
    ] = None,
    clips: Annotated[int | None, typer.Option(min=1, help="Largest number of aged clips.")] = None,
    frames: Annotated[int | None, typer.Option(min=4, help="Frames per clip.")] = None,
    presets: Annotated[str | None, typer.Option(metavar="A,B,…", help="Presets to age clips with.")] = None,
    cost: Annotated[bool, typer.Option(help="Measure time and memory, with nothing else running.")] = True,
    lanes: LanesOption = None,
) -> None:
    """The pre-restoration network beside repair alone, OpenCV's denoiser and itself without time."""
    from .common.page import command_line
    from .prerestore.benchmark import run_prerestore_benchmark
    from .prerestore.page import format_report, write_page
    from .prerestore.settings import PreRestoreBenchmarkSettings

    with reported():
        chosen: dict[str, Any] = {
            "clips": clips,
            "frames": frames,
            "presets": tuple(presets.split(",")) if presets else None,
            "costs": cost,
            "lanes": lanes,
        }
        settings = PreRestoreBenchmarkSettings(**{name: value for name, value in chosen.items() if value is not None})
        with bars() as progress:
            report = run_prerestore_benchmark(
                data, weights=weights, json_path=json_file, pictures=pictures, settings=settings, progress=progress
            )
        if markdown is not None:
            command = command_line(
                "prerestore",
                {
                    "data": "DIR",
                    "weights": weights,
                    "clips": clips,
                    "frames": frames,
                    "presets": presets,
                    "no-cost": not cost,
                    "markdown": markdown,
                    "pictures": pictures,
                },
            )
            write_page(report, markdown, command=command, pictures=pictures)
        typer.echo(format_report(report))


@app.command("resolution")
def benchmark_resolution(
    data: Annotated[Path, typer.Option(help="Folder with clips/ and photos/.")],
    restorer: Annotated[
        str, typer.Option(help="prerestore, which ships; or a file of a pre-restorer or of DiffBIR's stage 1.")
    ] = _RESOLUTION["restorer"],
    prior: Annotated[
        Path | None, typer.Option(help="Stable Diffusion 1.x or 2.x, folder or checkpoint, behind the restorer.")
    ] = None,
    control: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Then the prior also under this restoration control; may come several times."
        ),
    ] = None,
    control_strength: Annotated[float, typer.Option(min=0, max=10, help="Factor on what the control adds.")] = (
        _RESOLUTION["control-strength"]
    ),
    prompt: Annotated[str, typer.Option(help="What the film shows, for the prior.")] = _RESOLUTION["prompt"],
    negative: Annotated[str, typer.Option(help="What it shall not show.")] = _RESOLUTION["negative"],
    prediction: Annotated[Literal["auto", "eps", "v"], typer.Option(help="What the prior predicts.")] = _RESOLUTION[
        "prediction"
    ],
    sampler: Annotated[str, typer.Option(help="As for restore.")] = _RESOLUTION["sampler"],
    noise_schedule: Annotated[str, typer.Option(help="As for restore.")] = _RESOLUTION["noise-schedule"],
    start: Annotated[
        Literal["latent", "added_noise", "noise"], typer.Option(help="What the prior's sampling begins with.")
    ] = _RESOLUTION["start"],
    cfg: Annotated[float, typer.Option(min=0, help="How strongly the prompts guide.")] = _RESOLUTION["cfg"],
    steps: Annotated[int, typer.Option(min=1, help="Steps of the prior's schedule.")] = _RESOLUTION["steps"],
    strength: Annotated[float, typer.Option(min=0, max=1, help="How far the prior's clip is noised.")] = _RESOLUTION[
        "strength"
    ],
    sizes: Annotated[str, typer.Option(metavar="A,B,…", help="Short sides to work at, px.")] = _RESOLUTION["sizes"],
    ways: Annotated[str, typer.Option(metavar="A,B,…", help="resized, padded, fitted.")] = _RESOLUTION["ways"],
    clips: Annotated[int, typer.Option(min=1, help="Aged clips.")] = _RESOLUTION["clips"],
    frames: Annotated[int, typer.Option(min=4, help="Frames per clip.")] = _RESOLUTION["frames"],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda …")] = _RESOLUTION["device"],
    json_file: JsonOption = None,
    markdown: PageOption = None,
    curves: Annotated[Path | None, typer.Option(help="Draw the figures over size into this picture.")] = None,
) -> None:
    """What a restorer is worth, and costs, at different working sizes."""
    from .common.page import command_line
    from .prerestore.settings import PreRestoreBenchmarkSettings
    from .resolution.curves import write_curves
    from .resolution.page import format_report, write_page
    from .resolution.restorers import PriorSampling, open_prior_restorers, open_restorer
    from .resolution.study import ResolutionSettings, run_resolution_study

    with reported():
        settings = ResolutionSettings(
            sizes=whole_numbers(sizes, "sizes"),
            ways=tuple(ways.split(",")),  # type: ignore[arg-type]
            material=PreRestoreBenchmarkSettings(clips=clips, frames=frames),
        )
        if control and prior is None:
            raise SettingsError("--control: give --prior PATH too, the model that it controls")
        restorers = [open_restorer(restorer, device=device)]
        if prior is not None:
            sampling = PriorSampling(
                prompt=prompt,
                negative=negative,
                steps=steps,
                strength=strength,
                sampler=sampler,
                noise_schedule=noise_schedule,
                start=start,
                cfg=cfg,
                control_strength=control_strength,
            )
            known = None if prediction == "auto" else prediction
            restorers += open_prior_restorers(prior, sampling, controls=control or (), prediction=known, device=device)
        with bars() as progress:
            report = run_resolution_study(data, restorers, settings=settings, progress=progress)
        if json_file is not None:
            report.write_json(json_file)
        if curves is not None:
            write_curves(report, curves)
        if markdown is not None:
            options = {
                "restorer": restorer,
                "prior": prior,
                "control": control or None,
                "control-strength": control_strength,
                "prompt": prompt,
                "negative": negative,
                "prediction": prediction,
                "steps": steps,
                "strength": strength,
                "sampler": sampler,
                "noise-schedule": noise_schedule,
                "start": start,
                "cfg": cfg,
                "sizes": sizes,
                "ways": ways,
                "clips": clips,
                "frames": frames,
                "device": device,
            }
            shown = {"data": "DIR", **options, "markdown": markdown, "curves": curves}
            command = command_line("resolution", shown, defaults=_RESOLUTION)
            write_page(report, markdown, command=command, curves=curves)
        typer.echo(format_report(report))


@app.command("memory")
def benchmark_memory(
    sizes: Annotated[str, typer.Option(metavar="WxH,…", help="Frame sizes.")] = "1920x1080,2048x1556",
    frames: Annotated[str, typer.Option(metavar="A,B,…", help="Lengths of the films.")] = "30,60",
    stages: Annotated[str, typer.Option(metavar="A,B,…", help="Of: repair, default, all.")] = "default",
    pix_fmt: Annotated[str, typer.Option(help="Pixel format of the films, FFmpeg's name.")] = "yuv420p",
    suffix: Annotated[str, typer.Option(help="Of the restored films: .mkv is FFV1, .mp4 H.264.")] = ".mkv",
    markdown: TableOption = None,
) -> None:
    """What restoring takes of memory, by size and length; films are made for it, and each has a process of its own."""
    from .common.page import write_markdown
    from .common.table import markdown_table
    from .memory.benchmark import format_memory, memory_table, read_sizes, run_memory_benchmark

    with reported():
        with bars() as progress:
            figures = run_memory_benchmark(
                read_sizes(sizes.split(",")),
                whole_numbers(frames, "frames"),
                stages=tuple(stages.split(",")),
                pix_fmt=pix_fmt,
                suffix=suffix,
                progress=progress,
            )
        if markdown is not None:
            write_markdown(markdown, [markdown_table(memory_table(figures))])
        typer.echo(format_memory(figures))


@app.command("cost")
def benchmark_cost(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with clips/ or photos/: a clip is aged; else films are made from nothing."),
    ] = None,
    sizes: Annotated[str, typer.Option(metavar="WxH,…", help="Frame sizes.")] = "480x368,2048x1556",
    frames: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Length of the films, one for all or each size; else 16 or 8.")
    ] = None,
    parts: Annotated[
        str, typer.Option(metavar="A,B,…", help="Of: repair, restore, without network.")
    ] = "repair,restore",
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs of each.")] = 3,
    against: Annotated[
        Path | None, typer.Option(metavar="CHECKOUT", help="Measure another checkout in the same run, by turns.")
    ] = None,
    json_file: JsonOption = None,
    markdown: PageOption = None,
) -> None:
    """What detection and repair, and `restore`, take of time by the size of the film, in a warm process."""
    from .common.page import command_line
    from .cost.benchmark import run_cost_benchmark
    from .cost.page import format_report, write_page
    from .cost.settings import CostSettings
    from .memory.benchmark import read_sizes

    with reported():
        settings = CostSettings(
            sizes=read_sizes(sizes.split(",")),
            frames=() if frames is None else whole_numbers(frames, "frames"),
            parts=tuple(part.strip() for part in parts.split(",")),
            repeats=repeats,
            against=against,
        )
        with bars() as progress:
            report = run_cost_benchmark(data, settings=settings, progress=progress)
        if json_file is not None:
            report.write_json(json_file)
        if markdown is not None:
            shown = {
                "data": None if data is None else "DIR",
                "sizes": sizes,
                "frames": frames,
                "parts": parts,
                "repeats": repeats,
                "against": None if against is None else "CHECKOUT",
                "markdown": markdown,
            }
            write_page(report, markdown, command=command_line("cost", shown))
        typer.echo(format_report(report))


@app.command("sampler")
def benchmark_sampler(
    host: Annotated[Path | None, typer.Option(help="ComfyUI folder; else $COMFYUI_PATH, else ~/comfy/ComfyUI.")] = None,
    json_file: JsonOption = None,
    quick: Annotated[bool, typer.Option(help="A narrow UNet, for a first look.")] = False,
    latent: Annotated[int | None, typer.Option(min=8, help="Side of the latents; 8 pixels each.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Repeats; ratios are medians over them.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="GROUP", help="Measure this group. Repeatable.")] = None,
) -> None:
    """Time and memory per frame and step beside the host's sampler, AnimateDiff-Evolved and diffusers, as ratios."""
    from .sampler.benchmark import SamplerBenchmarkSettings, format_report, run_sampler_benchmark

    with reported():
        settings = SamplerBenchmarkSettings.quick() if quick else SamplerBenchmarkSettings()
        chosen = {"latent": latent, "rounds": rounds, "threads": threads, "groups": tuple(only or ()) or None}
        settings = replace(settings, **{name: value for name, value in chosen.items() if value is not None})  # type: ignore
        with bars() as progress:
            report = run_sampler_benchmark(host, json_path=json_file, settings=settings, progress=progress)
        typer.echo(format_report(report))
