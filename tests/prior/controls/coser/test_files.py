"""CoSeR's files: every published key, the parts of a whole file, and files that lie or hold code."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from tests.hostile import Hostile
from tests.manifests import manifest
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.coser.branch import CoserBranch
from vldm_core.prior.controls.coser.files import attention_of, is_cognition, is_control
from vldm_core.prior.controls.coser.system import CoserControl
from vldm_core.prior.controls.reading import find_control, read_control

from .tiny_coser import HEADS, PRE_SR, control_file, encoder_file


def empty(name):
    return {key: torch.empty(shape, device="meta") for key, shape in manifest(f"coser_tianhewu_{name}").items()}


def whole_file(*, cognition=True):
    """A complete checkpoint: with Stable Diffusion, and with what training leaves behind."""
    file = control_file() | (encoder_file() if cognition else {})
    file["model.diffusion_model.input_blocks.0.0.weight"] = torch.zeros(32, 4, 3, 3)
    file["first_stage_model.quant_conv.bias"] = torch.zeros(8)
    file["cond_stage_model.model.logit_scale"] = torch.zeros(())
    file["betas"] = torch.zeros(1000)
    return file


def saved(path, file):
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in file.items()}, path)
    else:
        torch.save({"state_dict": file, "global_step": 3}, path)
    return path


class TestPublishedLayout:
    def test_every_key_and_shape_of_all_in_attention_is_the_published_one(self):
        keys = empty("aia_unet_extra")
        attention = attention_of(keys)
        found = {
            f"model.diffusion_model.{place}.{key}": tuple(value.shape)
            for place, layers in attention.items()
            for key, value in layers.state_dict().items()
        }
        assert found == {key: tuple(value.shape) for key, value in keys.items()}
        assert list(attention) == ["middle_block.1", *(f"output_blocks.{n}.1" for n in range(3, 12))]
        widened = {place for place, layers in attention.items() if layers.dubconv_lna is not None}
        assert widened == {"output_blocks.5.1", "output_blocks.8.1"}

    def test_every_key_and_shape_of_the_branch_is_the_published_one(self):
        prefix = "structcond_stage_model."
        keys = {key.removeprefix(prefix): value for key, value in empty("structcond").items()}
        branch = CoserBranch.from_published(keys)
        found = {key: tuple(value.shape) for key, value in branch.state_dict().items()}
        assert found == {key: tuple(value.shape) for key, value in keys.items()}
        assert branch.config.attended == (True, False, True, False)
        assert branch.config.heads == (5, 10, 20, 20)
        assert sum(value.numel() for value in branch.state_dict().values()) == 344_121_280

    def test_both_together_are_the_system(self):
        keys = empty("aia_unet_extra") | empty("structcond")
        assert is_control(keys)
        assert not is_cognition(keys)


class TestWholeFile:
    def test_it_is_told_by_its_keys(self):
        assert is_control(whole_file())
        assert is_cognition(whole_file())
        assert is_cognition(encoder_file())
        assert not is_control(encoder_file())
        assert not is_control({"structcond_stage_model.hint_zero_conv.weight"})
        assert not is_cognition(whole_file(cognition=False))

    @pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
    def test_its_parts_are_sorted(self, tmp_path, suffix):
        file = whole_file()
        path = saved(tmp_path / f"coser{suffix}", file)
        found = find_control([path])
        assert found.format.system == "CoSeR"
        assert not found.missing and not found.absent
        control = read_control([path], heads=HEADS)
        assert isinstance(control, CoserControl)
        assert control.cognition is not None
        assert control.cognition.pre_sr.config == PRE_SR
        key = "structcond_stage_model.middle_block.1.proj_in.weight"
        assert torch.equal(control.branch.state_dict()["middle_block.1.proj_in.weight"], file[key])
        key = "model.diffusion_model.output_blocks.5.1.dubconv_r_lna.weight"
        assert torch.equal(control.attention.state_dict()["output_blocks_5_1.dubconv_r_lna.weight"], file[key])
        # What makes tokens is no weight of the control, which lies on the device while the UNet runs.
        assert len(control.state_dict()) == len(control_file())

    def test_the_encoder_may_come_from_its_own_file(self, tmp_path):
        control = saved(tmp_path / "coser.ckpt", whole_file(cognition=False))
        alone = find_control([control])
        assert [part.name for part in alone.absent] == ["cognitive encoder"]
        assert read_control([control], heads=HEADS).cognition is None  # type: ignore[union-attr]
        qformer = saved(tmp_path / "qformer.ckpt", encoder_file())
        both = read_control([control, qformer], heads=HEADS)
        assert isinstance(both, CoserControl)
        assert both.cognition is not None and both.cognition.projection is not None

    def test_the_encoder_alone_is_not_enough(self, tmp_path):
        path = saved(tmp_path / "qformer.safetensors", encoder_file())
        with pytest.raises(
            WeightFileError, match=r"its control \(the checkpoint that its page calls CoSeR\) is missing"
        ):
            read_control([path])

    @pytest.mark.parametrize(
        ("without", "beside", "message"),
        [
            ("output_blocks.5.1.proj_in_clr_lna.bias", None, r"output_blocks\.5\.1 does not fit: missing: proj_in_clr"),
            ("middle_block.1.norm4_lna.bias", "middle_block.1.norm6_lna.bias", r"unexpected: norm6_lna\.bias"),
            (None, "input_blocks.1.1.norm_clr_lna.weight", r"published one has none: input_blocks\.1\.1\.norm_clr_lna"),
        ],
    )
    def test_what_is_missing_or_too_much_in_the_unet_is_listed(self, without, beside, message):
        file = control_file()
        file.pop(f"model.diffusion_model.{without}", None)
        if beside is not None:
            file[f"model.diffusion_model.{beside}"] = torch.zeros(32)
        with pytest.raises(WeightFileError, match=message):
            attention_of(file)

    def test_what_is_missing_or_too_much_in_the_branch_is_listed(self):
        prefix = "structcond_stage_model."
        branch = {key.removeprefix(prefix): value for key, value in control_file().items() if key.startswith(prefix)}
        del branch["zero_convs.11.0.bias"]
        branch["zero_convs.12.0.bias"] = torch.zeros(3)
        with pytest.raises(WeightFileError, match=r"missing: zero_convs\.11\.0\.bias; unexpected: zero_convs\.12"):
            CoserBranch.from_published(branch, heads=HEADS)
        branch["hint_zero_conv.weight"] = torch.zeros(32, 3, 3, 3)
        with pytest.raises(WeightFileError, match="takes 4 and 3 channels"):
            CoserBranch.from_published(branch, heads=HEADS)

    def test_a_file_that_holds_code_is_refused_and_not_run(self, tmp_path):
        path, witness = tmp_path / "hostile.ckpt", tmp_path / "ran"
        path.write_bytes(pickle.dumps({"state_dict": Hostile(witness)}, protocol=2))
        with pytest.raises(WeightFileError, match="may run code and is refused"):
            read_control([path])
        assert not witness.exists()
