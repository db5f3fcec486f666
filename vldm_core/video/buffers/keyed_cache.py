"""Values that several threads may ask for and that are computed once, as long as there is room for them."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

import numpy as np

Value = TypeVar("Value")


class Once:
    """Values by key, each computed by the first thread that asks for it; the others wait.

    Values may depend on one another as long as no circle arises. They are computed again when they are asked for after
    they have been forgotten, so what is forgotten changes the time and not the result.
    """

    def __init__(self, limit: int | None = None) -> None:
        """Hold values.

        Args:
            limit: Bytes of arrays that may be held; beyond that, what was not asked for the longest is forgotten. None
                holds everything until `forget`.
        """
        self._lock = threading.Lock()
        self._limit = limit
        self._values: dict[tuple[Hashable, ...], Any] = {}
        # Only while a value is computed: what others wait on takes more memory than many a value.
        self._computed: dict[tuple[Hashable, ...], Future[Any]] = {}
        # What was asked for last comes last.
        self._sizes: dict[tuple[Hashable, ...], int] = {}

    def get(self, key: tuple[Hashable, ...], compute: Callable[[], Value]) -> Value:
        """Return the value of a key."""
        with self._lock:
            if key in self._values:
                if key in self._sizes:
                    self._sizes[key] = self._sizes.pop(key)
                known: Value = self._values[key]
                return known
            others: Future[Value] | None = self._computed.get(key)
            if others is None:
                mine: Future[Value] = Future()
                self._computed[key] = mine
        if others is not None:
            return others.result()
        try:
            value = compute()
        except BaseException as error:
            # Who waits is told; who asks later tries again.
            with self._lock:
                del self._computed[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._computed[key]
            self._values[key] = value
            if self._limit is not None:
                self._make_room(key, size_of(value), self._limit)
        mine.set_result(value)
        return value

    def forget(self, useless: Callable[[tuple[Any, ...]], bool]) -> None:
        """Give back the memory of the values whose keys are useless."""
        with self._lock:
            for key in [key for key in self._values if useless(key)]:
                self._drop(key)

    @property
    def held(self) -> int:
        """Bytes of the arrays held, as far as there is a limit."""
        with self._lock:
            return sum(self._sizes.values())

    def _make_room(self, newest: tuple[Hashable, ...], size: int, limit: int) -> None:
        self._sizes[newest] = size
        total = sum(self._sizes.values())
        for key in list(self._sizes):
            if total <= limit:
                return
            if key != newest:
                total -= self._sizes[key]
                self._drop(key)

    def _drop(self, key: tuple[Hashable, ...]) -> None:
        del self._values[key]
        self._sizes.pop(key, None)


def size_of(value: object) -> int:
    """Return the bytes of the arrays that a value holds, itself or in its parts."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, tuple | list):
        return sum(size_of(part) for part in value)
    if hasattr(value, "__dict__"):
        return sum(size_of(part) for part in vars(value).values())
    return 0
