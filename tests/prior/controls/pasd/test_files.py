"""PASD's two files are found, PASD light is told from PASD, and only what they add is read of the UNet."""

import pytest
import torch
from safetensors.torch import save_file

from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.pasd.system import PasdControl, PasdLightControl
from vldm_core.prior.controls.reading import find_control, read_control

from ...tiny_models import tiny_unet
from .tiny_pasd import pasd_files

HEADS = (4, 4, 4, 4)


@pytest.fixture(scope="module")
def plain():
    return tiny_unet()


@pytest.fixture(scope="module", params=["PASD", "PASD light"])
def files(request, plain):
    control, added = pasd_files(plain, light=request.param == "PASD light")
    return request.param, control, added


@pytest.fixture(params=[".safetensors", ".bin"])
def folder(request, files, plain, tmp_path):
    """As training leaves it: a folder for each network, and its own state beside them."""
    _, control, added = files
    for name, tensors in (("controlnet", control), ("unet", {**plain.state_dict(), **added})):
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"diffusion_pytorch_model{request.param}"
        save_file(tensors, path) if request.param == ".safetensors" else torch.save(tensors, path)
        (tmp_path / name / "config.json").write_text("{}")
    torch.save({"state": {}}, tmp_path / "optimizer.bin")
    return tmp_path


def test_the_folder_is_read(files, folder):
    system, control, added = files
    found = find_control([folder])
    assert found.format.system == system
    assert not found.missing
    assert {name: path.parent.name for name, path in found.parts.items()} == {
        "ControlNet": "controlnet",
        "UNet": "unet",
    }
    read = read_control([folder], heads=HEADS)
    assert type(read) is {"PASD": PasdControl, "PASD light": PasdLightControl}[system]
    assert read.name == system
    assert len(read.state_dict()) == len(control) + len(added)
    state = read.reader.layers["up_2_1"].state_dict()
    prefix = f"up_blocks.2.{'pixel_attentions' if system == 'PASD' else 'attentions'}.1."
    assert all(torch.equal(value, added[prefix + key]) for key, value in state.items())


def test_the_folder_above_is_read_as_well(files, folder, tmp_path_factory):
    """As it is published: the networks lie below the number of a step. Hidden files are left aside."""
    above = tmp_path_factory.mktemp("pasd")
    folder.rename(above / "checkpoint-100000")
    (above / "checkpoint-100000" / "unet" / "._diffusion_pytorch_model.safetensors").write_bytes(b"of a Mac")
    found = find_control([above])
    assert found.format.system == files[0] and not found.missing


def test_the_safe_one_of_two_kinds_of_file_is_taken(files, folder):
    _, control, _ = files
    save_file(control, folder / "controlnet" / "diffusion_pytorch_model.safetensors")
    torch.save(control, folder / "controlnet" / "diffusion_pytorch_model.bin")
    assert find_control([folder]).parts["ControlNet"].suffix == ".safetensors"


def test_the_unet_is_asked_for(folder):
    with pytest.raises(WeightFileError, match=r"its UNet \(pasd/checkpoint-100000/unet/diffusion_.* is missing"):
        read_control([folder / "controlnet"])


def test_the_controlnet_is_asked_for(files, folder):
    with pytest.raises(WeightFileError, match=rf"the UNet of {files[0]} in .* its ControlNet \(.* is missing"):
        read_control([folder / "unet"])


def test_a_plain_unet_beside_the_controlnet_is_refused(plain, folder):
    save_file(plain.state_dict(), folder / "plain.safetensors")
    with pytest.raises(WeightFileError, match=r"plain\.safetensors is not a part of a known restoration control"):
        read_control([folder / "controlnet", folder / "plain.safetensors"])
