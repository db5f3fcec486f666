"""Conditioning over frames: constant inside a shot, another exactly at the cut, no memory where nothing differs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.semantics.prompts.conditioning import equally_long, one_for_all, over_frames
from vldm_core.video.shots import Shot


def prompt(seed, length=77, width=8):
    return torch.randn(1, length, width, generator=torch.Generator().manual_seed(seed))


def spans(lengths):
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    return tuple(Shot(end - length, end) for end, length in zip(ends, lengths, strict=True))


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2)), min_size=1, max_size=6))
def test_every_frame_has_its_shots_encoding_bit_for_bit(plan):
    shots = spans([length for length, _ in plan])
    encoded = {seed: prompt(seed, 4) for _, seed in plan}
    laid = over_frames([encoded[seed] for _, seed in plan], shots)
    assert len(laid) == (shots[-1].last if len(encoded) > 1 else 1)
    for shot, (_, seed) in zip(shots, plan, strict=True):
        for frame in range(shot.first, shot.last):
            assert torch.equal(laid[frame % len(laid)], encoded[seed][0])


def test_one_prompt_costs_nothing():
    text = prompt(0)
    assert over_frames([text, text], spans([1000, 2000])) is text
    # Equal but not the same object, as from two loads of one table.
    assert over_frames([text, text.clone()], spans([3, 4])) is text
    assert one_for_all([text, text.clone()]) and not one_for_all([text, prompt(1)])


def test_lengths_are_made_equal_without_changing_what_attention_sees():
    short, long, other = prompt(0, 4), prompt(1, 6), prompt(2, 4)
    made = equally_long([short, long, short, other])
    assert [item.shape[1] for item in made] == [12] * 4
    assert made[0] is made[2]
    query = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    def attended(keys):
        return torch.softmax(query @ keys.double().mT, dim=-1) @ keys.double()

    for before, after in zip([short, long, short, other], made, strict=True):
        torch.testing.assert_close(attended(after), attended(before), atol=1e-12, rtol=1e-12)
    assert equally_long([short, other]) == [short, other]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: over_frames([prompt(0)], spans([2, 3])), "2 shots need as many values; got 1"),
        (lambda: over_frames([prompt(0), prompt(1, 78)], spans([2, 3])), "of one shape"),
        (lambda: over_frames([prompt(0).expand(2, -1, -1)], spans([2])), "of one shape"),
        (lambda: over_frames([], ()), "0 frames"),
        (lambda: equally_long([prompt(0), prompt(0, width=16)]), "[8, 16] wide"),
        (lambda: equally_long([torch.zeros(77, 8)]), "is (1, tokens, width)"),
    ],
    ids=["count", "shape", "batch", "none", "width", "no sequence"],
)
def test_what_does_not_fit_is_refused(call, expected):
    with pytest.raises(SettingsError) as caught:
        call()
    assert expected in str(caught.value)
