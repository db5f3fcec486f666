"""Features: numbers that say what a frame or a text shows, so that likeness can be measured.

Whatever makes them is passed in as a callable: CLIP from a local folder (:mod:`.clip`), the host's CLIP Vision, a VAE,
or, where there is no model at all, :func:`look_features`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from ...errors import SettingsError
from ...progress import Progress, silent

CHUNK = 8
"""Frames given to an encoder at once."""

_LAYOUT = 8
_CELLS = 4
_ORIENTATIONS = 8
# Luma of Rec. 709 with the primaries of sRGB.
_LUMA = (0.2126, 0.7152, 0.0722)
# Colour differences are small against luma; with these weights a change of place, hue or structure counts alike.
_WEIGHTS = {"light": 1.0, "colour": 4.0, "structure": 1.0}
# Below this deviation of luma, 0 … 1, a picture is taken for blank and its noise is not stretched to a picture.
_BLANK = 0.02


class FrameEncoder(Protocol):
    """Makes features of frames."""

    def __call__(self, frames: Tensor) -> Tensor:
        """Encode a few frames.

        Args:
            frames: (T, 3, H, W), RGB, [0, 1].

        Returns:
            (T, D), float. Lengths do not matter, directions do.
        """
        ...


class TextEncoder(Protocol):
    """Makes features of texts, in the space of a frame encoder."""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Encode texts; return (N, D), each of length 1."""
        ...


def encode_frames(
    frames: Iterable[Tensor],
    encoder: FrameEncoder,
    *,
    chunk: int = CHUNK,
    total: int | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Encode a stream of frames, holding `chunk` of them at a time.

    Args:
        frames: (3, H, W) each, or one tensor (T, 3, H, W).
        encoder: What makes the features.
        chunk: Frames per call.
        total: Number of frames, for the progress, where known.
        progress: Called per chunk.

    Returns:
        (T, D) float32 on the CPU, each of length 1; (0, 0) where there is no frame.

    Raises:
        SettingsError: The encoder gave another layout, or values that are not finite.
    """
    if chunk < 1:
        raise SettingsError(f"chunk is {chunk}; use 1 frame or more")
    source, found, done = iter(frames), [], 0
    while part := list(islice(source, chunk)):
        count, together = len(part), torch.stack(part).float()
        # Not held while the next ones are read.
        part.clear()
        found.append(checked_features(encoder(together), count))
        done += count
        progress("look at frames", done, total)
    return torch.cat(found) if found else torch.zeros(0, 0)


def checked_features(features: Tensor, count: int) -> Tensor:
    """Check features and bring them to (T, D) float32 on the CPU, each of length 1; features of zero stay zero.

    Raises:
        SettingsError: The layout is another, or there are values that are not finite.
    """
    features = features.detach().float().cpu()
    if features.ndim != 2 or len(features) != count or features.shape[1] < 1:
        raise SettingsError(f"an encoder gave features {tuple(features.shape)} for {count} inputs; it must give (T, D)")
    if not bool(torch.isfinite(features).all()):
        raise SettingsError("an encoder gave features that are NaN or infinite; use another model or float32")
    return normalize(features, dim=1)


def look_features(frames: Tensor) -> Tensor:
    """Describe how frames look, without any model: layout of light and colour, and of the directions of edges.

    Brightness and contrast of the whole frame are taken out, so flicker changes little. The parts are a small picture
    of luma and of two colour differences (8×8), and histograms of edge directions in 4×4 cells weighted by the
    strength of the edges, as in histograms of oriented gradients (Dalal and Triggs, CVPR 2005).

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].

    Returns:
        (T, 320) float32.
    """
    frames = frames.float()
    red, green, blue = frames.unbind(1)
    luma = sum(weight * plane for weight, plane in zip(_LUMA, (red, green, blue), strict=True))
    assert isinstance(luma, Tensor)
    small = adaptive_avg_pool2d(torch.stack([luma, red - luma, blue - luma], 1), _LAYOUT)
    light = small[:, 0].flatten(1)
    light = light - light.mean(1, keepdim=True)
    light = light / light.square().mean(1, keepdim=True).sqrt().clamp_min(_BLANK) / _LAYOUT
    colour = small[:, 1:].flatten(1) / _LAYOUT
    parts = {"light": light, "colour": colour, "structure": _edge_layout(luma)}
    return torch.cat([_WEIGHTS[name] * part for name, part in parts.items()], 1)


def _edge_layout(luma: Tensor) -> Tensor:
    """Histograms of edge directions per cell, (T, cells² · orientations), of length 1 where there is any edge."""
    # Small enough that grain is averaged out, large enough that directions are left.
    side = _CELLS * 16
    picture = adaptive_avg_pool2d(luma[:, None], side)[:, 0]
    across = picture[:, 1:-1, 2:] - picture[:, 1:-1, :-2]
    down = picture[:, 2:, 1:-1] - picture[:, :-2, 1:-1]
    strength = (across.square() + down.square()).sqrt()
    # An edge has no sign: light to dark is the same direction as dark to light.
    angle = torch.atan2(down, across).remainder(math.pi) * (_ORIENTATIONS / math.pi)
    bins = angle.long().clamp_max(_ORIENTATIONS - 1)
    layers = strength.new_zeros(len(luma), _ORIENTATIONS, *strength.shape[1:])
    layers = layers.scatter(1, bins[:, None], strength[:, None])
    pooled = adaptive_avg_pool2d(layers, _CELLS).flatten(1)
    return pooled / (pooled.norm(dim=1, keepdim=True) + _BLANK)


def pooled_latents(latents: Tensor) -> Tensor:
    """Describe frames by their VAE latents: mean and spread in 4×4 cells.

    Args:
        latents: (T, C, h, w).

    Returns:
        (T, C · 32) float32.

    Raises:
        SettingsError: The latents have another layout.
    """
    if latents.ndim != 4 or 0 in latents.shape:
        raise SettingsError(f"latents must be (T, C, h, w), got {tuple(latents.shape)}")
    latents = latents.float()
    mean = adaptive_avg_pool2d(latents, _CELLS)
    spread = (adaptive_avg_pool2d(latents.square(), _CELLS) - mean.square()).clamp_min(0).sqrt()
    return torch.cat([mean.flatten(1), spread.flatten(1)], 1)


class LatentEncoder:
    """A `FrameEncoder` by the latents of a VAE, for key frames where there is no CLIP.

    Args:
        encode: Frames (T, 3, H, W) in [0, 1] to latents (T, C, h, w).
    """

    def __init__(self, encode: Callable[[Tensor], Tensor]) -> None:
        self._encode = encode

    def __call__(self, frames: Tensor) -> Tensor:
        """Encode a few frames."""
        return pooled_latents(self._encode(frames))


def batches(texts: Sequence[str], size: int = 64) -> Iterator[Sequence[str]]:
    """Divide texts into parts that an encoder takes at once."""
    for first in range(0, len(texts), size):
        yield texts[first : first + size]
