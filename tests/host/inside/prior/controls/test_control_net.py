"""DiffBIR's control through stock Apply ControlNet: with a VAE, in windows and tiles, without encoding twice."""

import pytest
import torch
from inside.models import image_vae, tiny_control, tiny_pair
from inside.prior.controls.published import tiny_diffbir
from inside.sampling import assert_same, conditioning, random, sample
from pack.nodes.host.prior.control_net import NoControlNet, control_net_of
from pack.nodes.host.prior.controls import with_control
from pack.nodes.host.prior.regions import with_regions
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.prior.controls.material import ControlMaterial
from pack.vldm_core.prior.controls.settings import ControlSettings
from pack.vldm_core.sampling.regions.tiles import TileSettings
from pack.vldm_core.sampling.regions.windows import WindowSettings

from nodes import ControlNetApplyAdvanced  # type: ignore[attr-defined]  # the host's, not the pack's

FRAMES = 5
IMAGES = torch.rand(FRAMES, 64, 96, 3, generator=torch.Generator().manual_seed(4))
NOISE, LATENT = random(FRAMES, 4, 8, 12), torch.zeros(FRAMES, 4, 8, 12)
REGIONS = [(None, None), (WindowSettings(length=3, overlap=1), TileSettings(size=8, overlap=4))]


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    return tiny_diffbir(tmp_path_factory.mktemp("controls"))


@pytest.fixture(scope="module")
def vae():
    return image_vae()


def applied(net, images=IMAGES, vae=None, *, strength=0.8, start=0.0, end=1.0, prompts=None):
    """Return prompts as stock Apply ControlNet makes them."""
    positive, negative = prompts or (conditioning(), conditioning(seed=3))
    return ControlNetApplyAdvanced().apply_controlnet(positive, negative, net, images, strength, start, end, vae=vae)


def run(model, prompts, steps=3):
    return sample(model, *prompts, NOISE, LATENT, steps=steps)


def encodes(vae, monkeypatch):
    """Return a list that takes the number of pictures of every later encoding."""
    counts = []
    real = vae.first_stage_model.encode
    monkeypatch.setattr(vae.first_stage_model, "encode", lambda x, **o: counts.append(len(x)) or real(x, **o))
    return counts


@pytest.mark.parametrize("regions", REGIONS, ids=["whole", "windows and tiles"])
def test_stock_apply_controlnet_does_what_apply_restoration_control_does(model, control, vae, regions):
    found = run(with_regions(model, *regions), applied(control_net_of(control), vae=vae))
    hint = model.model.process_latent_in(vae.encode(IMAGES))
    attached = with_control(model, control, ControlMaterial(hint=hint), ControlSettings(strength=0.8))
    plain = conditioning(), conditioning(seed=3)
    assert_same(found, run(with_regions(attached, *regions), plain))
    assert (found - run(with_regions(model, *regions), plain)).abs().max() > 1e-2, "the control does nothing"


def test_every_picture_is_encoded_once_in_a_sampling(model, control, vae, monkeypatch):
    counts = encodes(vae, monkeypatch)
    prompts = applied(control_net_of(control), vae=vae)
    for samplings in (1, 2):
        run(with_regions(model, *REGIONS[1]), prompts)
        assert sum(counts) == samplings * FRAMES


def test_windows_change_nothing_and_start_and_end_are_obeyed(model, control, vae):
    net = control_net_of(control)
    whole = run(model, applied(net, vae=vae))
    assert_same(run(with_regions(model, REGIONS[1][0], None), applied(net, vae=vae)), whole)
    none = run(model, (conditioning(), conditioning(seed=3)))
    assert torch.equal(run(model, applied(net, vae=vae, strength=0.0)), none)
    early = run(model, applied(net, vae=vae, end=0.4))
    assert not torch.equal(early, none) and not torch.equal(early, whole)


