"""PASD's controls inside the host's own UNet give the published numbers, and what diffusers' UNet gives."""

import pytest
import torch
from inside.prior.controls.one_pass import hosts_network, passed
from inside.sampling import assert_same
from pack.vldm_core.prior.controls.control import RestorationControl
from pack.vldm_core.prior.controls.material import ControlMaterial
from pack.vldm_core.prior.controls.pasd.pixel_attention import LIGHT, WHOLE
from pack.vldm_core.prior.controls.pasd.system import PasdControl, PasdLightControl
from pack.vldm_core.prior.controls.settings import ControlSettings
from torch import Tensor

from .....oracles import load_oracle
from .....prior.controls.pasd.tiny_pasd import pasd_files

SYSTEMS = {"pasd": PasdControl, "pasd_light": PasdLightControl}
WIDTHS = (32, 64, 128, 128)
ADDED = (WHOLE, *LIGHT)


def hosts_unet(weights, *, linear=False):
    """Return the host's network with the weights of diffusers' twin; what PASD adds is left aside."""
    plain = {key: value for key, value in weights.items() if not any(name in key for name in ADDED)}
    return hosts_network(plain, WIDTHS, 64, linear=linear)


@pytest.fixture(scope="module", params=list(SYSTEMS))
def oracle(request):
    return load_oracle(request.param)


@pytest.fixture(scope="module")
def unet(oracle):
    return hosts_unet(oracle.weights("unet"))


@pytest.fixture(scope="module")
def control(oracle):
    added = {key: value for key, value in oracle.weights("unet").items() if any(name in key for name in ADDED)}
    return SYSTEMS[oracle.name].from_published(oracle.weights("controlnet"), added, heads=(4, 4, 4, 4))


def given(oracle) -> tuple[Tensor, Tensor, Tensor]:
    return oracle.input("sample"), oracle.input("timestep"), oracle.input("encoder_hidden_states")


def test_the_hosts_unet_gives_what_the_original_gives(oracle, unet, control):
    names = [name for name in oracle.about["outputs"] if name.startswith("eps_scale_") and name != "eps_scale_0"]
    assert names
    for name in names:
        settings = ControlSettings(strength=float(name.removeprefix("eps_scale_")))
        applied = RestorationControl(control, ControlMaterial(hint=oracle.input("image")), settings)
        oracle.check(name, passed(unet, *given(oracle), applied))


def test_off_and_taken_off_is_the_model_alone(oracle, unet, control):
    material = ControlMaterial(hint=oracle.input("image"))
    alone = passed(unet, *given(oracle))
    off = RestorationControl(control, material, ControlSettings(strength=0))
    assert torch.equal(passed(unet, *given(oracle), off), alone)
    passed(unet, *given(oracle), RestorationControl(control, material))
    assert torch.equal(passed(unet, *given(oracle)), alone)


@pytest.mark.parametrize("light", [False, True])
def test_both_hosts_agree_on_a_net_of_the_second_family(light):
    from diffusers import UNet2DConditionModel

    kinds = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    twin = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=WIDTHS,
        down_block_types=tuple(kinds),
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
        layers_per_block=2,
        cross_attention_dim=64,
        attention_head_dim=(2, 4, 8, 8),
        use_linear_projection=True,
    ).eval()
    control = (PasdLightControl if light else PasdControl).from_published(
        *pasd_files(twin, light=light), heads=(2, 4, 8, 8)
    )
    x, context, image = torch.randn(2, 4, 8, 16), torch.randn(2, 7, 64), torch.rand(2, 3, 64, 128)
    inputs = (x, torch.tensor([999, 10]), context)
    own = hosts_unet(twin.state_dict(), linear=True)
    applied = RestorationControl(control, ControlMaterial(hint=image))
    found, alone = passed(own, *inputs, applied), passed(own, *inputs)
    assert_same(found, passed(twin, *inputs, applied))
    assert (found - alone).abs().mean() > 0.01 * alone.abs().mean()


def test_another_packs_patch_of_the_text_attention_does_not_take_the_control_out():
    """Patches that replace the text attention run it without calling its module."""
    oracle = load_oracle("pasd_light")
    added = {key: value for key, value in oracle.weights("unet").items() if any(name in key for name in ADDED)}
    control = PasdLightControl.from_published(oracle.weights("controlnet"), added, heads=(4, 4, 4, 4))
    unet = hosts_unet(oracle.weights("unet"))
    replaced = []

    def attend(query, key, value, options):
        replaced.append(options["block"])
        heads = options["n_heads"]
        parts = [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value)]
        return torch.nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)

    places = {("output", number, 0): attend for number in range(3, 12)}
    options = {"transformer_options": {"patches_replace": {"attn2": places}}}
    applied = RestorationControl(control, ControlMaterial(hint=oracle.input("image")))
    oracle.check("eps_scale_1", passed(unet, *given(oracle), applied, **options))
    assert len(replaced) == 9
