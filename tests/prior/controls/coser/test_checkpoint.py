"""CoSeR's checkpoints: every published key, the parts of a whole file, and files that lie or hold code."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.coser.checkpoint import (
    cognition_of,
    coser_parts,
    is_cognition,
    is_coser,
    read_cognition,
    read_coser,
)

from .tiny_coser import PRE_SR, attention_file, encoder_file

MANIFESTS = Path(__file__).resolve().parents[5] / "shared" / "manifests"
PLACES = {"middle_block.1": (64, 64), "output_blocks.3.1": (64, 64), "output_blocks.5.1": (64, 32)}


def manifest(name):
    path = MANIFESTS / f"coser_tianhewu_{name}.json"
    if not path.exists():
        message = f"manifest not found: ../shared/manifests/{path.name}"
        if os.environ.get("CI") == "true" and MANIFESTS.parent.exists():
            pytest.fail(f"{message}; CI is expected to have it")
        pytest.skip(message)
    keys = json.loads(path.read_text(encoding="utf-8"))["keys"]
    return {key: torch.empty(shape, device="meta") for key, shape in keys.items()}


def whole_file(*, cognition=True):
    file = attention_file(PLACES)
    file["structcond_stage_model.hint_zero_conv.weight"] = torch.zeros(32, 4, 3, 3)
    file |= encoder_file() if cognition else {}
    file["model.diffusion_model.input_blocks.0.0.weight"] = torch.zeros(32, 4, 3, 3)
    file["first_stage_model.quant_conv.bias"] = torch.zeros(8)
    file["cond_stage_model.model.logit_scale"] = torch.zeros(())
    file["betas"] = torch.zeros(1000)
    return file


class TestPublishedLayout:
    def test_every_key_and_shape_of_all_in_attention_is_the_published_one(self):
        keys = manifest("aia_unet_extra")
        parts = coser_parts(keys | {"structcond_stage_model.hint_zero_conv.weight": torch.zeros(320, 4, 3, 3)})
        found = {
            f"model.diffusion_model.{place}.{key}": tuple(value.shape)
            for place, layers in parts.attention.items()
            for key, value in layers.state_dict().items()
        }
        assert found == {key: tuple(value.shape) for key, value in keys.items()}
        assert list(parts.attention) == ["middle_block.1", *(f"output_blocks.{n}.1" for n in range(3, 12))]
        widened = {place for place, layers in parts.attention.items() if layers.dubconv_lna is not None}
        assert widened == {"output_blocks.5.1", "output_blocks.8.1"}


class TestWholeFile:
    def test_it_is_told_by_its_keys(self):
        assert is_coser(whole_file())
        assert is_cognition(whole_file())
        assert not is_coser(encoder_file())
        assert not is_coser({"structcond_stage_model.hint_zero_conv.weight"})
        assert not is_cognition(whole_file(cognition=False))

    @pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
    def test_its_parts_are_sorted(self, tmp_path, suffix):
        path, file = tmp_path / f"coser{suffix}", whole_file()
        if suffix == ".ckpt":
            torch.save({"state_dict": file, "global_step": 3}, path)
        else:
            save_file({key: value.contiguous() for key, value in file.items()}, path)
        parts = read_coser(path)
        assert set(parts.attention) == set(PLACES)
        assert set(parts.branch) == {"hint_zero_conv.weight"}
        assert parts.cognition is not None
        assert parts.cognition.pre_sr.config == PRE_SR
        place = "model.diffusion_model.output_blocks.5.1.dubconv_r_lna.weight"
        assert torch.equal(parts.attention["output_blocks.5.1"].state_dict()["dubconv_r_lna.weight"], file[place])

    def test_the_encoder_may_come_from_its_own_file(self, tmp_path):
        assert coser_parts(whole_file(cognition=False)).cognition is None
        path = tmp_path / "qformer.ckpt"
        torch.save({"state_dict": encoder_file()}, path)
        assert read_cognition(path).projection is not None

    def test_what_is_missing_or_too_much_is_listed(self, tmp_path):
        file = whole_file()
        del file["model.diffusion_model.output_blocks.5.1.proj_in_clr_lna.bias"]
        with pytest.raises(WeightFileError, match=r"output_blocks\.5\.1 does not fit: missing: proj_in_clr_lna\.bias"):
            coser_parts(file)
        with pytest.raises(WeightFileError, match=r"do not have: lora\.down, lora\.up"):
            coser_parts(whole_file() | {"lora.down": torch.zeros(1), "lora.up": torch.zeros(1)})
        astray = {"model.diffusion_model.input_blocks.1.1.norm_clr_lna.weight": torch.zeros(32)}
        with pytest.raises(WeightFileError, match=r"published one has none: input_blocks\.1\.1\.norm_clr_lna"):
            coser_parts(whole_file() | astray)
        path = tmp_path / "other.safetensors"
        save_file({"x": torch.zeros(1)}, path)
        with pytest.raises(WeightFileError, match=r"other\.safetensors: this is not CoSeR's complete checkpoint"):
            read_coser(path)
        with pytest.raises(WeightFileError, match=r"no cognitive encoder of CoSeR"):
            cognition_of({"x": torch.zeros(1)})

    @pytest.mark.parametrize("read", [read_coser, read_cognition])
    def test_a_file_that_holds_code_is_refused_and_not_run(self, tmp_path, read):
        path, witness = tmp_path / "hostile.ckpt", tmp_path / "ran"
        path.write_bytes(pickle.dumps({"state_dict": Hostile(witness)}))
        with pytest.raises(WeightFileError, match="may run code and is refused"):
            read(path)
        assert not witness.exists()


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return Path.touch, (self.witness,)
