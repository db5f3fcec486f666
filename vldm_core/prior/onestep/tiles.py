"""Tiles over a large latent as the published one-step restorers lay them.

The prediction is averaged over the tiles, not the result. All tiles are squares of one size; latents with no more
pixels than a tile pass whole, even where one side is longer. A tile counts by a bell,
exp(-(x - m)² / (2 · 0.01 · side²)) / sqrt(2 π · 0.01).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import SettingsError
from ...sampling.regions.tiles import Tile, symmetric_gaussian

# As published: variance of the bell in units of the squared side.
_VARIANCE = 0.01
_UNET_FACTOR = 8


@dataclass(frozen=True, kw_only=True)
class PublishedTiles:
    """How a latent is parted.

    Attributes:
        size: Side of a tile in latent pixels, a multiple of 8, by which the UNet shrinks.
        overlap: Latent pixels that tiles share, 0 … size - 1.
        low: Whether the bell stands half a row below the middle, as several of the programs have it; a picture then
            depends on which way up it is.
    """

    size: int = 96
    overlap: int = 32
    low: bool = False

    def __post_init__(self) -> None:
        if self.size < _UNET_FACTOR or self.size % _UNET_FACTOR:
            raise SettingsError(
                f"tile size is {self.size} latent pixels; use a multiple of {_UNET_FACTOR}, {_UNET_FACTOR} or more"
            )
        if not 0 <= self.overlap < self.size:
            raise SettingsError(f"tile overlap is {self.overlap}; with size {self.size} use 0 … {self.size - 1}")

    def plan(self, height: int, width: int) -> tuple[Tile, ...]:
        """Lay tiles over a latent, row by row; the last of a row or column is flush with the edge.

        Args:
            height: Latent rows.
            width: Latent columns.
        """
        if height * width <= self.size**2:
            return (Tile(0, 0, height, width),)
        side = min(self.size, height, width)
        # A strip that is narrower than the overlap has tiles that share half of them; the programs fail there.
        hop = side - min(self.overlap, side // 2)
        return tuple(
            Tile(top, left, side, side) for top in _starts(height, side, hop) for left in _starts(width, side, hop)
        )

    def weights(self, tile: Tile) -> Tensor:
        """Return how much each pixel of a tile counts: (height, width) float64, above 0, not normalised."""
        if not self.low:
            return symmetric_gaussian(tile.width, tile.height)
        return _bell(tile.height, tile.height / 2)[:, None] * _bell(tile.width, (tile.width - 1) / 2)[None, :]


def _starts(length: int, side: int, hop: int) -> list[int]:
    starts = list(range(0, max(1, length - side), hop))
    return [*starts, length - side] if starts[-1] + side < length else starts


def _bell(count: int, middle: float) -> Tensor:
    distance = (torch.arange(count, dtype=torch.float64) - middle) / count
    return torch.exp(-distance.square() / (2 * _VARIANCE)) / math.sqrt(2 * math.pi * _VARIANCE)
