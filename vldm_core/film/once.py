"""Values that several threads may ask for and that are computed once."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

Value = TypeVar("Value")


class Once:
    """Values by key, each computed by the first thread that asks for it; the others wait.

    Values may depend on one another as long as no circle arises.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[Hashable, ...], Future[Any]] = {}

    def get(self, key: tuple[Hashable, ...], compute: Callable[[], Value]) -> Value:
        """Return the value of a key."""
        with self._lock:
            known = self._values.get(key)
            if known is None:
                mine = self._values[key] = Future()
        if known is not None:
            found: Value = known.result()
            return found
        try:
            value = compute()
        except BaseException as error:
            mine.set_exception(error)
            raise
        mine.set_result(value)
        return value

    def forget(self, useless: Callable[[tuple[Any, ...]], bool]) -> None:
        """Give back the memory of the values whose keys are useless; they are computed again when asked for."""
        with self._lock:
            for key in [key for key, value in self._values.items() if value.done() and useless(key)]:
                del self._values[key]
