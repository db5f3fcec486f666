"""How frames are brought to a working size and back."""

import pytest
import torch

from benchmarks.resolution.sizes import WAYS, working_size
from vldm_core.metrics.fidelity import psnr

from ..prerestore_data import made_clip


@pytest.fixture(scope="module")
def clip():
    return made_clip(noise=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("short_side", [48, 64, 96])
def test_what_is_not_touched_comes_back(clip, way, short_side):
    size = working_size(48, 64, short_side, way, 8)
    given = size.there(clip.even)
    assert given.shape == (4, 3, size.height, size.width)
    assert size.height % 8 == size.width % 8 == 0 and min(size.height, size.width) >= short_side
    assert given.min() >= 0 and given.max() <= 1
    back = size.back(given, clip.even)
    assert back.shape == clip.even.shape
    assert psnr(back, clip.even) > 45
    if way == "padded" or short_side == 48:
        assert torch.equal(back, clip.even)


def test_ways_bring_frames_to_different_sizes():
    sizes = {way: working_size(48, 64, 96, way, 8) for way in WAYS}
    assert {way: (size.height, size.width) for way, size in sizes.items()} == {
        "resized": (96, 128),
        "padded": (96, 96),
        "fitted": (128, 128),
    }


def test_only_resizing_reduces(clip):
    assert working_size(48, 64, 32, "padded", 8) is None and working_size(48, 64, 32, "fitted", 8) is None
    size = working_size(48, 64, 32, "resized", 8)
    assert (size.height, size.width) == (32, 40)
    noisy = (clip.even + 0.1 * torch.randn(clip.even.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    small = size.there(noisy)
    assert torch.allclose(small.mean(), noisy.mean(), atol=0.01)
    # Grain does not survive it, the picture does.
    back = size.back(small, noisy)
    assert psnr(back, noisy) < psnr(back, clip.even) < 35


@pytest.mark.parametrize("way", WAYS)
def test_masks_stay_masks_and_lose_nothing(clip, way):
    for short_side in (32, 48, 96):
        size = working_size(48, 64, short_side, way, 8)
        if size is None:
            continue
        masks = size.there(clip.masks)
        assert masks.shape == (4, size.height, size.width)
        assert set(masks.unique().tolist()) == {0.0, 1.0}
        assert masks[0].sum() == 0
        share = clip.masks[1].sum() / (48 * 64)
        covered = masks[1].sum() / masks[1].numel()
        if way == "resized":
            assert share * 0.9 < covered < share * 3
    single = torch.zeros(1, 48, 64)
    single[0, 21, 33] = 1
    assert working_size(48, 64, 32, "resized", 8).there(single).sum() >= 1


def test_padding_does_not_scale_and_fitting_does(clip):
    size = working_size(48, 64, 96, "padded", 8)
    top, left = (96 - 48) // 2, (96 - 64) // 2
    assert torch.equal(size.there(clip.even)[..., top : top + 48, left : left + 64], clip.even)
    fitted = working_size(48, 64, 96, "fitted", 8)
    changed = fitted.there(clip.even)
    changed[..., 60:70, 60:70] = 1
    back = fitted.back(changed, clip.even)
    # Only the change comes back: far from it the film is as it was.
    assert (back != clip.even).any() and torch.equal(back[..., :10, :10], clip.even[..., :10, :10])
