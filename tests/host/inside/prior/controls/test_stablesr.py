"""StableSR inside the host: the published numbers in its UNet, and the same sampling as the package's."""

import pytest
import torch
from inside.models import tiny_pair
from inside.prior.controls.one_pass import hosts_network, passed
from inside.prior.headless import headless
from inside.sampling import SCALE, conditioning, random, sample
from pack.nodes.host.prior.attachments import with_attachment, with_shots
from pack.nodes.host.prior.regions import with_regions
from pack.vldm_core.prior.controls.control import RestorationControl
from pack.vldm_core.prior.controls.material import ControlMaterial
from pack.vldm_core.prior.controls.settings import ControlSettings
from pack.vldm_core.prior.controls.stablesr.files import STABLESR
from pack.vldm_core.prior.controls.stablesr.network import SpatialModulation
from pack.vldm_core.prior.controls.stablesr.system import StableSrControl
from pack.vldm_core.prior.unet import UNetView
from pack.vldm_core.sampling.regions.tiles import TileSettings
from pack.vldm_core.sampling.regions.windows import WindowSettings
from pack.vldm_core.video.shots import Shot

from .....oracles import load_oracle
from .....prior.controls.stablesr.tiny_stablesr import stablesr_file

FRAMES, STEPS = 6, 2
SHOTS = (Shot(0, 4), Shot(4, FRAMES))
NOISE, LATENT, HINT = random(FRAMES, 4, 8, 16), random(FRAMES, 4, 8, 16, seed=5), random(FRAMES, 4, 8, 16, seed=7)
POSITIVE, NEGATIVE = conditioning(frames=FRAMES), conditioning(seed=3)


@pytest.fixture(scope="module")
def pair():
    return tiny_pair()


@pytest.fixture(scope="module")
def weights():
    return stablesr_file()


def control(weights, **settings):
    system = STABLESR.build({"control": weights}, None)
    return RestorationControl(system, ControlMaterial(hint=HINT), ControlSettings(**settings))


class Given(torch.nn.Module):
    """Features that were given, whatever is looked at."""

    def __init__(self, features, config):
        super().__init__()
        self.features, self.config = features, config

    def forward(self, _latent, _step):
        return self.features


def test_the_hosts_unet_gives_what_the_original_gives(weights):
    oracle = load_oracle("stablesr_unet")
    config, published = oracle.about["config"]["unet"], oracle.weights("unet")
    plain = {key: value for key, value in published.items() if ".spade." not in key}
    widths = [config["model_channels"] * factor for factor in config["channel_mult"]]
    unet = hosts_network(plain, widths, config["context_dim"], linear=True)
    places: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in published.items():
        place, added, rest = key.partition(".spade.")
        if added:
            places.setdefault(place, {})[rest] = value
    encoder = STABLESR.build({"control": weights}, None).encoder
    system = StableSrControl(
        Given(tuple(oracle.input(f"structure.{level}") for level in range(4)), encoder.config),
        {place: SpatialModulation.from_published(own) for place, own in places.items()},
    )
    applied = RestorationControl(system, ControlMaterial(hint=torch.zeros(2, 4, 16, 24)))
    found = passed(unet, oracle.input("x_t"), oracle.input("t"), oracle.input("context"), applied)
    oracle.check("out", found)


@pytest.mark.parametrize("chunks", [(0,), (1, 0)], ids=["conditioned", "both"])
def test_one_pass_of_the_hosts_unet_is_that_of_diffusers(pair, weights, chunks):
    model, twin = pair
    unet, count = model.model.diffusion_model, len(chunks)
    x, time = NOISE.repeat(count, 1, 1, 1), torch.full((count * FRAMES,), 400.0)
    text = torch.cat([random(FRAMES, 7, 64, seed=20 + chunk) for chunk in chunks])
    found = passed(unet, x, time, text, control(weights), chunks=chunks)
    torch.testing.assert_close(found, passed(twin, x, time, text, control(weights), chunks=chunks), rtol=0, atol=1e-4)
    with torch.no_grad():
        assert (found - unet(x, time, text)).abs().max() > 0.1


@pytest.mark.parametrize(
    ("windows", "tiles"),
    [(None, None), (WindowSettings(length=4, overlap=2), TileSettings(size=8, overlap=4))],
    ids=["whole", "windows and tiles"],
)
def test_the_host_samples_as_the_package_does(pair, weights, windows, tiles):
    model, twin = pair
    plain = sample(model, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS)
    patched = with_shots(with_attachment(model, control(weights), "stablesr"), SHOTS)
    if windows is not None:
        patched = with_regions(patched, windows, tiles)
    found = sample(patched, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS)
    there = control(weights)
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


def test_off_it_is_bit_equal_to_no_control(pair, weights):
    model, _ = pair
    plain = sample(model, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS)
    off = with_attachment(model, control(weights, strength=0.0), "stablesr")
    assert torch.equal(sample(off, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS), plain)
