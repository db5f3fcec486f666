"""Keep what goes wrong in one frame to that frame.

A stage that raises in a frame, or gives values that are not finite, hands that frame on as it came, and a notice says
so; a run that is asked to be strict stops instead. What is no fault of a frame goes through in both cases: what the
caller's progress callback raises (an interrupt), what earlier stages raise, settings and files that cannot be used
(`VLDMError`), and memory that does not suffice, which callers answer by asking for less at once.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import cv2
import torch
from torch import Tensor

from .errors import StageError, VLDMError
from .notices import Notices
from .progress import Progress, silent

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Made = TypeVar("Made")

_HOPELESS_WINDOWS = 2
"""After so many windows in a row of which no frame could be saved, frames are no longer tried one by one: the stage
cannot do this film at all, and trying would take many times as long as the stage itself."""
_LEFT = "left as it came"
_LONGEST_REASON = 200
"""Characters of an error's message that are shown."""
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What PyTorch's plain RuntimeErrors say when the memory of the CPU does not suffice."""


class NotFiniteError(ArithmeticError):
    """A stage gave NaN or infinite values."""


def check_finite(values: Tensor) -> None:
    """Raise unless all values are finite.

    Raises:
        NotFiniteError: They are not.
    """
    # The extremes carry NaN and infinities along; no mask of the size of the frame is made.
    if values.numel() and not bool(torch.isfinite(torch.stack(torch.aminmax(values))).all()):
        raise NotFiniteError("it gave values that are not finite")


class Faults:
    """What a run does about frames that a stage cannot do.

    Args:
        notices: Takes a notice for each; None makes a collection of its own, which still logs them.
        strict: Whether to stop at the first instead.

    Attributes:
        notices: The collection.
    """

    def __init__(self, notices: Notices | None = None, *, strict: bool = False) -> None:
        self.notices = Notices() if notices is None else notices
        self._strict = strict

    def watch(self, stage: str, beat: Progress = silent) -> "Watch":
        """Watch one stage of one shot."""
        return Watch(self, stage, beat)

    def lost(
        self, stage: str, number: int | None, error: Exception, *, last: int | None = None, left: str = _LEFT
    ) -> None:
        """Note that a frame is handed on as it came.

        Args:
            stage: Which stage could not do it.
            number: The frame, or the first of several; None when not known.
            error: Why.
            last: One past the last frame, for several.
            left: What becomes of the frame.

        Raises:
            StageError: The run is strict.
        """
        reason = _reason(error)
        logger.info("%s, frame %s", stage, number, exc_info=error)
        if self._strict:
            several = last is not None and number is not None and last > number + 1
            where = "a frame" if number is None else f"frames {number} to {last - 1}" if several else f"frame {number}"  # type: ignore[operator]
            raise StageError(
                f"{stage} failed in {where} ({reason}); without strict such frames are handed on as they came"
            ) from error
        for frame in [number] if number is None or last is None else range(number, last):
            self.notices.add(stage, f"{left} ({reason})", frame=frame)


