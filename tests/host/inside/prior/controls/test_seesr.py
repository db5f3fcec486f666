"""SeeSR's control inside the host's own UNet gives the published numbers, and what diffusers' UNet gives."""

import pytest
import torch
from inside.models import tiny_pair
from inside.prior.controls.one_pass import hosts_network, passed
from inside.sampling import assert_same
from pack.vldm_core.prior.controls.control import RestorationControl
from pack.vldm_core.prior.controls.material import ControlMaterial
from pack.vldm_core.prior.controls.seesr.representation import ADDED
from pack.vldm_core.prior.controls.seesr.system import SeeSrControl
from pack.vldm_core.prior.controls.settings import ControlSettings

from .....oracles import load_oracle
from .....prior.controls.seesr.tiny_seesr import seesr_files


@pytest.fixture(scope="module")
def oracle():
    return load_oracle("seesr")


@pytest.fixture(scope="module")
def unet(oracle):
    """The oracle's UNet: linear projections, heads of 16 channels at every level."""
    config = oracle.about["config"]["unet"]
    plain = {key: value for key, value in oracle.weights("unet").items() if ADDED not in key}
    return hosts_network(plain, config["block_out_channels"], config["cross_attention_dim"], linear=True)


@pytest.fixture(scope="module")
def control(oracle):
    added = {key: value for key, value in oracle.weights("unet").items() if ADDED in key}
    heads = tuple(oracle.about["config"]["controlnet"]["attention_head_dim"])
    return SeeSrControl.from_published(oracle.weights("controlnet"), added, heads=heads)


@pytest.mark.parametrize("strength", [1, 0.6])
def test_the_hosts_unet_gives_what_the_original_gives(oracle, unet, control, strength):
    material = ControlMaterial(hint=oracle.input("image"), tokens=oracle.input("ram"))
    applied = RestorationControl(control, material, ControlSettings(strength=strength))
    found = passed(
        unet, oracle.input("sample"), oracle.input("timestep"), oracle.input("encoder_hidden_states"), applied
    )
    oracle.check(f"eps_scale_{strength:g}", found)


@pytest.mark.parametrize("with_tokens", [True, False])
def test_both_hosts_agree_on_a_net_of_the_first_family(oracle, with_tokens):
    model, twin = tiny_pair()
    control = SeeSrControl.from_published(*seesr_files(twin), heads=(4, 4, 4, 4))
    material = ControlMaterial(hint=oracle.input("image"), tokens=oracle.input("ram") if with_tokens else None)
    x, timesteps, context = (oracle.input(name) for name in ("sample", "timestep", "encoder_hidden_states"))
    network = model.model.diffusion_model
    applied = RestorationControl(control, material)
    found = passed(network, x, timesteps, context, applied)
    with torch.no_grad():
        plain = network(x, timesteps, context)
    assert_same(found, passed(twin, x, timesteps, context, applied))
    assert (found - plain).abs().mean() > 0.01 * plain.abs().mean()
