"""Films as latents, made once and kept as files: encoding a clip costs more than a step of training on it.

Every film has two versions, as it is and mirrored, because a VAE does not mirror exactly what it is given mirrored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ...data.samples import NumberedSamples
from ...errors import FilmFileError, SettingsError
from ...progress import Progress, silent
from ...sampling.latent_flow import to_latent_flow
from ...video.flow import FlowSettings, estimate_flow
from ...video.warping import consistency
from ..example_files import claim, make_missing, read
from .prior import TrainingPrior, folder_of

Hint = Callable[[Tensor, Tensor], Tensor]
"""Makes of frames (T, 3, H, W) and masks (T, H, W) the frames whose latents are the hint; the pre-restored ones."""

Planes = Callable[[Tensor, Tensor], Tensor]
"""Makes of frames (T, 3, H, W) and masks (T, H, W) the hint itself, (T, C, H/8, W/8), without a VAE."""

_FLOW = FlowSettings(quality="fast")
_FILM = ("frames", "target", "masks")
_KEPT = ("clean", "hint", "masks", "flow", "visible")
_VERSIONS = ("plain", "mirrored")


class LatentClip(TypedDict):
    """One sample, on the grid of the latent.

    Attributes:
        clean: (T, 4, h, w), scaled latents of what the film should look like.
        hint: (T, 4, h, w), scaled latents of what the prior is given: the pre-restored film, or without `Hint` the
            repaired one. With `Planes` what they give, (T, C, h, w).
        masks: (T, h, w), share of each latent pixel that was repaired, 0 … 1.
        flow: (T-1, 2, h, w), backward flow of the clean film, latent pixels.
        visible: (T-1, h, w), share of each latent pixel that is seen in both frames, 0 … 1.
        film: Number of the film.
    """

    clean: Tensor
    hint: Tensor
    masks: Tensor
    flow: Tensor
    visible: Tensor
    film: int


@dataclass(frozen=True, kw_only=True)
class LatentFilms:
    """Files of films, of what they are made, and of their latents.

    Attributes:
        films: Of `training.prerestorer.examples.make_films`.
        latents: One for each.
    """

    films: tuple[Path, ...]
    latents: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.films)

    def clip(self, number: int, *, mirrored: bool = False) -> LatentClip:
        """Return a whole film.

        Raises:
            FilmFileError: It is missing or damaged.
        """
        version = _VERSIONS[mirrored]
        stored = read(self.latents[number], [f"{version}_{name}" for name in _KEPT])
        parts = {name: torch.from_numpy(stored[f"{version}_{name}"].astype(np.float32)) for name in _KEPT}
        return LatentClip(film=number, **parts)  # type: ignore[typeddict-item]

    def frames(self, number: int, name: str = "target") -> Tensor:
        """Return frames (T, 3, H, W) in [0, 1] of a film: "target", or the damaged and repaired "frames"."""
        return torch.from_numpy(read(self.films[number], (name,))[name]).float() / 255

    def masks(self, number: int) -> Tensor:
        """Return where a film was repaired, (T, H, W), 1 = repaired."""
        return torch.from_numpy(read(self.films[number], ("masks",))["masks"]).float()


def make_latents(
    films: Sequence[Path],
    prior: TrainingPrior,
    cache: Path,
    *,
    hint: Hint | None = None,
    planes: Planes | None = None,
    hint_name: str = "repaired",
    progress: Progress = silent,
) -> LatentFilms:
    """Encode the films that are not encoded yet.

    Args:
        films: Of `make_films`, whose sides are divisible by 8.
        prior: Its VAE encodes.
        cache: Folder; latents of other priors and hints lie in other folders of it.
        hint: Makes the frames that the prior will be given; None gives it the repaired ones.
        planes: Makes the hint itself, in the place of frames that are encoded.
        hint_name: Tells one such maker from another.
        progress: Called once per film.

    Raises:
        FilmFileError: A film is missing or damaged, or its sides are not divisible by 8.
        SettingsError: The folder holds latents that were made in another way.
    """
    folder = folder_of(prior, cache) / hint_name
    # By their folder, which has a note of its own: there may be more of them than last time.
    claim(folder, f"latents of {hint_name} films, {_FLOW}", {film.parent for film in films})
    files = [folder / path.name for path in films]

    def make(number: int) -> Mapping[str, NDArray]:
        film = read(films[number], _FILM)
        if film["target"].shape[-1] % 8 or film["target"].shape[-2] % 8:
            raise FilmFileError(f"{films[number]} is {film['target'].shape}; latents need sides divisible by 8")
        frames, target = (torch.from_numpy(film[name]).float() / 255 for name in ("frames", "target"))
        masks = torch.from_numpy(film["masks"]).float()
        given = frames if hint is None or planes is not None else hint(frames, masks)
        made: dict[str, NDArray] = {}
        for version, mirrored in zip(_VERSIONS, (False, True), strict=True):
            shown, damaged, marks = (part.flip(-1) if mirrored else part for part in (target, given, masks))
            found = _encoded(prior, shown, damaged, marks, planes)
            made |= {f"{version}_{name}": value.numpy().astype(np.float16) for name, value in found.items()}
        return made

    make_missing(files, make, progress=progress)
    return LatentFilms(films=tuple(films), latents=tuple(files))


def _encoded(
    prior: TrainingPrior, target: Tensor, given: Tensor, masks: Tensor, planes: Planes | None
) -> dict[str, Tensor]:
    backward = estimate_flow(target, settings=_FLOW)
    visible = consistency(backward, estimate_flow(target, settings=_FLOW, direction="forward")).float()
    clean = prior.latents(target)
    size = clean.shape[-2], clean.shape[-1]
    return {
        "clean": clean,
        "hint": prior.latents(given) if planes is None else planes(given, masks),
        "masks": functional.interpolate(masks[:, None], size=size, mode="area")[:, 0],
        "flow": to_latent_flow(backward, *size),
        "visible": functional.interpolate(visible[:, None], size=size, mode="area")[:, 0],
    }


class LatentClips(NumberedSamples[LatentClip]):
    """Windows of films as latents, half of them mirrored; see `NumberedSamples` for their order.

    Args:
        films: Of `make_latents`.
        frames: Length of a sample.
        seed: Another seed gives other windows.
        batch: Samples in a block; the batch size of the loader.
        held: Films that are held in memory.

    Raises:
        SettingsError: There are no films, or a number is out of range.
    """

    def __init__(self, films: LatentFilms, *, frames: int, seed: int, batch: int, held: int = 512) -> None:
        super().__init__(seed=seed, batch=batch)
        if not len(films) or frames < 1:
            raise SettingsError(f"{len(films)} films and samples of {frames} frames; use at least one of each")
        self._films, self._frames, self._held_at_most = films, frames, held
        self._held: dict[tuple[int, bool], LatentClip] = {}

    def sample(self, index: int) -> LatentClip:
        """Return one sample.

        Raises:
            FilmFileError: A film is missing, damaged or shorter than a sample.
        """
        stream = np.random.default_rng([self.seed, index])
        number, mirrored = int(stream.integers(len(self._films))), bool(stream.random() < 0.5)
        clip = self._clip(number, mirrored)
        count = len(clip["clean"])
        if count < self._frames:
            raise FilmFileError(f"{self._films.films[number]} has {count} frames, too few for {self._frames}")
        first = int(stream.integers(count - self._frames + 1))
        last = first + self._frames
        return LatentClip(
            clean=clip["clean"][first:last],
            hint=clip["hint"][first:last],
            masks=clip["masks"][first:last],
            flow=clip["flow"][first : last - 1],
            visible=clip["visible"][first : last - 1],
            film=number,
        )

    def _clip(self, number: int, mirrored: bool) -> LatentClip:
        key = number, mirrored
        if key not in self._held:
            while len(self._held) >= self._held_at_most:
                del self._held[next(iter(self._held))]
            self._held[key] = self._films.clip(number, mirrored=mirrored)
        return self._held[key]
