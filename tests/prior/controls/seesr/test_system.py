"""SeeSR's control: the published layout, the numbers of the original, and what it does without an embedding."""

import logging

import pytest
import torch

from tests.manifests import manifest
from tests.oracles import load_oracle
from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.control import RestorationControl
from vldm_core.prior.controls.material import ControlMaterial
from vldm_core.prior.controls.seesr.representation import ADDED
from vldm_core.prior.controls.seesr.system import SeeSrControl
from vldm_core.prior.controls.settings import ControlSettings
from vldm_core.prior.unet import UNetView

from ...tiny_models import tiny_unet
from ..oracle_unets import published_unet, run
from .tiny_seesr import TOKENS, seesr_files


def added(weights):
    return {key: value for key, value in weights.items() if ADDED in key}


@pytest.fixture(scope="module")
def oracle():
    return load_oracle("seesr")


@pytest.fixture(scope="module")
def control(oracle):
    heads = tuple(oracle.about["config"]["controlnet"]["attention_head_dim"])
    return SeeSrControl.from_published(oracle.weights("controlnet"), added(oracle.weights("unet")), heads=heads)


@pytest.fixture(scope="module")
def unet(oracle):
    return published_unet(oracle.about["config"]["unet"], oracle.weights("unet"))


def given(oracle):
    return [oracle.input(name) for name in ("sample", "timestep", "encoder_hidden_states")]


def test_the_manifests_load_strictly():
    with torch.device("meta"):
        files = [
            {key: torch.empty(shape) for key, shape in manifest(name).items()}
            for name in ("seesr_controlnet", "seesr_unet_extra")
        ]
    control = SeeSrControl.from_published(*files)
    assert sum(value.numel() for value in control.state_dict().values()) == 489_031_440 + 260_849_600
    assert len(control.state_dict()) == 522 + 416
    assert control.branch.config.heads == (5, 10, 20, 20)
    assert control.branch.config.linear
    assert control.representation.width == TOKENS
    assert len(control.representation.layers) == 16


def test_what_does_not_fit_is_listed(oracle):
    control, unet = oracle.weights("controlnet"), added(oracle.weights("unet"))
    del control["controlnet_cond_embedding.blocks.2.bias"]
    with pytest.raises(WeightFileError, match=r"missing: blocks\.2\.bias"):
        SeeSrControl.from_published(control, unet)
    control = oracle.weights("controlnet")
    del control["down_blocks.1.image_attentions.1.norm.bias"]
    control["down_blocks.1.image_attentions.1.other"] = torch.zeros(1)
    with pytest.raises(WeightFileError, match=r"missing: input_blocks\.5\.2\.norm\.bias.*unexpected: .*other"):
        SeeSrControl.from_published(control, unet)
    control = oracle.weights("controlnet")
    del unet["up_blocks.2.image_attentions.0.proj_out.weight"]
    with pytest.raises(
        WeightFileError, match=r"UNet does not fit: missing: up_blocks\.2\.image_attentions\.0\.proj_out"
    ):
        SeeSrControl.from_published(control, unet)
    with pytest.raises(WeightFileError, match="holds no image_attentions"):
        SeeSrControl.from_published(control, {})
    plain = {key: value for key, value in control.items() if ADDED not in key}
    with pytest.raises(WeightFileError, match="take SeeSR's own ControlNet"):
        SeeSrControl.from_published(plain, added(oracle.weights("unet")))


@torch.no_grad()
def test_residuals(oracle, control):
    found = control.residuals(*given(oracle), oracle.input("image"), tokens=oracle.input("ram"))
    for index in range(12):
        oracle.check(f"residual.{index:02}", found[f"residual.{index}"])
    oracle.check("residual.mid", found["middle"])


@pytest.mark.parametrize("strength", [1, 0.6])
def test_the_controlled_unet(oracle, control, unet, strength):
    applied = RestorationControl(
        control,
        ControlMaterial(hint=oracle.input("image"), tokens=oracle.input("ram")),
        ControlSettings(strength=strength),
    )
    found = run(unet, *given(oracle), applied)
    oracle.check(f"eps_scale_{strength:g}", found)


