"""SeeSR's two files are found, and only what SeeSR adds is read of the UNet."""

import pytest
import torch
from safetensors.torch import save_file

from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.reading import find_control, read_control
from vldm_core.prior.controls.seesr.system import SeeSrControl

from ...tiny_models import tiny_unet
from .tiny_seesr import seesr_files


@pytest.fixture(scope="module")
def files():
    unet = tiny_unet()
    control, added = seesr_files(unet)
    return control, added, dict(unet.state_dict())


@pytest.fixture
def folder(files, tmp_path):
    """As it is published: a folder for each network."""
    control, added, plain = files
    for name, tensors in (("controlnet", control), ("unet", {**plain, **added})):
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "diffusion_pytorch_model.safetensors")
        (tmp_path / name / "config.json").write_text("{}")
    return tmp_path


def test_the_folder_is_read(files, folder):
    found = find_control([folder])
    assert found.format.system == "SeeSR"
    assert {name: path.parent.name for name, path in found.parts.items()} == {
        "ControlNet": "controlnet",
        "UNet": "unet",
    }
    system = read_control([folder], heads=(4, 4, 4, 4))
    assert isinstance(system, SeeSrControl)
    assert len(system.state_dict()) == len(files[0]) + len(files[1])
    middle = system.representation.layers["mid"].state_dict()
    for key, value in middle.items():
        assert torch.equal(value, files[1][f"mid_block.image_attentions.0.{key}"])


def test_the_two_files_are_read_in_any_order(folder):
    paths = [folder / name / "diffusion_pytorch_model.safetensors" for name in ("unet", "controlnet")]
    assert isinstance(read_control(paths, heads=(4, 4, 4, 4)), SeeSrControl)


@pytest.mark.parametrize(("given", "lacking"), [("unet", "ControlNet"), ("controlnet", "UNet")])
def test_the_other_file_is_asked_for(folder, given, lacking):
    with pytest.raises(WeightFileError, match=rf"its {lacking} \(seesr/{lacking.lower()}/diffusion_.* is missing"):
        read_control([folder / given])


def test_a_pickle_is_read(files, folder):
    torch.save({"state_dict": files[0]}, folder / "controlnet.pth")
    paths = [folder / "controlnet.pth", folder / "unet" / "diffusion_pytorch_model.safetensors"]
    assert isinstance(read_control(paths, heads=(4, 4, 4, 4)), SeeSrControl)


def test_a_plain_unet_is_not_taken_for_it(files, tmp_path):
    save_file(files[2], tmp_path / "unet.safetensors")
    with pytest.raises(WeightFileError, match="is not a part of a known restoration control"):
        find_control([tmp_path / "unet.safetensors"])
