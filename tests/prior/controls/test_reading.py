"""Files of published systems are told, read, and refused with a list."""

import pytest
import torch
from safetensors.torch import save_file

from tests.hostile import Hostile
from tests.oracles import load_oracle
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.diffbir.branch import DiffBirControl
from vldm_core.prior.controls.reading import find_control, read_control

BRANCH = {"input_blocks.0.0.weight": torch.zeros(32, 8, 3, 3), "middle_block_out.0.weight": torch.zeros(8, 8, 1, 1)}


def saved(path, tensors):
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"state_dict": {f"module.{key}": value for key, value in tensors.items()}}, path)
    return path


@pytest.mark.parametrize("name", ["control.safetensors", "control.pth"])
@pytest.mark.parametrize("prefix", ["", "control_model."])
def test_diffbir(tmp_path, name, prefix):
    weights = load_oracle("diffbir_control").weights("control")
    beside = {"model.diffusion_model.out.2.bias": torch.zeros(4), "betas": torch.zeros(10)} if prefix else {}
    path = saved(tmp_path / name, {prefix + key: value for key, value in weights.items()} | beside)
    found = find_control([path])
    assert found.format.system == "DiffBIR"
    assert not found.missing
    control = read_control([path], heads=(2, 4, 8, 8))
    assert isinstance(control, DiffBirControl)
    state = control.branch.state_dict()
    assert all(torch.equal(state[key], value) for key, value in weights.items())


def test_another_file_is_refused(tmp_path):
    path = saved(tmp_path / "other.safetensors", {"something": torch.zeros(3)})
    with pytest.raises(WeightFileError, match="is not a part of a known restoration control"):
        find_control([path])


def test_two_files_of_the_same_part_are_refused_as_such(tmp_path):
    """Two versions of a system, or a network in single and in half precision beside each other."""
    paths = [saved(tmp_path / name, BRANCH) for name in ("v1.safetensors", "v2.safetensors")]
    for given in (paths, [tmp_path]):
        with pytest.raises(WeightFileError, match=r"v1.* and .*v2.* both hold the control branch of DiffBIR; give one"):
            find_control(given)
    assert find_control([paths[0], paths[0]]).parts == {"control branch": paths[0]}


def test_an_incomplete_file_is_refused_with_a_list(tmp_path):
    path = saved(tmp_path / "control.safetensors", BRANCH)
    with pytest.raises(WeightFileError, match="missing"):
        read_control([path])


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(WeightFileError, match="holds no weight file"):
        find_control([tmp_path])


@pytest.mark.parametrize("name", ["control.pth", "diffusion_pytorch_model.bin"])
def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path, name):
    mark = tmp_path / "ran"
    torch.save({**BRANCH, "x": Hostile(mark)}, tmp_path / name)
    with pytest.raises(WeightFileError, match="may run code"):
        find_control([tmp_path / name])
    assert not mark.exists()
