"""Attachments leave the host as it was."""

from parity_common import *


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
