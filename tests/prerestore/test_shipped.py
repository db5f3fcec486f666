"""Pre-restorers from files: read once, onto a device and in a precision, with clear errors."""

import pytest
import torch
from safetensors.torch import save_file

from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.prerestore.network import KIND, PreRestorer
from vldm_core.prerestore.shipped import SHIPPED, PreRestoration, load_prerestorer

from .test_network import trained


@pytest.fixture
def weights(tmp_path):
    KIND.save(trained(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def test_what_ships_is_small_and_ready(monkeypatch) -> None:
    network = load_prerestorer(PreRestoration(device="cpu"))
    assert network is load_prerestorer(PreRestoration(device="cpu", weights=SHIPPED))
    assert sum(parameter.numel() for parameter in network.parameters()) <= 2_000_000
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_a_file_is_read_once_until_it_changes(weights, monkeypatch) -> None:
    loads = []
    real = KIND.load
    monkeypatch.setattr(KIND, "load", lambda path: loads.append(path) or real(path))
    chosen = PreRestoration(weights=str(weights), device="cpu")
    first = load_prerestorer(chosen)
    assert load_prerestorer(PreRestoration(weights=weights, device="cpu", strength=0.5)) is first
    half = load_prerestorer(PreRestoration(weights=weights, device="cpu", precision="bfloat16"))
    assert half is not first and {p.dtype for p in half.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in first.parameters()} == {torch.float32}
    assert len(loads) == 2
    other: PreRestorer = trained()
    torch.nn.init.ones_(other.stem.weight)
    KIND.save(other, weights)
    assert torch.equal(load_prerestorer(chosen).stem.weight, other.stem.weight)


def test_what_cannot_be_used_is_named(tmp_path, weights) -> None:
    with pytest.raises(WeightFileError, match=r"none\.safetensors is not there"):
        load_prerestorer(PreRestoration(weights=tmp_path / "none.safetensors"))
    save_file({"x": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightFileError, match="is not a pre-restorer"):
        load_prerestorer(PreRestoration(weights=tmp_path / "other.safetensors"))
    (tmp_path / "torn.safetensors").write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(WeightFileError, match="not a readable safetensors file"):
        load_prerestorer(PreRestoration(weights=tmp_path / "torn.safetensors"))
    with pytest.raises(SettingsError, match="device 'tpu'"):
        load_prerestorer(PreRestoration(device="tpu"))
