"""Files of tensors are whole, and readable by whoever may read a new file."""

import os
import stat

import pytest
import torch

from vldm_core.files.tensors import write_tensors
from vldm_core.files.weights import read_contents, read_header


@pytest.fixture(params=[0o022, 0o077])
def mask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="permissions are those of POSIX")
def test_permissions_are_those_of_a_new_file(tmp_path, mask):
    write_tensors({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o666 & ~mask


def test_tensors_in_disorder_and_metadata_are_kept(tmp_path):
    path = tmp_path / "a.safetensors"
    tensor = torch.arange(6.0).reshape(2, 3).T.requires_grad_()
    write_tensors({"a": tensor}, path, {"kind": "test"})
    assert torch.equal(read_contents(path)["a"], tensor)
    assert read_header(path).metadata == {"format": "pt", "kind": "test"}


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"before")
    with pytest.raises(TypeError):
        write_tensors({"a": torch.zeros(2)}, path, {"kind": 3})  # type: ignore[dict-item]
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_same_tensors_give_the_same_bytes(tmp_path):
    metadata = {f'key {number} ü "q"': f"text {number}\n" for number in range(12)}
    for number in range(4):
        write_tensors({"b": torch.ones(3), "a": torch.zeros(2)}, tmp_path / f"{number}.safetensors", metadata)
    assert len({(tmp_path / f"{number}.safetensors").read_bytes() for number in range(4)}) == 1
    header = read_header(tmp_path / "0.safetensors")
    assert dict(header.metadata) == metadata | {"format": "pt"}
    assert torch.equal(read_contents(tmp_path / "0.safetensors")["b"], torch.ones(3))
