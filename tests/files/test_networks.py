"""Files of our own networks describe themselves, load strictly and run nothing."""

import json
import os
import pickle
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vldm_core.errors import SettingsError
from vldm_core.files.networks import NetworkKind
from vldm_core.files.weights import WeightFileError


@dataclass(frozen=True, kw_only=True)
class Shape:
    widths: tuple[int, ...] = (3, 5)
    gain: float | None = None

    def __post_init__(self) -> None:
        if min(self.widths) < 1:
            raise SettingsError("widths must be positive")


class Net(nn.Module):
    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Linear(config.widths[0], config.widths[1])


KIND: NetworkKind[Net] = NetworkKind("test.net", "test network", Net, Shape)
HINTED: NetworkKind[Net] = NetworkKind("test.net", "test network", Net, Shape, hint="or do without")


def test_a_network_comes_back_as_it_was(tmp_path) -> None:
    torch.manual_seed(0)
    network = Net(Shape(widths=(4, 2), gain=0.5))
    KIND.save(network, tmp_path / "a.safetensors")
    KIND.save(network, tmp_path / "b.safetensors")
    back = KIND.load(tmp_path / "a.safetensors")
    assert back.config == network.config and not back.training
    assert torch.equal(back.layer.weight, network.layer.weight)
    assert not any(parameter.requires_grad for parameter in back.parameters())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def _metadata(**changes) -> dict[str, str]:
    return {"test.net": json.dumps({"format": 1, "widths": [4, 2], "gain": None, **changes})}


GOOD = {"layer.weight": torch.zeros(2, 4), "layer.bias": torch.zeros(2)}


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        (GOOD, {}, "is not a test network"),
        (GOOD, _metadata(format=2), "format 2"),
        (GOOD, _metadata(colour="red"), "colour"),
        (GOOD, _metadata(widths=[0, 2]), "makes no sense"),
        (GOOD, {"test.net": "{"}, "makes no sense"),
        (GOOD, {"test.net": "[1]"}, "makes no sense"),
        (GOOD, {"test.net": "[]"}, "format None"),
        (GOOD, {"test.net": "[" * 200_000}, "makes no sense"),
        (GOOD | {"extra": torch.zeros(1)}, _metadata(), "extra"),
        ({"layer.weight": torch.zeros(2, 4)}, _metadata(), "layer.bias"),
        (GOOD | {"layer.weight": torch.full((2, 4), torch.nan)}, _metadata(), "not finite"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, tensors, metadata, message) -> None:
    save_file(tensors, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(WeightFileError, match=f"a.safetensors.*{message}.*the package"):
        KIND.load(tmp_path / "a.safetensors")
    with pytest.raises(WeightFileError, match=f"a.safetensors.*{message}.*the package.*, or do without$"):
        HINTED.load(tmp_path / "a.safetensors")


def test_a_missing_a_cut_off_and_a_pickled_file(tmp_path) -> None:
    for read in (KIND.load, KIND.shared):
        with pytest.raises(WeightFileError, match="is not there; install"):
            read(tmp_path / "none.safetensors")
    with pytest.raises(WeightFileError, match=r"is not there; install.*, or do without$"):
        HINTED.shared(tmp_path / "none.safetensors")
    KIND.save(Net(Shape()), tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-8])
    with pytest.raises(WeightFileError, match="not a readable"):
        KIND.load(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(pickle.dumps(print))
    with pytest.raises(WeightFileError, match="not a readable"):
        KIND.load(tmp_path / "b.safetensors")


def test_a_file_that_is_much_too_large_is_refused_before_it_is_read(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    header = json.dumps({"__metadata__": _metadata(), "layer.weight": _tensor(2 << 30)}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        # A hole, which takes no room.
        file.truncate(8 + len(header) + (8 << 30))
    with pytest.raises(WeightFileError, match=r"a.safetensors does not fit"):
        KIND.load(path)
    with path.open("wb") as file:
        file.truncate(8 << 30)
    with pytest.raises(WeightFileError, match=r"a.safetensors is not a readable"):
        KIND.load(path)


def _tensor(count: int) -> dict:
    return {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}


def test_a_shared_network_is_read_once_and_again_when_its_file_changes(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    KIND.save(Net(Shape()), path)
    first = KIND.shared(path)
    assert KIND.shared(path) is first and HINTED.shared(path) is not first
    KIND.save(Net(Shape(widths=(4, 2))), path)
    os.utime(path, (1, 1))
    assert KIND.shared(path).config == Shape(widths=(4, 2))


def test_who_may_read_a_written_file_is_up_to_the_umask(tmp_path) -> None:
    before = os.umask(0o022)
    try:
        KIND.save(Net(Shape()), tmp_path / "a.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o644
