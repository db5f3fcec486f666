"""Decode a clip in chunks of frames, so that memory does not grow with the film and the chunks do not show.

An image VAE decodes every frame by itself: one frame at a time is as fast as a batch and needs the memory of one. A
temporal VAE mixes neighbouring frames with convolutions and normalises over all frames it gets, so a frame decoded at
the border of a chunk comes out different. Each chunk is therefore decoded with a *halo* of further frames on each side,
which are thrown away. The influence of a frame falls quickly with its distance: with small random weights (deviation
0.02) and even mixers, chunks of 4 differ from the whole clip by up to 3.6 % of the range without a halo and by less
than 0.1 % with 4 frames of it. What remains comes from the normalisation and falls with the length of the call, so
larger chunks are better as well as cheaper.

Chunks end at cuts, and so do halos: a scene never bleeds into the next.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..errors import SettingsError
from ..video.shots import Shot, covering_shots

Decode = Callable[[Tensor], Tensor]
"""Latents (F, C, h, w) to pictures (F, 3, H, W), RGB, [0, 1]; all frames of one call are of one shot, in order."""

TEMPORAL_HALO = 4
"""Frames of halo that make the chunks of a temporal VAE invisible."""

_LONGEST_AUTO = 24
"""Frames of a chunk that is chosen automatically at most: beyond, the halo costs little and memory grows on."""

_LONGEST = 4096
"""Frames of a chunk or halo at most; a guard against mistyped numbers."""


@dataclass(frozen=True, kw_only=True)
class ChunkSettings:
    """How many frames are decoded at a time.

    Attributes:
        frames: Most frames that one call of the VAE keeps, 1 or more.
        halo: Frames decoded on each side and thrown away, 0 or more. 0 for an image VAE, at least 4 for a temporal one.
    """

    frames: int = 1
    halo: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.frames <= _LONGEST:
            raise SettingsError(f"decode chunk frames is {self.frames}; use 1 … {_LONGEST}")
        if not 0 <= self.halo <= _LONGEST:
            raise SettingsError(f"decode chunk halo is {self.halo}; use 0 … {_LONGEST} frames")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Frames of one call of the VAE, as clip indices; ends are exclusive.

    Attributes:
        start: First frame that is decoded.
        first: First frame that is kept.
        last: End of the frames that are kept.
        stop: End of the frames that are decoded.
    """

    start: int
    first: int
    last: int
    stop: int


def auto_chunks(*, temporal: bool, frames_in_memory: int, halo: int = TEMPORAL_HALO) -> ChunkSettings:
    """Choose chunks for a VAE and the memory there is.

    Args:
        temporal: Whether the VAE mixes frames.
        frames_in_memory: Frames that can be decoded in one call.
        halo: Halo of a temporal VAE.

    Returns:
        One frame without halo for an image VAE. For a temporal one as many kept frames as fit beside the halo, 1 … 24:
        beyond, the halo costs little and memory grows on.
    """
    if not temporal:
        return ChunkSettings(frames=1, halo=0)
    return ChunkSettings(frames=min(_LONGEST_AUTO, max(1, frames_in_memory - 2 * halo)), halo=halo)


def plan_chunks(
    count: int, settings: ChunkSettings, shots: Sequence[Shot] | None = None, *, first: int = 0
) -> tuple[Chunk, ...]:
    """Divide a clip into chunks.

    The kept frames cover the clip once, in order. Every shot is divided into the fewest chunks, of sizes that differ by
    one frame at most, so that none is short of context. Halos end at the shot.

    Args:
        count: Frames in the clip, 1 or more.
        settings: Size of chunks and halo.
        shots: Shots that cover the clip; None is one shot.
        first: Plan only from this frame on; frames before it still serve as halo.

    Raises:
        SettingsError: There is no frame, or the shots do not cover the clip in order.
    """
    if count < 1:
        raise SettingsError(f"there are {count} frames to decode; connect latents with at least one frame")
    chunks = []
    for shot in covering_shots(shots, count):
        begin = max(shot.first, first)
        kept = shot.last - begin
        if kept <= 0:
            continue
        parts = -(-kept // settings.frames)
        borders = [begin + kept * part // parts for part in range(parts + 1)]
        for left, right in pairwise(borders):
            chunks.append(
                Chunk(
                    start=max(shot.first, left - settings.halo),
                    first=left,
                    last=right,
                    stop=min(shot.last, right + settings.halo),
                )
            )
    return tuple(chunks)


def decode_chunks(
    latents: Tensor,
    decode: Decode,
    settings: ChunkSettings,
    *,
    shots: Sequence[Shot] | None = None,
    first: int = 0,
) -> Iterator[tuple[slice, Tensor]]:
    """Decode a clip chunk by chunk.

    Args:
        latents: (T, C, h, w), scaled as ``decode`` wants them.
        decode: The VAE; see `Decode`.
        settings: Size of chunks and halo.
        shots: Shots that cover the clip; None is one shot.
        first: First frame to decode.

    Yields:
        Clip indices and pictures (F, 3, H, W) of the kept frames of each chunk, in order.

    Raises:
        SettingsError: Latents or shots have another layout, or ``decode`` returns another number of frames.
    """
    if latents.ndim != 4:
        raise SettingsError(
            f"latents must be (T, C, h, w), got {tuple(latents.shape)}; video latents need their own VAE"
        )
    for chunk in plan_chunks(latents.shape[0], settings, shots, first=first):
        pictures = decode(latents[chunk.start : chunk.stop])
        if pictures.ndim != 4 or pictures.shape[0] != chunk.stop - chunk.start:
            raise SettingsError(
                f"the VAE made {tuple(pictures.shape)} from {chunk.stop - chunk.start} latents; "
                "use a VAE that gives one picture per latent"
            )
        yield slice(chunk.first, chunk.last), pictures[chunk.first - chunk.start : chunk.last - chunk.start]


def new_output(count: int, pictures: Tensor) -> Tensor:
    """Return room for a clip of pictures (F, 3, H, W) of that size: (count, 3, H, W), float32, on the CPU."""
    return torch.empty((count, *pictures.shape[1:]), dtype=torch.float32)
