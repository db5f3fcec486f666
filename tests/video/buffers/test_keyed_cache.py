"""Values are computed once as long as there is room, and held within a bound of bytes."""

import gc
import threading
from concurrent.futures import Future

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.video.buffers.keyed_cache import Once, size_of


@settings(max_examples=60)
@given(asked=st.lists(st.integers(0, 9), max_size=60), limit=st.integers(0, 12))
def test_no_more_is_held_than_the_limit_and_values_stay_right(asked, limit) -> None:
    once = Once(limit * 400)
    for key in asked:
        wanted = np.full(100 * (1 + key % 3), key, np.float32)
        assert np.array_equal(once.get((key,), wanted.copy), wanted)
        # What was just made is held in any case: whoever asks for it is about to use it.
        assert once.held <= max(limit * 400, wanted.nbytes)


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    once, made = Once(3 * 400), []

    def ask(key: int) -> None:
        once.get((key,), lambda: made.append(key) or np.zeros(100, np.float32))

    for key in (1, 2, 3, 1, 4, 1, 3, 2):
        ask(key)
    assert made == [1, 2, 3, 4, 2]


def test_values_of_values_and_threads() -> None:
    once = Once(800)

    def chain(key: int) -> np.ndarray:
        if key == 0:
            return np.zeros(100, np.float32)
        return once.get((key - 1,), lambda: chain(key - 1)) + 1

    results: list[float] = []
    threads = [
        threading.Thread(target=lambda: results.append(float(once.get((20,), lambda: chain(20))[0]))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [20.0] * 6 and once.held <= 800


def test_nothing_to_wait_on_is_held_with_a_value() -> None:
    once = Once()
    gc.collect()
    before = sum(type(each) is Future for each in gc.get_objects())
    for key in range(200):
        once.get((key,), lambda: 1.0)
    gc.collect()
    assert sum(type(each) is Future for each in gc.get_objects()) - before < 10


def test_sizes_of_what_holds_arrays() -> None:
    class Holder:
        def __init__(self) -> None:
            self.parts = (np.zeros(10, np.uint8), [np.zeros(3, np.float32)])

    assert size_of(np.zeros((2, 3), np.float64)) == 48
    assert size_of(Holder()) == 22 and size_of(None) == size_of(3) == 0
