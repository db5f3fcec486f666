"""What the commands of the command line share: where messages go, bars of progress, and how failures end."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from .errors import FilmFileWarning, VLDMError

console = Console(stderr=True)


class Bars:
    """One rich progress bar per phase."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def __call__(self, phase: str, done: int, total: int | None, preview: Tensor | None = None) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase, total=total)
        self._progress.update(self._tasks[phase], completed=done, total=total)


@contextmanager
def bars() -> Iterator[Bars]:
    """Show what reports to the `Progress` that this yields."""
    columns = (
        TextColumn("{task.description:>16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)


@contextmanager
def reported() -> Iterator[None]:
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
