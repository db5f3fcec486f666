"""The two ends every film has: a reader that yields frames, a writer that takes them."""

from __future__ import annotations

import abc
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from torch import Tensor

from ..errors import FilmFileError, FilmFileWarning
from ..files.temporary import free_path
from .info import FilmFrame, FilmInfo


def number_ranges(numbers: Iterable[int]) -> str:
    """Write numbers as ranges, for messages: ``3, 7-9``."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def _frames(numbers: list[int]) -> str:
    return f"frame{'s' if len(set(numbers)) > 1 else ''} {number_ranges(numbers)}"


class FilmReader(abc.ABC):
    """A film opened for reading. Iterating yields every ``FilmFrame`` in order; each iteration starts anew.

    Attributes:
        info: What the film is.
        warnings: Messages about damage, complete when an iteration has ended.
        undecodable: Numbers of frames that could not be decoded; a copy of a good neighbour was yielded instead.
        damaged: Numbers of frames that the decoder patched.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.warnings: list[str] = []
        self.undecodable: list[int] = []
        self.damaged: list[int] = []
        self._opening: list[str] = []
        self._running: Iterator[FilmFrame] | None = None

    info: FilmInfo

    @abc.abstractmethod
    def _frames(self) -> Iterator[FilmFrame]:
        """Yield the frames from the start and release what was opened when closed."""

    def __iter__(self) -> Iterator[FilmFrame]:
        self.close()
        self.warnings = list(self._opening)
        self.undecodable = []
        self.damaged = []
        self._running = self._watched()
        return self._running

    def _watched(self) -> Iterator[FilmFrame]:
        try:
            yield from self._frames()
        finally:
            self._report()

    def _report(self) -> None:
        if self.undecodable:
            self._warn(
                f"{_frames(self.undecodable)} of {self.name} cannot be decoded; a good neighbour "
                "stands in their place, so that frame count and timing are kept"
            )
        if self.damaged:
            self._warn(f"{_frames(self.damaged)} of {self.name} came damaged; the decoder patched what was missing")

    def _warn_at_opening(self, message: str) -> None:
        self._opening.append(message)
        self._warn(message)

    def _warn(self, message: str) -> None:
        self.warnings.append(message)
        warnings.warn(message, FilmFileWarning, stacklevel=3)

    def close(self) -> None:
        """Release the file. Iterating again opens it anew."""
        running, self._running = self._running, None
        if running is not None:
            running.close()  # type: ignore[attr-defined]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FilmWriter(abc.ABC):
    """A film opened for writing.

    The file appears under its name only when everything has been written; after an exception nothing is left,
    unless ``keep_partial`` has been called. Where finishing itself fails, what was written is kept as
    ``<name>.partial<suffix>`` as far as it can be read.

    Attributes:
        path: Where the finished film will lie.
        warnings: Messages about what the output could not take over.
        frames_written: Number of frames taken so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []
        self.frames_written = 0
        self._open = True

    @abc.abstractmethod
    def write(self, frame: FilmFrame, restored: Tensor | None = None) -> None:
        """Append a frame.

        Args:
            frame: The frame as read; its timestamps are kept.
            restored: What to write instead of its picture, (3, H, W) or (1, H, W) in [0, 1]. Samples where it
                rounds to the same RGB as ``frame.image`` are taken from the source unchanged.
        """

    @abc.abstractmethod
    def _finish(self, target: Path, *, partial: bool) -> None:
        """Complete the temporary file and rename it to ``target``."""

    @abc.abstractmethod
    def _discard(self) -> None:
        """Remove the temporary file."""

    def _rescue(self, target: Path) -> bool:
        """After finishing failed, give what was written the name ``target``; False where it cannot be used."""
        return False

    def close(self) -> None:
        """Complete the film and give it its name. Calling it again does nothing."""
        self._end(self.path, partial=False)

    def keep_partial(self) -> Path | None:
        """Complete what has been written so far as ``<name>.partial<suffix>`` instead of under the final name.

        Where that name is taken, by what an earlier run kept, it becomes ``<name>.partial-2<suffix>`` and so on.

        For use when the work stops early and the frames already made should not be lost. The writer is closed.

        Returns:
            Where the partial film lies, or None when no frame had been written.
        """
        if not self._open or self.frames_written == 0:
            self.abort()
            return None
        target = self._partial_path()
        self._end(target, partial=True)
        return target

    def abort(self) -> None:
        """Remove everything written so far. Does nothing on a closed writer."""
        if self._open:
            self._open = False
            self._discard()

    def _end(self, target: Path, *, partial: bool) -> None:
        if not self._open:
            return
        self._open = False
        try:
            self._finish(target, partial=partial)
        except FilmFileError as error:
            # The pictures may be hours of work; what failed may be the last packet of the sound.
            target = self._partial_path()
            if self.frames_written and self._rescue(target):
                raise FilmFileError(f"{error}; what was written is kept as {target}") from error
            self._discard()
            raise
        except BaseException:
            self._discard()
            raise

    def _partial_path(self) -> Path:
        # What an earlier run kept may be all there is of hours of work.
        return free_path(self.path.with_name(f"{self.path.stem}.partial{self.path.suffix}"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
