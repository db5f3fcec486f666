"""StableSR's files: complete checkpoints and extracts of them, and lists of what does not fit."""

import pytest
import torch
from safetensors.torch import save_file

from tests.hostile import Hostile
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.reading import find_control, read_control
from vldm_core.prior.controls.stablesr.files import control_of, is_control, takes
from vldm_core.prior.controls.stablesr.system import StableSrControl

from ....manifests import manifest
from .tiny_stablesr import CONFIG, ENCODER, UNET, stablesr_file

BASE = {
    "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32, 4, 3, 3),
    "model.diffusion_model.input_blocks.1.0.in_layers.0.weight": torch.zeros(32),
    "first_stage_model.decoder.conv_in.bias": torch.zeros(4),
    "cond_stage_model.model.logit_scale": torch.zeros(()),
    "betas": torch.zeros(1000),
}


@pytest.fixture(scope="module")
def file():
    return stablesr_file()


def chosen(tensors):
    return {key: value for key, value in tensors.items() if takes(key)}


def state(control):
    """What a control holds, under the names of a complete checkpoint."""
    found = {ENCODER + key: value for key, value in control.encoder.state_dict().items()}
    for place, layers in control._places.items():
        found |= {f"{UNET}{place}.spade.{key}": value for key, value in layers.state_dict().items()}
    return found


class TestLayouts:
    @pytest.mark.parametrize("name", ["stablesr.safetensors", "stablesr.ckpt"])
    @pytest.mark.parametrize("base", [BASE, {}], ids=["complete", "extract"])
    def test_files_are_told_and_read(self, tmp_path, file, name, base):
        path = tmp_path / name
        if name.endswith("ckpt"):
            torch.save({"state_dict": file | base, "epoch": 117}, path)
        else:
            save_file(file | base, path)
        found = find_control([path])
        assert found.format.system == "StableSR"
        assert found.format.commercial is False
        assert not found.missing
        control = read_control([path])
        assert isinstance(control, StableSrControl)
        assert control.encoder.config == CONFIG
        read = state(control)
        assert read.keys() == file.keys()
        assert all(torch.equal(read[key], value) for key, value in file.items())

    @pytest.mark.parametrize(
        "renamed",
        [
            lambda key: key.removeprefix(UNET),
            lambda key: key.removeprefix(UNET).removeprefix(ENCODER),
            lambda key: key.replace(".0.spade", ""),
            lambda key: key.removeprefix(UNET).replace(".spade", ""),
        ],
        ids=["no UNet", "no prefix", "no spade", "neither"],
    )
    def test_extracts_have_lost_parts_of_their_names(self, file, renamed):
        # In the middle the number says which of the two blocks it is.
        own = {key if "middle_block" in key and ".spade" in key else renamed(key): value for key, value in file.items()}
        assert len(own) == len(file)
        assert is_control(own)
        read = state(control_of(chosen(own)))
        assert all(torch.equal(read[key], value) for key, value in file.items())

    def test_nothing_of_the_base_model_is_taken(self, file):
        assert chosen(file | BASE).keys() == file.keys()

    def test_every_published_key_is_used(self):
        published = manifest("stablesr_structcond") | manifest("stablesr_spade")
        tensors = {key: torch.empty(shape, device="meta") for key, shape in published.items()}
        assert is_control(published)
        read = state(control_of(chosen(tensors)))
        assert {key: tuple(value.shape) for key, value in read.items()} == published

    @pytest.mark.parametrize("prefix", [ENCODER, UNET])
    def test_half_a_file_is_not_taken_for_one(self, file, prefix):
        assert not is_control({key: tuple(value.shape) for key, value in file.items() if key.startswith(prefix)})


class TestMismatch:
    def test_places_that_are_missing_or_astray_are_listed(self, file):
        wrong = {key: value for key, value in file.items() if "output_blocks.7.0." not in key}
        wrong[f"{UNET}output_blocks.12.0.spade.mlp_gamma.bias"] = torch.zeros(32)
        wrong[f"{UNET}output_blocks.1.0.spade.mlp_delta.bias"] = torch.zeros(32)
        with pytest.raises(WeightFileError) as caught:
            control_of(chosen(wrong))
        said = str(caught.value)
        assert "missing: output_blocks.7.0" in said
        assert "unexpected: model.diffusion_model.output_blocks.1.0.spade.mlp_delta.bias, output_blocks.12.0" in said

    def test_tensors_that_are_missing_are_listed(self, file):
        wrong = dict(file)
        del wrong[f"{UNET}input_blocks.4.0.spade.mlp_beta.weight"]
        with pytest.raises(WeightFileError, match=r"at input_blocks\.4\.0 does not fit: missing: mlp_beta\.weight"):
            control_of(wrong)
        del wrong[f"{ENCODER}fea_tran.3.emb_layers.1.bias"]
        wrong[f"{UNET}input_blocks.4.0.spade.mlp_beta.weight"] = file[f"{UNET}input_blocks.4.0.spade.mlp_beta.weight"]
        with pytest.raises(WeightFileError, match=r"encoder does not fit: missing: fea_tran\.3\.emb_layers\.1\.bias"):
            control_of(wrong)

    def test_an_encoder_of_another_version_is_told(self, file):
        wrong = dict(file)
        place = f"{UNET}middle_block.0.spade.mlp_shared.0.weight"
        wrong[place] = torch.zeros(128, 32, 3, 3)
        with pytest.raises(WeightFileError, match=r"gives 64 channels and middle_block\.0 reads another number"):
            control_of(wrong)


def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path, file):
    mark = tmp_path / "ran"
    torch.save({"state_dict": file, "x": Hostile(mark)}, tmp_path / "stablesr.ckpt")
    with pytest.raises(WeightFileError, match="may run code"):
        find_control([tmp_path / "stablesr.ckpt"])
    assert not mark.exists()
