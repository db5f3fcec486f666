"""Luma has the stated weights, range and types."""

import numpy as np
import pytest
import torch

from vldm_core.video.luma import LUMA_WEIGHTS, luma, luma_array


def test_weights_and_range():
    primaries = torch.eye(3).reshape(3, 3, 1, 1).expand(3, 3, 2, 4)
    assert torch.allclose(luma(primaries)[:, 0, 0], 255 * torch.tensor(LUMA_WEIGHTS))
    assert torch.allclose(luma(torch.ones(3, 2, 4)), torch.tensor(255.0))
    assert luma(torch.zeros(2, 5, 3, 2, 4)).shape == (2, 5, 2, 4)


def test_array_equals_tensor_and_leaves_the_input_alone():
    image = torch.rand(3, 6, 8)
    before = image.clone()
    array = luma_array(image)
    assert array.dtype == np.float32 and array.flags.c_contiguous
    assert np.array_equal(array, luma(image).numpy())
    assert np.array_equal(array, luma_array(image.numpy()))
    assert torch.equal(image, before)


@pytest.mark.parametrize("shape", [(4, 6, 8), (6, 8), (1, 6, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        luma_array(torch.zeros(shape))
