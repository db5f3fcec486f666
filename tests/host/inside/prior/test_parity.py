"""The same weights, noise and attachments give the same sample in the host and headlessly."""

import functools

import pytest
import torch
from inside.models import tiny_pair
from inside.prior.headless import Mixing, headless
from inside.sampling import SCALE, conditioning, random, sample
from pack.nodes.host.prior.attachments import with_attachment, with_shots
from pack.nodes.host.prior.regions import with_regions
from pack.vldm_core.prior.temporal.animatediff import MotionConfig, MotionModules, MotionModuleSettings
from pack.vldm_core.prior.temporal.attention import AttentionWindows
from pack.vldm_core.prior.temporal.layers import TemporalConfig, TemporalLayers
from pack.vldm_core.prior.unet import UNetView
from pack.vldm_core.sampling.regions.tiles import TileSettings
from pack.vldm_core.sampling.regions.windows import WindowSettings
from pack.vldm_core.video.shots import Shot

FRAMES, STEPS = 8, 3
SHOTS = (Shot(0, 5), Shot(5, FRAMES))
INSIDE = AttentionWindows(length=3, stride=2)
WINDOWS = WindowSettings(length=4, overlap=2)
TILES = TileSettings(size=8, overlap=4)
NOISE, LATENT = random(FRAMES, 4, 8, 12), random(FRAMES, 4, 8, 12, seed=5)
POSITIVE, NEGATIVE = conditioning(frames=FRAMES), conditioning(seed=3)


def moved(attachment, size=0.01):
    """Move every parameter, so that layers that begin as the identity do something."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in attachment.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return attachment.eval().requires_grad_(False)


def mixing(view):
    return Mixing()


def temporal(view):
    return moved(TemporalLayers(TemporalConfig.for_unet(view)))


def temporal_in_windows(view):
    return moved(TemporalLayers(TemporalConfig.for_unet(view), windows=INSIDE))


def motion(view):
    channels = tuple((site.layer, site.channels) for site in view.layers())
    config = MotionConfig(version="v2", channels=channels, positions=32)
    return moved(MotionModules(config, settings=MotionModuleSettings(windows=INSIDE)))


@pytest.fixture(scope="module")
def pair():
    """Make MODEL and twin by what they predict, once, and what the host samples without an attachment."""

    @functools.cache
    def make(prediction):
        model, twin = tiny_pair(prediction)
        return model, twin, sample(model, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS)

    return make


# Predictions, windows and tiles are wired in the same way for all attachments; one proves it.
@pytest.mark.parametrize(
    ("prediction", "make", "windows", "tiles"),
    [
        ("eps", mixing, None, None),
        ("eps", mixing, WINDOWS, TILES),
        ("v", mixing, WINDOWS, TILES),
        ("eps", temporal, WINDOWS, None),
        ("v", temporal_in_windows, WINDOWS, None),
        ("eps", motion, WINDOWS, None),
    ],
)
def test_the_host_samples_as_the_package_does(pair, prediction, make, windows, tiles):
    model, twin, plain = pair(prediction)
    torch.manual_seed(4)
    here = make(UNetView(model.model.diffusion_model))
    torch.manual_seed(4)
    there = make(UNetView(twin))
    patched = with_shots(with_attachment(model, here, "one"), SHOTS)
    if windows is not None:
        patched = with_regions(patched, windows, tiles)
    found = sample(patched, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS)
    with there.attached(UNetView(twin)):
        wanted = headless(
            model,
            twin,
            prediction,
            POSITIVE,
            NEGATIVE,
            NOISE,
            LATENT,
            steps=STEPS,
            windows=windows,
            tiles=tiles,
            attachments=[there],
            shots=SHOTS,
        )
    torch.testing.assert_close(found * SCALE, wanted * SCALE, atol=1e-4, rtol=0)
    assert wanted.std() > 0.1
    assert (plain - found).abs().max() > 1e-2, "the attachment does nothing"
