"""From a folder of films and pictures to latents to train and to validate on."""

from dataclasses import dataclass, replace
from pathlib import Path

from ...data.clean_shots import MaterialSettings, TrainingMaterial
from ...errors import SettingsError
from ...progress import Progress, silent
from ..prerestorer.examples import RepairedFilmSettings, make_films
from .latent_films import Hint, LatentFilms, Planes, make_latents
from .prior import TrainingPrior

_SIDES = 64
"""Stable Diffusion's UNet halves the latent three times, which is 1/8 of the picture."""

FILMS = RepairedFilmSettings(films=1000, frames=16, height=512, width=512)
"""Films for a full-size model: 512 px is what Stable Diffusion 1.x was trained on."""


@dataclass(frozen=True, kw_only=True)
class PriorMaterial:
    """Where films come from and where their latents are kept.

    Attributes:
        data: Folder with films and pictures, or several; or files.
        cache: Folder for films and latents; those that are there already are not made again.
        films: The films that are made to train on.
        validation_films: How many are made of the files that are kept apart.
        shots: How shots are drawn of the data.
    """

    data: tuple[Path, ...]
    cache: Path
    films: RepairedFilmSettings = FILMS
    validation_films: int = 24
    shots: MaterialSettings = MaterialSettings()

    def __post_init__(self) -> None:
        if self.films.height % _SIDES or self.films.width % _SIDES:
            raise SettingsError(
                f"films of {self.films.width}×{self.films.height} were asked for; a prior needs sides divisible by "
                f"{_SIDES}"
            )
        if self.validation_films < 1:
            raise SettingsError(f"{self.validation_films} validation films were asked for; use at least 1")

    def check(self) -> None:
        """Look whether there is something to train and something to validate on.

        Raises:
            FilmFileError: There is not.
        """
        self._sources(validation=False)
        self._sources(validation=True)

    def make(
        self,
        prior: TrainingPrior,
        *,
        validation: bool,
        hint: Hint | None = None,
        planes: Planes | None = None,
        hint_name: str = "repaired",
        progress: Progress = silent,
    ) -> LatentFilms:
        """Make what is missing of the films and latents.

        Args:
            prior: Its VAE encodes.
            validation: Whether of the files that are kept apart.
            hint: See `make_latents`.
            planes: Likewise.
            hint_name: Likewise.
            progress: Called once per film.

        Raises:
            FilmFileError: There is nothing to make them of.
            SettingsError: The cache holds what was made with other settings.
        """
        files = self.make_films(validation=validation, progress=progress)
        part = "validation" if validation else "training"
        return make_latents(
            files, prior, self.cache / part, hint=hint, planes=planes, hint_name=hint_name, progress=progress
        )

    def make_films(self, *, validation: bool, progress: Progress = silent) -> list[Path]:
        """Make what is missing of the films alone; see `make`."""
        part = "validation" if validation else "training"
        films = replace(self.films, films=self.validation_films) if validation else self.films
        return make_films(self._sources(validation=validation), self.cache / "films" / part, films, progress=progress)

    def _sources(self, *, validation: bool) -> TrainingMaterial:
        return TrainingMaterial(list(self.data), validation=validation, settings=self.shots)
