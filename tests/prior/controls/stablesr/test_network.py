"""StableSR's encoder and modulation: the published numbers, names and shapes."""

import re

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.stablesr.config import ModulationConfig, StructureEncoderConfig
from vldm_core.prior.controls.stablesr.network import SpatialModulation, StructureEncoder

from ....manifests import manifest
from ....oracles import load_oracle


def manifest_of(name, prefix):
    """A published file's tensors on the meta device, without their prefix."""
    return {
        key.removeprefix(prefix): torch.empty(shape, device="meta")
        for key, shape in manifest(f"stablesr_{name}").items()
    }


def shapes(tensors):
    return {key: tuple(value.shape) for key, value in tensors.items()}


@pytest.fixture
def weights():
    return load_oracle("stablesr_structcond").weights("structcond")


class TestStructureEncoder:
    def test_it_gives_what_the_original_gives(self, weights):
        oracle = load_oracle("stablesr_structcond")
        encoder = StructureEncoder.from_published(weights)
        found = encoder(oracle.input("lq_latent"), oracle.input("t"))
        assert len(found) == 4
        for level, feature in enumerate(found):
            oracle.check(f"feature.{level}", feature)

    def test_its_shape_is_read_off_the_file(self, weights):
        assert StructureEncoderConfig.of(weights) == StructureEncoderConfig(
            width=32, widths=(32, 32, 64, 64), out_channels=64
        )

    def test_every_published_key_and_shape_is_its_own(self):
        published = manifest_of("structcond", "structcond_stage_model.")
        assert StructureEncoderConfig.of(published) == StructureEncoderConfig()
        encoder = StructureEncoder.from_published(published)
        assert shapes(encoder.state_dict()) == shapes(published)
        assert sum(p.numel() for p in encoder.parameters()) == 52_494_080

    def test_odd_sides_are_halved_as_the_unet_halves_them(self, weights):
        encoder = StructureEncoder.from_published(weights)
        found = encoder(torch.zeros(1, 4, 9, 13), torch.tensor([3.5]))
        assert [tuple(feature.shape[-2:]) for feature in found] == [(9, 13), (5, 7), (3, 4), (2, 2)]

    def test_frames_do_not_see_each_other(self, weights):
        encoder = StructureEncoder.from_published(weights)
        latent, step = torch.randn(3, 4, 16, 24), torch.tensor([999, 500, 2])
        together = encoder(latent, step)
        alone = encoder(latent[1:2], step[1:2])
        for both, one in zip(together, alone, strict=True):
            torch.testing.assert_close(both[1:2], one, atol=1e-5, rtol=0)

    def test_what_does_not_fit_is_listed(self, weights):
        del weights["middle_block.1.qkv.bias"]
        weights["fea_tran.4.in_layers.0.weight"] = torch.zeros(32)
        weights["time_embed.0.bias"] = torch.zeros(7)
        with pytest.raises(WeightFileError) as caught:
            StructureEncoder.from_published(weights)
        said = str(caught.value)
        assert "missing: middle_block.1.qkv.bias" in said
        assert "unexpected: fea_tran.4.in_layers.0.weight" in said
        assert "time_embed.0.bias (7,) instead of (128,)" in said

    def test_something_else_is_told(self, weights):
        with pytest.raises(WeightFileError, match=r"input_blocks\.0\.0\.weight is missing"):
            StructureEncoder.from_published({})
        odd = {
            key: value for key, value in weights.items() if not key.startswith(("input_blocks.1.", "input_blocks.2."))
        }
        with pytest.raises(WeightFileError, match="no blocks"):
            StructureEncoder.from_published(odd)

    @pytest.mark.parametrize(
        ("latent", "step"), [((1, 8, 8, 8), (1,)), ((2, 4, 8, 8), (1,)), ((4, 8, 8), (4,)), ((1, 4, 8, 8), ())]
    )
    def test_other_inputs_are_refused(self, weights, latent, step):
        encoder = StructureEncoder.from_published(weights)
        with pytest.raises(SettingsError, match="structure encoder got"):
            encoder(torch.zeros(latent), torch.zeros(step))


class TestSpatialModulation:
    def test_it_gives_what_the_original_gives(self):
        oracle = load_oracle("stablesr_spade")
        layer = SpatialModulation.from_published(oracle.weights("spade"))
        gamma, beta = layer.look(oracle.input("structure"))
        oracle.check("mlp_gamma", gamma, "mid")
        oracle.check("mlp_beta", beta, "mid")
        oracle.check("out", layer(oracle.input("x"), gamma, beta))

    def test_every_published_key_and_shape_is_its_own(self):
        published = manifest_of("spade", "model.diffusion_model.")
        places = {}
        for key, tensor in published.items():
            place, name = re.fullmatch(r"(.+)\.spade\.(.+)", key).groups()
            places.setdefault(place, {})[name] = tensor
        assert len(places) == 22
        for place, tensors in places.items():
            layer = SpatialModulation.from_published(tensors, what=place)
            assert shapes(layer.state_dict()) == shapes(tensors)
            assert layer.config.label_channels == 256

    def test_what_does_not_fit_is_listed_with_its_place(self):
        tensors = load_oracle("stablesr_spade").weights("spade")
        del tensors["mlp_beta.bias"]
        with pytest.raises(WeightFileError, match=r"input_blocks\.1\.0 does not fit: missing: mlp_beta\.bias"):
            SpatialModulation.from_published(tensors, what="input_blocks.1.0")


@pytest.mark.parametrize(
    "wrong",
    [{"width": 48}, {"widths": ()}, {"blocks": 0}, {"attention": (True,)}, {"out_channels": 0}, {"in_channels": 0}],
)
def test_impossible_encoders_are_refused(wrong):
    with pytest.raises(SettingsError, match="structure encoder needs"):
        StructureEncoderConfig(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"channels": 48}, {"channels": 32, "hidden": 0}, {"channels": 32, "label_channels": 0}]
)
def test_impossible_modulation_is_refused(wrong):
    with pytest.raises(SettingsError, match="modulation needs"):
        ModulationConfig(**wrong)
