"""SeeSR's control inside the host's own UNet gives the published numbers, and what diffusers' UNet gives."""

import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
import comfy.ops
import comfy.utils
import pytest
import torch
from inside.models import tiny_pair
from inside.sampling import assert_same
from pack.vldm_core.prior.call import UNetCall, UNetInput
from pack.vldm_core.prior.controls.control import RestorationControl
from pack.vldm_core.prior.controls.material import ControlMaterial
from pack.vldm_core.prior.controls.seesr.representation import ADDED
from pack.vldm_core.prior.controls.seesr.system import SeeSrControl
from pack.vldm_core.prior.controls.settings import ControlSettings
from pack.vldm_core.prior.unet import UNetView

from .....oracles import load_oracle
from .....prior.controls.seesr.tiny_seesr import seesr_files

HEAD_CHANNELS = 16


def controlled(unet, x, timesteps, context, applied):
    frames = tuple(range(len(x)))
    inputs = UNetInput(x=x, timesteps=timesteps, context=context)
    call = UNetCall(frames=frames, chunks=(0,), segments=((0, len(frames)),), inputs=inputs)
    with torch.no_grad(), applied.attached(UNetView(unet)), applied.during(call):
        found = unet(x, timesteps, context)
    return found if isinstance(found, torch.Tensor) else found.sample


@pytest.fixture(scope="module")
def oracle():
    return load_oracle("seesr")


@pytest.fixture(scope="module")
def unet(oracle):
    """The oracle's UNet: linear projections, heads of 16 channels at every level."""
    widths = oracle.about["config"]["unet"]["block_out_channels"]
    config = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": widths[0],
        "channel_mult": [width // widths[0] for width in widths],
        "num_res_blocks": [2, 2, 2, 2],
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
        "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        "transformer_depth_middle": 1,
        "context_dim": oracle.about["config"]["unet"]["cross_attention_dim"],
        "num_heads": -1,
        "num_head_channels": HEAD_CHANNELS,
        "use_linear_in_transformer": True,
        "use_spatial_transformer": True,
        "legacy": False,
        "dtype": torch.float32,
    }
    found = openaimodel.UNetModel(**config, device="cpu", operations=comfy.ops.disable_weight_init).eval()
    names = comfy.utils.unet_to_diffusers(config)
    weights = oracle.weights("unet")
    found.load_state_dict({names[key]: value for key, value in weights.items() if ADDED not in key})
    return found


@pytest.fixture(scope="module")
def control(oracle):
    added = {key: value for key, value in oracle.weights("unet").items() if ADDED in key}
    heads = tuple(oracle.about["config"]["controlnet"]["attention_head_dim"])
    return SeeSrControl.from_published(oracle.weights("controlnet"), added, heads=heads)


@pytest.mark.parametrize("strength", [1, 0.6])
def test_the_hosts_unet_gives_what_the_original_gives(oracle, unet, control, strength):
    material = ControlMaterial(hint=oracle.input("image"), tokens=oracle.input("ram"))
    applied = RestorationControl(control, material, ControlSettings(strength=strength))
    found = controlled(
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
    found = controlled(network, x, timesteps, context, applied)
    with torch.no_grad():
        plain = network(x, timesteps, context)
    assert_same(found, controlled(twin, x, timesteps, context, applied))
    assert (found - plain).abs().mean() > 0.01 * plain.abs().mean()
