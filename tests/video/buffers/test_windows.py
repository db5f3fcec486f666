"""Windows over a stream cover it exactly and never show a stage less than its halo."""

import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.video.buffers.windows import window_size, windowed


@settings(max_examples=200)
@given(length=st.integers(0, 80), size=st.integers(1, 30), radius=st.integers(0, 9))
def test_result_does_not_depend_on_the_window_size(length, size, radius):
    def neighbourhood(items, core):
        return [tuple(items[max(0, i - radius) : i + radius + 1]) for i in range(core.start, core.stop)]

    expected = [tuple(range(max(0, t - radius), min(length, t + radius + 1))) for t in range(length)]
    assert list(windowed(iter(range(length)), neighbourhood, size=size, radius=radius)) == expected


@settings(max_examples=100)
@given(length=st.integers(0, 80), size=st.integers(1, 30), radius=st.integers(0, 9))
def test_holds_no_more_than_the_window_and_its_halo(length, size, radius):
    seen = []

    def process(items, core):
        seen.append(len(items))
        return items[core]

    assert list(windowed(iter(range(length)), process, size=size, radius=radius)) == list(range(length))
    assert all(count <= size + 2 * radius for count in seen)


def test_reads_lazily():
    read = []

    def source():
        for i in range(100):
            read.append(i)
            yield i

    stream = windowed(source(), lambda items, core: items[core], size=4, radius=2)
    next(stream)
    assert len(read) == 6


def test_wrong_number_of_results_is_an_error():
    with pytest.raises(ValueError, match="1 results for 3 frames"):
        list(windowed(range(3), lambda items, core: [0], size=3, radius=0))


@pytest.mark.parametrize(("size", "radius"), [(0, 1), (4, -1)])
def test_bad_sizes_are_rejected(size, radius):
    with pytest.raises(SettingsError):
        list(windowed(range(3), lambda items, core: items[core], size=size, radius=radius))


def test_window_size_falls_with_the_picture_and_stays_in_its_bounds():
    sizes = [window_size(h, w) for h, w in ((48, 64), (480, 640), (1080, 1920), (2160, 3840))]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 24
    assert sizes[-1] == 4


def test_what_was_drawn_is_not_held() -> None:
    class Made:
        pass

    stream = windowed(iter(range(6)), lambda items, core: [Made() for _ in items[core]], size=6, radius=1)
    first = weakref.ref(next(stream))
    assert first() is None
    assert len(list(stream)) == 5
