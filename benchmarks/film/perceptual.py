"""Figures of what eyes see: XPSNR, from FFmpeg's filter, and ST-LPIPS, from a package that need not be there."""

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray

_FILTER = "xpsnr"
_VALUE = "lavfi.xpsnr.xpsnr.y"
_RATE = Fraction(24)

_UNDECLARED = {"torchsummary": "summary", "IPython": "embed"}
"""Modules that ST-LPIPS imports without declaring or using them, and the name that it wants of each."""

_LOOKS = 2
"""Frames of a film that the network looks at, evenly spread: it takes a processor seconds for a whole frame."""

_WINDOW = 256
"""Pixels on each side, at most, of the middle of the frame that it looks at."""

Frames = NDArray[np.uint8]


def has_xpsnr() -> bool:
    """Tell whether the FFmpeg of this PyAV has the filter."""
    return _FILTER in av.filter.filters_available


def xpsnr(output: Frames, truth: Frames) -> float | None:
    """Return the mean perceptually weighted PSNR (Helmrich et al. 2020), dB, or None without the filter.

    Args:
        output: (T, H, W) uint8.
        truth: Same shape.
    """
    if not has_xpsnr():
        return None
    graph = av.filter.Graph()
    height, width = truth.shape[1:]
    inputs = [graph.add_buffer(width=width, height=height, format="gray", time_base=1 / _RATE) for _ in range(2)]
    compare, sink = graph.add(_FILTER), graph.add("buffersink")
    inputs[0].link_to(compare, 0, 0)
    inputs[1].link_to(compare, 0, 1)
    compare.link_to(sink)
    graph.configure()
    for index, pictures in enumerate(zip(truth, output, strict=True)):
        for source, picture in zip(inputs, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")
            frame.pts, frame.time_base = index, 1 / _RATE
            source.push(frame)
    for source in inputs:
        source.push(None)
    values = [float(frame.metadata[_VALUE]) for frame in _pulled(graph)]
    known = [value for value in values if np.isfinite(value)]
    # Equal frames have no finite figure.
    return float(np.mean(known)) if known else None


def _pulled(graph: Any) -> Iterator[Any]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Put empty modules in the place of those that ST-LPIPS imports and has no use for."""
    missing = [name for name in _UNDECLARED if importlib.util.find_spec(name) is None]
    for name in missing:
        module = types.ModuleType(name)
        setattr(module, _UNDECLARED[name], None)
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


@cache
def _distance() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None:
    try:
        with _stand_ins():
            module = importlib.import_module("stlpips_pytorch.stlpips")
    except (ImportError, RuntimeError):
        # RuntimeError: a torchvision that does not fit torch.
        return None
    network: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = module.LPIPS(
        net="alex", variant="shift_tolerant", verbose=False
    )
    return network


def has_st_lpips() -> bool:
    """Tell whether ST-LPIPS is installed and can be imported."""
    return _distance() is not None


def st_lpips(output: Frames, truth: Frames) -> float | None:
    """Return the shift-tolerant perceptual distance (Ghildyal and Liu 2022), or None where it is not installed.

    It is the mean over a few frames, of the middle of the picture.

    Args:
        output: (T, H, W) uint8.
        truth: Same shape.
    """
    distance = _distance()
    if distance is None:
        return None
    looked = np.linspace(0, len(truth) - 1, _LOOKS + 2).round().astype(int)[1:-1]
    height, width = truth.shape[1:]
    top, left = max(0, (height - _WINDOW) // 2), max(0, (width - _WINDOW) // 2)
    window = (looked, slice(top, top + _WINDOW), slice(left, left + _WINDOW))
    with torch.inference_mode():
        return float(distance(_scaled(output[window]), _scaled(truth[window])).mean())


def _scaled(frames: Frames) -> torch.Tensor:
    """Return frames as the network takes them: (T, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(frames.astype(np.float32) / 127.5 - 1)[:, None].expand(-1, 3, -1, -1)
