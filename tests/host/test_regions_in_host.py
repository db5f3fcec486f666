"""Windows and tiles in the host: every tensor, mask, area and hint goes with its frame and its place."""

import pytest

from .in_host import run_in_host

pytestmark = pytest.mark.host

COMMON = """
from comfy.model_management import OOM_EXCEPTION
import comfy.samplers
from pack.nodes.host_prior import with_attachment, with_shots, with_noise, with_transform
from pack.nodes.host_regions import with_regions
from pack.vldm_core.sampling.windows import WindowSettings
from pack.vldm_core.sampling.tiles import TileSettings
from pack.vldm_core.video.shots import Shot
from pack.vldm_core.prior.shot_lora import ShotLora, read_lora
model, _ = tiny_pair()
negative = conditioning(seed=3)

def equal(a, b, limit=2e-5):
    difference = float((a - b).abs().max() / b.abs().max())
    assert difference < limit, difference
"""

# The model is made blind to its latent and sees only hint, text and mask: any mix-up of frames shows in full.
HINTS = (
    COMMON
    + """
count = 17
hints = torch.rand(count, 64, 64, 3, generator=torch.Generator().manual_seed(4))
def controlled(frames):
    net = tiny_control()
    net.set_cond_hint(hints[frames].movedim(-1, 1), 0.8)
    positive = conditioning(frames=count)
    positive[0][0] = positive[0][0][frames]
    positive[0][1].update(control=net, control_apply_to_uncond=True)
    return positive
every = list(range(count))
noise, latent = random(count, 4, 8, 8), torch.zeros(count, 4, 8, 8)
whole = sample(model, controlled(every), negative, noise, latent, steps=2)
for windows in (WindowSettings(length=5, overlap=2), WindowSettings(length=4, overlap=1, schedule="uniform", stride=2),
                WindowSettings(length=6, overlap=3, move=True)):
    equal(sample(with_regions(model, windows, None), controlled(every), negative, noise, latent, steps=2), whole)
# One hint for all frames, chained controls, hints fewer than frames (the host repeats them).
def chained(model):
    first, second = tiny_control(), tiny_control(seed=8)
    first.set_cond_hint(hints[:1].movedim(-1, 1), 0.5)
    second.set_cond_hint(hints[:9].movedim(-1, 1), 0.5).set_previous_controlnet(first)
    positive = conditioning()
    positive[0][1].update(control=second, control_apply_to_uncond=True)
    return sample(model, positive, negative, noise, latent, steps=2)
equal(chained(with_regions(model, WindowSettings(length=5, overlap=2), None)), chained(model))
"""
)

# A denoiser without receptive field: tiles may not change anything then, so hints and masks must be cut in place.
PLACES = (
    COMMON
    + """
from comfy.conds import CONDNoiseShape, CONDRegular, CONDConstant, CONDCrossAttn
from pack.nodes import host_regions
from pack.vldm_core.sampling.regions import Region
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
positive = [[random(1, 7, CONTEXT) + 0.2, {"mask": mask, "mask_strength": 0.9}],
            [random(1, 7, CONTEXT, seed=9) - 0.2, {}]]
whole = sample(model, positive, negative, noise, latent)
tiles = TileSettings(size=8, overlap=4, weight="hann", move=True)
equal(sample(with_regions(model, WindowSettings(length=4, overlap=1), tiles), positive, negative, noise, latent), whole)
"""
)

SHOTS_AND_MEMORY = (
    COMMON
    + """
from pack.vldm_core.prior.attachment import Attachment
seen = []
class Watching(Attachment):
    def changes(self, view):
        return [(view["mid.attn"].module, self.watch)]
    def watch(self, x, call):
        seen.append(call)
        if len(call.frames) > limit:
            raise OOM_EXCEPTION("simulated")
        return x
limit = 100
noise, latent = random(24, 4, 8, 8), torch.zeros(24, 4, 8, 8)
shots = (Shot(0, 10), Shot(10, 24))
patched = with_shots(with_attachment(model, Watching(), "watching"), shots)
windowed = with_regions(patched, WindowSettings(length=8, overlap=2), None)
found = sample(windowed, conditioning(), negative, noise, latent, steps=2)
assert all(max(c.frames) < 10 or min(c.frames) >= 10 for c in seen) and all(len(c.segments) == 1 for c in seen)
assert {c.chunks for c in seen} <= {(0, 1), (1, 0)} and {c.progress for c in seen} == {0.0, 0.5}
seen.clear()
whole = sample(patched, conditioning(), negative, noise, latent, steps=1)
assert seen[0].segments == ((0, 10), (10, 24)) and seen[0].frames == tuple(range(24))

# Out of memory: the window is halved, the sampling goes on, the next one starts with the full window again.
seen.clear(); limit = 9
wide = with_regions(patched, WindowSettings(length=14, overlap=2), None)
rescued = sample(wide, conditioning(), negative, noise, latent, steps=2)
lengths = [len(c.frames) for c in seen]
assert lengths[0] == 10 and max(lengths[1:]) == 8, lengths
assert torch.isfinite(rescued).all()
seen.clear(); limit = 100
sample(wide, conditioning(), negative, noise, latent, steps=1)
assert max(len(c.frames) for c in seen) == 14

# Nothing left to halve: the host's own error comes through.
limit = 0
try:
    sample(with_regions(patched, None, None), conditioning(), negative, random(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), steps=1)
except (OOM_EXCEPTION, Exception) as error:
    assert "simulated" in str(error) or "shots cover" in str(error), error
else:
    raise AssertionError("not raised")
"""
)

