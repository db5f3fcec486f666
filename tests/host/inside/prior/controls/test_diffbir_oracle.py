"""DiffBIR's control in the host's own UNet gives the published numbers, as CONTROL_NET and attached."""

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.supported_models_base
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from inside.models import network_shape, patcher
from pack.nodes.host.prior.attachments import with_attachment
from pack.nodes.host.prior.control_net import HostBranch
from pack.vldm_core.prior.controls.control import RestorationControl
from pack.vldm_core.prior.controls.diffbir.branch import DiffBirControl
from pack.vldm_core.prior.controls.material import ControlMaterial
from pack.vldm_core.prior.controls.settings import ControlSettings

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
def model(oracle):
    """A MODEL of the host with the oracle's weights."""
    config = oracle.about["config"]["unet"]
    widths = [config["model_channels"] * factor for factor in config["channel_mult"]]
    shape = network_shape(widths, config["context_dim"], linear=config["use_linear_in_transformer"])
    settings = comfy.supported_models_base.BASE(dict(shape))
    settings.unet_config, settings.latent_format = shape, comfy.latent_formats.SD15()
    made = comfy.model_base.BaseModel(settings, device="cpu").eval()
    prefix = "model.diffusion_model."
    weights = {key.removeprefix(prefix): value for key, value in oracle.weights("unet").items()}
    made.diffusion_model.load_state_dict(weights)
    return patcher(made)


STRENGTHS = [("eps_strength_1", 1.0), ("eps_strength_0.7", 0.7), ("eps_no_control", 0.0)]


def inputs(oracle):
    return {"x": oracle.input("z_t"), "timesteps": oracle.input("t"), "context": oracle.input("context")}


@torch.no_grad()
@pytest.mark.parametrize(("name", "strength"), STRENGTHS)
def test_as_control_net(oracle, control, model, name, strength):
    added = HostBranch(control)(hint=oracle.input("hint"), **inputs(oracle))
    assert len(added["output"]) == 12 and len(added["middle"]) == 1
    scaled = {place: [strength * residual for residual in residuals] for place, residuals in added.items()}
    oracle.check(name, model.model.diffusion_model(control=scaled, transformer_options={}, **inputs(oracle)))


@torch.no_grad()
@pytest.mark.parametrize(("name", "strength"), STRENGTHS)
def test_attached(oracle, control, model, name, strength):
    attached = RestorationControl(
        control, ControlMaterial(hint=oracle.input("hint")), ControlSettings(strength=strength)
    )
    patched = with_attachment(model, attached, "control")
    comfy.model_management.load_models_gpu([patched, *patched.get_additional_models()])
    kind = WrappersMP.DIFFUSION_MODEL
    options = {"wrappers": {kind: patched.wrappers[kind]}, "cond_or_uncond": [0]}
    oracle.check(name, model.model.diffusion_model(transformer_options=options, **inputs(oracle)))
    patched.detach()
    oracle.check("eps_no_control", model.model.diffusion_model(transformer_options={}, **inputs(oracle)))
