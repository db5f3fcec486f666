"""Temporal layers in files: exact round trips, and clear words about every other file."""

import json

import pytest
import torch
from safetensors.torch import save_file

from vldm_core.files.weights import WeightFileError
from vldm_core.prior.temporal import files as temporal_files
from vldm_core.prior.temporal.attention import AttentionWindows
from vldm_core.prior.temporal.files import METADATA_KEY, config_text, read_temporal_layers, save_temporal_layers
from vldm_core.prior.temporal.layers import TemporalConfig, TemporalLayers
from vldm_core.prior.unet import UNetView

from ...testers import survives_its_file
from ..tiny_models import tiny_unet

CONFIG = TemporalConfig(
    convolutions=(("down.0.0.res", 32),), attentions=(("down.0.0.attn", 32),), heads=4, kernel=5, max_distance=7
)


def random_layers(config: TemporalConfig = CONFIG) -> TemporalLayers:
    layers = TemporalLayers(config)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.normal_()
    return layers


def same(a: TemporalLayers, b: TemporalLayers) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_round_trip(tmp_path, dtype) -> None:
    layers = random_layers().to(dtype)
    path = tmp_path / "temporal.safetensors"
    windows = AttentionWindows(length=8)
    again = survives_its_file(
        layers, save_temporal_layers, lambda path: read_temporal_layers(path, windows=windows, strength=0.5), path
    )
    assert again.windows == windows and again.strength == 0.5
    assert not any(p.requires_grad for p in again.parameters())
    description = json.loads(temporal_files.read_header(path).metadata[METADATA_KEY])
    assert description["format"] == 1 and description["kernel"] == 5


def test_round_trip_of_a_whole_unet(tmp_path) -> None:
    view = UNetView(tiny_unet())
    layers = random_layers(TemporalConfig.for_unet(view))
    path = tmp_path / "temporal.safetensors"
    save_temporal_layers(layers, path)
    assert same(read_temporal_layers(path, view), layers)


def test_checkpoints_of_the_older_format(tmp_path) -> None:
    layers = random_layers()
    path = tmp_path / "temporal.ckpt"
    torch.save({METADATA_KEY: config_text(CONFIG), "state_dict": layers.layers.state_dict()}, path)
    assert same(read_temporal_layers(path), layers)
    torch.save({"state_dict": layers.layers.state_dict()}, path)
    with pytest.raises(WeightFileError, match="no temporal layers"):
        read_temporal_layers(path)
    torch.save({METADATA_KEY: config_text(CONFIG), "state_dict": {}, "extra": object}, path)
    with pytest.raises(WeightFileError, match="refused"):
        read_temporal_layers(path)


def tensors() -> dict[str, torch.Tensor]:
    return dict(random_layers().layers.state_dict())


DESCRIPTION = json.loads(config_text(CONFIG))
SMALLER = {key: tensor for key, tensor in tensors().items() if not key.endswith("conv2.bias")}
OTHER_SHAPE = tensors() | {"down_0_0_res.layer.conv2.bias": torch.zeros(7)}


@pytest.mark.parametrize(
    ("description", "state", "message"),
    [
        (None, tensors(), "no temporal layers"),
        ("{", tensors(), "no sense"),
        ("[]", tensors(), "None"),
        (DESCRIPTION | {"format": 2}, tensors(), "format 2"),
        (DESCRIPTION | {"heads": 5}, tensors(), "5 heads"),
        (DESCRIPTION | {"colour": "red"}, tensors(), "colour"),
        (DESCRIPTION | {"convolutions": [["a"]]}, tensors(), "no sense"),
        ({"format": 1}, tensors(), "convolutions"),
        (DESCRIPTION, SMALLER, "lacks down_0_0_res.layer.conv2.bias"),
        (DESCRIPTION, tensors() | {"more": torch.zeros(1)}, "holds more"),
        (DESCRIPTION, OTHER_SHAPE, r"\(7,\) for down_0_0_res.layer.conv2.bias"),
    ],
)
def test_other_files_are_refused_by_their_header(tmp_path, monkeypatch, description, state, message) -> None:
    path = tmp_path / "file.safetensors"
    text = description if isinstance(description, str) or description is None else json.dumps(description)
    save_file(state, path, metadata={} if text is None else {METADATA_KEY: text})
    monkeypatch.setattr(temporal_files, "read_contents", lambda path: pytest.fail("tensors were read"))
    with pytest.raises(WeightFileError, match=message):
        read_temporal_layers(path)


def test_another_unet_is_refused_by_the_header(tmp_path, monkeypatch) -> None:
    path = tmp_path / "temporal.safetensors"
    save_temporal_layers(random_layers(), path)
    monkeypatch.setattr(temporal_files, "read_contents", lambda path: pytest.fail("tensors were read"))
    wider = UNetView(tiny_unet(block_out_channels=(64, 64, 64, 64)))
    with pytest.raises(WeightFileError, match="32 channels, but the UNet has 64"):
        read_temporal_layers(path, wider)


def test_files_that_are_none(tmp_path) -> None:
    for name, message in (("a.safetensors", "does not exist"), ("a.onnx", "does not end")):
        with pytest.raises(WeightFileError, match=message):
            read_temporal_layers(tmp_path / name)
    (tmp_path / "b.safetensors").write_bytes(b"no header")
    with pytest.raises(WeightFileError, match="readable"):
        read_temporal_layers(tmp_path / "b.safetensors")
