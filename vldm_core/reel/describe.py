"""Describe a film file shot by shot, repaired before anything is looked at, at memory that does not grow with it."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from ..containment import Faults
from ..errors import FilmFileWarning, SettingsError
from ..notices import Notices
from ..progress import Progress, Pulse, silent
from ..semantics.describe import SeenFrame, ShotDescriber, describe_stream
from ..semantics.table.table import ShotTable
from ..stages.plan import StagePlan
from ..video.reading.reader import ReadSettings
from ..video.shots import Shot, ShotSettings, covering_shots
from ..video.stream import FilmReader
from .mask_films import GivenMarks, with_given
from .passes import Source, analyse_film, counted, find_shots, over_shots
from .protection import read_protection
from .restore import ReelSettings

logger = logging.getLogger(__name__)


def describe_film(
    source: Source,
    describer: ShotDescriber | None = None,
    *,
    repair: ReelSettings | None = None,
    shots: Sequence[Shot] | None = None,
    shot_settings: ShotSettings | None = None,
    read: ReadSettings | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
) -> ShotTable:
    """Describe a film file at memory that does not grow with the film.

    Args:
        source: File, image-sequence folder, or file contents.
        describer: What describes; None has no models: key frames, and whether there is colour.
        repair: How damage is found and repaired before anything is looked at; its flicker, weave and output do not
            matter. None looks at the film as it is, which is much faster.
        shots: Shots that cover the film; None finds them.
        shot_settings: How cuts are found; None takes those of `repair`, or the usual ones.
        read: How interlaced film is taken; None takes what `repair` says, or looks at the pictures.
        progress: Called per frame and pass; may raise to interrupt.
        notices: Takes what the search for cuts and the repair have to say of single frames.

    Raises:
        FilmFileError: The film cannot be read.
        SettingsError: The shots do not cover the film.
        StageError: A stage of the repair failed in a frame, and its settings are strict.
    """
    faults = Faults(notices, strict=repair is not None and repair.strict)
    describer = describer or ShotDescriber()
    cuts = shot_settings or (repair.shots if repair is not None else ShotSettings())
    with ExitStack() as stack:
        film = stack.enter_context((read or (repair.read if repair is not None else ReadSettings())).open(source))
        found = find_shots(film, cuts, progress, faults=faults) if shots is None else tuple(shots)
        if shots is None:
            logger.info("%s: %d frames in %d shots", film.name, found[-1].last, len(found))
            # The first reading has told what is wrong with the file; the others need not repeat it.
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", FilmFileWarning)
        parts = covering_shots(found, found[-1].last if found else 0)
        pulse = Pulse(progress, "describe", parts[-1].last)
        if repair is None:
            seen: Iterator[SeenFrame] = (SeenFrame(image=frame.tensor()) for frame in film)
        else:
            seen = _repaired(film, parts, repair, pulse, progress, faults)
        table = describe_stream(seen, parts, describer, progress, pulse)
        if next(seen, None) is not None:
            raise SettingsError(
                f"the shots cover {table.frames} frames, but {film.name} has more; detect the shots on the same film"
            )
    return table


def _repaired(
    film: FilmReader, shots: Sequence[Shot], repair: ReelSettings, pulse: Pulse, progress: Progress, faults: Faults
) -> Iterator[SeenFrame]:
    """Give every frame of a film with its damage found and repaired."""
    repair = with_given(repair)
    plan = StagePlan.from_settings(repair).to_repair()
    protect = None if repair.protect is None else read_protection(repair.protect, film.info)
    analyses = analyse_film(film, shots, plan.analysis, progress, faults=faults)
    frames = iter(film)
    with GivenMarks(repair.maps, film.info) as given:
        given.check(shots[-1].last, counted)
        for frame in over_shots(plan, frames, shots, analyses, pulse, protect=protect, faults=faults, given=given.of):
            damage = frame.damage()
            yield SeenFrame(image=frame.image, damage=0.0 if damage is None else float((damage > 0.5).float().mean()))
    # The reader goes on after the last shot; describe_film sees that it does.
    for left in frames:
        yield SeenFrame(image=left.tensor())
