"""Everything that goes with a frame or a place is cut to its region."""

import pytest
import torch
from comfy.conds import CONDConstant, CONDCrossAttn, CONDNoiseShape, CONDRegular
from inside.models import CONTEXT, tiny_control, tiny_pair
from inside.sampling import assert_same, conditioning, random, sample
from pack.nodes.host.prior import regions as host_regions
from pack.nodes.host.prior.regions import with_regions
from pack.vldm_core.sampling.regions.plan import Region
from pack.vldm_core.sampling.regions.tiles import TileSettings
from pack.vldm_core.sampling.regions.windows import WindowSettings

REGION = Region(frames=(2, 5), top=2, left=4, height=4, width=6, weight=torch.ones(2, 4, 6))
LATENT = random(7, 4, 8, 16)


def test_a_plane_for_every_frame_is_cut_in_time_and_in_space():
    plane = random(7, 5, 8, 16)
    cut = host_regions._cut_cond(CONDNoiseShape(plane), REGION, LATENT)
    assert type(cut) is CONDNoiseShape and torch.equal(cut.cond, plane[[2, 5], :, 2:6, 4:10])


def test_text_for_every_frame_is_cut_in_time():
    text = random(7, 77, 8)
    assert torch.equal(host_regions._cut_cond(CONDCrossAttn(text), REGION, LATENT).cond, text[[2, 5]])


@pytest.mark.parametrize("condition", [CONDCrossAttn(random(1, 77, 8)), CONDRegular(random(1, 8)), CONDConstant(3)])
def test_what_serves_all_frames_stays(condition):
    assert host_regions._cut_cond(condition, REGION, LATENT) is condition


@pytest.mark.parametrize(
    ("area", "cut"),
    [((4, 8, 0, 0), (2, 4, 0, 0)), ((2, 4, 6, 12), None), ((8, 16, 0, 0), (4, 6, 0, 0))],
)
def test_an_area_is_cut_or_left_out(area, cut):
    assert host_regions._cut_area(area, REGION) == cut


def test_a_hint_is_cut_in_a_copy_of_its_control_that_is_made_once():
    regions = host_regions._Regions(None, None)
    control = tiny_control()
    hint = torch.rand(3, 3, 64, 128)
    control.set_cond_hint(hint, 1.0)
    cut = regions._cut_control(control, REGION, LATENT)
    assert cut is regions._cut_control(control, REGION, LATENT) and cut is not control
    assert torch.equal(cut.cond_hint_original, hint[[2, 2], :, 16:48, 32:80])
    assert cut.control_model is control.control_model
    assert torch.equal(control.cond_hint_original, hint)


class Pointwise(torch.nn.Module):
    """A network whose receptive field is a single pixel."""

    dtype = torch.float32

    def forward(self, x, t, context=None, control=None, transformer_options=None, **kwargs):
        return x * context.mean((1, 2))[:, None, None, None]


def test_masks_and_areas_of_prompts_are_the_same_in_tiles():
    model, _ = tiny_pair()
    model.model.diffusion_model = Pointwise()
    noise, latent = random(9, 4, 16, 16), random(9, 4, 16, 16, seed=6)
    positive = [
        [random(1, 7, CONTEXT) + 0.2, {"mask": torch.rand(9, 16, 16), "mask_strength": 0.9}],
        [random(1, 7, CONTEXT, seed=9) - 0.2, {}],
    ]
    negative = conditioning(seed=3)
    tiles = TileSettings(size=8, overlap=4, weight="hann", move=True)
    tiled = with_regions(model, WindowSettings(length=4, overlap=1), tiles)
    whole = sample(model, positive, negative, noise, latent)
    assert_same(sample(tiled, positive, negative, noise, latent), whole)
