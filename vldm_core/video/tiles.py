"""Decode large pictures in tiles, with one layout of tiles and a crossfade.

The picture is divided into the fewest tiles that respect the largest size, all of the same size. Along each inner
border two tiles overlap; there they are mixed with raised-cosine weights that sum to 1. A *halo* of further latents
around each tile is decoded and thrown away, because a convolution at the border of a tile sees padding instead of the
picture. If one tile covers the picture the VAE is called once and nothing is mixed.

What a crossfade cannot hide: the group norms and the attention of an SD VAE take their statistics over the whole tile,
so tiles of different content come out slightly different in tone. The difference fades over the overlap instead of
ending at a seam, but it is there; it is the smaller the larger the tiles are. Untiled decoding has none of it.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SettingsError

Decode = Callable[[Tensor], Tensor]
"""Latents (T, C, h, w) to pictures (T, C', h · s, w · s), for one whole factor s."""

SMALLEST_TILE = 16
"""Latent pixels below which a tile is mostly border."""


@dataclass(frozen=True, kw_only=True)
class PictureTileSettings:
    """How a picture is divided.

    Attributes:
        size: Largest side of a tile in latent pixels, halo and overlap included; 16 or more. A latent pixel is 8 pixels
            of the picture.
        overlap: Latent pixels over which neighbouring tiles are crossfaded, 0 or more.
        halo: Latent pixels decoded beyond that on each side and thrown away, 0 or more.
    """

    size: int = 64
    overlap: int = 4
    halo: int = 1

    def __post_init__(self) -> None:
        if self.size < SMALLEST_TILE:
            raise SettingsError(f"decode tile size is {self.size}; use {SMALLEST_TILE} latent pixels or more")
        if self.overlap < 0 or self.halo < 0:
            raise SettingsError(f"decode tile overlap and halo are {self.overlap} and {self.halo}; use 0 or more")
        if self.size <= 2 * (self.overlap + self.halo):
            raise SettingsError(
                f"a decode tile of {self.size} has no room for overlap {self.overlap} and halo {self.halo} on both "
                "sides; use larger tiles or less overlap"
            )


@dataclass(frozen=True, kw_only=True)
class TileSpan:
    """One tile along one axis, in latent pixels; ends are exclusive.

    Attributes:
        start: First pixel that is decoded.
        first: First pixel that is kept, crossfade included.
        last: End of the kept pixels.
        stop: End of the decoded pixels.
    """

    start: int
    first: int
    last: int
    stop: int


def plan_spans(length: int, settings: PictureTileSettings) -> tuple[TileSpan, ...]:
    """Divide one axis.

    The decoded spans are the fewest that respect the size, differ by one pixel at most beside the border of the
    picture, and overlap by no more than overlap and halo, so nothing is decoded twice without need; by less where three
    would meet in one pixel.

    Args:
        length: Latent pixels along the axis, 1 or more.
        settings: Largest tile, overlap and halo.

    Raises:
        SettingsError: The axis is empty.
    """
    if length < 1:
        raise SettingsError(f"cannot divide {length} latent pixels into tiles; pass latents that are not empty")
    if length <= settings.size:
        return (TileSpan(start=0, first=0, last=length, stop=length),)
    for overlap in range(settings.overlap, -1, -1):
        shared = overlap + 2 * settings.halo
        # n tiles of one size that share `shared` pixels with each neighbour cover n·size − (n − 1)·shared pixels.
        count = math.ceil((length - shared) / (settings.size - shared))
        covered = length + (count - 1) * shared
        sizes = [covered * (index + 1) // count - covered * index // count for index in range(count)]
        # Tiles of even size may come out so small that three would meet; with less overlap they do not.
        if count < 3 or min(sizes) >= 2 * (overlap + settings.halo):
            break
    spans, start = [], 0
    for index, size in enumerate(sizes):
        stop = start + size
        spans.append(
            TileSpan(
                start=start,
                first=start + (settings.halo if index else 0),
                last=stop - (settings.halo if index < count - 1 else 0),
                stop=stop,
            )
        )
        start = stop - shared
    return tuple(spans)


def span_weights(spans: Sequence[TileSpan], index: int, scale: int) -> Tensor:
    """Return the weights of one span's kept pixels of the picture; those of all spans sum to 1 everywhere.

    Args:
        spans: The plan of the axis.
        index: Which span.
        scale: Pixels of the picture per latent pixel.

    Returns:
        ((last − first) · scale,) float32, 0 < w ≤ 1.
    """
    span = spans[index]
    weights = torch.ones((span.last - span.first) * scale)
    if index:
        ramp = _ramp((spans[index - 1].last - span.first) * scale)
        weights[: len(ramp)] = ramp
    if index < len(spans) - 1:
        ramp = _ramp((span.last - spans[index + 1].first) * scale)
        weights[len(weights) - len(ramp) :] = 1 - ramp
    return weights


def _ramp(length: int) -> Tensor:
    """Raised cosine from 0 to 1, sampled at pixel centres, (length,)."""
    return 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(length) + 0.5) / max(length, 1))


def decoded_share(height: int, width: int, settings: PictureTileSettings) -> float:
    """Return how many latent pixels are decoded per latent pixel of the picture; 1 when one tile covers it."""
    rows, columns = (sum(s.stop - s.start for s in plan_spans(side, settings)) for side in (height, width))
    return rows * columns / (height * width)


def tiled(decode: Decode, settings: PictureTileSettings) -> Decode:
    """Return a decoder that calls another one tile by tile.

    Args:
        decode: Enlarges latents by a whole factor, the same down and across.
        settings: Tiles.

    Returns:
        A decoder with the same result up to what the tiles cost (see the module). When one tile covers the picture it
        calls ``decode`` exactly once, with the latents as they are.
    """

    def run(latents: Tensor) -> Tensor:
        height, width = latents.shape[-2:]
        rows, columns = plan_spans(height, settings), plan_spans(width, settings)
        if len(rows) == len(columns) == 1:
            return decode(latents)
        result: Tensor | None = None
        for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
            tile = decode(latents[..., row.start : row.stop, column.start : column.stop])
            scale = _scale(tile, row, column)
            if result is None:
                result = tile.new_zeros((*tile.shape[:2], height * scale, width * scale), dtype=torch.float32)
            kept = tile[
                ...,
                (row.first - row.start) * scale : (row.last - row.start) * scale,
                (column.first - column.start) * scale : (column.last - column.start) * scale,
            ]
            down = span_weights(rows, i, scale).to(result.device)
            across = span_weights(columns, j, scale).to(result.device)
            place = result[..., row.first * scale : row.last * scale, column.first * scale : column.last * scale]
            place.add_(kept * (down[:, None] * across[None]))
        assert result is not None
        return result

    return run


def _scale(tile: Tensor, row: TileSpan, column: TileSpan) -> int:
    height, width = row.stop - row.start, column.stop - column.start
    scale = tile.shape[-2] // height
    if scale < 1 or tile.shape[-2:] != (height * scale, width * scale):
        raise SettingsError(
            f"the VAE made {tile.shape[-1]}×{tile.shape[-2]} pixels of a tile of {width}×{height} latents; "
            "tiles need a VAE that enlarges by a whole factor"
        )
    return scale
