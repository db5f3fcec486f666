"""Every patch under KSampler and SamplerCustomAdvanced."""

from sampler_common import *


# Each patch under KSampler and SamplerCustomAdvanced.
def advanced(model, noise=None):
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(4.0)
    sigmas = (
        custom.BasicScheduler.get_sigmas(None, model, "normal", 4, 0.4)
        if hasattr(custom.BasicScheduler, "get_sigmas")
        else custom.BasicScheduler.execute(model, "normal", 4, 0.4).result
    )
    sampler = comfy.samplers.sampler_object("euler")
    node = custom.SamplerCustomAdvanced
    noise = noise or custom.Noise_RandomNoise(0)
    with torch.inference_mode():
        out = (
            node.sample(None, noise, guider, sampler, sigmas[0], latent)
            if hasattr(node, "sample")
            else node.execute(noise, guider, sampler, sigmas[0], latent).result
        )
    return out[0]["samples"]


plain = stock_sample(model)
assert distance(advanced(model), plain) < 1e-5
shots = (Shot(0, 4), Shot(4, 10))
for patched in (
    guided(),
    guided(images=images, shots=shots),
    guided(weighting="edges", images=images),
    LongVideoWindows.execute(model, 4, 1, "uniform", 2, "flat", True, 64, 16, "hann").result[0],
    VideoNoise.execute("warped", 0, 0.5, 16, 4, images=images, model=model).result[1],
):
    assert distance(stock_sample(patched), plain) > 1e-4
    assert distance(advanced(patched), stock_sample(patched)) < 1e-5
# Without temporal layers every frame is denoised by itself, and windows may not change anything.
windowed = LongVideoWindows.execute(model, 4, 1, "static", 1, "pyramid", False, 0, 0, "gaussian", shots=shots).result[0]
assert distance(stock_sample(windowed), plain) < 1e-5 and distance(advanced(windowed), plain) < 1e-5
assert distance(stock_sample(guided(scale=3.0)), latent["samples"]) < 0.7 * distance(plain, latent["samples"])
noise, _ = VideoNoise.execute("shared", 5, 1.0, 16, 4).result
drawn = noise.generate_noise(latent)
assert (
    noise.seed == 5
    and torch.allclose(drawn[0], drawn[9])
    and VideoNoise.execute("shared", 5, 1.0, 16, 4).result[1] is None
)
assert distance(advanced(model, noise), plain) > 1e-3

refused(lambda: VideoNoise.execute("warped", 0, 0.5, 16, 4), "connect images")
refused(lambda: guided(mask=torch.zeros(frames, 64, 96)), "connect images")
refused(lambda: guided(images=images[:, :32]), "VAE Encode")
refused(lambda: guided(space="rgb", images=images), "decode")
refused(lambda: restore(latent={"samples": torch.zeros(1, 4, 3, 8, 8)}), "one item per frame")
refused(lambda: restore(shots=(Shot(0, 3),)), "shots")
