"""Frames of a film in the order in which chunks ask for them, from one decode as far as that goes."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Self

from ...progress import Pulse
from ...stages.stage_frame import StageFrame
from ...video.info import FilmFrame
from ...video.stream import FilmReader
from ..mask_films import GivenMarks
from ..passes import given_frame


class FrameFeed:
    """Reads a film forward, and keeps those frames that chunks to come look at, too.

    A film is never searched: what is passed over is decoded, so a frame has the same number and samples as in a pass
    from the start, whatever the file says of itself.

    Args:
        film: The film.
        given: Opens what is known to be damaged, read in step with the film.
    """

    def __init__(self, film: FilmReader, given: Callable[[], GivenMarks]) -> None:
        self._film, self._open_given = film, given
        self._frames: Iterator[FilmFrame] | None = None
        self._given: GivenMarks | None = None
        self._recent: deque[StageFrame[FilmFrame]] = deque()
        self._next = 0

    def range(self, first: int, last: int, pulse: Pulse, *, again: int) -> Iterator[StageFrame[FilmFrame]]:
        """Give frames from a first to one before a last; fewer where the film ends.

        Args:
            first: The first frame.
            last: The one after the last.
            pulse: Gives a sign of life for every frame that is read.
            again: The first frame that ranges to come may begin with; one that begins earlier reads the film from its
                start.
        """
        for number in range(first, last):
            frame = self._at(number, pulse, again)
            if frame is None:
                return
            self._forget(min(again, number))
            yield frame

    def _forget(self, before: int) -> None:
        while self._recent and self._next - len(self._recent) < before:
            self._recent.popleft()

    def _at(self, number: int, pulse: Pulse, again: int) -> StageFrame[FilmFrame] | None:
        oldest = self._next - len(self._recent)
        if self._frames is None or number < oldest:
            self._restart()
        while self._next <= number:
            assert self._frames is not None and self._given is not None
            frame = next(self._frames, None)
            if frame is None:
                return None
            self._recent.append(given_frame(frame, self._given.of(frame)))
            self._next += 1
            # What is passed over on the way to the first chunk of a run that goes on may be most of the film.
            self._forget(min(again, number))
            pulse.beat()
        return self._recent[number - self._next]

    def _restart(self) -> None:
        self.close()
        self._given = self._open_given().__enter__()
        self._frames = iter(self._film)

    def close(self) -> None:
        """Let go of the films."""
        given, self._given = self._given, None
        if given is not None:
            given.__exit__(None, None, None)
        self._frames = None
        self._recent.clear()
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
