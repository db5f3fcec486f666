"""Pictures give the same values however they are held, and hold little."""

import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.video.buffers.pictures import Clip, Made, Picture, Whole, copied, patched
from vldm_core.video.info import FilmFrame


def film_frame(height: int, width: int, *, deep: bool = False) -> FilmFrame:
    stream = np.random.default_rng(height * width)
    kind, top = (np.uint16, 65536) if deep else (np.uint8, 256)
    return FilmFrame(index=0, image=stream.integers(0, top, (height, width, 3)).astype(kind))


@settings(max_examples=40)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.02, 0.2, 0.6, 1.0]),
    deep=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_patch_over_a_patch_is_the_picture(height, width, share, deep, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    frame = film_frame(height, width, deep=deep)
    picture: Picture = frame
    wanted = frame.tensor()
    for _ in range(2):
        inside = torch.rand(height, width, generator=generator) < share
        # A part of something larger, as the results of a window are.
        window = torch.rand(4, 3, height, width, generator=generator)
        wanted = torch.where(inside, window[2], wanted)
        window[2] = wanted
        picture = patched(picture, window[2])
        window.zero_()
        assert torch.equal(picture.tensor(), wanted)
    assert torch.equal(frame.tensor(), film_frame(height, width, deep=deep).tensor()), "the frame itself stays"


def test_what_does_not_change_is_the_same_picture() -> None:
    frame = film_frame(8, 9)
    assert patched(frame, frame.tensor().clone()) is frame
    whole = Whole(frame.tensor())
    assert patched(whole, whole.tensor()) is whole


def test_the_results_of_a_window_are_not_held() -> None:
    frame = film_frame(30, 30)
    for share in (0.01, 0.9):
        window = frame.tensor().repeat(3, 1, 1, 1)
        window[1, :, : round(30 * share) + 1] = 0
        held = patched(frame, window[1])
        gone = weakref.ref(window)
        del window
        gc.collect()
        assert gone() is None and float(held.tensor()[:, 0].abs().max()) == 0


def test_a_made_picture_is_made_again_when_nobody_holds_it() -> None:
    count = 0

    def make() -> torch.Tensor:
        nonlocal count
        count += 1
        return torch.full((3, 4, 5), 0.5)

    picture = Made(make)
    first = picture.tensor()
    assert picture.tensor() is first and count == 1
    del first
    gc.collect()
    picture.tensor()
    assert count == 2


@pytest.mark.parametrize("lazy", [False, True])
def test_results_are_written_to_a_copy(lazy) -> None:
    frames = torch.rand(4, 3, 5, 6)
    given = Clip([Whole(frame) for frame in frames]) if lazy else frames
    assert given.shape == frames.shape and given.ndim == 4 and len(given) == 4
    assert all(torch.equal(given[t], frames[t]) for t in range(4))
    result = copied(given, [1, 2])
    assert torch.equal(result[1:3], frames[1:3])
    result[1] = 0
    assert frames[1].abs().sum() > 0
