"""What goes into the prior beside the frames of a film: whether it is of the film's length, and its channels."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ...progress import Progress
from ...video.info import FilmInfo
from ...video.reading.reader import open_film
from ...video.stream import FilmReader
from ..passes import Source, counted
from ..prior_company import Company, check_hints, check_masks, hint_frames, mask_frames
from ..prior_controls import ControlShelf
from .settings import PriorReelSettings


def check_lengths(
    film: FilmReader, settings: PriorReelSettings, controls: ControlShelf, masks: Sequence[Path], progress: Progress
) -> None:
    """Check that the table, hints, masks and what controls look at are made for as many frames as the film has."""
    hints = hints_of(settings, controls)
    if settings.table is None and not hints and not masks and not controls.counted:
        return
    for path in (*hints, *masks):
        # A name that is wrong is told before a long film is counted.
        open_film(path).close()
    count = counted(film, progress)
    if settings.table is not None:
        settings.table.check(None, count)
    for hint in hints:
        check_hints(hint, count, lambda films: counted(films, progress))
    check_masks(masks, count, film.info, lambda films: counted(films, progress))
    controls.check(count, lambda films: counted(films, progress))


def open_company(
    source: Source,
    settings: PriorReelSettings,
    masks: Sequence[Path],
    hints: Sequence[Path],
    info: FilmInfo,
    count: int,
    stack: ExitStack,
) -> Company:
    """What goes through the prior beside the frames; its films stay open as long as the stack."""
    company = Company()
    if settings.grain_of_source:
        grainy = stack.enter_context(settings.reel.read.open(source))
        company.add("source", (frame.tensor() for frame in grainy))
    if masks:
        films = [stack.enter_context(open_film(path, deinterlace="off")) for path in masks]
        company.add("damage", mask_frames(films), 1)
    for hint in hints:
        film = stack.enter_context(open_film(hint))
        company.add(hint_name(hint), hint_frames(film, count, info.height, info.width))
    return company


def hints_of(settings: PriorReelSettings, controls: ControlShelf) -> tuple[Path, ...]:
    """Return the films and pictures that networks look at in the place of the frames, each once."""
    own = () if settings.control is None or settings.control.hint is None else (settings.control.hint,)
    return tuple(dict.fromkeys((*own, *controls.hints)))


def hint_name(hint: Path) -> str:
    """Return the name of a hint's channels."""
    return f"hint {hint}"
