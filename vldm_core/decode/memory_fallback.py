"""Decode within the memory there is: when it runs out, decode fewer frames at a time, then smaller tiles."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import SettingsError
from ..progress import Progress, silent
from ..video.shots import Shot
from ..video.tiles import SMALLEST_TILE, PictureTileSettings, tiled
from .chunks import TEMPORAL_HALO, ChunkSettings, Decode, auto_chunks, decode_chunks, new_output

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """What the user asks for; None leaves the choice to the memory there is.

    Attributes:
        frames: Frames that one call of the VAE keeps, or None.
        halo: Frames decoded on each side of them and thrown away; only a temporal VAE needs and gets them.
        tile: Largest side of a tile in latent pixels, or None.
    """

    frames: int | None = None
    halo: int = TEMPORAL_HALO
    tile: int | None = None

    def __post_init__(self) -> None:
        ChunkSettings(frames=1 if self.frames is None else self.frames, halo=self.halo)
        if self.tile is not None:
            PictureTileSettings(size=self.tile)


@dataclass(frozen=True, kw_only=True)
class DecodePlan:
    """How a clip is divided for the VAE.

    Attributes:
        chunks: Frames at a time.
        tiles: Tiles, or None to decode whole pictures.
    """

    chunks: ChunkSettings
    tiles: PictureTileSettings | None = None


def choose_plan(
    settings: DecodeSettings, *, temporal: bool, frames_in_memory: float, height: int, width: int
) -> DecodePlan:
    """Choose how to decode a clip.

    Args:
        settings: What was asked for.
        temporal: Whether the VAE mixes frames.
        frames_in_memory: Whole frames that can be decoded in one call; less than 1 when not even one can.
        height: Latent pixels.
        width: Latent pixels.

    Returns:
        Whole pictures where they fit, tiles of the default size else; chunks as `auto_chunks` has them.
    """
    halo = settings.halo if temporal else 0
    tiles = None if settings.tile is None else PictureTileSettings(size=settings.tile)
    if tiles is None and frames_in_memory < 1 + 2 * halo:
        tiles = PictureTileSettings()
    if tiles is not None:
        if max(height, width) <= tiles.size:
            tiles = None
        else:
            frames_in_memory *= height * width / (min(height, tiles.size) * min(width, tiles.size))
    chunks = auto_chunks(temporal=temporal, frames_in_memory=int(frames_in_memory), halo=halo)
    if settings.frames is not None:
        chunks = replace(chunks, frames=settings.frames)
    return DecodePlan(chunks=chunks, tiles=tiles)


def smaller(plan: DecodePlan, height: int, width: int) -> DecodePlan | None:
    """Return the next plan that needs less memory, or None when there is none.

    Chunks are halved first, because they cost time only; then the tiles, which can cost evenness of tone. The halo of a
    temporal VAE stays, or the chunks would show.

    Args:
        plan: The plan that did not fit.
        height: Latent pixels.
        width: Latent pixels.
    """
    if plan.chunks.frames > 1:
        return replace(plan, chunks=replace(plan.chunks, frames=plan.chunks.frames // 2))
    tiles = plan.tiles or PictureTileSettings()
    # From whole pictures to the default tile, if that is smaller; from there on by halves.
    largest = max(height, width)
    size = tiles.size if plan.tiles is None and tiles.size < largest else min(tiles.size, largest) // 2
    if size < max(SMALLEST_TILE, 2 * (tiles.overlap + tiles.halo) + 1):
        return None
    return replace(plan, tiles=replace(tiles, size=size))


def decode_within_memory(
    latents: Tensor,
    decode: Decode,
    plan: DecodePlan,
    *,
    shots: Sequence[Shot] | None = None,
    output: Tensor | None = None,
    out_of_memory: type[BaseException] = torch.OutOfMemoryError,
    progress: Progress = silent,
) -> Tensor:
    """Decode a clip into one output, the only copy of it that is made, with smaller plans while memory runs out.

    Finished chunks are kept. Only when the tiles change is the shot begun again, so that its tone cannot jump where the
    layout of the tiles does.

    Args:
        latents: (T, C, h, w), T ≥ 1, scaled as ``decode`` wants them.
        decode: The VAE; see `Decode`.
        plan: What to try first.
        shots: Shots that cover the clip; None is one shot.
        output: (T, 3, H, W) to write into, of any strides; None makes a float32 one on the CPU.
        out_of_memory: Exception that ``decode`` raises when memory runs out.
        progress: Called once per chunk.

    Raises:
        SettingsError: Even the smallest plan does not fit, or the latents have another layout.
    """
    count, first = len(latents), 0
    while True:
        whole = decode if plan.tiles is None else tiled(decode, plan.tiles)
        failed = False
        try:
            for where, pictures in decode_chunks(latents, whole, plan.chunks, shots=shots, first=first):
                output = new_output(count, pictures) if output is None else output
                output[where].copy_(pictures)
                first = where.stop
                progress("decode", first, count, output[first - 1])
        except out_of_memory:
            # What the failed call allocated is referenced by the exception until this block is left.
            failed = True
        if not failed:
            assert output is not None
            return output
        reduced = smaller(plan, *latents.shape[-2:])
        if reduced is None:
            raise SettingsError(
                f"memory ran out although decoding was down to {_described(plan)}; "
                "free memory, or decode smaller pictures"
            )
        if reduced.tiles != plan.tiles:
            first = _shot_start(shots, first)
        _LOG.warning("decode: memory ran out; going on at frame %d with %s", first, _described(reduced))
        plan = reduced


def _shot_start(shots: Sequence[Shot] | None, frame: int) -> int:
    return next((shot.first for shot in shots or () if shot.first <= frame < shot.last), 0)


def _described(plan: DecodePlan) -> str:
    tiles = "whole pictures" if plan.tiles is None else f"tiles of {plan.tiles.size} latent pixels"
    return f"chunks of {plan.chunks.frames} frames and {tiles}"
