"""Latents of films on disk: made once, and more of them when there are more films."""

from dataclasses import replace

import pytest

from vldm_core.errors import FilmFileError
from vldm_core.training.diffusion.latent_films import make_latents

from .prior_kit import FILMS, material, tiny_prior
from .training_kit import photographs


def test_more_films_leave_the_latents_that_are_there(tmp_path) -> None:
    given = material(photographs(tmp_path / "photos"), tmp_path / "cache")
    prior = tiny_prior()
    one = replace(given, films=replace(FILMS, films=1)).make(prior, validation=False)
    written = one.latents[0].stat().st_mtime_ns
    two = replace(given, films=replace(FILMS, films=2)).make(prior, validation=False)
    assert two.latents[0] == one.latents[0] and written == two.latents[0].stat().st_mtime_ns
    assert len(two) == 2 and all(path.is_file() for path in two.latents)


def test_latents_of_another_folder_of_films_are_refused(tmp_path) -> None:
    given = material(photographs(tmp_path / "photos"), tmp_path / "cache")
    prior = tiny_prior()
    films = given.make_films(validation=False)
    make_latents(films, prior, tmp_path / "latents")
    with pytest.raises(FilmFileError, match="made of other files"):
        make_latents(given.make_films(validation=True), prior, tmp_path / "latents")
