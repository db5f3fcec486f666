"""PASD's controls: the published layout, the numbers of the original, and what they leave alone."""

import pytest
import torch

from tests.manifests import manifest
from tests.oracles import load_oracle
from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.attachment import Attachment
from vldm_core.prior.controls.control import ControlRequest, RestorationControl
from vldm_core.prior.controls.material import ControlMaterial
from vldm_core.prior.controls.pasd.pixel_attention import LIGHT, WHOLE
from vldm_core.prior.controls.pasd.system import PasdControl, PasdLightControl
from vldm_core.prior.controls.settings import ControlSettings
from vldm_core.prior.unet import UNetView

from ...tiny_models import tiny_unet
from ..oracle_unets import published_unet, run
from .tiny_pasd import pasd_files

HEADS = (4, 4, 4, 4)
SYSTEMS = {"pasd": PasdControl, "pasd_light": PasdLightControl}


def added(weights):
    return {key: value for key, value in weights.items() if WHOLE in key or any(name in key for name in LIGHT)}


def control_of(oracle):
    return SYSTEMS[oracle.name].from_published(oracle.weights("controlnet"), added(oracle.weights("unet")), heads=HEADS)


@pytest.fixture(scope="module", params=list(SYSTEMS))
def oracle(request):
    return load_oracle(request.param)


@pytest.fixture(scope="module")
def control(oracle):
    return control_of(oracle)


@pytest.fixture(scope="module")
def unet(oracle):
    return published_unet(oracle.about["config"]["unet"], oracle.weights("unet"))


def given(oracle):
    return [oracle.input(name) for name in ("sample", "timestep", "encoder_hidden_states")]


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"), [("pasd", 312, 248_234_560), ("pasd_light", 81, 28_697_920)]
)
def test_the_manifests_load_strictly(name, tensors, parameters):
    with torch.device("meta"):
        files = [
            {key: torch.empty(shape) for key, shape in manifest(f"{name}_{part}").items()}
            for part in ("controlnet", "unet_extra")
        ]
    control = SYSTEMS[name].from_published(*files)
    assert len(control.reader.state_dict()) == tensors
    assert sum(value.numel() for value in control.reader.state_dict().values()) == parameters
    assert sum(value.numel() for value in control.state_dict().values()) == parameters + 361_289_497
    assert control.branch.config.heads == (8, 8, 8, 8)
    assert not control.branch.config.linear


def test_the_dense_blocks_of_rrdb_checkpoints_are_read(oracle):
    rrdb = load_oracle("pasd_embedding_rrdb")
    beside = {f"controlnet_cond_embedding.{key}": value for key, value in rrdb.weights("embedding").items()}
    control = SYSTEMS[oracle.name].from_published(
        oracle.weights("controlnet") | beside, added(oracle.weights("unet")), heads=HEADS
    )
    with torch.no_grad():
        rrdb.check("embedding", control.embedding(rrdb.input("image")))


def test_what_does_not_fit_is_listed(oracle):
    system = SYSTEMS[oracle.name]
    control, unet = oracle.weights("controlnet"), added(oracle.weights("unet"))
    lacking = {key: value for key, value in control.items() if key != "controlnet_cond_embedding.to_rgbs.1.bias"}
    with pytest.raises(WeightFileError, match=r"missing: to_rgbs\.1\.bias"):
        system.from_published(lacking, unet)
    lacking = {key: value for key, value in control.items() if key != "down_blocks.1.resnets.1.conv1.bias"}
    with pytest.raises(WeightFileError, match=r"ControlNet does not fit: missing: input_blocks\.5\.0\.in_layers\.2"):
        system.from_published(lacking, unet)
    gone = next(
        key for key in unet if key.endswith("attn2_plus.to_q.weight" if "light" in oracle.name else "proj_out.bias")
    )
    lacking = {key: value for key, value in unet.items() if key != gone}
    with pytest.raises(WeightFileError, match=rf"UNet does not fit: missing: {gone}"):
        system.from_published(control, lacking)
    with pytest.raises(WeightFileError, match="unexpected: other"):
        system.from_published(control, unet | {"other": torch.zeros(1)})
    with pytest.raises(WeightFileError, match="holds nothing that PASD adds"):
        system.from_published(control, {})


@torch.no_grad()
def test_residuals(oracle, control):
    found = control.residuals(*given(oracle), oracle.input("image"))
    for index in range(12):
        oracle.check(f"residual.{index:02}", found[f"residual.{index}"])
    oracle.check("residual.mid", found["middle"])


def test_the_controlled_unet(oracle, control, unet):
    names = [name for name in oracle.about["outputs"] if name.startswith("eps_scale_") and name != "eps_scale_0"]
    assert names
    for name in names:
        settings = ControlSettings(strength=float(name.removeprefix("eps_scale_")))
        applied = RestorationControl(control, ControlMaterial(hint=oracle.input("image")), settings)
        oracle.check(name, run(unet, *given(oracle), applied))


class Always(Attachment):
    """A system's places with the features of one request, whatever its strength."""

    def __init__(self, system, request):
        super().__init__()
        self.system, self.seen = system, system.features(request)

    def hooks(self, view):
        places = list(self.system.places(view))

        def change(place):
            return lambda passing, _call: place.change(passing, self.seen)

        return (
            [(place.module, change(place)) for place in places if place.at == "output"],
            [(place.module, change(place)) for place in places if place.at == "picture"],
        )


