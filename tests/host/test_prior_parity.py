"""The same weights, noise and attachments give the same sample in the host and headlessly; nothing stays behind."""

import pytest

from .in_host import run_in_host

pytestmark = pytest.mark.host

COMMON = """
import comfy.samplers, comfy.sample
from pack.nodes.host_prior import with_attachment, with_shots, with_transform, with_noise
from pack.nodes.host_regions import with_regions
from pack.vldm_core.prior.attachment import Attachment
from pack.vldm_core.prior.unet import UNetView
from pack.vldm_core.prior.denoiser import ClipDenoiser, DenoiserSettings
from pack.vldm_core.sampling.windows import WindowSettings
from pack.vldm_core.sampling.tiles import TileSettings
from pack.vldm_core.video.shots import Shot

class Mixing(Attachment):
    "Takes part of the previous frame of the same shot, after every ResBlock and every transformer."
    def changes(self, view):
        return [(site.module, self.mix) for site in view.sites.values()]
    def mix(self, x, call):
        clips = call.clips(x)
        parts = [torch.cat([p[:, :1], 0.8 * p[:, 1:] + 0.2 * p[:, :-1]], 1) for p in call.parts(clips)]
        return torch.cat(parts, 1).flatten(0, 1)

def euler(denoise, x, sigmas):
    for here, there in zip(sigmas[:-1], sigmas[1:]):
        x = x + (x - denoise(x, here)) / here * (there - here)
    return x

def headless(twin, prediction, positive, negative, noise, latent, steps=5, cfg=3.0, windows=None, tiles=None, **more):
    sampling = model.get_model_object("model_sampling")
    sigmas = [float(s) for s in comfy.samplers.calculate_sigmas(sampling, "normal", steps)]
    denoiser = ClipDenoiser(
        twin, timestep=lambda s: float(sampling.timestep(torch.tensor(s))), sigmas=sigmas,
        positive=positive[0][0], negative=negative[0][0],
        settings=DenoiserSettings(prediction=prediction, guidance_scale=cfg, windows=windows, tiles=tiles), **more)
    # The host scales noise by sqrt(1 + sigma²) when a schedule begins at the very top.
    x = noise * (1 + sigmas[0] ** 2) ** 0.5 + latent * 0.18215
    with torch.no_grad():
        return euler(denoiser, x, sigmas) / 0.18215

def close(found, wanted):
    difference = (found - wanted).abs().max() * 0.18215
    print(float(difference), float(wanted.std()))
    assert difference < 1e-4, float(difference)
    assert wanted.std() > 0.1
"""

PARITY = (
    COMMON
    + """
for prediction in ("eps", "v"):
    model, twin = tiny_pair(prediction)
    attachment, other = Mixing(), Mixing()
    shots = (Shot(0, 9), Shot(9, 20))
    windows = WindowSettings(length=6, overlap=2)
    noise, latent = random(20, 4, 8, 16), random(20, 4, 8, 16, seed=5)
    positive, negative = conditioning(frames=20), conditioning(seed=3)
    for chosen, tiles in ((None, None), (windows, None), (windows, TileSettings(size=8, overlap=4))):
        patched = with_shots(with_attachment(model, attachment, "mixing"), shots)
        if chosen is not None:
            patched = with_regions(patched, chosen, tiles)
        found = sample(patched, positive, negative, noise, latent)
        with other.attached(UNetView(twin)):
            wanted = headless(twin, prediction, positive, negative, noise, latent, windows=chosen, tiles=tiles,
                              attachments=[other], shots=shots)
        close(found, wanted)
        plain = sample(model, positive, negative, noise, latent)
        assert (plain - found).abs().max() > 1e-2
"""
)

DETACHING = (
    COMMON
    + """
def state():
    return comfy.samplers.sampling_function, torch.nn.GroupNorm.forward, comfy.samplers.calc_cond_batch
before = state()
model, twin = tiny_pair()
weights = {k: v.clone() for k, v in model.model.diffusion_model.state_dict().items()}
noise, latent = random(6, 4, 8, 8), torch.zeros(6, 4, 8, 8)
arguments = conditioning(), conditioning(seed=3), noise, latent
plain = sample(model, *arguments)
patched = with_regions(with_attachment(model, Mixing(), "mixing"), WindowSettings(length=4, overlap=1), None)
changed = sample(patched, *arguments)
assert (changed - plain).abs().max() > 1e-2
assert torch.equal(sample(model, *arguments), plain)
assert torch.equal(sample(patched, *arguments), changed)
patched.detach()
assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())
assert all(torch.equal(v, weights[k]) for k, v in model.model.diffusion_model.state_dict().items())
assert state() == before
# Two attachments, and another model's clone in between.
twice = with_attachment(with_attachment(model, Mixing(), "a"), Mixing(), "b")
assert (sample(twice, *arguments) - changed).abs().max() > 1e-2
assert torch.equal(sample(model, *arguments), plain)
"""
)


@pytest.mark.parametrize("code", [PARITY, DETACHING], ids=["parity", "detaching"])
def test_in_the_host(host_folder, code) -> None:
    run_in_host(host_folder, code)
