"""DiffBIR's control in the host's own UNet gives the published numbers, as CONTROL_NET and attached."""

import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
import comfy.ops
import pytest
import torch
from pack.nodes.host.prior.control_net import HostBranch
from pack.vldm_core.prior.call import UNetCall, UNetInput
from pack.vldm_core.prior.controls.control import RestorationControl
from pack.vldm_core.prior.controls.diffbir.branch import DiffBirControl
from pack.vldm_core.prior.controls.material import ControlMaterial
from pack.vldm_core.prior.controls.settings import ControlSettings
from pack.vldm_core.prior.unet import UNetView

from .....oracles import load_oracle


@pytest.fixture(scope="module")
def oracle():
    return load_oracle("diffbir_control")


@pytest.fixture(scope="module")
def control(oracle):
    config = oracle.about["config"]["control"]
    heads = tuple(config["model_channels"] * factor // config["num_head_channels"] for factor in config["channel_mult"])
    return DiffBirControl.from_published(oracle.weights("control"), heads=heads)


@pytest.fixture(scope="module")
def unet(oracle):
    """The host's UNet with the oracle's weights."""
    config = oracle.about["config"]["unet"]
    levels, rows = len(config["channel_mult"]), config["num_res_blocks"]
    unet = openaimodel.UNetModel(
        image_size=config["image_size"],
        in_channels=config["in_channels"],
        out_channels=config["out_channels"],
        model_channels=config["model_channels"],
        num_res_blocks=[rows] * levels,
        channel_mult=config["channel_mult"],
        transformer_depth=[1] * rows * (levels - 1) + [0] * rows,
        transformer_depth_output=[1] * (rows + 1) * (levels - 1) + [0] * (rows + 1),
        transformer_depth_middle=1,
        context_dim=config["context_dim"],
        num_heads=-1,
        num_head_channels=config["num_head_channels"],
        use_linear_in_transformer=config["use_linear_in_transformer"],
        use_spatial_transformer=True,
        legacy=False,
        dtype=torch.float32,
        device="cpu",
        operations=comfy.ops.disable_weight_init,
    )
    prefix = "model.diffusion_model."
    unet.load_state_dict({key.removeprefix(prefix): value for key, value in oracle.weights("unet").items()})
    return unet.eval()


STRENGTHS = [("eps_strength_1", 1.0), ("eps_strength_0.7", 0.7), ("eps_no_control", 0.0)]


def inputs(oracle):
    return {"x": oracle.input("z_t"), "timesteps": oracle.input("t"), "context": oracle.input("context")}


@torch.no_grad()
@pytest.mark.parametrize(("name", "strength"), STRENGTHS)
def test_as_control_net(oracle, control, unet, name, strength):
    added = HostBranch(control)(hint=oracle.input("hint"), **inputs(oracle))
    assert len(added["output"]) == 12 and len(added["middle"]) == 1
    scaled = {place: [strength * residual for residual in residuals] for place, residuals in added.items()}
    oracle.check(name, unet(control=scaled, transformer_options={}, **inputs(oracle)))


@torch.no_grad()
@pytest.mark.parametrize(("name", "strength"), STRENGTHS)
def test_attached(oracle, control, unet, name, strength):
    attached = RestorationControl(
        control, ControlMaterial(hint=oracle.input("hint")), ControlSettings(strength=strength)
    )
    frames = tuple(range(len(oracle.input("z_t"))))
    call = UNetCall(frames=frames, chunks=(0,), segments=((0, len(frames)),), inputs=UNetInput(**inputs(oracle)))
    with attached.attached(UNetView(unet)), attached.during(call):
        oracle.check(name, unet(transformer_options={}, **inputs(oracle)))
