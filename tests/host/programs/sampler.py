"""Restoration Sampler: every knob does what it says."""

from sampler_common import *

found = restore()
assert found.shape == latent["samples"].shape and torch.isfinite(found).all()
assert torch.equal(found, restore()), "same seed, same result"
assert distance(found, restore(seed=1)) > 1e-3
# Guidance brings the result closer to the film; with a mask of no damage and full strength it is the film.
free, held = restore(guidance=0.0), restore(guidance=2.0)
assert distance(held, latent["samples"]) < 0.7 * distance(free, latent["samples"])
kept = restore(images=images, mask=torch.zeros(frames, 64, 96), settings=settings(keep_until=1.0))
assert distance(kept, latent["samples"]) < 1e-5
half = torch.zeros(frames, 64, 96)
half[:, :, :40] = 1
partly = restore(images=images, mask=half, settings=settings(keep_until=1.0, propagation=0.0))
assert distance(partly[..., 6:], latent["samples"][..., 6:]) < 1e-5
assert distance(partly[..., :5], latent["samples"][..., :5]) > 1e-2
# Every sampler family and the spaced one; every start; FreeInit; tiles; rescale.
for changes in (
    {"sampler_name": "dpmpp_2m_sde", "scheduler": "karras"},
    {"sampler_name": "spaced_ddpm", "scheduler": "spaced_ddpm"},
    {"sampler_name": "uni_pc"},
    {"denoise": 1.0, "settings": settings(start="noise")},
    {"denoise": 1.0, "settings": settings(start="added_noise")},
    {"tile": 64},
    {"settings": settings(freeinit_rounds=2)},
    {"noise": "freenoise"},
    {"noise": "independent"},
    {"settings": settings(cfg_rescale=0.7, cfg_schedule="diffbir")},
    {"cfg": 1.0},
    {"images": images},
):
    other = restore(**changes)
    assert torch.isfinite(other).all() and distance(other, found) > 1e-4, changes
assert torch.equal(restore(window=0), found), "a clip no longer than the window is one window"
# With everything off it is the host's own KSampler with our noise: equal to feeding that noise by hand.
plain = restore(guidance=0.0, noise="independent", window=0)
noise, patched = VideoNoise.execute("independent", 0, 0.5, 16, 4, model=model).result
assert distance(plain, stock_sample(patched)) < 1e-5
# A cut: shot 1 does not change when shot 2 does.
shots = (Shot(0, 4), Shot(4, 10))
changed = {"samples": latent["samples"].clone()}
changed["samples"][4:] += 1
one, two = restore(shots=shots, images=images), restore(shots=shots, images=images, latent=changed)
assert torch.equal(one[:4], two[:4]) and not torch.equal(one[4:], two[4:])
assert (
    RestorationSampler.execute(model, positive, negative, latent, **{**defaults, "steps": 1}).result[0]["kept"] == "yes"
)
