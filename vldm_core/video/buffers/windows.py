"""Sliding windows over a stream: what lets a stage see its neighbours while memory stays bounded."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from ...errors import SettingsError

Item = TypeVar("Item")
Result = TypeVar("Result")


def windowed(
    items: Iterable[Item],
    process: Callable[[Sequence[Item], slice], Sequence[Result]],
    *,
    size: int,
    radius: int,
) -> Iterator[Result]:
    """Run a windowed stage over a stream of unknown length.

    Holds at most ``size + 2·radius`` items. The kept parts cover every frame exactly once, in order, and the halo is
    ``radius`` frames wherever the stream has them, so a stage whose result for frame t depends on frames
    t − radius … t + radius alone gives the same result for every ``size``.

    Args:
        items: Frames of ONE shot, in order.
        process: Called with the frames that may be read and the slice of those whose results are kept; returns one
            result per kept frame.
        size: Frames kept per call, ≥ 1.
        radius: Neighbours needed on each side, ≥ 0.

    Yields:
        One result per item, in order.

    Raises:
        SettingsError: A number is out of its range.
        ValueError: ``process`` returned another number of results than frames were kept.
    """
    if size < 1 or radius < 0:
        raise SettingsError(f"window size must be at least 1 and radius at least 0, got {size} and {radius}")
    source = iter(items)
    buffer: list[Item] = []
    halo = 0
    exhausted = False
    while True:
        while not exhausted and len(buffer) < halo + size + radius:
            try:
                buffer.append(next(source))
            except StopIteration:
                exhausted = True
        kept = min(size, len(buffer) - halo)
        if kept <= 0:
            return
        results = deque(process(buffer, slice(halo, halo + kept)))
        if len(results) != kept:
            raise ValueError(f"a windowed stage returned {len(results)} results for {kept} frames")
        drop = max(0, halo + kept - radius)
        halo = halo + kept - drop
        del buffer[:drop]
        # Whoever draws them may let each go before the next one.
        while results:
            yield results.popleft()


def window_size(height: int, width: int, *, budget_mb: int = 256, lowest: int = 4, highest: int = 24) -> int:
    """Return how many frames a window should keep so that its float32 frames fit a memory budget.

    Args:
        height: Frame height in pixels.
        width: Frame width in pixels.
        budget_mb: Memory for the kept frames of one stage, in MB.
        lowest: Never fewer frames than this; below, the halo would cost more than the frames.
        highest: Never more frames than this; above, nothing is gained.
    """
    frame_mb = height * width * 3 * 4 / 1e6
    return int(min(highest, max(lowest, budget_mb / max(frame_mb, 1e-6))))
