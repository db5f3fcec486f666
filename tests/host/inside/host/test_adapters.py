"""Pictures and masks as the host has them, in every layout, come to the core as it wants them, or are refused."""

import pytest
import torch
from pack.nodes.host import node_run
from pack.vldm_core.errors import SettingsError

IMAGES = torch.zeros(5, 4, 6, 3)


def test_grey_pictures_come_as_three_equal_channels():
    grey = torch.rand(2, 4, 6, 1)
    assert torch.equal(node_run.frames_from_image(grey), grey.movedim(-1, 1).expand(-1, 3, -1, -1))


def test_alpha_is_left_out_and_values_are_single_precision_there_and_back():
    colour = torch.rand(2, 4, 6, 4, dtype=torch.float64)
    frames = node_run.frames_from_image(colour)
    assert frames.shape == (2, 3, 4, 6) and frames.dtype == torch.float32
    assert torch.equal(node_run.image_from_frames(frames), colour[..., :3].float())
    assert node_run.image_from_frames(frames).is_contiguous()


@pytest.mark.parametrize(
    ("shape", "name", "said"),
    [
        ((0, 4, 6, 3), None, "images: a batch"),
        ((4, 6, 3), "before", "before: a batch"),
        ((1, 4, 6, 2), None, r"got \(1, 4, 6, 2\)"),
    ],
)
def test_what_is_not_a_batch_of_pictures_is_refused_by_name(shape, name, said):
    with pytest.raises(SettingsError, match=said):
        node_run.frames_from_image(torch.zeros(shape), *([] if name is None else [name]))


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6), (5, 4, 6)])
def test_one_mask_serves_all_frames(shape):
    assert node_run.mask_for(torch.ones(shape), IMAGES, "dirt").shape == (5, 4, 6)


def test_no_mask_stays_none():
    assert node_run.mask_for(None, IMAGES, "dirt") is None


@pytest.mark.parametrize(("shape", "said"), [((3, 4, 6), "dirt: the mask has 3 frames"), ((5, 6, 4), "of 4×6")])
def test_a_mask_that_does_not_fit_is_refused_by_name(shape, said):
    with pytest.raises(SettingsError, match=said):
        node_run.mask_for(torch.ones(shape), IMAGES, "dirt")
