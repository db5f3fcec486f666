"""A whole film through a workflow on ComfyUI servers, a prompt for each shot, joined with the sound of the film."""

import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import FilmFileError, HostError, HostLostError, SettingsError
from ..progress import Progress, Pulse, silent
from ..reel.passes import find_shots
from ..reel.prior_parts import crossfade, plan_parts
from ..reel.resumable.keys import film_key, key_of
from ..reel.resumable.work_folder import WorkFolder, hash_of
from ..video.info import FilmFrame
from ..video.reading.reader import ReadSettings, open_film
from ..video.shots import Shot, ShotSettings
from ..video.stream import FilmReader
from ..video.writing.encoding import WriteSettings
from ..video.writing.writer import open_writer
from .queue_client import FILM_OUTPUTS, Assignment, find_node, parse_set, run_workflow

_LOG = logging.getLogger(__name__)

_LOSSLESS = WriteSettings(codec="ffv1", overwrite=True)
_POLL_S = 0.5
_LOADER = "LoadVideo"
_FILE = "file"


@dataclass(frozen=True, kw_only=True)
class ShotQueue:
    """How a film goes through a workflow shot by shot.

    Attributes:
        servers: Addresses of ComfyUI servers, which take shots side by side.
        sets: ``NODE.INPUT=VALUE`` texts, the same for every shot.
        film_input: ``NODE.INPUT`` that is given the shot; None is the file of the only Load Video.
        read: How the film is read.
        shots: How cuts are found.
        write: How the result is written.
        timeout: Seconds that a shot may take; None waits for ever.
        most_frames: Longer shots are sent in parts of so many frames at most; None sends them whole.
        overlap: Frames that neighbouring parts of a shot share, over which one fades into the other; at most a third of
            `most_frames`.
    """

    servers: tuple[str, ...]
    sets: tuple[str, ...] = ()
    film_input: str | None = None
    read: ReadSettings = ReadSettings()
    shots: ShotSettings = ShotSettings()
    write: WriteSettings = WriteSettings()
    timeout: float | None = None
    most_frames: int | None = None
    overlap: int = 8

    def __post_init__(self) -> None:
        if self.overlap < 0:
            raise SettingsError(f"overlap is {self.overlap}; use 0 frames or more")
        least = max(1, 3 * self.overlap)
        if self.most_frames is not None and self.most_frames < least:
            raise SettingsError(
                f"the longest part is {self.most_frames} frames; with an overlap of {self.overlap} use {least} or more"
            )

    def parts(self, shot: Shot) -> tuple[Shot, ...]:
        """What of a shot is sent in one prompt each."""
        return (shot,) if self.most_frames is None else plan_parts(shot, self.most_frames, self.overlap)


def run_per_shot(
    prompt: Mapping[str, Any],
    film: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    how: ShotQueue,
    progress: Progress = silent,
) -> int:
    """Run a workflow over every shot of a film, and join what it makes of them.

    What a server has made of a shot is kept in ``NAME.vldm`` beside the result until all shots are there: the same call
    goes on where it was ended, and another setting for the workflow does all shots again.

    Args:
        prompt: API-format workflow, which takes a film and saves or shows one of as many frames.
        film: The film.
        destination: The film to write, with the sound and timestamps of the first.
        how: Servers and settings.
        progress: Counts shots; may raise to interrupt, and the servers are told.

    Returns:
        How many shots there were.

    Raises:
        SettingsError: The workflow has no input for a film, or there is no server.
        FilmFileError: The film cannot be read, or the result cannot be written.
        HostError: A server rejects the workflow or fails in it, no server is left, or what it made has another number
            of frames than the shot.
    """
    if not how.servers:
        raise SettingsError("give the address of a ComfyUI server")
    target = how.film_input or f"{find_node(prompt, _LOADER)}.{_FILE}"
    parse_set(f"{target}=film")
    folder = WorkFolder.beside(destination)
    with ExitStack() as stack:
        reader = stack.enter_context(how.read.open(film))
        open_writer(destination, reader.info, settings=how.write, source=film).abort()
        stack.enter_context(folder)
        folder.describe(source=str(film), destination=str(destination), workflow=dict(prompt), sets=list(how.sets))
        film_is = film_key(film)
        base = key_of(film=film_is, read=repr(how.read), shots=repr(how.shots))
        shots = _shots(folder, base, reader, how, progress)
        depends = key_of(base=base, prompt=dict(prompt), sets=list(how.sets), target=target)
        parts = [part for shot in shots for part in how.parts(shot)]
        work = _Work(prompt, how, target, folder, [key_of(depends=depends, shot=[s.first, s.last]) for s in parts])
        work.done_before(parts)
        work.run(reader, parts, progress)
        _join(reader, shots, work, destination, film, progress)
    folder.remove()
    return len(shots)


