"""CoSeR inside the host: the same weights give what they give in diffusers' UNet, sampled by the host as headlessly."""

import functools

import pytest
import torch
from inside.models import tiny_pair
from inside.prior.controls.one_pass import passed
from inside.prior.headless import headless
from inside.sampling import SCALE, conditioning, random, sample
from pack.nodes.host.prior.attachments import with_attachment, with_shots
from pack.nodes.host.prior.regions import with_regions
from pack.vldm_core.prior.controls.control import RestorationControl
from pack.vldm_core.prior.controls.coser.files import COSER
from pack.vldm_core.prior.controls.material import ControlMaterial
from pack.vldm_core.prior.controls.settings import ControlSettings
from pack.vldm_core.prior.unet import UNetView
from pack.vldm_core.sampling.regions.tiles import TileSettings
from pack.vldm_core.sampling.regions.windows import WindowSettings
from pack.vldm_core.video.shots import Shot

FRAMES, STEPS, HEADS = 6, 2, (2, 4, 8, 8)
SHOTS = (Shot(0, 4), Shot(4, FRAMES))
NOISE, LATENT, TOKENS = random(FRAMES, 4, 8, 12), random(FRAMES, 4, 8, 12, seed=5), random(FRAMES, 6, 64, seed=6)
HINT, REFERENCE = random(FRAMES, 4, 8, 12, seed=7), random(FRAMES, 4, 8, 12, seed=8)
POSITIVE, NEGATIVE = conditioning(frames=FRAMES), conditioning(seed=3)


@functools.cache
def weights():
    from .....prior.controls.coser.tiny_coser import control_file

    return control_file()


def control(**settings):
    system = COSER.build({"control": weights()}, HEADS)
    material = ControlMaterial(hint=HINT, reference=REFERENCE, tokens=TOKENS)
    return RestorationControl(system, material, ControlSettings(**settings))


@pytest.fixture(scope="module")
def pair():
    return tiny_pair()


@torch.no_grad()
@pytest.mark.parametrize("chunks", [(0,), (1, 0)], ids=["conditioned", "both"])
def test_one_pass_of_the_hosts_unet_is_that_of_diffusers(pair, chunks):
    model, twin = pair
    unet, count = model.model.diffusion_model, len(chunks)
    x, time = NOISE.repeat(count, 1, 1, 1), torch.full((count * FRAMES,), 400.0)
    text = torch.cat([random(FRAMES, 7, 64, seed=20 + chunk) for chunk in chunks])
    found = [passed(net, x, time, text, control(), chunks=chunks) for net in (unet, twin)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)
    assert (found[0] - unet(x, time, context=text, transformer_options={})).abs().max() > 0.1


@pytest.mark.parametrize(
    ("windows", "tiles"),
    [(None, None), (WindowSettings(length=4, overlap=2), TileSettings(size=8, overlap=4))],
    ids=["whole", "windows and tiles"],
)
def test_the_host_samples_as_the_package_does(pair, windows, tiles):
    model, twin = pair
    plain = sample(model, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS)
    patched = with_shots(with_attachment(model, control(), "coser"), SHOTS)
    if windows is not None:
        patched = with_regions(patched, windows, tiles)
    found = sample(patched, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS)
    there = control()
    with there.attached(UNetView(twin)):
        wanted = headless(
            model,
            twin,
            "eps",
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
    assert (plain - found).abs().max() > 1e-2
    # Gone with the sampling, and nothing of it stays.
    assert torch.equal(sample(model, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS), plain)


def test_off_it_is_bit_equal_to_no_control(pair):
    model, _ = pair
    plain = sample(model, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS)
    off = with_attachment(model, control(strength=0.0), "coser")
    assert torch.equal(sample(off, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS), plain)
