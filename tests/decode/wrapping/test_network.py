"""The layers of feature wrapping: published names and shapes, files of StableSR's VAE."""

import pytest
import torch
from safetensors.torch import save_file

from tests.hostile import Hostile
from vldm_core.decode.wrapping.network import FeatureWrapping, FeatureWrappingConfig, read_feature_wrapping
from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError

from ...manifests import manifest
from ...oracles import load_oracle

OWN = "decoder.fusion_layer_"


@pytest.fixture(scope="module")
def weights():
    return load_oracle("stablesr_cfw").weights("autoencoder")


class TestLayout:
    def test_every_published_key_and_shape_is_its_own(self):
        published = {key: torch.empty(shape, device="meta") for key, shape in manifest("stablesr_cfw_fusion").items()}
        network = FeatureWrapping.from_published(published)
        assert network.config == FeatureWrappingConfig()
        state = {f"{OWN}{key}": tuple(value.shape) for key, value in network.layers.state_dict().items()}
        assert state == {key: tuple(value.shape) for key, value in published.items()}
        assert sum(parameter.numel() for parameter in network.parameters()) == 44_393_728

    def test_the_shape_is_read_off_the_file(self, weights):
        assert FeatureWrapping.from_published(weights).config == FeatureWrappingConfig(widths=(128, 64))

    @pytest.mark.parametrize("prefix", ["", "first_stage_model."])
    def test_the_vae_and_its_training_are_left_aside(self, weights, prefix):
        beside = {"loss.logvar": torch.zeros(()), "loss.discriminator.main.0.weight": torch.zeros(2, 3, 4, 4)}
        file = {prefix + key: value for key, value in (weights | beside).items()}
        state = FeatureWrapping.from_published(file).layers.state_dict()
        assert all(torch.equal(state[key.removeprefix(OWN)], weights[key]) for key in weights if key.startswith(OWN))
        assert len(state) == sum(key.startswith(OWN) for key in weights)


class TestMismatch:
    def test_what_does_not_fit_is_listed(self, weights):
        file = dict(weights)
        del file[f"{OWN}1.encode_enc_3.conv2.bias"]
        file[f"{OWN}2.encode_enc_2.1.rdb2.conv6.bias"] = torch.zeros(32)
        file[f"{OWN}2.encode_enc_1.norm1.weight"] = torch.zeros(5)
        with pytest.raises(WeightFileError) as caught:
            FeatureWrapping.from_published(file)
        said = str(caught.value)
        assert "missing: 1.encode_enc_3.conv2.bias" in said
        assert "unexpected: 2.encode_enc_2.1.rdb2.conv6.bias" in said
        assert "2.encode_enc_1.norm1.weight (5,) instead of (256,)" in said

    def test_a_plain_vae_is_told(self, weights):
        plain = {key: value for key, value in weights.items() if not key.startswith(OWN)}
        with pytest.raises(WeightFileError, match="no layers of feature wrapping"):
            FeatureWrapping.from_published(plain)

    @pytest.mark.parametrize("wrong", [{"widths": (512, 40)}, {"widths": (512,)}, {"blocks": 0}, {"growth": 0}])
    def test_impossible_shapes_are_refused(self, wrong):
        with pytest.raises(SettingsError, match="feature wrapping"):
            FeatureWrappingConfig(**wrong)


class TestFiles:
    @pytest.mark.parametrize("name", ["cfw.safetensors", "cfw.ckpt"])
    def test_both_kinds_are_read(self, tmp_path, weights, name):
        path = tmp_path / name
        if name.endswith("ckpt"):
            torch.save({"state_dict": weights, "epoch": 11}, path)
        else:
            save_file(weights, path)
        state = read_feature_wrapping(path).layers.state_dict()
        assert all(torch.equal(state[key.removeprefix(OWN)], weights[key]) for key in weights if key.startswith(OWN))

    def test_messages_name_the_file(self, tmp_path):
        save_file({"decoder.conv_in.weight": torch.zeros(1)}, tmp_path / "plain.safetensors")
        with pytest.raises(WeightFileError, match=r"plain\.safetensors: there are no layers"):
            read_feature_wrapping(tmp_path / "plain.safetensors")

    def test_a_pickle_that_holds_code_is_refused_and_not_run(self, tmp_path, weights):
        mark = tmp_path / "ran"
        torch.save({"state_dict": weights, "x": Hostile(mark)}, tmp_path / "cfw.ckpt")
        with pytest.raises(WeightFileError, match="may run code"):
            read_feature_wrapping(tmp_path / "cfw.ckpt")
        assert not mark.exists()
