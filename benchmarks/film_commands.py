"""The benchmarks of whole restorations, of what they harm, and of finding and filling damage, as commands."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vldm_core.cli.support import bars, reported
from vldm_core.errors import SettingsError

from .options import JsonOption, LanesOption, PageOption, PeerChainOption, PeerPythonOption, PeersOption


def benchmark_film(
    data: Annotated[Path, typer.Option(help="Folder with clips/, photos/, textures/ and film/.")],
    json_file: JsonOption = None,
    markdown: PageOption = None,
    strips: Annotated[
        Path | None, typer.Option(help="Folder for pictures: five frames side by side, before and after each method.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Of aged, clean, real, films, cost; else all.")
    ] = None,
    models: Annotated[str | None, typer.Option(metavar="A,B", help="Of: second, training; else both.")] = None,
    own: Annotated[str | None, typer.Option(metavar="A;B;…", help="Of: normal; fast; best; repair only.")] = None,
    checkout: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER", help="Another version of this repository to run. Repeatable."),
    ] = None,
    film: Annotated[
        list[Path] | None, typer.Option(help="A film of your own, for --strips; may come several times.")
    ] = None,
    recorded: Annotated[
        Path | None, typer.Option(help="JSON of an earlier run, for its figures of other versions on the same clips.")
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
    from .film.report import read_recorded
    from .film.strips import write_strip
    from .film.tables import format_report
    from .memory.benchmark import read_sizes

    with reported():
        chosen: dict[str, Any] = {
            "parts": tuple(only.split(",")) if only else None,
            "models": tuple(models.split(",")) if models else None,
            "own": tuple(part.strip() for part in own.split(";")) if own else None,
            "checkouts": {name: Path(folder) for name, folder in map(_named_checkout, checkout)} if checkout else None,
            "films": tuple(film) if film else None,
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
                recorded=None if recorded is None else read_recorded(recorded, settings),
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
                "recorded": None if recorded is None else "FILE.json",
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


def benchmark_harm(
    cases: Annotated[Path, typer.Option(help="Python file with MAKERS: functions that make clean content; it is run.")],
    names: Annotated[list[str] | None, typer.Argument(help="Which of them; else all.")] = None,
    methods: Annotated[str | None, typer.Option(metavar="A;B;…", help="Of: repair only; fast; normal; best.")] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COMMAND", help="Another program, with {in} and {out} for the films. Repeatable."),
    ] = None,
    run_peers: PeersOption = True,
    peer_chain: PeerChainOption = None,
    peer_python: PeerPythonOption = None,
    json_file: JsonOption = None,
    markdown: PageOption = None,
) -> None:
    """What restoring does to clean content that must stay as it is: titles, bars, rain, leaders and the like."""
    from .common.page import command_line
    from .common.peers import RECIPES, find_peers
    from .harm.benchmark import METHODS, format_harm, load_cases, run_harm_benchmark
    from .harm.page import write_json, write_page

    with reported():
        chosen = tuple(part.strip() for part in methods.split(";")) if methods else tuple(METHODS)
        peers: dict[str, str | Sequence[str]] = dict(_named_command(text) for text in peer or ())
        if run_peers:
            found = find_peers(peer_chain, peer_python, near=cases.parent)
            peers |= {name: found.film_command(recipe) for name, recipe in RECIPES.items()}
        content = load_cases(cases, tuple(names or ()))
        with bars() as progress:
            figures = run_harm_benchmark(content, methods=chosen, peers=peers, progress=progress)
        if json_file is not None:
            write_json(figures, json_file)
        if markdown is not None:
            options = {"cases": "FILE.py", "methods": methods, "no-peers": not run_peers, "markdown": markdown}
            write_page(figures, markdown, command=" ".join((command_line("harm", options), *(names or ()))))
        typer.echo(format_harm(figures))


def _named_command(text: str) -> tuple[str, str]:
    name, found, command = text.partition("=")
    if not (name and found and command):
        raise SettingsError(f"--peer is {text!r}; give NAME=COMMAND")
    return name, command
