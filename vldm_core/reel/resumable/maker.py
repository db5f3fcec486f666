"""Makes chunks: the plan of stages over the frames of a chunk and its neighbours, kept without loss."""

import contextlib
import io
import os
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ...containment import Faults
from ...errors import FilmFileError, FilmFileWarning
from ...machine.allocator import give_blocks_back, part_windows_from_planes
from ...notices import Notice, Notices
from ...prerestore.network import PreRestorer
from ...progress import Pulse
from ...stages.analysis import ShotAnalysis
from ...stages.settings import StageSettings
from ...stages.stage import ShotContext, StageModels
from ...stages.stage_frame import StageFrame
from ...video.colour import layout_of
from ...video.info import FilmFrame, FilmInfo
from ...video.reading.reader import open_film
from ...video.sequences.coders import written_bits
from ...video.sequences.names import names_sequence, split_pattern
from ...video.shots import Shot
from ...video.stream import FilmReader
from ...video.writing.encoding import WriteSettings, plan_encoding
from ...video.writing.writer import open_writer
from ..mask_films import FOUND, GivenMarks, pixels_marked
from ..passes import Source, run_plan
from ..protection import read_protection
from ..record.example import Example, better_example
from ..record.finding import RepairFinder
from ..record.repairs import Repairs
from ..restore import ReelSettings
from ..shot_choices import plans_of_shots
from .chunks import ReelChunk
from .feed import FrameFeed
from .sharing.job import Do
from .sharing.storage import SharedStorage
from .work_folder import KeptChunk, WorkFolder, hash_of, told

_NO_IMAGE = np.empty((0, 0, 3), np.uint8)
"""Of a frame of which only the place in the film is known."""


