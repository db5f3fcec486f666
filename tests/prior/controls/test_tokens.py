"""Saved embeddings are read and given to frames."""

import pytest
import torch
from safetensors.torch import save_file

from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.tokens import read_tokens


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_one_tensor(tmp_path):
    path = tmp_path / "tokens.safetensors"
    whole = random(3, 5, 8)
    save_file({"embedding": whole.half()}, path)
    found = read_tokens(path)
    assert found.dtype == torch.float32
    assert torch.equal(found, whole.half().float())
    save_file({"embedding": whole[0].contiguous()}, path)
    assert torch.equal(read_tokens(path), whole[:1])


@pytest.mark.parametrize("name", ["{}", "shot.{}", "frame_{}", "v2.frame{}.embedding"])
def test_a_tensor_for_each_picture_in_the_order_of_the_numbers(tmp_path, name):
    whole = random(12, 5, 8)
    save_file({name.format(i): whole[i].clone() for i in reversed(range(12))}, tmp_path / "tokens.safetensors")
    assert torch.equal(read_tokens(tmp_path / "tokens.safetensors"), whole)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "holds no tensor"),
        ({"0": random(5)}, r"holds 0 \(5,\); embeddings are \(tokens, channels\)"),
        ({"0": random(5, 8), "1": random(2, 5, 8)}, r"holds 1 \(2, 5, 8\)"),
        ({"0": torch.zeros(5, 8, dtype=torch.int64)}, "of finite numbers"),
        ({"0": torch.full((5, 8), float("nan"))}, "of finite numbers"),
        ({"0": random(5, 8), "1": random(6, 8)}, "different sizes"),
        ({"0": random(5, 8), "2": random(5, 8)}, "number 0, 2; number them from 0 on"),
        ({"a": random(5, 8), "b": random(5, 8)}, "a, b say no shot or frame"),
    ],
)
def test_what_is_something_else_is_refused(tmp_path, tensors, message):
    save_file(tensors, tmp_path / "tokens.safetensors")
    with pytest.raises(WeightFileError, match=message):
        read_tokens(tmp_path / "tokens.safetensors")


def test_a_pickle_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(WeightFileError, match=r"does not end in \.safetensors"):
        read_tokens(tmp_path / "tokens.pt")
    with pytest.raises(WeightFileError, match="does not exist"):
        read_tokens(tmp_path / "tokens.safetensors")
