"""Everything is cut to its region."""

from regions_common import *

from comfy.conds import CONDNoiseShape, CONDRegular, CONDConstant, CONDCrossAttn
from pack.nodes.host import regions as host_regions
from pack.vldm_core.sampling.regions.plan import Region

region = Region(frames=(2, 5), top=2, left=4, height=4, width=6, weight=torch.ones(2, 4, 6))
x = random(7, 4, 8, 16)
plane = random(7, 5, 8, 16)
cut = host_regions._cut_cond(CONDNoiseShape(plane), region, x)
assert type(cut) is CONDNoiseShape and torch.equal(cut.cond, plane[[2, 5], :, 2:6, 4:10])
text = random(7, 77, 8)
assert torch.equal(host_regions._cut_cond(CONDCrossAttn(text), region, x).cond, text[[2, 5]])
single = CONDCrossAttn(text[:1])
assert host_regions._cut_cond(single, region, x) is single
constant = CONDConstant(3)
assert host_regions._cut_cond(constant, region, x) is constant
assert host_regions._cut_area((4, 8, 0, 0), region) == (2, 4, 0, 0)
assert host_regions._cut_area((2, 4, 6, 12), region) is None
assert host_regions._cut_area((8, 16, 0, 0), region) == (4, 6, 0, 0)

regions = host_regions._Regions(None, None)
control = tiny_control()
hint = torch.rand(3, 3, 64, 128)
control.set_cond_hint(hint, 1.0)
cut = regions._cut_control(control, region, x)
assert cut is regions._cut_control(control, region, x) and cut is not control
assert torch.equal(cut.cond_hint_original, hint[[2, 2], :, 16:48, 32:80])
assert cut.control_model is control.control_model
assert torch.equal(control.cond_hint_original, hint)

# Masks and areas through the real sampling: a mask and an area per frame with tiles equal those without, where the
# network's receptive field is a single pixel.
import comfy.model_base


class Pointwise(torch.nn.Module):
    dtype = torch.float32

    def forward(self, x, t, context=None, control=None, transformer_options={}, **kwargs):
        return x * context.mean((1, 2))[:, None, None, None]


model.model.diffusion_model = Pointwise()
noise, latent = random(9, 4, 16, 16), random(9, 4, 16, 16, seed=6)
mask = torch.rand(9, 16, 16)
positive = [
    [random(1, 7, CONTEXT) + 0.2, {"mask": mask, "mask_strength": 0.9}],
    [random(1, 7, CONTEXT, seed=9) - 0.2, {}],
]
whole = sample(model, positive, negative, noise, latent)
tiles = TileSettings(size=8, overlap=4, weight="hann", move=True)
equal(sample(with_regions(model, WindowSettings(length=4, overlap=1), tiles), positive, negative, noise, latent), whole)
