"""Commands for the record of a restoration: what was changed, taking it back, and a report of it."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import SettingsError
from ...wording import counted
from ..support import OverwriteOption, bars, console, reported

if TYPE_CHECKING:
    from ...reel.record.fixes import Fix
    from ...reel.record.repairs import Selection

app = typer.Typer(no_args_is_help=True, help="Look at what a restoration has changed, and take it back.")

_SHOWN = 200
"""Fixes that are listed unless more are asked for."""


class Kind(StrEnum):
    """Kinds of repairs the command line offers."""

    DIRT = "dirt"
    SCRATCH = "scratch"
    STANDING = "standing"
    SEAM = "seam"
    NAMED = "named"


RecordArgument = Annotated[
    Path, typer.Argument(help="The record that restore wrote, OUT.record.zip.", show_default=False)
]
KindOption = Annotated[list[Kind] | None, typer.Option(help="Repairs of this kind. Repeatable.")]
ShotOption = Annotated[list[int] | None, typer.Option(min=0, help="Repairs in this shot, from 0. Repeatable.")]
FixOption = Annotated[list[int] | None, typer.Option(min=1, help="The fix of this number. Repeatable.")]
FramesOption = Annotated[
    str | None, typer.Option(metavar="A-B", help="Repairs in the frames A to B, from 0; both belong to it.")
]


def _selection(
    kind: list[Kind] | None, shot: list[int] | None, fix: list[int] | None, frames: str | None
) -> "Selection":
    from ...reel.record.repairs import Selection

    return Selection(
        kinds=tuple(each.value for each in kind or ()),
        shots=tuple(shot or ()),
        fixes=tuple(fix or ()),
        frames=None if frames is None else _frames(frames),
    )


def _frames(text: str) -> tuple[int, int]:
    first, _, last = text.replace("–", "-").partition("-")
    try:
        return int(first), int(last or first)
    except ValueError:
        raise SettingsError(f"--frames is {text!r}; give the first and the last, such as 100-140") from None


@app.command()
def show(
    record: RecordArgument,
    kind: KindOption = None,
    shot: ShotOption = None,
    fix: FixOption = None,
    frames: FramesOption = None,
    most: Annotated[int, typer.Option(min=1, help="Fixes to list; the rest is counted.")] = _SHOWN,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all of them, instead of a table.")] = False,
) -> None:
    """List what was repaired: number, kind, shot, frames, box and pixels of every fix."""
    from ...reel.record.file import RecordReader
    from ...reel.record.fixes import fixes_of

    with reported(), RecordReader(record) as reader:
        found = fixes_of(reader, _selection(kind, shot, fix, frames))
        if as_json:
            _print_json(reader.about, found)
            return
        files = reader.about["source"]["files"], reader.about["result"]["files"]
        source, result = (" + ".join(each["name"] for each in names) for names in files)
        typer.echo(f"{source} → {result}: {counted(reader.about['frames'], 'frame')}, {reader.about['made']}")
        kept = [str(row["shot"]) for row in reader.about["shots"] if row.get("originals")]
        if kept:
            typer.echo(
                f"a prior changed the frames of shot {', '.join(kept)}: record undo --shot gives them back as they came"
            )
        typer.echo(
            f"{'fix':>7}  {'kind':<8}  {'shot':>4}  {'frames':>13}  {'x, y, width × height':<24}  {'pixels':>8}  sure"
        )
        listed = left = 0
        for each in found:
            if listed < most:
                typer.echo(_line(each))
                listed += 1
            else:
                left += 1
        if left:
            typer.echo(
                f"and {left} more; narrow them by --shot, --kind or --frames, or list them with --most {listed + left}"
            )


def _line(fix: "Fix") -> str:
    frames = str(fix.first) if fix.first == fix.last else f"{fix.first}-{fix.last}"
    box = f"{fix.x}, {fix.y}, {fix.width} × {fix.height}"
    sure = "" if fix.confidence is None else f"{fix.confidence:3d} %"
    pixels = fix.changed or "left"
    return f"{fix.number:7d}  {fix.kind:<8}  {fix.shot:4d}  {frames:>13}  {box:<24}  {pixels:>8}  {sure}".rstrip()


def _print_json(about: dict[str, Any], found: Any) -> None:
    # One fix at a time: a reel has hundreds of thousands.
    typer.echo('{"record": ' + json.dumps(about, ensure_ascii=False) + ', "fixes": [', nl=False)
    for number, fix in enumerate(found):
        typer.echo((",\n" if number else "\n") + json.dumps(asdict(fix)), nl=False)
    typer.echo("]}")


@app.command()
def undo(
    record: RecordArgument,
    restored: Annotated[Path, typer.Argument(help="The restored film that the record belongs to.", show_default=False)],
    destination: Annotated[
        Path, typer.Argument(help="Film to write: .mkv, or a folder for pictures.", show_default=False)
    ],
    kind: KindOption = None,
    shot: ShotOption = None,
    fix: FixOption = None,
    frames: FramesOption = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Put the original samples back also where the whole picture was changed beside the repairs, or where "
            "the film's checksum is another.",
        ),
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write the film with repairs taken back: the samples that were there before, bit for bit; all others stay.

    Options together mean the repairs for which all of them hold; without any, all repairs are taken back. What a prior
    has changed goes back in whole frames: with --shot, with --frames, or without any.
    """
    from ...reel.record.undo import undo_repairs

    with reported():
        with bars() as progress:
            undone = undo_repairs(
                record,
                restored,
                destination,
                _selection(kind, shot, fix, frames),
                progress,
                force=force,
                overwrite=overwrite,
            )
        whole = f"{undone.whole} of them whole, " if undone.whole else ""
        console.print(
            f"{destination}: {counted(undone.fixes, 'repair')} taken back in {counted(undone.frames, 'frame')}, "
            f"{whole}{undone.pixels} pixels; what is left is in {undone.record}",
            highlight=False,
            soft_wrap=True,
        )


@app.command()
def report(
    record: RecordArgument,
    destination: Annotated[Path, typer.Argument(help="HTML file to write.", show_default=False)],
    overwrite: OverwriteOption = False,
) -> None:
    """Write a report that any browser opens, without a network: pictures of every shot, figures, settings, doubts."""
    from ...reel.record.report.report import write_report

    with reported():
        write_report(record, destination, overwrite=overwrite)
        console.print(f"{destination}: {destination.stat().st_size / 1e6:.1f} MB", highlight=False, soft_wrap=True)
