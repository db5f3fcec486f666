"""DiffBIR's control: the published layout, and the numbers of the original."""

import pytest
import torch

from tests.manifests import manifest
from tests.oracles import load_oracle
from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.control import RestorationControl
from vldm_core.prior.controls.diffbir.branch import DiffBirControl
from vldm_core.prior.controls.material import ControlMaterial
from vldm_core.prior.controls.settings import ControlSettings
from vldm_core.prior.unet import UNetView

from ...tiny_models import tiny_unet
from ..oracle_unets import run, unet_of


def heads(config) -> tuple[int, ...]:
    return tuple(config["model_channels"] * factor // config["num_head_channels"] for factor in config["channel_mult"])


@pytest.fixture(scope="module")
def oracle():
    return load_oracle("diffbir_control")


@pytest.fixture(scope="module")
def control(oracle):
    return DiffBirControl.from_published(oracle.weights("control"), heads=heads(oracle.about["config"]["control"]))


def test_the_manifest_loads_strictly():
    with torch.device("meta"):
        tensors = {key: torch.empty(shape) for key, shape in manifest("diffbir_controlnet_v2").items()}
    control = DiffBirControl.from_published(tensors)
    assert {key: tuple(value.shape) for key, value in control.branch.state_dict().items()} == {
        key: tuple(value.shape) for key, value in tensors.items()
    }
    assert control.branch.config.heads == (5, 10, 20, 20)
    assert control.branch.config.linear


def test_a_missing_and_a_foreign_tensor_are_listed(oracle):
    weights = oracle.weights("control")
    del weights["zero_convs.3.0.bias"]
    weights["zero_convs.12.0.bias"] = torch.zeros(3)
    with pytest.raises(WeightFileError, match=r"missing: zero_convs\.3\.0\.bias.*unexpected: zero_convs\.12\.0\.bias"):
        DiffBirControl.from_published(weights)


@torch.no_grad()
def test_residuals(oracle, control):
    found = control.residuals(oracle.input("z_t"), oracle.input("t"), oracle.input("context"), oracle.input("hint"))
    for index in range(12):
        oracle.check(f"residual.{index:02}", found[f"residual.{index}"])
    oracle.check("residual.12", found["middle"])


@pytest.mark.parametrize(("name", "strength"), [("1", 1.0), ("0.7", 0.7), ("no_control", 0.0)])
def test_the_controlled_unet(oracle, control, name, strength):
    unet = unet_of(oracle.about["config"]["unet"], oracle.weights("unet"))
    applied = RestorationControl(
        control, ControlMaterial(hint=oracle.input("hint")), ControlSettings(strength=strength)
    )
    found = run(unet, oracle.input("z_t"), oracle.input("t"), oracle.input("context"), applied)
    oracle.check("eps_no_control" if name == "no_control" else f"eps_strength_{name}", found)


def test_another_family_is_refused(control):
    applied = RestorationControl(control, ControlMaterial(hint=torch.zeros(1, 4, 8, 8)))
    unet = tiny_unet(block_out_channels=(32, 64))
    with pytest.raises(SettingsError, match="residuals"):
        applied.attach(UNetView(unet))
