"""Stages of a stream side by side: an iterator that works ahead in a thread of its own.

NumPy, OpenCV and torch let go of Python's lock while they compute, so two stages of a stream keep two cores busy.
"""

import contextvars
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from ...errors import SettingsError

Item = TypeVar("Item")

_POLL_S = 0.1


class _End(Generic[Item]):
    """Comes last through the queue, with what ended the work."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Draw from an iterator in a thread, at most ``depth`` items ahead of whoever takes them.

    Order and items are those of the iterator; an exception in it, an interrupt too, comes out where its item would
    have. Closing the generator ends the thread and then the iterator.

    Args:
        items: Drawn from, and closed, in the thread alone. It sees the context variables of the caller.
        depth: Most items that wait, ≥ 1; they bound the memory.

    Raises:
        SettingsError: ``depth`` is below 1.
    """
    if depth < 1:
        raise SettingsError(f"a stream works at least 1 item ahead, got {depth}")
    return _ahead(items, depth)


def _ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    waiting: queue.Queue[Item | _End[Item]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: Item | _End[Item]) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=_POLL_S)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        source = iter(items)
        error: BaseException | None = None
        try:
            for item in source:
                if not put(item):
                    break
        except BaseException as raised:  # noqa: BLE001 - handed to the consumer, who raises it
            error = raised
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
            put(_End(error))

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="vldm-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        thread.join()