def storage(destination: str | os.PathLike[str], info: FilmInfo, write: WriteSettings) -> WriteSettings:
    """How frames are kept until the film is put together: without loss, and as deep as the film or the result."""
    chosen = WriteSettings(codec="ffv1", overwrite=True, intermediate=True)
    if names_sequence(destination):
        suffix = Path(split_pattern(Path(destination))[1]).suffix
        deeper = [replace(chosen, bits=16)] if written_bits(suffix, info, write.bits) > info.bit_depth else []
    else:
        made = plan_encoding(Path(destination), info, write).pix_fmt
        bits = layout_of(made).bits
        deeper = [replace(chosen, pix_fmt=made), replace(chosen, bits=bits)] if bits > info.bit_depth else []
    # FFV1 holds nearly all formats; RGB of the same depth holds what the stages make.
    plain = replace(chosen, pix_fmt="bgr0" if info.bit_depth == 8 and not deeper else "gbrp16le")
    for settings in (*deeper, *([] if deeper else [chosen])):
        with contextlib.suppress(FilmFileError):
            plan_encoding(Path("chunk.mkv"), info, settings)
            return settings
    return plain


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a maker of chunks has to know; it can be sent to another process.

    Attributes:
        source: The film.
        settings: What is done to it, with its maps taken into account.
        shots: Where its cuts are.
        stages: What is done to each shot.
        analyses: The first pass of each shot.
        folder: The run's folder.
        keys: Key of each chunk, by its first frame.
        storage: How frames are kept.
        shared: Where finished chunks are sent to; None leaves them in the folder.
    """

    source: Source
    settings: ReelSettings
    shots: tuple[Shot, ...]
    stages: tuple[StageSettings, ...]
    analyses: Sequence[ShotAnalysis]
    folder: Path
    keys: dict[int, str]
    storage: WriteSettings
    shared: SharedStorage | None = None

    @contextmanager
    def open(self, prerestorer: PreRestorer | None = None) -> Iterator[Do]:
        """Open the film; tasks are runs of chunks, see `ChunkMaker.make`.

        Args:
            prerestorer: On its device, in the place of the one that the settings name.
        """
        with warnings.catch_warnings(), contextlib.ExitStack() as stack:
            # The search for cuts has read all of the film, and told what is wrong with it.
            warnings.simplefilter("ignore", FilmFileWarning)
            if self.shared is None:
                folder = WorkFolder(self.folder)
            else:
                folder = stack.enter_context(self.shared.beside_worker())
            yield stack.enter_context(ChunkMaker(self, folder, prerestorer=prerestorer)).make


class ChunkMaker:
    """Makes the chunks of a reel, in any order; those that follow on each other cost least.

    Args:
        orders: What to make.
        folder: Takes the chunks.
        prerestorer: On its device, in the place of the one that the settings name.
    """

    def __init__(self, orders: Orders, folder: WorkFolder, *, prerestorer: PreRestorer | None = None) -> None:
        self._orders = orders
        self._plans = plans_of_shots(orders.stages, StageModels(prerestorer=prerestorer))
        self._folder = folder
        self._film: FilmReader | None = None
        self._feed: FrameFeed | None = None

    def __enter__(self) -> Self:
        settings = self._orders.settings
        self._film = settings.read.open(self._orders.source)
        info = self._film.info
        part_windows_from_planes(info.width, info.height)
        self._feed = FrameFeed(self._film, lambda: GivenMarks(settings.maps, info, settings.fixes))
        return self

    def __exit__(self, *exception: object) -> None:
        if self._feed is not None:
            self._feed.close()
        if self._film is not None:
            self._film.close()

    @cached_property
    def _protect(self) -> Tensor | None:
        assert self._film is not None
        protect = self._orders.settings.protect
        return None if protect is None else read_protection(protect, self._film.info)

    def make(self, run: Sequence[ReelChunk], pulse: Pulse) -> Iterator[KeptChunk]:
        """Make chunks that follow on each other in one shot.

        Args:
            run: The chunks.
            pulse: Gives a sign of life for every frame that is read, and takes a step for every one that is finished.

        Yields:
            Each chunk when it is kept.

        Raises:
            FilmFileError: The film cannot be read to the end of the run, or a chunk cannot be written.
            StageError: A stage failed in a frame, and the settings are strict.
        """
        assert self._film is not None and self._feed is not None, "a maker is entered first"
        orders, first = self._orders, run[0]
        shot = orders.shots[first.shot]
        notices = Notices()
        context = ShotContext(
            analysis=orders.analyses[first.shot],
            protect=self._protect,
            beat=pulse.beat,
            faults=Faults(notices, strict=orders.settings.strict),
            first=first.start - shot.first,
            repaired=RepairFinder(self._film.info),
        )
        plan, last = self._plans[first.shot], run[-1]
        # Runs come in order, and the next one looks at no frame of another shot.
        again = last.last - (plan.reach or 0) if last.last < shot.last else last.last
        frames = run_plan(plan, self._feed.range(first.start, last.stop, pulse, again=again), context)
        try:
            stream = (frame for frame in frames if frame.origin.index >= first.first)
            for chunk in run:
                yield self._kept(chunk, stream, notices, pulse)
        finally:
            # The neighbours after the run are looked at and not restored: stages that work ahead are told to stop.
            if isinstance(frames, Generator):
                frames.close()

    def _kept(
        self, chunk: ReelChunk, stream: Iterator[StageFrame[FilmFrame]], notices: Notices, pulse: Pulse
    ) -> KeptChunk:
        assert self._film is not None
        orders, folder, started = self._orders, self._folder, time.monotonic()
        names = folder.chunk_files(chunk.first, chunk.last, orders.keys[chunk.first])
        film, marks, repairs = (folder.chunks / name for name in names)
        repaired: list[Repairs] = []
        example: Example | None = None
        found: dict[str, list[np.ndarray]] = {kind: [] for kind in FOUND}
        marked = dict.fromkeys(FOUND, 0)
        timing = []
        with told(folder.path), open_writer(film, self._film.info, settings=orders.storage) as writer:
            for number in range(chunk.first, chunk.last):
                frame = next(stream, None)
                if frame is None or frame.origin.index != number:
                    raise FilmFileError(
                        f"{self._film.name} ends before frame {number}, and had {orders.shots[-1].last} frames when it "
                        "was read first; bring the film back as it was, and run the same again"
                    )
                writer.write(frame.origin, frame.image)
                for kind in FOUND:
                    mask = getattr(frame, kind)
                    marked[kind] += pixels_marked(mask)
                    bits = np.zeros(frame.image.shape[-2:], bool) if mask is None else mask.numpy() > 0
                    found[kind].append(np.packbits(bits, axis=1))
                if frame.repairs is not None:
                    repaired.append(frame.repairs)
                example = better_example(example, frame)
                origin = frame.origin
                timing.append((origin.pts, origin.duration, origin.number, origin.substitute))
                pulse.step(frame.image)
        file = io.BytesIO()
        np.savez_compressed(file, **{kind: np.stack(planes) for kind, planes in found.items()})  # type: ignore[arg-type]
        folder.keep_file(marks, file.getvalue())
        folder.keep_file(repairs, _repairs_bytes(repaired, example))
        kept = KeptChunk(
            key=orders.keys[chunk.first],
            first=chunk.first,
            last=chunk.last,
            film=film.name,
            marks=marks.name,
            repairs=repairs.name,
            sizes=tuple(path.stat().st_size for path in (film, marks, repairs)),
            hashes=tuple(hash_of(path) for path in (film, marks, repairs)),
            frames=tuple(timing),
            dirt=marked["dirt"],
            scratch=marked["scratch"],
            notices=told_of(notices, chunk.first, chunk.last),
            seconds=round(time.monotonic() - started, 3),
        )
        folder.keep_chunk(kept)
        if orders.shared is not None:
            orders.shared.send(folder, kept)
        # Each thread of the stages leaves free pages in a heap of its own: a seventh of all memory after 2000 frames.
        give_blocks_back()
        return kept


def told_of(notices: Notices, first: int, last: int) -> tuple[tuple[str, str, int | None], ...]:
    """What was said of some frames of a film."""
    return tuple(
        (notice.stage, notice.text, notice.frame)
        for notice in notices
        if notice.frame is not None and first <= notice.frame < last
    )


def _repairs_bytes(repaired: Sequence[Repairs], example: Example | None) -> bytes:
    arrays = {} if not repaired else Repairs.joined(repaired).arrays()
    file = io.BytesIO()
    np.savez_compressed(file, **arrays, **({} if example is None else example.arrays()))  # type: ignore[arg-type]
    return file.getvalue()


def kept_repairs(folder: WorkFolder, chunk: KeptChunk) -> tuple[Repairs | None, Example | None]:
    """What was repaired in a finished chunk, and the frame of it that shows most of it.

    Raises:
        FilmFileError: The file is damaged.
    """
    with np.load(folder.chunks / chunk.repairs, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return (
        Repairs.of_arrays(arrays) if "frame" in arrays else None,
        Example.of_arrays(arrays) if "example" in arrays else None,
    )


def kept_frames(folder: WorkFolder, chunk: KeptChunk, info: FilmInfo) -> Iterator[StageFrame[FilmFrame]]:
    """Read a finished chunk: its frames with the numbers and timestamps of the film, and their marks.

    Args:
        folder: Where it lies.
        chunk: The chunk.
        info: The film.

    Raises:
        FilmFileError: It cannot be read.
    """
    with np.load(folder.chunks / chunk.marks, allow_pickle=False) as file:
        marks = {kind: file[kind] for kind in FOUND}
    repaired, _ = kept_repairs(folder, chunk)
    with open_film(folder.chunks / chunk.film, deinterlace="off") as film:
        for number, (frame, (pts, duration, named, substitute)) in enumerate(zip(film, chunk.frames, strict=True)):
            place = FilmFrame(
                index=chunk.first + number, pts=pts, duration=duration, image=_NO_IMAGE, substitute=substitute,
                number=named,
            )  # fmt: skip
            placed = frame.placed_as(place)
            masks = {
                kind: torch.from_numpy(np.unpackbits(planes[number], axis=1, count=info.width).astype(np.float32))
                for kind, planes in marks.items()
            }
            yield StageFrame(
                image=placed,
                origin=placed,
                number=placed.index,
                dirt=masks["dirt"],
                scratch=masks["scratch"],
                repairs=None if repaired is None else repaired.taken(repaired.frame == placed.index),
            )


def notices_of(kept: Sequence[tuple[str, str, int | None]]) -> Iterator[Notice]:
    """Make notices of what was kept of them."""
    for stage, text, frame in kept:
        yield Notice(stage=stage, text=text, frame=frame)