def _shots(folder: WorkFolder, base: str, reader: FilmReader, how: ShotQueue, progress: Progress) -> tuple[Shot, ...]:
    facts = folder.json("shots", base)
    if facts is None:
        found = find_shots(reader, how.shots, progress)
        facts = {"shots": [[shot.first, shot.last] for shot in found]}
        folder.keep_json("shots", base, facts)
    return tuple(Shot(first=first, last=last) for first, last in facts["shots"])


class _Forward:
    """Frames of a film that is read forward; the last ones stay, since the next part of a shot begins with them."""

    def __init__(self, film: FilmReader, kept: int) -> None:
        self._film, self._frames, self._next = film, iter(film), 0
        self._recent: deque[FilmFrame] = deque(maxlen=max(1, kept))

    def of(self, part: Shot, pulse: Pulse) -> Iterator[FilmFrame]:
        """Go on to a part, and give its frames."""
        for number in range(part.first, part.last):
            while self._next <= number:
                frame = next(self._frames, None)
                if frame is None:
                    raise FilmFileError(
                        f"{self._film.name} ends before frame {number}, and was longer when its cuts were found; bring "
                        "the film back as it was"
                    )
                self._recent.append(frame)
                self._next += 1
                pulse.beat()
            yield self._recent[number - self._next]


class _Work:
    """Shots on their way through the servers."""

    def __init__(
        self, prompt: Mapping[str, Any], how: ShotQueue, target: str, folder: WorkFolder, keys: Sequence[str]
    ) -> None:
        self._prompt, self.how, self._target, self._folder, self._keys = prompt, how, target, folder, keys
        self._waiting: queue.Queue[tuple[int, Path]] = queue.Queue()
        self._results: queue.Queue[tuple[int, Path | Exception]] = queue.Queue()
        self._stopped = threading.Event()
        self.films: dict[int, Path] = {}

    def done_before(self, shots: Sequence[Shot]) -> None:
        """Take what an earlier call has kept."""
        for number in range(len(shots)):
            facts = self._folder.json(f"shot-{number:05d}", self._keys[number])
            path = None if facts is None else self._folder.chunks / facts["file"]
            if facts is not None and path is not None and path.is_file() and hash_of(path) == facts["hash"]:
                self.films[number] = path

    def run(self, reader: FilmReader, shots: Sequence[Shot], progress: Progress) -> None:
        """Send the shots, or parts of them, that are missing to the servers, and wait until all are there."""
        pulse = Pulse(progress, "shots", len(shots), done=len(self.films))
        missing = [number for number in range(len(shots)) if number not in self.films]
        if not missing:
            return
        frames = _Forward(reader, self.how.overlap)
        threads = [
            threading.Thread(target=self._serve, args=(server,), name=f"vldm-queue-{server}", daemon=True)
            for server in self.how.servers
        ]
        for thread in threads:
            thread.start()
        sent: list[int] = []
        try:
            while missing or sent:
                # A server is given a shot when it is free, so few of them lie on the disk.
                while missing and self._waiting.qsize() < 1:
                    number = missing.pop(0)
                    self._waiting.put((number, self._cut(reader, frames.of(shots[number], pulse), number, pulse)))
                    sent.append(number)
                pulse.beat()
                try:
                    number, result = self._results.get(timeout=_POLL_S)
                except queue.Empty:
                    if not any(thread.is_alive() for thread in threads):
                        raise HostError("no server is left; start one, and run the same again") from None
                    continue
                if isinstance(result, Exception):
                    raise result
                sent.remove(number)
                self.films[number] = self._kept(number, shots[number], result)
                pulse.step()
        finally:
            self._stopped.set()

    def _cut(self, reader: FilmReader, frames: Iterator[FilmFrame], number: int, pulse: Pulse) -> Path:
        """Write a shot as a film of its own, without loss."""
        path = self._folder.analyses / f"shot-{number:05d}-{self._keys[number]}.mkv"
        with open_writer(path, reader.info, settings=_LOSSLESS) as writer:
            for frame in frames:
                writer.write(frame)
                pulse.beat()
        return path

    def _serve(self, server: str) -> None:
        """Give one server shots until there are no more."""
        while not self._stopped.is_set():
            try:
                number, path = self._waiting.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            node, _, name = self._target.rpartition(".")
            try:
                made = run_workflow(
                    self._prompt,
                    server=server,
                    sets=(*self.how.sets, Assignment(node=node, input=name, value=str(path))),
                    out=self._folder.chunks / f"from-{number:05d}",
                    progress=self._told,
                    timeout=self.how.timeout,
                    overwrite=True,
                )
            except HostLostError as error:
                _LOG.warning("%s; its shot goes to another server", error)
                self._waiting.put((number, path))
                return
            except Exception as error:  # noqa: BLE001 - it has to reach whoever waits
                self._results.put((number, error))
                return
            films = [each for each in made if each.suffix.lower() in FILM_OUTPUTS]
            nothing = HostError("the workflow saved and showed no film; end it with Save Video")
            self._results.put((number, films[-1] if films else nothing))

    def _told(self, phase: str, done: int, total: int | None, preview: object = None) -> None:
        if self._stopped.is_set():
            raise HostError("the other shots were given up")

    def _kept(self, number: int, shot: Shot, made: Path) -> Path:
        """Keep what a server made of a shot."""
        with open_film(made, deinterlace="off") as film:
            count = sum(1 for _ in film)
        if count != len(shot):
            raise HostError(
                f"the workflow made {count} frames of the {len(shot)} of shot {number}; use one that gives a frame for "
                "every frame"
            )
        path = self._folder.chunks / f"shot-{number:05d}-{self._keys[number]}{made.suffix}"
        os.replace(made, path)
        self._folder.keep_json(f"shot-{number:05d}", self._keys[number], {"file": path.name, "hash": hash_of(path)})
        self._folder.note("shot", number=number, first=shot.first, last=shot.last)
        return path


