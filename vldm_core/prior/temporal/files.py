"""Files of temporal layers: safetensors with the layers' shape in the metadata.

The metadata's key `vldm.temporal_layers` holds the shape as JSON, so a file says by its header alone whether it fits a
UNet. A checkpoint of PyTorch's older format may hold the same text beside its `state_dict`; it is read as plain data.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ...errors import SettingsError
from ...files.tensors import write_tensors
from ...files.weights import WeightFileError, read_contents, read_header, some, tensors_of
from ..unet import UNetView
from .attention import AttentionWindows
from .layers import TemporalConfig, TemporalLayers, check_fit

METADATA_KEY = "vldm.temporal_layers"
FORMAT = 1


def save_temporal_layers(layers: TemporalLayers, path: Path) -> None:
    """Write temporal layers as safetensors."""
    write_tensors(layers.layers.state_dict(), path, {METADATA_KEY: config_text(layers.config)})


def config_text(config: TemporalConfig) -> str:
    """Return the text that describes a shape in a file."""
    return json.dumps({"format": FORMAT, **asdict(config)})


def read_temporal_layers(
    path: Path, view: UNetView | None = None, *, windows: AttentionWindows | None = None, strength: float = 1.0
) -> TemporalLayers:
    """Read temporal layers.

    Args:
        path: A .safetensors file; or .ckpt, .pt or .pth with the description beside the `state_dict`.
        view: The UNet that they must fit; it is checked before any tensor is read. None checks on attaching.
        windows: Attention windows for segments longer than their length; None attends over whole segments.
        strength: Factor on what every layer adds.

    Raises:
        WeightFileError: The file is unreadable, holds something else or layers for another UNet.
        SettingsError: The strength is out of range.
    """
    if path.suffix.lower() == ".safetensors":
        header = read_header(path)
        config = _config(header.metadata, path)
        _check(config, header.shapes, view, path)
        tensors = tensors_of(read_contents(path))
    else:
        contents = read_contents(path)
        config = _config(contents, path)
        tensors = tensors_of(contents)
        _check(config, {key: tuple(tensor.shape) for key, tensor in tensors.items()}, view, path)
    with torch.device("meta"):
        layers = TemporalLayers(config, windows=windows, strength=strength)
    layers.layers.load_state_dict(tensors, assign=True)
    return layers.eval().requires_grad_(False)


def _config(metadata: Mapping[str, Any], path: Path) -> TemporalConfig:
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise WeightFileError(
            f"{path} holds no temporal layers (its metadata lacks {METADATA_KEY!r}); "
            "choose a file that this pack's training wrote"
        )
    try:
        values = dict(json.loads(text))
        version = values.pop("format", None)
        if version != FORMAT:
            raise WeightFileError(
                f"{path} is in format {version!r} of temporal layers, but this version reads {FORMAT}; update the pack"
            )
        convolutions, attentions = (
            tuple((str(name), int(channels)) for name, channels in values.pop(key))
            for key in ("convolutions", "attentions")
        )
        return TemporalConfig(convolutions=convolutions, attentions=attentions, **values)
    except (TypeError, ValueError, KeyError) as error:
        raise WeightFileError(f"{path} describes its temporal layers in a way that makes no sense ({error})") from error


def _check(config: TemporalConfig, shapes: Mapping[str, tuple[int, ...]], view: UNetView | None, path: Path) -> None:
    """Check that a file holds the layers it describes and that they fit the UNet."""
    if view is not None:
        try:
            check_fit(config, view)
        except SettingsError as error:
            raise WeightFileError(f"{path}: {error}") from error
    with torch.device("meta"):
        wanted = {key: tuple(tensor.shape) for key, tensor in TemporalLayers(config).layers.state_dict().items()}
    if missing := sorted(wanted.keys() - shapes.keys()):
        raise WeightFileError(f"{path} lacks {some(missing)}; it is incomplete")
    if unknown := sorted(shapes.keys() - wanted.keys()):
        raise WeightFileError(f"{path} holds {some(unknown)}, which its description does not name")
    if wrong := sorted(key for key in wanted if wanted[key] != shapes[key]):
        raise WeightFileError(f"{path} has {shapes[wrong[0]]} for {wrong[0]}; its description says {wanted[wrong[0]]}")