class Watch:
    """Watches one stage of one shot; see the module. Each is used by one thread at a time.

    Args:
        faults: What is done about frames that the stage cannot do.
        stage: Its name, for notices.
        beat: Sign of life of the pass; the stage is given :meth:`beat` in its place.
    """

    def __init__(self, faults: Faults, stage: str, beat: Progress = silent) -> None:
        self._faults, self._stage, self._caller = faults, stage, beat
        self._foreign: list[BaseException] = []
        self._hopeless = 0

    def beat(self, phase: str = "", done: int = 0, total: int | None = None, preview: Tensor | None = None) -> None:
        """Pass a sign of life on, and know what the caller raises from what the stage raises."""
        try:
            self._caller(phase, done, total, preview)
        except BaseException as error:
            self._foreign.append(error)
            raise

    def drawn(self, items: Iterable[Item]) -> Iterator[Item]:
        """Draw from the stages before, and know what they raise from what this one raises."""
        try:
            yield from items
        except GeneratorExit:
            raise
        except BaseException as error:
            self._foreign.append(error)
            raise

    def settle(self, error: Exception) -> None:
        """Raise an exception again that is no fault of a frame."""
        link: BaseException | None = error
        while link is not None:
            if any(link is foreign for foreign in self._foreign):
                raise link
            link = link.__cause__ or link.__context__
        let_through(error)

    def lost(self, number: int | None, error: Exception) -> None:
        """Note that a frame is handed on as it came; see `Faults.lost`."""
        self._faults.lost(self._stage, number, error)

    def frame(self, number: int | None, work: Callable[[], Tensor]) -> Tensor | None:
        """Do one frame.

        Args:
            number: The frame, in the film.
            work: Gives the frame's new values.

        Returns:
            They, or None where the frame has to be handed on as it came.
        """
        try:
            made = work()
            check_finite(made)
        except Exception as error:  # noqa: BLE001 - whatever a frame does to a stage stays with the frame
            self.settle(error)
            self.lost(number, error)
            return None
        return made

    def window(
        self,
        numbers: Sequence[int | None],
        core: slice,
        work: Callable[[slice, slice], Iterable[Tensor]],
        *,
        radius: int,
    ) -> list[Tensor | None]:
        """Do the kept frames of a window; where that fails, fewer at a time, down to the frames that fail alone.

        Args:
            numbers: Of the frames of the window, in the film.
            core: Those whose results are kept.
            work: Given a part of the window that may be read and the frames in it to do, both counted from the start of
                the window, gives one result for each.
            radius: Neighbours on each side that a result depends on.

        Returns:
            A result for each kept frame, None where it has to be handed on as it came.
        """

        def attempt(first: int, last: int) -> list[Tensor]:
            return list(work(slice(max(0, first - radius), min(len(numbers), last + radius)), slice(first, last)))

        made = self.isolated(numbers, core, attempt)
        return [
            values if values is None else self.frame(number, lambda values=values: values)  # type: ignore[misc]
            for number, values in zip(numbers[core], made, strict=True)
        ]

    def isolated(
        self, numbers: Sequence[int | None], core: slice, attempt: Callable[[int, int], list[Made]]
    ) -> list[Made | None]:
        """Do several frames at once; where that fails, both halves of them, and so on.

        Args:
            numbers: Of all frames, in the film.
            core: Those to do.
            attempt: Does the frames from a first to one before a last, all or none.

        Returns:
            A result for each, None where even the frame alone failed.
        """
        saved = False
        result: list[Made | None] = []
        # No function that calls itself: it would hold the frames until the next collection of garbage.
        waiting = [(core.start, core.stop)]
        while waiting:
            first, last = waiting.pop()
            try:
                made = attempt(first, last)
                if len(made) != last - first:
                    raise ValueError(f"it gave {len(made)} results for {last - first} frames")
            except Exception as error:  # noqa: BLE001 - as in `frame`
                self.settle(error)
                if last - first == 1 or self._hopeless >= _HOPELESS_WINDOWS:
                    for number in numbers[first:last]:
                        self.lost(number, error)
                    result += [None] * (last - first)
                else:
                    middle = (first + last) // 2
                    waiting += [(middle, last), (first, middle)]
            else:
                saved = True
                result += made
        self._hopeless = 0 if saved else self._hopeless + 1
        return result


def let_through(error: Exception) -> None:
    """Raise an exception again that is no fault of a frame, whoever raised it; see the module."""
    if _goes_through(error):
        raise error


def _goes_through(error: Exception) -> bool:
    if isinstance(error, VLDMError | MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, cv2.error):
        return getattr(error, "code", None) == cv2.Error.STS_NO_MEM
    # After such an error nothing more can be done on the device.
    broken = getattr(torch, "AcceleratorError", None)
    if broken is not None and isinstance(error, broken):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if len(text) > _LONGEST_REASON:
        text = text[: _LONGEST_REASON - 1] + "…"
    if isinstance(error, NotFiniteError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
