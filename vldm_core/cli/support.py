"""What the commands of the command line share: where messages go, bars of progress, and how failures end."""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..errors import FilmFileWarning, SettingsError, VLDMError
from ..notices import Notices

if TYPE_CHECKING:
    from torch import Tensor

    from ..video.reading.reader import ReadSettings

console = Console(stderr=True)

Command = TypeVar("Command", bound=Callable[..., Any])

# 23.976 and the like are meant as these, and told from 24 by less than half their distance.
_VIDEO_RATES = tuple(Fraction(rate * 1000, 1001) for rate in (24, 30, 48, 60, 120))
_RATE_TOLERANCE = Fraction(1, 200)


class Deinterlace(StrEnum):
    """Field orders the command line offers."""

    AUTO = "auto"
    TOP = "top"
    BOTTOM = "bottom"
    OFF = "off"


_FIELD_ORDERS: dict[Deinterlace, Literal["auto", "tff", "bff", "off"]] = {
    Deinterlace.AUTO: "auto",
    Deinterlace.TOP: "tff",
    Deinterlace.BOTTOM: "bff",
    Deinterlace.OFF: "off",
}

DeinterlaceOption = Annotated[
    Deinterlace,
    typer.Option(help="auto: every stretch as its pictures show; top or bottom: the whole film, that field first."),
]
FpsOption = Annotated[
    str | None,
    typer.Option(
        metavar="RATE",
        help="Frames per second of an image sequence, such as 16, 23.976 or 24000/1001; else what DPX say, or 24.",
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what is there under the names to be written, once that is done.")
]


def with_options(argument: str, options: type) -> Callable[[Command], Command]:
    """Let a command that takes a dataclass of options take every field of it as an option in its place.

    Args:
        argument: Name of the command's argument for the dataclass; it has to be keyword-only.
        options: The dataclass, whose fields are annotated for typer; a list that is empty becomes None.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Any) -> Any:
            said = {field.name: given.pop(field.name) for field in fields(options)}
            made = options(**{name: None if value == [] else value for name, value in said.items()})
            return command(**given, **{argument: made})

        hints = get_type_hints(options, include_extras=True)
        taken = []
        own = inspect.signature(command)
        for name, parameter in own.parameters.items():
            if name != argument:
                taken.append(parameter)
                continue
            taken += [
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=inspect.Parameter.empty if field.default is MISSING else field.default,
                    annotation=hints[field.name],
                )
                for field in fields(options)
            ]
        run.__signature__ = own.replace(parameters=taken)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in taken}
        del run.__wrapped__  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return decorate


def reading(deinterlace: Deinterlace, fps: str | None) -> "ReadSettings":
    """Return how a film is to be read.

    Raises:
        SettingsError: The rate is no positive number.
    """
    from ..video.reading.reader import ReadSettings

    return ReadSettings(deinterlace=_FIELD_ORDERS[deinterlace], sequence_rate=None if fps is None else _rate(fps))


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise SettingsError(f"--fps is {text!r}; give frames per second, such as 16, 23.976 or 24000/1001")
    return next((exact for exact in _VIDEO_RATES if rate != exact and abs(rate - exact) < _RATE_TOLERANCE), rate)


class Bars:
    """One rich progress bar per phase."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def __call__(self, phase: str, done: int, total: int | None, preview: "Tensor | None" = None) -> None:
        """See :class:`vldm_core.progress.Progress`."""
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
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        console.print("interrupted")
        raise typer.Exit(130) from error


def show_summary(notices: Notices) -> None:
    """Sum up at the end what the stages had to say of single frames."""
    for line in notices.summary():
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)


StrictOption = Annotated[
    bool,
    typer.Option("--strict", help="Stop at a frame that a stage cannot do, instead of passing it on as it came."),
]


def _show_warning(message: Warning | str, *_: object) -> None:
    console.print(f"warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
