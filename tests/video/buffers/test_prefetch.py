"""Working ahead changes when things are done and nothing else."""

import contextvars
import threading
from typing import Any

import pytest

from vldm_core.errors import SettingsError
from vldm_core.video.buffers.prefetch import ahead

VARIABLE = contextvars.ContextVar("variable", default="unset")


def threads() -> int:
    return sum(thread.name == "vldm-ahead" for thread in threading.enumerate())


@pytest.mark.parametrize("count", [0, 1, 5, 50])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_items_are_the_same(count, depth) -> None:
    assert list(ahead(iter(range(count)), depth)) == list(range(count))
    assert threads() == 0


def test_it_is_ahead_but_no_further_than_its_depth() -> None:
    depth, count = 3, 20
    asked, drawn, far_enough = 0, 0, threading.Event()

    def source():
        nonlocal drawn
        for item in range(count):
            drawn += 1
            # Those that were asked for, those that wait, and one in the hand of the thread.
            assert drawn <= asked + depth + 1
            if drawn == 1 + depth + 1:
                far_enough.set()
            yield item

    stream = ahead(source(), depth)
    for item in range(count):
        asked += 1
        assert next(stream) == item
        assert far_enough.wait(60), "it does not work ahead"
    assert list(stream) == []


def test_an_error_comes_where_its_item_would() -> None:
    def source():
        yield 1
        raise KeyboardInterrupt("stop")

    stream = ahead(source(), 5)
    assert next(stream) == 1
    with pytest.raises(KeyboardInterrupt, match="stop"):
        next(stream)
    assert threads() == 0


def test_closing_ends_the_thread_and_the_source() -> None:
    closed = []

    def source():
        try:
            yield from range(1000)
        finally:
            closed.append(threading.current_thread().name)

    stream: Any = ahead(source(), 2)
    assert next(stream) == 0
    stream.close()
    assert threads() == 0 and closed == ["vldm-ahead"]


def test_the_thread_sees_the_callers_context() -> None:
    VARIABLE.set("caller")

    def source():
        yield VARIABLE.get()

    assert list(ahead(source(), 1)) == ["caller"]


def test_the_depth_is_checked_at_once() -> None:
    with pytest.raises(SettingsError, match="got 0"):
        ahead(iter(()), 0)
