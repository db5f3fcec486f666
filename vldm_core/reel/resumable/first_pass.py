"""The first pass over a reel: cuts, and what has to be known of each shot; kept, and shared out shot by shot."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from ...containment import Faults
from ...errors import FilmFileError, FilmFileWarning
from ...machine.allocator import part_windows_from_planes
from ...notices import Notices
from ...progress import Progress, Pulse
from ...stages.analysis import AnalysisSettings, ShotAnalyser, ShotAnalysis, settled_scratches
from ...video.info import FilmFrame
from ...video.reading.reader import ReadSettings
from ...video.shots import Shot
from ...video.stream import FilmReader
from ..cost import ANALYSE, FIND_SHOTS
from ..passes import Source, analysed, find_shots
from ..restore import ReelSettings
from .keys import key_of
from .sharing.job import Crew, Do, Task
from .sharing.share import Workers, in_good_order
from .stored import StoredAnalyses, analysis_bytes, read_analysis
from .work_folder import WorkFolder

logger = logging.getLogger(__name__)

Said = list[list]
"""Stage, text and frame of notices, as JSON holds them."""


def said_of(notices: Notices) -> Said:
    """Return notices as JSON holds them."""
    return [[notice.stage, notice.text, notice.frame] for notice in notices]


@dataclass(frozen=True, kw_only=True)
class AnalysisJob:
    """Analyses shots by their numbers; gives the number, the analysis and what was to be told of it.

    Attributes:
        source: The film.
        read: How it is read.
        shots: Its shots.
        how: What to measure of each.
        strict: Whether to stop at a frame that cannot be measured.
    """

    source: Source
    read: ReadSettings
    shots: tuple[Shot, ...]
    how: tuple[AnalysisSettings, ...]
    strict: bool

    @contextmanager
    def open(self) -> Iterator[Do]:
        """Open the film."""
        with warnings.catch_warnings():
            # The search for cuts has read all of the film, and told what is wrong with it.
            warnings.simplefilter("ignore", FilmFileWarning)
            with self.read.open(self.source) as film:
                part_windows_from_planes(film.info.width, film.info.height)
                forward = _Forward(film)

                def do(task: Task, pulse: Pulse) -> Iterator[tuple[int, ShotAnalysis, Said]]:
                    for number in task:
                        shot, notices = self.shots[number], Notices()
                        faults = Faults(notices, strict=self.strict)
                        size = film.info.height, film.info.width
                        analyser = ShotAnalyser(self.how[number], *size, faults=faults, first=shot.first)
                        analysis = analysed(analyser, forward.frames(shot, pulse), pulse)
                        yield number, analysis, said_of(notices)

                yield do


class _Forward:
    """Reads a film forward from shot to shot."""

    def __init__(self, film: FilmReader) -> None:
        self._film, self._frames, self._next = film, iter(film), 0

    def frames(self, shot: Shot, pulse: Pulse) -> Iterator[FilmFrame]:
        """Go on to a shot, and return its frames."""
        if shot.first < self._next:
            self._frames, self._next = iter(self._film), 0
        for _ in islice(self._frames, shot.first - self._next):
            pulse.beat()
        self._next = shot.last
        return islice(self._frames, len(shot))


class FirstPass:
    """Cuts and analyses of the shots, from the folder as far as they are kept there."""

    def __init__(
        self,
        folder: WorkFolder,
        base: str,
        source: Source,
        film: FilmReader,
        settings: ReelSettings,
        notices: Notices,
    ) -> None:
        self._folder, self._base, self._source, self._film = folder, base, source, film
        self._settings = settings
        self._notices = notices
        self.warnings: tuple[str, ...] = ()

    @property
    def begun(self) -> bool:
        """Whether the cuts are kept from an earlier run."""
        return self._folder.json("shots", self._base) is not None

    def shots(self, progress: Progress) -> tuple[Shot, ...]:
        """Where the cuts are."""
        facts = self._folder.json("shots", self._base)
        if facts is None:
            own = Notices()
            faults = Faults(own, strict=self._settings.strict)
            found = find_shots(self._film, self._settings.shots, progress, faults=faults)
            facts = {
                "shots": [[shot.first, shot.last] for shot in found],
                "warnings": list(self._film.warnings),
                "notices": said_of(own),
            }
            self._folder.keep_json("shots", self._base, facts)
            self._folder.note("shots", count=len(found), frames=found[-1].last)
        last = facts["shots"][-1][1]
        progress(FIND_SHOTS, last, last)
        self.warnings = tuple(facts["warnings"])
        self._repeat(facts["notices"])
        return tuple(Shot(first=first, last=last) for first, last in facts["shots"])

    def analyses(
        self, shots: Sequence[Shot], how: Sequence[AnalysisSettings], progress: Progress, workers: Workers, crew: Crew
    ) -> StoredAnalyses:
        """The first pass of each shot.

        Args:
            shots: The shots.
            how: What to measure of each.
            progress: Called once per frame.
            workers: How many there are to do it.
            crew: They themselves.

        Returns:
            What was learnt of each, after consecutive shots have settled each other's doubts; in files of the folder.
        """
        keys = [
            key_of(base=self._base, how=repr(own), shot=[shot.first, shot.last])
            for shot, own in zip(shots, how, strict=True)
        ]
        found = self._kept(keys)
        missing = [number for number in range(len(shots)) if number not in found]
        done = sum(len(shot) for number, shot in enumerate(shots) if number in found)
        job = AnalysisJob(
            source=self._source,
            read=self._settings.read,
            shots=tuple(shots),
            how=tuple(how),
            strict=self._settings.strict,
        )

        def take(result: tuple[int, ShotAnalysis, Said]) -> None:
            number, analysis, said = result
            self._folder.keep_analysis(number, keys[number], analysis_bytes(analysis))
            self._folder.keep_json(f"{number:05d}", keys[number], {"notices": said})
            self._folder.note("analysed", shot=number, first=shots[number].first, last=shots[number].last)

        pulse = Pulse(progress, ANALYSE, shots[-1].last, done=done)
        tasks = in_good_order(missing, [len(shots[number]) for number in missing], workers)
        crew.do(job, [(number,) for number in tasks], pulse, take)
        progress(ANALYSE, shots[-1].last, shots[-1].last)
        for number, key in enumerate(keys):
            self._repeat((self._folder.json(f"{number:05d}", key) or {"notices": []})["notices"])
        return self._linked(keys)

    def _linked(self, keys: Sequence[str]) -> StoredAnalyses:
        """Let shots settle each other's doubts, and keep what comes of it: of a long reel that is large."""
        # Which shots have a say is known by their keys; what they say is a function of them.
        paths = [self._folder.analysis(number, key_of(shot=key, among=keys)) for number, key in enumerate(keys)]
        if not all(map(_sound, paths)):
            alone = StoredAnalyses([self._folder.analysis(number, key) for number, key in enumerate(keys)])
            settled = settled_scratches([analysis.scratches for analysis in alone])
            for path, analysis, scratches in zip(paths, alone, settled, strict=True):
                self._folder.keep_file(path, analysis_bytes(replace(analysis, scratches=scratches)))
        return StoredAnalyses(paths)

    def _kept(self, keys: Sequence[str]) -> set[int]:
        """Shots whose first pass is kept and can be read."""
        found: set[int] = set()
        for number, key in enumerate(keys):
            path = self._folder.analysis(number, key)
            if self._folder.json(f"{number:05d}", key) is None or not path.is_file():
                continue
            try:
                read_analysis(path)
                found.add(number)
            except FilmFileError as error:
                logger.warning("%s", error)
        return found

    def _repeat(self, kept: Said) -> None:
        for stage, text, frame in kept:
            self._notices.add(stage, text, frame=frame)


def _sound(path: Path) -> bool:
    """Whether an analysis lies there that can be read."""
    try:
        read_analysis(path)
    except FilmFileError:
        return False
    return True
