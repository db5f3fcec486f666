"""How a stage tells its caller how far it is, and how the caller stops it."""

from typing import Protocol

from torch import Tensor


class Progress(Protocol):
    """Callback of every stage that can take longer than a second.

    A stage calls it at least once per frame or step. The callback may raise to interrupt the work (ComfyUI's
    interrupt, a keyboard interrupt); stages never catch what it raises and release their files on the way out.
    """

    def __call__(self, phase: str, done: int, total: int | None, preview: Tensor | None = None) -> None:
        """Report progress.

        Args:
            phase: Short name of what is being done, for example ``"detect dirt"``.
            done: Units finished in this phase, 0 … total.
            total: Units in this phase, or None when unknown.
            preview: Latest finished frame, (3, H, W) in [0, 1], or None.
        """
        ...


def silent(phase: str, done: int, total: int | None, preview: Tensor | None = None) -> None:
    """A progress callback that reports nothing."""
