"""The resolution study: what a restorer is worth, and what it costs, at different working sizes.

Clips are aged, repaired and freed of flicker as for the pre-restoration benchmark, brought to a working size, restored
and brought back, and measured at their own size. So whoever has larger or smaller material, or less time, can choose.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.progress import Progress, silent

from ..common.report import BenchmarkReport, machine_facts
from ..common.settings import check_chosen
from ..prerestore.material import DamagedClip, find_aged_sources, make_clip
from ..prerestore.scores import PictureFigures, mean_figures, picture_figures
from ..prerestore.settings import PreRestoreBenchmarkSettings
from .restorers import Restorer
from .sizes import WAYS, Way, WorkingSize, working_size

_log = logging.getLogger(__name__)

_WARM_UP = 2
"""Frames of the run that is not timed."""


@dataclass(frozen=True, kw_only=True)
class ResolutionSettings:
    """What the study runs on.

    Attributes:
        sizes: Lengths of the shorter side to work at.
        ways: How frames are brought there.
        material: Clips, frames per clip, their size and the seed.
    """

    sizes: tuple[int, ...] = (256, 368, 512, 768)
    ways: tuple[Way, ...] = WAYS
    material: PreRestoreBenchmarkSettings = PreRestoreBenchmarkSettings(clips=3, frames=8)

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 16 or len(set(self.sizes)) < len(self.sizes):
            raise SettingsError(f"the sizes to study are {self.sizes}; give some, each once, of 16 pixels or more")
        check_chosen("ways", self.ways, WAYS)


@dataclass(frozen=True, kw_only=True)
class ResolutionRow:
    """A restorer at one working size, averaged over the clips.

    Attributes:
        restorer: Its name.
        way: How frames were brought to the size.
        short_side: The size that was asked for.
        height: Of the frames that it got.
        width: The same.
        figures: Of the restored film at its own size.
        seconds_per_frame: Wall time, the way there and back included.
    """

    restorer: str
    way: Way
    short_side: int
    height: int
    width: int
    figures: PictureFigures
    seconds_per_frame: float


@dataclass(frozen=True, kw_only=True)
class ResolutionReport(BenchmarkReport):
    """All figures of one run.

    Attributes:
        rows: Restorer by restorer, way by way, by rising size.
        repaired: Figures of what the first restorer got: the film after repair and flicker removal.
        reference_warp_error: The reference's own warp error, grey levels.
        clips: Names of the clips.
        restorers: Name → description.
        settings: What the study ran on.
        machine: Processor count, device and versions.
    """

    rows: Sequence[ResolutionRow]
    repaired: PictureFigures
    reference_warp_error: float | None
    clips: Sequence[str]
    restorers: Mapping[str, str]
    settings: ResolutionSettings
    machine: Mapping[str, Any]

    def best(self, restorer: str) -> ResolutionRow:
        """Return the row of a restorer with the highest PSNR."""
        return max(
            (row for row in self.rows if row.restorer == restorer), key=lambda row: row.figures.psnr or float("-inf")
        )


def run_resolution_study(
    data: Path,
    restorers: Sequence[Restorer],
    *,
    settings: ResolutionSettings | None = None,
    progress: Progress = silent,
) -> ResolutionReport:
    """Run the study.

    Args:
        data: Folder with `clips/` and `photos/`.
        restorers: The first gets the clips after repair and flicker removal. Every further one gets what the one before
            made at the clips' own size, as the stages follow each other, or, where it stands `beside` that, the same.
        settings: Defaults to the full study.
        progress: Called per clip and size; may raise to interrupt.

    Returns:
        All figures.

    Raises:
        FilmFileError: The folder holds no material, or a file in it cannot be read.
        SettingsError: No restorer was given.
        VLDMError: A restorer failed.
    """
    settings = settings or ResolutionSettings()
    if not restorers:
        raise SettingsError("the resolution study has no restorer to measure; give one")
    start = time.perf_counter()
    sources = find_aged_sources(data, settings.material)
    clips: list[DamagedClip] = []
    for number, source in enumerate(sources, 1):
        clips.append(make_clip(source, settings.material))
        progress("age and repair", number, len(sources))
    inputs = [clip.even for clip in clips]
    rows: list[ResolutionRow] = []
    for number, restorer in enumerate(restorers):
        if number and not restorer.beside:
            before = restorers[number - 1]
            inputs = [_at_own_size(before, clip, film) for clip, film in zip(clips, inputs, strict=True)]
        rows += _measure(restorer, clips, inputs, settings, progress)
    return ResolutionReport(
        rows=rows,
        repaired=mean_figures(picture_figures(clip, clip.even) for clip in clips),
        reference_warp_error=mean_figures(picture_figures(clip, clip.reference) for clip in clips).warp_error,
        clips=[clip.name for clip in clips],
        restorers={restorer.name: restorer.description for restorer in restorers},
        settings=settings,
        machine=machine_facts() | {"minutes": (time.perf_counter() - start) / 60},
    )


def sizes_of(height: int, width: int, settings: ResolutionSettings, multiple: int) -> list[WorkingSize]:
    """Return the working sizes that frames of a size can be brought to, way by way, by rising size."""
    planned = (
        working_size(height, width, size, way, multiple) for way in settings.ways for size in sorted(settings.sizes)
    )
    return [size for size in planned if size is not None]


def _measure(
    restorer: Restorer,
    clips: Sequence[DamagedClip],
    films: Sequence[Tensor],
    settings: ResolutionSettings,
    progress: Progress,
) -> Iterable[ResolutionRow]:
    height, width = films[0].shape[-2:]
    sizes = sizes_of(height, width, settings, restorer.multiple)
    rows: list[ResolutionRow] = []
    restorer.run(sizes[0].there(films[0][:_WARM_UP]), sizes[0].there(clips[0].masks[:_WARM_UP]))
    for number, size in enumerate(sizes):
        figures, seconds, frames = [], 0.0, 0
        for index, (clip, film) in enumerate(zip(clips, films, strict=True), 1):
            begun = time.perf_counter()
            made = size.back(restorer.run(size.there(film), size.there(clip.masks)), film)
            seconds += time.perf_counter() - begun
            frames += len(film)
            figures.append(picture_figures(clip, made))
            progress(f"{restorer.name}", number * len(clips) + index, len(sizes) * len(clips))
        rows.append(
            ResolutionRow(
                restorer=restorer.name,
                way=size.way,
                short_side=size.short_side,
                height=size.height,
                width=size.width,
                figures=mean_figures(figures),
                seconds_per_frame=seconds / frames,
            )
        )
        _log.info("%s, %s to %d: %.2f dB", restorer.name, size.way, size.short_side, rows[-1].figures.psnr)
    return rows


def _at_own_size(restorer: Restorer, clip: DamagedClip, film: Tensor) -> Tensor:
    """Restore a film at its own size, or the next one that the restorer can take."""
    height, width = film.shape[-2:]
    size = working_size(height, width, min(height, width), "padded", restorer.multiple)
    assert size is not None
    return size.back(restorer.run(size.there(film), size.there(clip.masks)), film)