def test_one_picture_serves_all_frames_and_pictures_of_another_size_are_scaled(model, control, vae):
    net = control_net_of(control)
    one = run(model, applied(net, IMAGES[:1], vae))
    assert_same(run(model, applied(net, IMAGES[:1].expand(FRAMES, -1, -1, -1), vae)), one)
    large = IMAGES[:1].repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    assert_same(run(model, applied(net, large, vae)), one)


def test_a_chain_is_the_sum_and_copies_keep_their_own_pictures(model, control, vae):
    net = control_net_of(control)
    twice = applied(net, vae=vae, strength=0.4, prompts=applied(net, vae=vae, strength=0.4))
    assert_same(run(model, twice), run(model, applied(net, vae=vae)))
    other = applied(net, IMAGES.flip(0), vae, prompts=applied(net, vae=vae))
    assert (run(model, other) - run(model, applied(net, vae=vae, strength=1.6))).abs().max() > 1e-3
    windowed = with_regions(model, *REGIONS[1])
    assert (run(windowed, other) - run(windowed, applied(net, vae=vae, strength=1.6))).abs().max() > 1e-3


def test_a_mask_on_the_prompt_limits_it(model, control, vae):
    left = torch.zeros(1, 8, 12)
    left[..., :6] = 1
    here, elsewhere = (conditioning(mask=mask, mask_strength=1.0) for mask in (left, 1 - left))
    net, negative = control_net_of(control), conditioning(seed=3)
    whole = run(model, applied(net, vae=vae), steps=1)
    without = run(model, (conditioning(), applied(net, vae=vae)[1]), steps=1)
    positive = [*applied(net, vae=vae, prompts=(here, negative))[0], *elsewhere]
    found = run(model, (positive, applied(net, vae=vae)[1]), steps=1)
    assert_same(found[..., :6], whole[..., :6])
    assert_same(found[..., 6:], without[..., 6:])
    assert (whole - without).abs().max() > 1e-2


def test_it_shares_its_weights_with_the_same_control_on_the_model(model, control, vae):
    hint = model.model.process_latent_in(vae.encode(IMAGES))
    half = with_control(model, control, ControlMaterial(hint=hint), ControlSettings(strength=0.4))
    both = run(half, applied(control_net_of(control), vae=vae, strength=0.4))
    assert_same(both, run(model, applied(control_net_of(control), vae=vae)))


def test_it_stands_behind_and_before_a_control_of_the_hosts_own(model, control, vae):
    def chained(first, second, model=model):
        hints = {"vae": vae, "strength": 0.5}
        return run(model, applied(second, **hints, prompts=applied(first, **hints)))

    ours, theirs = control_net_of(control), tiny_control()
    found = chained(ours, theirs)
    assert_same(chained(theirs, ours), found)
    windows = with_regions(model, REGIONS[1][0], None)
    assert_same(chained(ours, theirs, windows), found)
    assert_same(chained(theirs, ours, windows), found)


def test_a_model_in_half_precision(model, control, vae):
    half = tiny_pair()[0]
    half.model.diffusion_model.to(torch.bfloat16).dtype = torch.bfloat16
    prompts = applied(control_net_of(control), vae=vae)
    wanted, plain = run(model, prompts), run(model, (conditioning(), conditioning(seed=3)))
    assert (run(half, prompts) - wanted).abs().mean() < 0.5 * (wanted - plain).abs().mean()


def test_without_a_vae_the_host_says_so(model, control):
    with pytest.raises(ValueError, match="needs a VAE but none was provided"):
        run(model, applied(control_net_of(control)))


def test_the_host_manages_the_weights_through_the_model_that_all_nodes_share(control):
    net = control_net_of(control)
    assert net.copy().get_models() == [control.patcher]
    assert net.copy().control_model.dtype == torch.float32


def test_a_system_that_is_no_controlnet_says_what_to_use():
    for use in (NoControlNet("SeeSR").copy, lambda: NoControlNet("SeeSR").set_cond_hint(IMAGES)):
        with pytest.raises(SettingsError, match=r"SeeSR changes the UNet .* connect the control output to Apply Rest"):
            use()