LOADERS = (
    COMMON
    + """
import comfy.sd, comfy.lora, tempfile, os, safetensors.torch
names = ["down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", "up_blocks_3_attentions_2_proj_out",
         "mid_block_attentions_0_transformer_blocks_0_attn2_to_k", "down_blocks_2_resnets_0_conv1",
         "down_blocks_1_downsamplers_0_conv", "up_blocks_1_upsamplers_0_conv", "time_embedding_linear_1"]
from pack.vldm_core.prior.shot_lora import named_layers
from pack.nodes.host_prior import view_of
layers = named_layers(view_of(model))
tensors = {}
for index, name in enumerate(names):
    weight = layers[name].weight
    key = "lora_unet_" + name
    tensors[key + ".lora_down.weight"] = random(4, *weight.shape[1:], seed=index) / weight[0].numel() ** 0.5
    tensors[key + ".lora_up.weight"] = random(weight.shape[0], 4, *[1] * (weight.ndim - 2), seed=index + 50) * 0.5
    tensors[key + ".alpha"] = torch.tensor(2.0)
path = os.path.join(tempfile.mkdtemp(), "lora.safetensors")
safetensors.torch.save_file(tensors, path)
noise, latent = random(4, 4, 8, 8), torch.zeros(4, 4, 8, 8)
plain = sample(model, conditioning(), negative, noise, latent, steps=2)
stock, _ = comfy.sd.load_lora_for_models(model, None, tensors, 0.6, 0.0)
merged = sample(stock, conditioning(), negative, noise, latent, steps=2)
assert (merged - plain).abs().max() > 0.05
from pathlib import Path
updates = read_lora(Path(path))
per_frame = with_attachment(model, ShotLora(updates, [0.6] * 4), "lora")
equal(sample(per_frame, conditioning(), negative, noise, latent, steps=2), merged)
half = with_regions(with_attachment(model, ShotLora(updates, [0.6, 0.6, 0.0, 0.0]), "lora"), WindowSettings(length=3, overlap=1), None)
found = sample(half, conditioning(), negative, noise, latent, steps=2)
equal(found[:2], merged[:2])
equal(found[2:], plain[2:])
# A stock LoRA loader behind our patch acts as well.
both, _ = comfy.sd.load_lora_for_models(with_attachment(model, ShotLora(updates, [0.0] * 4), "lora"), None, tensors, 0.6, 0.0)
equal(sample(both, conditioning(), negative, noise, latent, steps=2), merged)

# Our noise replaces the sampler's, with the sampler's seed; no noise stays no noise.
asked = []
def make(shape, seed):
    asked.append((shape, seed))
    return torch.ones(shape)
ones = sample(with_noise(model, make), conditioning(), negative, noise, latent, steps=1, seed=11)
equal(ones, sample(model, conditioning(), negative, torch.ones_like(noise), latent, steps=1))
assert asked == [((4, 4, 8, 8), 11)]
sample(with_noise(model, make), conditioning(), negative, torch.zeros_like(noise), latent, steps=1)
assert len(asked) == 1, asked

# Transforms see the whole clip and the place in the schedule.
states = []
def transform(x0, x, state):
    assert x0.shape == x.shape == (4, 4, 8, 8)
    states.append((state.step, state.steps))
    return x0 * 0
result = sample(with_transform(with_regions(model, WindowSettings(length=3, overlap=1), None), transform), conditioning(), negative, noise, latent, steps=3)
assert states == [(0, 3), (1, 3), (2, 3)], states
assert result.abs().max() < 1e-6, result.abs().max()
"""
)


@pytest.mark.parametrize(
    "code", [HINTS, PLACES, SHOTS_AND_MEMORY, LOADERS], ids=["hints", "places", "shots and memory", "loaders"]
)
def test_in_the_host(host_folder, code) -> None:
    run_in_host(host_folder, code)
