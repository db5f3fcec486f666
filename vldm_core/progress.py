"""How a stage tells its caller how far it is, and how the caller stops it."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Progress(Protocol):
    """Callback of every stage that can take longer than a second.

    A stage calls it at least once per frame or step. The callback may raise to interrupt the work (ComfyUI's
    interrupt, a keyboard interrupt); stages never catch what it raises and release their files on the way out.
    """

    def __call__(self, phase: str, done: int, total: int | None, preview: "Tensor | None" = None) -> None:
        """Report progress.

        Args:
            phase: Short name of what is being done, for example ``"detect dirt"``.
            done: Units finished in this phase, 0 … total.
            total: Units in this phase, or None when unknown.
            preview: Latest finished frame, (3, H, W) in [0, 1], or None.
        """
        ...


def silent(phase: str, done: int, total: int | None, preview: "Tensor | None" = None) -> None:
    """A progress callback that reports nothing."""


class Pulse:
    """Reports where a pass over frames stands, and lets the stages inside it give signs of life.

    A stage that works on a window of frames reports its own counts; as a caller's progress they would run back and
    forth. :meth:`beat` takes such a report and repeats the pass's own position instead, so that the caller can still
    interrupt between two frames of a window.

    Args:
        progress: The caller's callback.
        phase: Name of the pass.
        total: Frames in the pass.
        done: Frames finished before it starts.

    Attributes:
        done: Frames finished so far.
    """

    def __init__(self, progress: Progress, phase: str, total: int | None, done: int = 0) -> None:
        self._progress = progress
        self._phase = phase
        self._total = total
        self.done = done

    def step(self, preview: "Tensor | None" = None) -> None:
        """One more frame is finished."""
        self.done += 1
        self._progress(self._phase, self.done, self._total, preview)

    def beat(self, phase: str = "", done: int = 0, total: int | None = None, preview: "Tensor | None" = None) -> None:
        """A stage inside the pass is alive; its own counts are not passed on."""
        self._progress(self._phase, self.done, self._total)
