"""Every patch under KSampler and SamplerCustomAdvanced."""

import comfy.samplers
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch
from inside.prior.restoring import FRAMES, HEIGHT, IMAGES, LATENT, NEGATIVE, POSITIVE, WIDTH, guided, stock_sample
from inside.sampling import distance
from pack.nodes.prior.long_video_windows import LongVideoWindows
from pack.nodes.prior.video_noise import VideoNoise
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.video.shots import Shot

SHOTS = (Shot(0, 4), Shot(4, FRAMES))


def advanced(model, noise=None):
    """Run SamplerCustomAdvanced, in the older or the newer form of the host's nodes, as KSampler is run."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(POSITIVE, NEGATIVE)
    guider.set_cfg(4.0)
    scheduler, node = custom.BasicScheduler, custom.SamplerCustomAdvanced
    schedule = model, "normal", 4, 0.4
    if hasattr(scheduler, "get_sigmas"):
        (sigmas,) = scheduler.get_sigmas(None, *schedule)
    else:
        (sigmas,) = scheduler.execute(*schedule).result
    arguments = noise or custom.Noise_RandomNoise(0), guider, comfy.samplers.sampler_object("euler"), sigmas, LATENT
    with torch.inference_mode():
        output = node.sample(None, *arguments) if hasattr(node, "sample") else node.execute(*arguments).result
    return output[0]["samples"]


@pytest.fixture(scope="module")
def plain(model):
    """Without a patch."""
    plain = stock_sample(model)
    assert distance(advanced(model), plain) < 1e-5
    return plain


def windows(model, *arguments, **more):
    return LongVideoWindows.execute(model, *arguments, **more).result[0]


@pytest.mark.parametrize(
    "patch",
    [
        guided,
        lambda model: guided(model, images=IMAGES, shots=SHOTS),
        lambda model: guided(model, weighting="edges", images=IMAGES),
        lambda model: windows(model, 4, 1, "uniform", 2, "flat", True, 64, 16, "hann"),
        lambda model: VideoNoise.execute("warped", 0, 0.5, 16, 4, images=IMAGES, model=model).result[1],
    ],
    ids=["guidance", "guidance along the motion", "guidance by edges", "windows and tiles", "noise"],
)
def test_a_patch_acts_alike_under_both_samplers(model, plain, patch):
    patched = patch(model)
    found = stock_sample(patched)
    assert distance(found, plain) > 1e-4
    assert distance(advanced(patched), found) < 1e-5


def test_windows_change_nothing_where_every_frame_is_denoised_by_itself(model, plain):
    windowed = windows(model, 4, 1, "static", 1, "pyramid", False, 0, 0, "gaussian", shots=SHOTS)
    assert distance(stock_sample(windowed), plain) < 1e-5
    assert distance(advanced(windowed), plain) < 1e-5


def test_guidance_pulls_towards_the_latent(model, plain):
    film = LATENT["samples"]
    assert distance(stock_sample(guided(model, scale=3.0)), film) < 0.7 * distance(plain, film)


def test_noise_of_our_own_for_the_hosts_sampler(model, plain):
    noise, patched = VideoNoise.execute("shared", 5, 1.0, 16, 4).result
    drawn = noise.generate_noise(LATENT)
    assert noise.seed == 5 and patched is None
    assert torch.allclose(drawn[0], drawn[9])
    assert distance(advanced(model, noise), plain) > 1e-3


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda model: VideoNoise.execute("warped", 0, 0.5, 16, 4), "connect images"),
        (lambda model: guided(model, mask=torch.zeros(FRAMES, HEIGHT, WIDTH)), "connect images"),
        (lambda model: guided(model, images=IMAGES[:, :32]), "VAE Encode"),
        (lambda model: guided(model, space="rgb", images=IMAGES), "decode"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_refused(model, use, said):
    with pytest.raises(SettingsError, match=said):
        use(model)
