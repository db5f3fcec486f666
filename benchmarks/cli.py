"""Commands that measure: ``python -m benchmarks …``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vldm_core.cli.support import bars, reported
from vldm_core.errors import SettingsError

from .film_commands import benchmark_detection, benchmark_film, benchmark_harm
from .options import JsonOption, LanesOption, PageOption, TableOption, whole_numbers
from .prior_commands import benchmark_one_step, benchmark_prior, train_world

app = typer.Typer(no_args_is_help=True, help="Measure the stages beside their baselines, all in one run.")


app.command("film")(benchmark_film)
app.command("harm")(benchmark_harm)
app.command("detection")(benchmark_detection)
app.command("prior")(benchmark_prior)
app.command("onestep")(benchmark_one_step)
app.command("world")(train_world)

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
    stages: Annotated[str, typer.Option(metavar="A,B,…", help="Of: repair, default, all, reel.")] = "default",
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


@app.command("workers")
def benchmark_workers(
    data: Annotated[Path, typer.Option(help="Folder with film/, of which a film of several shots is made.")],
    size: Annotated[str, typer.Option(metavar="WxH", help="Frame size.")] = "320x240",
    frames: Annotated[int, typer.Option(min=60, help="Length of the film at most.")] = 471,
    ways: Annotated[str, typer.Option(metavar="A,B,…", help="Of: 2, ray:2.")] = "2,ray:2",
    quality: Annotated[Literal["fast", "normal", "best"], typer.Option(help="Level of effort.")] = "normal",
    repeats: Annotated[int, typer.Option(min=1, help="Restorations of each way, by turns.")] = 1,
    markdown: TableOption = None,
) -> None:
    """Two workers on two cores beside one process on one; the frames have to be the same."""
    from .common.page import write_markdown
    from .common.table import markdown_table
    from .memory.benchmark import read_sizes
    from .workers.benchmark import WorkersSettings, chosen_ways, format_workers, run_workers_benchmark, workers_table

    with reported():
        ((width, height),) = read_sizes([size])
        settings = WorkersSettings(
            width=width, height=height, frames=frames, ways=chosen_ways(ways.split(",")), quality=quality,
            repeats=repeats,
        )  # fmt: skip
        with bars() as progress:
            report = run_workers_benchmark(data, settings=settings, progress=progress)
        if markdown is not None:
            write_markdown(markdown, [markdown_table(workers_table(report))])
        typer.echo(format_workers(report))


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