def _join(
    reader: FilmReader,
    shots: Sequence[Shot],
    work: _Work,
    destination: str | os.PathLike[str],
    source: str | os.PathLike[str],
    progress: Progress,
) -> None:
    """Write the results one after the other, with the sound and the timestamps of the film."""
    with open_film(work.films[0], deinterlace="off") as first:
        made = first.info
    info = replace(
        reader.info,
        width=made.width,
        height=made.height,
        pix_fmt=made.pix_fmt,
        bit_depth=made.bit_depth,
        colour_range=made.colour_range,
        colour_matrix=made.colour_matrix,
        colour_primaries=made.colour_primaries,
        colour_transfer=made.colour_transfer,
    )
    pulse = Pulse(progress, "write", shots[-1].last)
    frames, number = iter(reader), 0
    with open_writer(destination, info, settings=work.how.write, source=source) as writer:
        for shot in shots:
            parts = work.how.parts(shot)
            tail: list[Tensor] = []
            for part in parts:
                # The end of a part waits for the beginning of the next one.
                shared = 0 if part is parts[-1] else work.how.overlap
                waiting: list[Tensor] = []
                head: list[FilmFrame] = []
                with open_film(work.films[number], deinterlace="off") as film:
                    if (film.info.width, film.info.height) != (info.width, info.height):
                        raise FilmFileError(
                            f"shot {number} came back as {film.info.width}×{film.info.height}, the first one as "
                            f"{info.width}×{info.height}; use a workflow that gives all shots one size"
                        )
                    for place, frame in enumerate(film):
                        if place >= len(part) - shared:
                            waiting.append(frame.tensor())
                            continue
                        placed = frame.placed_as(next(frames))
                        pulse.step()
                        if place >= len(tail):
                            writer.write(placed)
                            continue
                        head.append(placed)
                        if len(head) == len(tail):
                            faded = crossfade(torch.stack(tail), torch.stack([one.tensor() for one in head]))
                            for one, picture in zip(head, faded, strict=True):
                                writer.write(one, picture)
                tail, number = waiting, number + 1
