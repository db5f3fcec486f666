"""Editing masks: against plain definitions, and properties that hold for every mask."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from vldm_core.errors import SettingsError
from vldm_core.film.masks import MaskEdit, edit_mask

from ..testers import interrupt_comes_out


def _random(seed: int, count: int = 3, height: int = 18, width: int = 23, share: float = 0.15) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    return torch.from_numpy((generator.random((count, height, width)) < share).astype(np.float32))


def _disc(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return x * x + y * y <= radius * radius


def test_by_default_a_mask_becomes_zero_and_one():
    mask = torch.tensor([[[0.0, 0.49, 0.5], [0.51, 1.0, 0.2]]])
    assert edit_mask(mask).tolist() == [[[0, 0, 1], [1, 1, 0]]]
    assert edit_mask(mask, MaskEdit(threshold=0.2)).tolist() == [[[0, 1, 1], [1, 1, 1]]]


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), pixels=st.integers(1, 5))
def test_growing_is_dilation_by_a_disc_and_shrinking_erosion(seed, pixels):
    mask = _random(seed)
    grown, shrunk = edit_mask(mask, MaskEdit(grow=pixels)), edit_mask(1 - mask, MaskEdit(grow=-pixels))
    for index in range(len(mask)):
        marked = mask[index].numpy() > 0
        expected = ndimage.binary_dilation(marked, _disc(pixels))
        assert np.array_equal(grown[index].numpy() > 0, expected)
        expected = ndimage.binary_erosion(~marked, _disc(pixels), border_value=1)
        assert np.array_equal(shrunk[index].numpy() > 0, expected)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), size=st.integers(0, 9))
def test_small_marks_are_those_with_few_connected_pixels(seed, size):
    mask = _random(seed, share=0.25)
    kept = edit_mask(mask, MaskEdit(min_size=size))
    for before, after in zip(mask.numpy(), kept.numpy(), strict=True):
        labels, count = ndimage.label(before, np.ones((3, 3)))
        expected = np.zeros_like(before)
        for label in range(1, count + 1):
            if (labels == label).sum() >= size:
                expected[labels == label] = 1
        assert np.array_equal(after, expected)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1))
def test_holes_are_what_marks_enclose(seed, share):
    mask = _random(seed, share=share)
    filled = edit_mask(mask, MaskEdit(fill_holes=True))
    for before, after in zip(mask.numpy(), filled.numpy(), strict=True):
        assert np.array_equal(after > 0, ndimage.binary_fill_holes(before > 0))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), frames=st.integers(0, 4))
def test_marks_are_held_before_and_after(seed, frames):
    mask = _random(seed, count=6, share=0.05)
    held = edit_mask(mask, MaskEdit(hold=frames))
    for index in range(6):
        assert torch.equal(held[index], mask[max(0, index - frames) : index + frames + 1].amax(dim=0))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), pixels=st.floats(0.5, 8))
def test_a_feather_falls_off_outside_the_marks(seed, pixels):
    mask = _random(seed, share=0.02)
    soft = edit_mask(mask, MaskEdit(feather=pixels))
    assert torch.equal(soft == 1, mask == 1)
    for before, after in zip(mask.numpy(), soft.numpy(), strict=True):
        if not before.any():
            assert not after.any()
            continue
        distance = ndimage.distance_transform_edt(before == 0)
        assert (after[distance >= pixels + 1] == 0).all()
        assert (after[(distance > 0) & (distance <= pixels)] > 0).all()
        order = np.argsort(distance, axis=None, kind="stable")
        assert (np.diff(after.ravel()[order]) <= 1e-5).all(), "farther is never stronger"


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    grow=st.integers(-3, 4),
    hold=st.integers(0, 2),
    feather=st.floats(0, 5),
    single=st.booleans(),
)
def test_nothing_is_marked_where_it_is_protected(seed, grow, hold, feather, single):
    mask, protect = _random(seed), _random(seed + 1, count=1 if single else 3, share=0.3)
    edit = MaskEdit(grow=grow, hold=hold, feather=feather)
    result, free = edit_mask(mask, edit, protect=protect), edit_mask(mask, edit)
    sheltered = protect.expand_as(mask) > 0.5
    assert not result[sheltered].any()
    assert torch.equal(result[~sheltered], free[~sheltered])
    assert float(result.min()) >= 0 and float(result.max()) <= 1


def test_what_is_added_grows_too_and_is_never_too_small():
    mask, add = torch.zeros(3, 9, 9), torch.zeros(1, 9, 9)
    add[0, 4, 4] = 1
    result = edit_mask(mask, MaskEdit(min_size=5, grow=1), add=add)
    assert result.sum(dim=(1, 2)).tolist() == [5, 5, 5]


def test_the_mask_that_came_in_is_not_changed():
    mask = _random(3)
    before = mask.clone()
    edit_mask(mask, MaskEdit(grow=2, feather=3, fill_holes=True, hold=1))
    assert torch.equal(mask, before)


def test_progress_is_told_and_may_interrupt():
    seen = []
    edit_mask(_random(0, count=4), progress=lambda phase, done, total, preview=None: seen.append((phase, done, total)))
    assert seen == [(phase, done, 4) for phase in ("clean mask", "soften mask") for done in (1, 2, 3, 4)]

    interrupt_comes_out(lambda progress: edit_mask(_random(0), progress=progress))


@pytest.mark.parametrize(
    ("name", "shape"), [("add", (2, 18, 23)), ("protect", (3, 18, 22)), ("protect", (18, 23)), ("add", (0, 18, 23))]
)
def test_masks_of_another_size_are_refused(name, shape):
    with pytest.raises(SettingsError, match=f"the {name} mask"):
        edit_mask(_random(0), **{name: torch.zeros(shape)})  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(4, 4), (0, 4, 4), (1, 3, 4, 4)])
def test_what_is_no_mask_is_refused(shape):
    with pytest.raises(SettingsError, match="T at least 1"):
        edit_mask(torch.zeros(shape))
