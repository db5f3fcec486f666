"""What a run has to tell its user once it is over: which frames a stage could not do, and what it left alone.

Stages add to it while they work, some of them in threads of their own. Each notice is logged when it comes, and
:meth:`Notices.summary` sums up equal ones for the report.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

logger = logging.getLogger(__name__)

_LOGGED_ALIKE = 5
"""So many notices that say the same are logged one by one; a reel may have thousands, which the summary counts."""
_RANGES_SHOWN = 6
"""So many stretches of frames are named in a line of the summary; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing that a user should know of a run.

    Attributes:
        stage: Which stage says so, for example ``"dirt repair"``.
        text: What it says, without stage and frame.
        frame: Which frame it is about, counted from 0 as in the table of shots; None is the film as a whole.
    """

    stage: str
    text: str
    frame: int | None = None

    def __str__(self) -> str:
        return f"{self.stage}: {self.text}" if self.frame is None else f"{self.stage}, frame {self.frame}: {self.text}"


class Notices:
    """Collects the notices of a run; several threads may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notices: list[Notice] = []
        self._seen: dict[tuple[str, str], int] = {}

    def add(self, stage: str, text: str, *, frame: int | None = None) -> None:
        """Add a notice and log it; see `Notice`."""
        notice = Notice(stage=stage, text=text, frame=frame)
        with self._lock:
            self._notices.append(notice)
            count = self._seen[stage, text] = self._seen.get((stage, text), 0) + 1
        if count <= _LOGGED_ALIKE:
            logger.warning("%s", notice)
        elif count == _LOGGED_ALIKE + 1:
            logger.warning("%s: more frames like these are counted and summed up at the end", stage)

    def __len__(self) -> int:
        return len(self._notices)

    def __iter__(self) -> Iterator[Notice]:
        with self._lock:
            return iter(tuple(self._notices))

    def summary(self) -> tuple[str, ...]:
        """Sum up in one line each what one stage says of several frames, in the order in which it was first said."""
        alike: dict[tuple[str, str], list[int | None]] = {}
        for notice in self:
            alike.setdefault((notice.stage, notice.text), []).append(notice.frame)
        return tuple(_line(stage, text, frames) for (stage, text), frames in alike.items())


def _line(stage: str, text: str, frames: list[int | None]) -> str:
    numbers = sorted({frame for frame in frames if frame is not None})
    if not numbers:
        return f"{stage}: {text}"
    if len(numbers) == 1:
        return f"{stage}, frame {numbers[0]}: {text}"
    stretches = [f"{first}" if first == last else f"{first}–{last}" for first, last in _stretches(numbers)]
    named = ", ".join(stretches[:_RANGES_SHOWN]) + (" and others" if len(stretches) > _RANGES_SHOWN else "")
    return f"{stage}, {len(numbers)} frames ({named}): {text}"


def _stretches(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Join consecutive numbers, first and last of each stretch."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found
