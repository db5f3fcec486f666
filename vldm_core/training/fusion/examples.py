"""What the fusion is trained on: pre-restored frames with their features, and what the prior made of them.

The prior's clean latents are sampled once for every film, with whatever will be used with the fusion: attached layers,
a control, the strength. What comes of them by decoding, or by encoding the decoded picture again, costs little and is
made in every step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.samples import NumberedSamples
from ...errors import FilmFileError, SettingsError
from ...prerestore.network import PreRestorer
from ...prerestore.run import PreRestoreSettings, pre_restore_stream
from ...progress import Progress, silent
from ..example_files import claim, make_missing, read

SampleClip = Callable[[Tensor, Tensor], Tensor]
"""Makes of pre-restored frames (T, 3, H, W) and masks (T, H, W) the prior's clean, scaled latents (T, 4, H/8, W/8)."""

_SETTINGS = PreRestoreSettings(keep_grain=0.0)
_FILM = ("frames", "target", "masks")
_KEPT = ("picture", "target", "latent", "half", "quarter", "eighth")


class FusionExample(TypedDict):
    """One frame.

    Attributes:
        picture: (3, H, W) in [0, 1], pre-restored.
        target: (3, H, W) in [0, 1], what it should look like.
        latent: (4, H/8, W/8), the prior's clean latent, scaled.
        half: (C, H/2, W/2), features of the pre-restorer.
        quarter: (C, H/4, W/4), likewise.
        eighth: (C, H/8, W/8), likewise.
    """

    picture: Tensor
    target: Tensor
    latent: Tensor
    half: Tensor
    quarter: Tensor
    eighth: Tensor


@dataclass(frozen=True, kw_only=True)
class FusionFilms:
    """Files of examples, one for each film.

    Attributes:
        files: Of `make_fusion_examples`.
        frames: Frames in each.
    """

    files: tuple[Path, ...]
    frames: int

    def example(self, film: int, frame: int) -> FusionExample:
        """Return a frame of a film.

        Raises:
            FilmFileError: The file is missing or damaged.
        """
        stored = read(self.files[film], _KEPT)
        return FusionExample(**{name: torch.from_numpy(stored[name][frame]).float() for name in _KEPT})  # type: ignore


def make_fusion_examples(
    films: Sequence[Path],
    network: PreRestorer,
    sample: SampleClip,
    folder: Path,
    *,
    made_as: str,
    frames: int = 2,
    progress: Progress = silent,
) -> FusionFilms:
    """Make the examples that are not there yet.

    Args:
        films: Of `training.prerestorer.examples.make_films`, sides divisible by 8.
        network: The pre-restorer whose features are fused.
        sample: Runs the prior over a clip.
        folder: Where they lie.
        made_as: Says how `sample` works, so that examples of another way are not taken for these.
        frames: Frames that are kept of a film, evenly spread.
        progress: Called once per film.

    Raises:
        SettingsError: The folder holds examples that were made in another way.
        FilmFileError: A film is missing or damaged, or too short.
    """
    # By their folder, which has a note of its own: there may be more of them than last time.
    claim(folder, f"fusion examples, {frames} frames, {made_as}", {film.parent for film in films})
    files = [folder / path.name for path in films]

    def make(number: int) -> Mapping[str, NDArray]:
        film = read(films[number], _FILM)
        if len(film["frames"]) < frames:
            raise FilmFileError(f"{films[number]} has {len(film['frames'])} frames, fewer than {frames}")
        given, target = (torch.from_numpy(film[name]).float() / 255 for name in ("frames", "target"))
        masks = torch.from_numpy(film["masks"]).float()
        made = list(pre_restore_stream(zip(given, masks, strict=True), network, _SETTINGS, features=True))
        pictures = torch.stack([frame.image for frame in made])
        latents = sample(pictures, masks)
        chosen = np.linspace(0, len(made) - 1, frames + 2).round().astype(int)[1:-1]
        halves, quarters, eighths = zip(*(_features(made[t].features) for t in chosen), strict=True)
        kept = {
            "picture": pictures[chosen],
            "target": target[chosen],
            "latent": latents[chosen],
            "half": torch.stack(halves),
            "quarter": torch.stack(quarters),
            "eighth": torch.stack(eighths),
        }
        return {name: value.cpu().numpy().astype(np.float16) for name, value in kept.items()}

    make_missing(files, make, progress=progress)
    return FusionFilms(files=tuple(files), frames=frames)


def _features(found: tuple[Tensor, Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
    assert found is not None
    return found


class FusionExamples(NumberedSamples[FusionExample]):
    """Windows of frames of films; see `NumberedSamples` for their order.

    Args:
        films: Of `make_fusion_examples`.
        side: Height and width of a sample, px, a multiple of 8; None is whole frames.
        seed: Another seed gives other windows.
        batch: Samples in a block; the batch size of the loader.

    Raises:
        SettingsError: There are no films, or the side is no multiple of 8.
    """

    def __init__(self, films: FusionFilms, *, side: int | None, seed: int, batch: int) -> None:
        super().__init__(seed=seed, batch=batch)
        if not films.files or (side is not None and (side < 64 or side % 8)):
            raise SettingsError(
                f"{len(films.files)} films and samples of {side} px; use at least one film and 64 px in multiples of 8"
            )
        self._films, self._side = films, side

    def sample(self, index: int) -> FusionExample:
        """Return one sample.

        Raises:
            FilmFileError: A film is missing, damaged or smaller than a sample.
        """
        stream = np.random.default_rng([self.seed, index])
        film = int(stream.integers(len(self._films.files)))
        whole = self._films.example(film, int(stream.integers(self._films.frames)))
        if self._side is None:
            return whole
        height, width = whole["picture"].shape[-2:]
        if min(height, width) < self._side:
            raise FilmFileError(f"{self._films.files[film]} is {width}×{height}, smaller than {self._side} px")
        top, left = (8 * int(stream.integers((extent - self._side) // 8 + 1)) for extent in (height, width))
        return FusionExample(
            **{  # type: ignore[typeddict-item]
                name: _window(part, top, left, self._side, height)  # type: ignore[arg-type]
                for name, part in whole.items()
            }
        )


def _window(part: Tensor, top: int, left: int, side: int, height: int) -> Tensor:
    """Cut the window of a plane of any scale."""
    scale = height // part.shape[-2]
    rows, columns = slice(top // scale, (top + side) // scale), slice(left // scale, (left + side) // scale)
    return part[:, rows, columns].contiguous()
