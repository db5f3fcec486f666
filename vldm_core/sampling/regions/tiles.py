"""Tiles over a latent: frames larger than the network was made for, or than the memory holds.

A frame is denoised tile by tile and the predictions are averaged at every step with weights that fall towards the edge
of a tile (MultiDiffusion, arXiv:2302.08113; Mixture of Diffusers, arXiv:2302.02412). Sizes are in latent pixels; a
latent pixel is 8 picture pixels.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ...errors import SettingsError
from .windows import flush_starts, radical_inverse

WEIGHTS = ("gaussian", "hann", "uniform")
# Variance of the published Gaussian, in units of the squared side.
_VARIANCE = 0.01
_UNET_FACTOR = 8


@dataclass(frozen=True, kw_only=True)
class TileSettings:
    """How a frame is cut into tiles.

    Attributes:
        size: Side of a tile in latent pixels, a multiple of 8, which is by how much the UNet shrinks. 64 is the
            512-pixel picture Stable Diffusion was trained on. A frame that is smaller than a tile in one direction
            has tiles of its own size there.
        overlap: Latent pixels that a tile shares with the next, 0 … size - 1.
        weight: How a pixel counts in the mean over the tiles that hold it. "gaussian": the published bell, almost
            all from the middle of a tile; "hann": a raised cosine, which crosses over more evenly; "uniform": the
            same everywhere.
        move: Shift the grid from step to step, so that no seam stays in one place.
    """

    size: int = 64
    overlap: int = 16
    weight: Literal["gaussian", "hann", "uniform"] = "gaussian"
    move: bool = False

    def __post_init__(self) -> None:
        if self.size < _UNET_FACTOR or self.size % _UNET_FACTOR:
            raise SettingsError(f"tile size is {self.size} latent pixels; use a multiple of {_UNET_FACTOR}")
        if not 0 <= self.overlap < self.size:
            raise SettingsError(f"tile overlap is {self.overlap}; with size {self.size} use 0 … {self.size - 1}")
        if self.weight not in WEIGHTS:
            raise SettingsError(f"tile weight is {self.weight!r}; use one of {', '.join(WEIGHTS)}")


class Tile(NamedTuple):
    """A rectangle of a latent, in latent pixels."""

    top: int
    left: int
    height: int
    width: int


def plan_tiles(height: int, width: int, settings: TileSettings, step: int = 0) -> tuple[Tile, ...]:
    """Lay tiles over a frame.

    All tiles have the same size; those at the edges are flush with them.

    Args:
        height: Latent rows.
        width: Latent columns.
        settings: How to lay them.
        step: 0-based index of the sampling step; decides where a moving grid begins.

    Returns:
        Tiles row by row.

    Raises:
        SettingsError: A side is below 1 or `step` below 0.
    """
    if height < 1 or width < 1:
        raise SettingsError(f"cannot lay tiles over a latent of {height} × {width}; each side has 1 pixel or more")
    hop = settings.size - settings.overlap
    # Coprime bases: rows and columns move independently (Halton's sequence).
    down = int(radical_inverse(step, 2) * hop) if settings.move else 0
    across = int(radical_inverse(step, 3) * hop) if settings.move else 0
    tile_height, tile_width = min(height, settings.size), min(width, settings.size)
    tops = flush_starts(height, tile_height, min(hop, tile_height), min(down, tile_height - 1))
    lefts = flush_starts(width, tile_width, min(hop, tile_width), min(across, tile_width - 1))
    return tuple(Tile(top, left, tile_height, tile_width) for top in tops for left in lefts)


def symmetric_gaussian(width: int, height: int) -> Tensor:
    """Return the tile weights that DiffBIR, StableSR, PASD and SeeSR share, with their peak in the middle both ways.

    exp(-(x - m)² / (2 · 0.01 · side²)) / √(2π · 0.01), with m in the middle. The published systems take m = height / 2
    down, half a pixel too low: with their table the last row of a 64-pixel tile counts 2.2 times what the first does
    (19 times with 16 pixels), so the picture depends on which way up it is. This one gives the flipped result for the
    flipped frame.

    Args:
        width: Columns.
        height: Rows.

    Returns:
        (height, width) float64.
    """
    return _bell(height, (height - 1) / 2)[:, None] * _bell(width, (width - 1) / 2)[None, :]


def hann_weights(width: int, height: int) -> Tensor:
    """Return a raised cosine sampled at pixel centres, so that it never reaches 0.

    Tiles that overlap by half sum to 1 everywhere.

    Args:
        width: Columns.
        height: Rows.

    Returns:
        (height, width) float64.
    """

    def arch(count: int) -> Tensor:
        return ((torch.arange(count, dtype=torch.float64) + 0.5) * (math.pi / count)).sin().square()

    return arch(height)[:, None] * arch(width)[None, :]


def tile_weights(tile: Tile, settings: TileSettings) -> Tensor:
    """Say how much each pixel of a tile counts in the mean over tiles.

    Args:
        tile: Only its size matters.
        settings: `weight`.

    Returns:
        (height, width) float64, above 0, not normalised.
    """
    if settings.weight == "hann":
        return hann_weights(tile.width, tile.height)
    if settings.weight == "gaussian":
        return symmetric_gaussian(tile.width, tile.height)
    return torch.ones(tile.height, tile.width, dtype=torch.float64)


def _bell(count: int, middle: float) -> Tensor:
    distance = (torch.arange(count, dtype=torch.float64) - middle) / count
    return torch.exp(-distance.square() / (2 * _VARIANCE)) / math.sqrt(2 * math.pi * _VARIANCE)