class WithoutResiduals(SeeSrControl):
    """Only the transformers of the UNet: what the original computes where its ControlNet is left out."""

    def places(self, view):
        return self.representation.places(view)


def test_the_unet_without_its_controlnet(oracle, control, unet):
    alone = WithoutResiduals(control.branch, control.picture, control.representation)
    material = ControlMaterial(hint=oracle.input("image"), tokens=oracle.input("ram"))
    oracle.check("eps_no_control", run(unet, *given(oracle), RestorationControl(alone, material)))


def test_without_an_embedding_its_transformers_are_left_out_and_said_so(oracle, control, unet, caplog):
    with caplog.at_level(logging.WARNING):
        applied = RestorationControl(control, ControlMaterial(hint=oracle.input("image")))
        found = run(unet, *given(oracle), applied)
        run(unet, *given(oracle), applied)
    assert [record.message for record in caplog.records if "image attentions are left out" in record.message] == [
        caplog.records[0].message
    ]
    plain = control.residuals(*given(oracle), oracle.input("image"))
    downs = tuple(plain[f"residual.{index}"] for index in range(12))
    with torch.no_grad():
        wanted = unet(
            *given(oracle), down_block_additional_residuals=downs, mid_block_additional_residual=plain["middle"]
        ).sample
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_an_embedding_of_another_width_is_refused(control):
    with pytest.raises(SettingsError, match="is 256 wide; SeeSR reads that of its tagger"):
        RestorationControl(control, ControlMaterial(hint=torch.zeros(1, 3, 64, 64), tokens=torch.zeros(1, 5, 256)))


def test_a_unet_of_another_shape_is_refused(control):
    applied = RestorationControl(control, ControlMaterial(hint=torch.zeros(1, 3, 64, 64)))
    with pytest.raises(SettingsError, match="do not lie where this UNet has its own"):
        applied.attach(UNetView(tiny_unet()))


def test_a_net_of_the_first_family(oracle):
    """Convolutions as projections, and as many heads at every level."""
    unet = tiny_unet()
    control = SeeSrControl.from_published(*seesr_files(unet), heads=(4, 4, 4, 4))
    assert not control.branch.config.linear
    tokens = oracle.input("ram")
    applied = RestorationControl(control, ControlMaterial(hint=oracle.input("image"), tokens=tokens))
    x, times, text = given(oracle)
    plain, found = run(unet, x, times, text), run(unet, x, times, text, applied)
    assert torch.isfinite(found).all()
    other = RestorationControl(control, ControlMaterial(hint=oracle.input("image"), tokens=tokens.flip(0)))
    assert (found - plain).abs().mean() > 0.01 * plain.abs().mean()
    assert (run(unet, x, times, text, other) - found).abs().mean() > 1e-3 * plain.abs().mean()


def test_every_frame_reads_its_own_embedding(oracle, control, unet):
    x, times, text = given(oracle)
    hint, tokens = oracle.input("image"), oracle.input("ram")

    def found(embedding, **more):
        return run(
            unet, x, times, text, RestorationControl(control, ControlMaterial(hint=hint, tokens=embedding)), **more
        )

    both = found(tokens)
    changed = torch.cat([tokens[:1], tokens[:1]])
    assert torch.equal(found(changed)[0], both[0])
    assert (found(changed)[1] - both[1]).abs().max() > 1e-3
    assert torch.equal(found(tokens[:1]), found(changed))
    longer = ControlMaterial(
        hint=torch.cat([torch.zeros(3, 3, 64, 128), hint]), tokens=torch.cat([changed, tokens[:1], tokens])
    )
    late = run(unet, x, times, text, RestorationControl(control, longer), call={"frames": (3, 4)})
    assert torch.equal(late, both)


def test_both_halves_of_guidance_read_the_embedding(oracle, control, unet):
    x, times, text = given(oracle)
    applied = RestorationControl(control, ControlMaterial(hint=oracle.input("image"), tokens=oracle.input("ram")))
    call = {"frames": (0, 1), "segments": ((0, 2),), "chunks": (0, 1)}
    other = text.flip(0)
    found = run(unet, x.repeat(2, 1, 1, 1), times.repeat(2), torch.cat([text, other]), applied, call=call)
    wanted = torch.cat([run(unet, x, times, part, applied) for part in (text, other)])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
