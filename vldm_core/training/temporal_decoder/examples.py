"""Clips as latents and as pictures, for a decoder."""

from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from ...data.samples import NumberedSamples
from ...errors import FilmFileError, SettingsError
from ...video.flow import FlowSettings, estimate_flow
from ...video.warping import consistency
from ..diffusion.latent_films import LatentFilms

_FLOW = FlowSettings(quality="fast")
_PIXELS = 8


class DecoderClip(TypedDict):
    """One sample.

    Attributes:
        latents: (T, 4, h, w), scaled.
        frames: (T, 3, 8h, 8w) in [0, 1].
        flow: (T-1, 2, 8h, 8w), backward flow of the frames, pixels.
        visible: (T-1, 8h, 8w), 1 where both frames show the same.
    """

    latents: Tensor
    frames: Tensor
    flow: Tensor
    visible: Tensor


class DecoderClips(NumberedSamples[DecoderClip]):
    """Windows of clean films; see `NumberedSamples` for their order.

    Args:
        films: Of `make_latents`.
        frames: Length of a sample, at least 2.
        side: Height and width of a sample, px, a multiple of 8; None is whole frames.
        seed: Another seed gives other windows.
        batch: Samples in a block; the batch size of the loader.

    Raises:
        SettingsError: A number is out of range.
    """

    def __init__(self, films: LatentFilms, *, frames: int, side: int | None, seed: int, batch: int) -> None:
        super().__init__(seed=seed, batch=batch)
        if not len(films) or frames < 2 or (side is not None and (side < 64 or side % _PIXELS)):
            raise SettingsError(
                f"{len(films)} films and samples of {frames} frames of {side} px; use at least one film, 2 frames, and "
                "64 px in multiples of 8"
            )
        self._films, self._frames, self._side = films, frames, side

    def sample(self, index: int) -> DecoderClip:
        """Return one sample.

        Raises:
            FilmFileError: A film is missing, damaged, or smaller or shorter than a sample.
        """
        stream = np.random.default_rng([self.seed, index])
        number = int(stream.integers(len(self._films)))
        latents, frames = self._films.clip(number)["clean"], self._films.frames(number)
        height, width = latents.shape[-2:]
        side = None if self._side is None else self._side // _PIXELS
        if len(frames) < self._frames or (side is not None and min(height, width) < side):
            raise FilmFileError(
                f"{self._films.films[number]} has {len(frames)} frames of {_PIXELS * width}×{_PIXELS * height}, too "
                f"few or small for {self._frames} of {self._side} px"
            )
        first = int(stream.integers(len(frames) - self._frames + 1))
        rows, columns = side or height, side or width
        top, left = int(stream.integers(height - rows + 1)), int(stream.integers(width - columns + 1))
        span = slice(first, first + self._frames)
        latents = latents[span, :, top : top + rows, left : left + columns]
        return clip_of(latents, frames[span, :, _pixels(top, rows), _pixels(left, columns)])


def clip_of(latents: Tensor, frames: Tensor) -> DecoderClip:
    """Return a clip with the motion of its frames."""
    frames = frames.contiguous()
    flow = estimate_flow(frames, settings=_FLOW)
    back = estimate_flow(frames, settings=_FLOW, direction="forward")
    return DecoderClip(
        latents=latents.contiguous(), frames=frames, flow=flow, visible=consistency(flow, back).to(torch.float32)
    )


def _pixels(first: int, count: int) -> slice:
    return slice(_PIXELS * first, _PIXELS * (first + count))
