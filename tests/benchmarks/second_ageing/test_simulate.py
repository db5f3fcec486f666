"""The second ageing model: what it makes, that it knows what it made, and that its parts do not disturb each other."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.second_ageing.settings import KINDS, LineDraws, SecondAgeing
from benchmarks.second_ageing.simulate import age_again
from benchmarks.second_ageing.textures import find_textures, load_mask
from vldm_core.errors import FilmFileError

from ..film_data import moving_texture

CLASSES = ("dirt", "dots", "lint", "scratches", "smut", "spots", "sprinkles", "stain", "hair-short", "hair")


def write_textures(folder: Path) -> Path:
    """Eight textures of every class: a blob each, of another size."""
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(8):
            alpha = np.zeros((60, 60), np.uint8)
            cv2.ellipse(alpha, (30, 30), (6 + index, 3 + number), 20 * index, 0, 360, 255, -1)
            cv2.imwrite(str(folder / name / f"{name}-{index}.png"), np.dstack([np.zeros((60, 60, 3), np.uint8), alpha]))
    return folder


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    return find_textures(write_textures(tmp_path_factory.mktemp("textures")), "development")


@pytest.fixture(scope="module")
def clean():
    return moving_texture(1, 8, height=120, width=160, step=2)[..., 0].astype(np.float32) / 255


@pytest.fixture(scope="module")
def film(clean, textures):
    return age_again(clean, textures, 7)


def test_same_seed_same_film_and_another_seed_another(clean, textures, film):
    again, other = age_again(clean, textures, 7), age_again(clean, textures, 8)
    assert np.array_equal(film.aged, again.aged)
    assert all(np.array_equal(film.masks[kind], again.masks[kind]) for kind in KINDS)
    assert not np.array_equal(film.aged, other.aged)


def test_one_kind_less_leaves_everything_else_as_it_was(clean, textures, film):
    fewer = age_again(clean, textures, 7, kinds=tuple(kind for kind in KINDS if kind != "dirt"))
    assert not fewer.masks["dirt"].any()
    assert np.array_equal(film.undamaged, fewer.undamaged) and np.array_equal(film.clean, fewer.clean)
    for kind in KINDS:
        if kind != "dirt":
            assert np.array_equal(film.masks[kind], fewer.masks[kind])


def test_without_damage_the_aged_film_is_the_undamaged_one(clean, textures):
    film = age_again(clean, textures, 7, kinds=())
    assert np.array_equal(film.aged, film.undamaged)
    assert not film.damaged.any() and not film.touched.any()
    assert np.abs(film.aged.astype(int) - film.clean).mean() > 1  # grain


def test_masks_are_where_the_picture_changed(film):
    change = np.abs(film.aged.astype(int) - film.undamaged)
    assert change[film.masks["dirt"]].mean() > 8
    assert change[~film.touched].mean() < 3  # what a codec does to the surroundings
    for kind in KINDS:
        assert not (film.masks[kind] & ~film.rims[kind]).any()


@pytest.mark.parametrize(("kind", "moves"), [("persistent", False), ("drifting", True)])
def test_lines_stay_on_the_film_or_drift_while_the_scene_moves(clean, textures, kind, moves):
    draws = LineDraws(
        persistent=(1, 1), drifting=(1, 1), depth=(50.0, 60.0), gap_share=(0.0, 0.0), tilt=0.0, born_late=0.0
    )
    draws = replace(draws, drift=(3.0, 4.0), sway=(12.0, 16.0))
    film = age_again(clean, textures, 3, settings=SecondAgeing(lines=draws), kinds=(kind,))
    columns = [float(np.nonzero(mask)[1].mean()) for mask in film.masks[kind]]
    assert (np.ptp(columns) > 2) == moves
    assert len(columns) == 8


def test_scratches_of_one_frame_do_not_come_back(clean, textures):
    film = age_again(clean, textures, 5, kinds=("one-frame scratch",))
    masks = film.masks["one-frame scratch"]
    assert masks.any()
    both, either = masks[1:] & masks[:-1], masks[1:] | masks[:-1]
    assert both.sum() < 0.1 * either.sum()


def test_standing_marks_stay(clean, textures):
    settings = SecondAgeing()
    settings = replace(settings, standing=replace(settings.standing, hairs=(1, 1), spots=(1, 1)))
    masks = age_again(clean, textures, 5, settings=settings, kinds=("standing",)).masks["standing"]
    assert masks.any() and (masks[0] & masks[-1]).sum() > 0.5 * masks[0].sum()


def test_halves_of_the_textures_share_no_file(tmp_path):
    folder = write_textures(tmp_path)
    halves = [find_textures(folder, half).classes for half in ("development", "validation")]
    files = [{path for paths in half.values() for path in paths} for half in halves]
    assert not files[0] & files[1] and len(files[0] | files[1]) == 80
    assert all(len(half) >= 8 for half in halves)


def test_textures_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(FilmFileError, match="holds no <class>"):
        find_textures(tmp_path, "development")
    cv2.imwrite(str(tmp_path / "plain.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(FilmFileError, match="alpha channel"):
        load_mask(tmp_path / "plain.png")
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((8, 8, 4), np.uint8))
    with pytest.raises(FilmFileError, match="is empty"):
        load_mask(tmp_path / "empty.png")
