"""Films of masks: written to be looked at and edited, and read as damage that is known before the search."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
from torch import Tensor

from ..errors import FilmFileError, SettingsError
from ..film.box_fixes import BoxFix, check_fixes, fixed_marks
from ..film.defect_map import MapSettings, map_marks
from ..video.colour import ColourConverter, alpha_of, layout_of
from ..video.info import FilmFrame, FilmInfo
from ..video.reading.container import source_name
from ..video.reading.edited import EditedFilm
from ..video.reading.reader import open_film
from ..video.sequences.names import DECODERS
from ..video.stream import FilmReader
from ..video.writing.writer import FilmWriter, WriteSettings, open_writer
from .passes import Source
from .protection import read_grey

if TYPE_CHECKING:
    from .restore import ReelSettings

FOUND = {"dirt": "dirt", "scratch": "scratch"}
"""Kinds of damage that are found, and the names of their films without suffix."""


def pixels_marked(mask: Tensor | None) -> int:
    """Return how many pixels of a frame a mask (H, W) of 0 and 1 marks; 0 without a mask.

    Whole numbers add up to the same in every order, so that chunks give the shares of a single pass.
    """
    return 0 if mask is None else int(torch.count_nonzero(mask))


class MaskWriters:
    """Writes one lossless grey film per kind of mask into a folder.

    Every film has the size, frame count and timestamps of the source. Use as a context manager: the films appear when
    it ends without an error.

    Args:
        directory: Folder, made if missing.
        names: Kind of mask → file name without suffix.
        info: The source film.
        overwrite: Whether films of these names may be replaced.
    """

    def __init__(
        self, directory: str | os.PathLike[str], names: Mapping[str, str], info: FilmInfo, *, overwrite: bool = False
    ) -> None:
        self._directory = Path(directory)
        self._names = names
        self._info = info
        self._write = WriteSettings(codec="ffv1", pix_fmt="gray", overwrite=overwrite, intermediate=True)
        self._stack = ExitStack()
        self._writers: dict[str, FilmWriter] = {}

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        for kind, name in self._names.items():
            try:
                writer = open_writer(self._directory / f"{name}.mkv", self._info, settings=self._write)
            except BaseException:
                self._stack.__exit__(*sys.exc_info())
                raise
            self._writers[kind] = self._stack.enter_context(writer)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.__exit__(*exception)  # type: ignore[arg-type]

    def write(self, frame: FilmFrame, masks: Mapping[str, Tensor | None]) -> None:
        """Write one frame of every film.

        Args:
            frame: The source frame, for its timestamp.
            masks: Kind → (H, W) in [0, 1], or None where nothing was looked for.
        """
        for kind, writer in self._writers.items():
            mask = masks[kind]
            shown = torch.zeros(self._info.height, self._info.width) if mask is None else mask
            writer.write(frame, shown[None])


@dataclass(frozen=True, kw_only=True)
class GivenMap:
    """Damage of a film that is known from elsewhere.

    Attributes:
        source: A film or image sequence of the same size with a map for every frame, or one picture for all; None is
            the alpha channel of the film itself.
        kind: What is marked: "dirt" is filled from the neighbours in time, of a "scratch" the profile is taken off.
        reading: What its values mean.
        alone: Whether this kind of damage is not looked for besides.
    """

    source: Source | None
    kind: Literal["dirt", "scratch"] = "dirt"
    reading: MapSettings = field(default_factory=MapSettings)
    alone: bool = False

    def __post_init__(self) -> None:
        if self.kind not in FOUND:
            raise SettingsError(f"the kind of a map is {self.kind!r}; use 'dirt' or 'scratch'")

    @property
    def name(self) -> str:
        """What a user is told of it."""
        if self.source is None:
            return "the alpha channel"
        return self.source.name if isinstance(self.source, EditedFilm) else source_name(self.source)


def reviewed_masks(folder: str | os.PathLike[str]) -> tuple[GivenMap, ...]:
    """Take the masks of a folder, as they were written and edited, in the place of a search.

    Args:
        folder: With ``dirt.mkv`` and ``scratch.mkv``, or folders of pictures of these names. A kind that is missing is
            looked for as usual.

    Raises:
        SettingsError: There is neither.
    """
    maps = []
    for kind, name in FOUND.items():
        film = next((path for path in (Path(folder, f"{name}.mkv"), Path(folder, name)) if path.exists()), None)
        if film is not None:
            maps.append(GivenMap(source=film, kind=kind, alone=True))  # type: ignore[arg-type]
    if not maps:
        raise SettingsError(
            f"{folder} has neither dirt.mkv nor scratch.mkv, nor folders of pictures dirt and scratch; give the folder "
            "that the masks were written to"
        )
    return tuple(maps)


def with_given(settings: "ReelSettings") -> "ReelSettings":
    """Return settings whose stages take the maps and fixes that the settings name.

    Raises:
        SettingsError: There is a map or a fix of damage that is not to be repaired.
    """
    uses: dict[str, Literal["added", "alone"]] = {}
    for given in settings.maps:
        if (settings.dirt if given.kind == "dirt" else settings.lines) is None:
            raise SettingsError(f"{given.name} marks {given.kind}, whose repair is off; switch it on or leave it out")
        uses[given.kind] = "alone" if given.alone or uses.get(given.kind) == "alone" else "added"
    for fix in settings.fixes:
        if fix.kind == "keep":
            continue
        kind = "scratch" if fix.kind == "scratch" else "dirt"
        if (settings.dirt if kind == "dirt" else settings.lines) is None:
            raise SettingsError(f"fix {fix} marks {kind}, whose repair is off; switch it on or leave the fix out")
        if kind == "scratch":
            uses.setdefault("scratch", "added")
    return replace(
        settings,
        given_dirt=uses.get("dirt", "ignored"),
        given_scratch=uses.get("scratch", "ignored"),
    )


class GivenMarks:
    """What maps say of the frames of a film, frame by frame in order. Use as a context manager.

    Args:
        maps: The maps.
        info: The film.
        fixes: Boxes that are repaired in any case, or left alone.

    Raises:
        FilmFileError: A map cannot be read, or the film has no alpha channel.
        SettingsError: A map has another size than the film.
    """

    def __init__(self, maps: Sequence[GivenMap], info: FilmInfo, fixes: Sequence[BoxFix] = ()) -> None:
        self._maps, self._info, self._fixes = maps, info, fixes
        self._stack = ExitStack()
        self._films: dict[int, FilmReader] = {}
        self._frames: dict[int, Iterator[FilmFrame]] = {}
        self._last: dict[int, Tensor] = {}
        self._converter = ColourConverter(info.width, info.height, info.colour_matrix, info.colour_range)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for number, given in enumerate(self._maps):
                if given.source is None:
                    if not layout_of(self._info.pix_fmt).alpha:
                        raise FilmFileError(
                            f"{self._info.path} has no alpha channel ({self._info.pix_fmt}); give the map as a film of "
                            "its own"
                        )
                elif isinstance(given.source, str | os.PathLike) and Path(given.source).suffix.lower() in DECODERS:
                    picture = read_grey(given.source, self._info)
                    self._last[number] = map_marks(picture[None], given.reading)[0]
                else:
                    film = stack.enter_context(open_film(given.source, deinterlace="off"))
                    size = film.info.width, film.info.height
                    if size != (self._info.width, self._info.height):
                        raise SettingsError(
                            f"{given.name} is {size[0]}×{size[1]}, the film {self._info.width}×{self._info.height}; "
                            "give a map of the film's size"
                        )
                    self._films[number] = film
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.__exit__(*exception)  # type: ignore[arg-type]

    def check(self, count: int, counted: Callable[[FilmReader], int]) -> None:
        """Find out before the work whether there is a map for every frame.

        Args:
            count: Frames of the film.
            counted: Counts the frames of a map.

        Raises:
            SettingsError: A map has another number of frames, and more than one, or a fix lies beyond the film.
        """
        check_fixes(self._fixes, count, self._info.height, self._info.width)
        for number, film in self._films.items():
            found = counted(film)
            if found not in (1, count):
                raise SettingsError(
                    f"{self._maps[number].name} has {found} frames, the film {count}; give a map for every frame, or "
                    "one for all"
                )

    def of(self, frame: FilmFrame) -> dict[str, Tensor]:
        """Return what is marked in the next frame of the film, (H, W) for each kind that there are maps of.

        What fixes want to be filled is there as "forced", and what of it from the picture around as "around" too. What
        they want to be left alone is there as "kept".
        """
        marks = fixed_marks(self._fixes, frame.index, self._info.height, self._info.width)
        filled = [marks[kind] for kind in ("dirt", "around") if kind in marks]
        named = {"scratch": marks.get("scratch"), "around": marks.get("around"), "kept": marks.get("keep")}
        marks = {kind: mask for kind, mask in named.items() if mask is not None}
        if filled:
            marks["forced"] = torch.stack(filled).amax(dim=0)
        for number, given in enumerate(self._maps):
            if given.source is None:
                marked = map_marks(self._alpha(frame)[None], given.reading)[0]
            else:
                marked = self._next(number)
            before = marks.get(given.kind)
            marks[given.kind] = marked if before is None else torch.maximum(before, marked)
        return marks

    def _next(self, number: int) -> Tensor:
        if number in self._films:
            if number not in self._frames:
                self._frames[number] = iter(self._films[number])
            frame = next(self._frames[number], None)
            if frame is not None:
                # Grey, or the brightest channel where somebody painted in colour.
                self._last[number] = map_marks(frame.tensor().amax(dim=0)[None], self._maps[number].reading)[0]
        return self._last[number]

    def _alpha(self, frame: FilmFrame) -> Tensor:
        samples = None if frame.source is None else alpha_of(frame.source, self._converter)
        if frame.source is None or samples is None:
            raise FilmFileError(
                f"frame {frame.index} of {self._info.path} has no alpha channel; give the map as a film"
            )
        top = (1 << layout_of(frame.source.format.name).bits) - 1
        return torch.from_numpy(samples.astype(np.float32)) / top
