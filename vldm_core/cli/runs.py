"""Commands for runs that were not finished: how far they are, going on, and clearing away."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..notices import Notices
from ..wording import counted
from .support import bars, console, reported, show_summary

if TYPE_CHECKING:
    from ..reel.restore import ReelReport
    from ..reel.resumable.run import RunSettings

RunArgument = Annotated[
    Path, typer.Argument(help="The film that is being made, as restore was given it.", show_default=False)
]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is kept and shared out, on the command line."""

    workers: Annotated[
        str | None,
        typer.Option(
            metavar="N|ray|ray=ADDRESS",
            help="Processes that restore side by side, or a Ray cluster (ray:N with N workers); else as many as cores "
            "and memory suffice for.",
        ),
    ] = None
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Where workers that cannot write beside the film leave finished chunks: an address of fsspec, such as "
            "s3://bucket/runs. They are fetched from there.",
            show_default=False,
        ),
    ] = None
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, whatever an earlier run of the same film has kept.")
    ] = False
    keep_work: Annotated[
        bool,
        typer.Option("--keep-work", help="Keep the folder of the run, OUT.vldm: another codec then takes minutes."),
    ] = False

    def settings(self, report: Path | None = None, storage: str | None = None) -> "RunSettings":
        """As the core takes them.

        Args:
            report: File for the report of the run.
            storage: Address for chunks where none is given.
        """
        from ..machine.workers import suitable_workers
        from ..reel.resumable.run import RunSettings
        from ..reel.resumable.sharing.share import workers_from

        workers = suitable_workers() if self.workers is None else workers_from(self.workers)
        return RunSettings(
            workers=workers,
            restart=self.restart,
            keep=self.keep_work,
            report=report,
            storage=self.storage or storage,
        )


def show_report(destination: Path, report: "ReelReport") -> None:
    """Print what was done."""
    console.print(
        f"{destination}: {counted(report.frames, 'frame')}, {counted(len(report.shots), 'shot')}, "
        f"{report.dirt_share:.2%} of the picture filled, {report.scratch_share:.2%} repaired as scratches, "
        f"{report.frames / report.seconds:.1f} frames per second",
        highlight=False,
    )


def status(
    run: RunArgument,
    picture: Annotated[Path | None, typer.Option(help="PNG file for the last restored frame.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Tell how far a run is, also while it is at work."""
    from ..reel.resumable.status import age, latest_picture, run_folder, run_status

    with reported():
        folder = run_folder(run)
        found = run_status(folder)
        if as_json:
            typer.echo(json.dumps(asdict(found)))
        else:
            total = "?" if found.frames is None else found.frames
            typer.echo(f"{found.source} → {found.destination}: {'at work' if found.at_work else 'not at work'}")
            typer.echo(f"shots analysed   {found.analysed} of {'?' if found.shots is None else found.shots}")
            typer.echo(f"frames restored  {found.done} of {total}, in {counted(found.chunks, 'chunk')}")
            if found.speed is not None and found.left is not None:
                typer.echo(f"speed            {found.speed:.2f} frames per second, {age(found.left)} left")
            typer.echo(f"kept             {found.bytes / 1e6:.0f} MB in {folder.path}")
        if picture is not None:
            import cv2

            number, image = latest_picture(folder)
            if not cv2.imwrite(str(picture), image[..., ::-1]):
                raise typer.BadParameter(f"{picture} cannot be written; give a .png file in a folder that is there")
            console.print(f"frame {number} is in {picture}", highlight=False)


def resume(run: RunArgument, *, options: RunOptions) -> None:
    """Go on with a run that was ended, with the settings, review copy and report that it began with."""
    from ..reel.delivery.run_report import TimedProgress, check_report_path, report_facts, write_report
    from ..reel.resumable.remembered import recalled, recalled_report, recalled_storage
    from ..reel.resumable.run import restore_reel
    from ..reel.resumable.status import run_folder, run_status

    notices = Notices()
    with reported():
        folder = run_folder(run)
        run_status(folder)
        source, destination, settings = recalled(folder.about())
        report_file = recalled_report(folder.about())
        if report_file is not None:
            check_report_path(report_file, overwrite=settings.write.overwrite)
        with bars() as shown:
            progress = TimedProgress(shown)
            run_settings = options.settings(report_file, recalled_storage(folder.about()))
            report = restore_reel(
                source, destination, settings, progress, run=run_settings, folder=folder, notices=notices
            )
        show_report(destination, report)
        show_summary(notices)
        if report_file is not None:
            facts = report_facts(report, settings, source, destination, notices=notices, passes=progress.seconds)
            write_report(report_file, facts)


def clean(run: RunArgument) -> None:
    """Remove what an unfinished run has kept; the film itself, if there is one, stays."""
    from ..errors import FilmFileError
    from ..reel.resumable.remembered import recalled_storage
    from ..reel.resumable.sharing.storage import remove_run
    from ..reel.resumable.status import run_folder, run_status

    with reported():
        folder = run_folder(run)
        found = run_status(folder)
        if found.at_work:
            raise FilmFileError(f"{folder.path} is at work; stop that run first")
        remove_run(folder, recalled_storage(folder.about()))
        console.print(f"removed {folder.path}, {found.bytes / 1e6:.0f} MB", highlight=False)
