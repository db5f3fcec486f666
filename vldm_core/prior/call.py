"""What one forward pass of the UNet is about: which frames, which chunks of conditioning, which shots.

A UNet made for pictures sees a batch. An attachment that works in time has to know how that batch is a clip: the batch
is laid out chunk by chunk (conditioned, unconditioned, or one of the two), and each chunk holds the same frames in
order. With context windows the frames are a part of the clip.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from torch import Tensor

from ..errors import SettingsError
from ..video.shots import Shot

CONDITIONED = 0
UNCONDITIONED = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class UNetInput:
    """What the UNet is given.

    Attributes:
        x: (N · F, C, h, w), noisy latents as the network takes them.
        timesteps: (N · F,).
        context: (N · F, L, D) text conditioning.
    """

    x: Tensor
    timesteps: Tensor
    context: Tensor


@dataclass(frozen=True, kw_only=True)
class UNetCall:
    """One forward pass.

    Attributes:
        frames: Index in the clip of every frame of a chunk, in order. The batch holds len(chunks) · len(frames) items.
        chunks: What each chunk of the batch is: `CONDITIONED` or `UNCONDITIONED`.
        segments: (first, last) positions within `frames`, last exclusive, that temporal paths must not leave: one per
            shot. They cover all positions in order.
        sigma: Noise level, k-diffusion convention; None when the caller does not know it.
        progress: 0 at the first step of the schedule, 1 at the end; None when the caller does not know it.
        corner: First row and column, on the latent's grid, of the part of the picture that the batch shows.
        size: Rows and columns of the latent of the whole picture; None where the batch shows all of it.
        inputs: What the UNet is given; None when the caller does not say.
        prompts: What tells the text of each chunk from other texts of its kind; empty where each kind has one.
        conditioned: Text of the conditioned chunk, for batches that lack it: (n, L, D), n = 1, F or all frames of the
            clip. None where the caller does not say.
    """

    frames: tuple[int, ...]
    chunks: tuple[int, ...]
    segments: tuple[tuple[int, int], ...]
    sigma: float | None = None
    progress: float | None = None
    corner: tuple[int, int] = (0, 0)
    size: tuple[int, int] | None = None
    inputs: UNetInput | None = field(default=None, compare=False, repr=False)
    prompts: tuple[object, ...] = ()
    conditioned: Tensor | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.frames or not self.chunks:
            raise SettingsError(f"a call needs frames and chunks; got {len(self.frames)} and {len(self.chunks)}")
        position = 0
        for first, last in self.segments:
            if first != position or last <= first:
                raise SettingsError(f"segments {self.segments} do not follow each other from frame 0")
            position = last
        if position != len(self.frames):
            raise SettingsError(f"segments {self.segments} do not cover {len(self.frames)} frames")

    def clips(self, batch: Tensor) -> Tensor:
        """View a batch (N · F, …) as (N, F, …): chunks, frames.

        Raises:
            SettingsError: The batch is not made of this call's chunks and frames.
        """
        expected = len(self.chunks) * len(self.frames)
        if batch.shape[0] != expected:
            raise SettingsError(
                f"a batch of {batch.shape[0]} is not {len(self.chunks)} chunks of {len(self.frames)} frames; "
                "the latent batch must hold one clip, one item per frame"
            )
        return batch.unflatten(0, (len(self.chunks), len(self.frames)))

    def parts(self, clips: Tensor) -> Iterator[Tensor]:
        """Split (N, F, …) into views (N, f, …), one per segment, that temporal paths may not leave."""
        for first, last in self.segments:
            yield clips[:, first:last]


def segments_of(frames: Sequence[int], shots: Sequence[Shot] | None) -> tuple[tuple[int, int], ...]:
    """Return where runs of frames of one shot begin and end.

    Args:
        frames: Clip indices in order.
        shots: Shots that cover the clip; None is one shot.

    Returns:
        (first, last) positions within `frames`, last exclusive.
    """
    if not shots:
        return ((0, len(frames)),)
    owner = [_shot_of(frame, shots) for frame in frames]
    borders = [0, *(i for i in range(1, len(owner)) if owner[i] != owner[i - 1]), len(owner)]
    return tuple(pairwise(borders))


def _shot_of(frame: int, shots: Sequence[Shot]) -> int:
    for index, shot in enumerate(shots):
        if shot.first <= frame < shot.last:
            return index
    raise SettingsError(
        f"frame {frame} is in none of the shots, which end with frame {shots[-1].last - 1}; "
        "detect the shots on the same frames"
    )