@torch.no_grad()
def test_the_originals_strength_of_zero_leaves_the_pixel_transformers_at_work():
    oracle = load_oracle("pasd")
    unet = published_unet(oracle.about["config"]["unet"], oracle.weights("unet"))
    x, timesteps, context = given(oracle)
    request = ControlRequest(x=x, timesteps=timesteps, context=context, hint=oracle.input("image"), strength=0.0)
    oracle.check("eps_scale_0", run(unet, x, timesteps, context, Always(control_of(oracle), request)))


def test_off_is_the_model_alone(oracle, control, unet):
    material = ControlMaterial(hint=oracle.input("image"))
    alone = run(unet, *given(oracle))
    assert torch.equal(
        alone, run(unet, *given(oracle), RestorationControl(control, material, ControlSettings(strength=0)))
    )
    applied = RestorationControl(control, material)
    assert not torch.allclose(alone, run(unet, *given(oracle), applied), atol=1e-3)
    assert torch.equal(alone, run(unet, *given(oracle)))
    outside = RestorationControl(control, material, ControlSettings(start=0.5))
    assert torch.equal(alone, run(unet, *given(oracle), outside, call={"progress": 0.2}))


def test_damage_weighs_all_that_is_changed(oracle, control, unet):
    image = oracle.input("image")
    everywhere = torch.ones(1, 8, 16)
    settings = ControlSettings(in_damage=0)
    applied = RestorationControl(control, ControlMaterial(hint=image, damage=everywhere), settings)
    alone = run(unet, *given(oracle))
    torch.testing.assert_close(run(unet, *given(oracle), applied), alone, atol=1e-6, rtol=0)
    nowhere = RestorationControl(control, ControlMaterial(hint=image, damage=torch.zeros(1, 8, 16)), settings)
    whole = RestorationControl(control, ControlMaterial(hint=image), settings)
    assert torch.equal(run(unet, *given(oracle), nowhere), run(unet, *given(oracle), whole))


def test_frames_do_not_see_each_other(oracle, control, unet):
    """Another picture in one shot leaves the frames of the other as they were."""
    x, _, context = given(oracle)
    x, context, image = (part.repeat(2, *[1] * (part.ndim - 1)) for part in (x, context, oracle.input("image")))
    timesteps = torch.full((4,), 500)
    changed = image.clone()
    changed[2:] = 1 - changed[2:]
    call = {"segments": ((0, 2), (2, 4))}
    one, other = (
        run(unet, x, timesteps, context, RestorationControl(control, ControlMaterial(hint=hint)), call=call)
        for hint in (image, changed)
    )
    assert torch.equal(one[:2], other[:2])
    assert (one[2:] - other[2:]).abs().max() > 1e-5


def test_a_window_of_frames_has_the_hints_of_its_frames(oracle, control, unet):
    x, _, context = given(oracle)
    x, context, image = (part.repeat(2, *[1] * (part.ndim - 1)) for part in (x, context, oracle.input("image")))
    image = image * torch.linspace(0.2, 1, 4).reshape(-1, 1, 1, 1)
    timesteps = torch.full((4,), 500)
    applied = RestorationControl(control, ControlMaterial(hint=image, damage=torch.rand(4, 8, 16)))
    whole = run(unet, x, timesteps, context, applied)
    call = {"frames": (1, 2, 3), "segments": ((0, 3),)}
    part = run(unet, x[1:], timesteps[1:], context[1:], applied, call=call)
    torch.testing.assert_close(part, whole[1:], atol=1e-5, rtol=0)


def test_two_clips_that_share_a_system_do_not_disturb_each_other(oracle, control, unet):
    image = oracle.input("image")
    kinds = (ControlSettings(strength=0.5), ControlSettings(over_frames=((0, 0.25), (1, 1))))

    def both(*systems):
        hints = (image, 1 - image)
        return [
            RestorationControl(system, ControlMaterial(hint=hint), settings)
            for system, hint, settings in zip(systems, hints, kinds, strict=True)
        ]

    together = run(unet, *given(oracle), *both(control, control))
    assert torch.equal(together, run(unet, *given(oracle), *both(control, control_of(oracle))))
    for alone in both(control, control):
        assert (together - run(unet, *given(oracle), alone)).abs().max() > 0.01


def linear_net():
    """A net of Stable Diffusion 2's kind: linear projections, and more heads where it is wider."""
    from diffusers import UNet2DConditionModel

    kinds = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64, 128, 128),
        down_block_types=tuple(kinds),
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
        layers_per_block=2,
        cross_attention_dim=64,
        attention_head_dim=(2, 4, 8, 8),
        use_linear_projection=True,
    ).eval()


@pytest.mark.parametrize("light", [False, True])
def test_a_net_of_the_second_family(light):
    unet = linear_net()
    control = (PasdLightControl if light else PasdControl).from_published(
        *pasd_files(unet, light=light), heads=(2, 4, 8, 8)
    )
    assert control.branch.config.linear
    torch.manual_seed(1)
    x, context, image = torch.randn(2, 4, 8, 16), torch.randn(2, 7, 64), torch.rand(2, 3, 64, 128)
    inputs = (x, torch.tensor([999, 10]), context)
    applied = RestorationControl(control, ControlMaterial(hint=image))
    found, alone = run(unet, *inputs, applied), run(unet, *inputs)
    assert found.isfinite().all()
    assert (found - alone).abs().mean() > 0.01 * alone.abs().mean()
    assert torch.equal(alone, run(unet, *inputs))


def test_another_family_is_refused(control, oracle):
    applied = RestorationControl(control, ControlMaterial(hint=oracle.input("image")))
    with pytest.raises(SettingsError, match="residuals"):
        applied.attach(UNetView(tiny_unet(block_out_channels=(32, 64))))
    with pytest.raises(SettingsError, match="another width"):
        applied.attach(UNetView(tiny_unet(block_out_channels=(64, 64, 128, 128))))
