"""Damage that is known from elsewhere is repaired as it is told: maps, the alpha channel, masks that were edited."""

from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.film.defect_map import MapSettings
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.scratches.settings import ScratchSettings
from vldm_core.reel import masks as mask_run
from vldm_core.reel.mask_films import GivenMap, reviewed_masks
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.video.reading.reader import open_film

from .conftest import CUT, HEIGHT, WIDTH, damaged_frame

COUNT = 2 * CUT
SPOT = (slice(40, 48), slice(100, 108))
# Repairs alone, with the classical detectors, which are quick to load.
PLAIN = ReelSettings(
    dirt=DirtSettings(),
    lines=ScratchSettings(detector="weight-free"),
    flicker=None,
    average=None,
)
ONLY_DIRT = replace(PLAIN, lines=None)


def pictures(path) -> np.ndarray:
    with open_film(path) as film:
        return np.stack([frame.image for frame in film])


def spot(value: int = 255, ground: int = 0) -> np.ndarray:
    mask = np.full((HEIGHT, WIDTH), ground, np.uint8)
    mask[SPOT] = value
    return mask


def film_of(path, masks, pix_fmt: str = "gray"):
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=Fraction(24))
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, pix_fmt
        for picture in masks:
            shape = {"gray": "gray", "bgra": "rgba"}[pix_fmt]
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format=shape)))
        container.mux(video.encode())
    return path


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(axis=-1)


def test_reviewed_masks_give_the_same_repair(small_film, tmp_path):
    first = restore_film(small_film, tmp_path / "first.mkv", replace(PLAIN, mask_films=tmp_path / "masks"))
    assert first.dirt_share > 0 and first.scratch_share > 0
    again = replace(PLAIN, maps=reviewed_masks(tmp_path / "masks"))
    second = restore_film(small_film, tmp_path / "second.mkv", again)
    assert np.array_equal(pictures(tmp_path / "first.mkv"), pictures(tmp_path / "second.mkv"))
    assert (second.dirt_share, second.scratch_share) == (first.dirt_share, first.scratch_share)


def test_what_was_taken_off_the_masks_stays_and_what_was_painted_is_repaired(small_film, tmp_path):
    film_of(tmp_path / "dirt.mkv", [spot() if t == 5 else spot(0) for t in range(COUNT)])
    restore_film(small_film, tmp_path / "out.mkv", replace(ONLY_DIRT, maps=reviewed_masks(tmp_path)))
    difference = changed(pictures(small_film), pictures(tmp_path / "out.mkv"))
    assert difference[5][SPOT].mean() > 0.5
    difference[5][SPOT] = False
    assert not difference.any()


def test_detection_writes_masks_that_restore_takes(small_film, tmp_path):
    mask_run.detect_film(small_film, tmp_path / "masks", PLAIN)
    given = restore_film(small_film, tmp_path / "given.mkv", replace(PLAIN, maps=reviewed_masks(tmp_path / "masks")))
    found = restore_film(small_film, tmp_path / "found.mkv", PLAIN)
    assert np.array_equal(pictures(tmp_path / "given.mkv"), pictures(tmp_path / "found.mkv"))
    assert given.dirt_share == found.dirt_share


@pytest.mark.parametrize("alone", [False, True])
def test_an_infrared_map_counts_beside_what_is_found_or_in_its_place(small_film, tmp_path, alone):
    # One picture for all frames, dark where the film is damaged.
    cv2.imwrite(str(tmp_path / "infrared.png"), spot(40, 240))
    infrared = GivenMap(source=tmp_path / "infrared.png", reading=MapSettings(clean=0.9, damaged=0.3), alone=alone)
    mask_run.detect_film(small_film, tmp_path / "found", ONLY_DIRT)
    mask_run.detect_film(small_film, tmp_path / "both", replace(ONLY_DIRT, maps=(infrared,)))
    found, both = (pictures(tmp_path / name / "dirt.mkv") > 0 for name in ("found", "both"))
    wanted = np.zeros_like(found) if alone else found.copy()
    wanted[:, *SPOT] = True
    assert found.any() and np.array_equal(both, wanted)


def test_the_alpha_channel_of_a_film_is_a_map(tmp_path):
    frames = [np.dstack([damaged_frame(t, damaged=False)[0], spot(0, 255)]) for t in range(6)]
    film = film_of(tmp_path / "film.mkv", frames, "bgra")
    transparent = GivenMap(source=None, reading=MapSettings(clean=1, damaged=0), alone=True)
    restore_film(film, tmp_path / "out.mkv", replace(ONLY_DIRT, maps=(transparent,), mask_films=tmp_path / "masks"))
    marked = pictures(tmp_path / "masks" / "dirt.mkv")[..., 0] > 0
    assert marked[:, *SPOT].all() and marked.sum() == 6 * 64
    difference = changed(pictures(film), pictures(tmp_path / "out.mkv"))
    assert difference[marked].mean() > 0.5 and not difference[~marked].any()


def test_protection_counts_before_a_map(small_film, tmp_path):
    cv2.imwrite(str(tmp_path / "map.png"), spot())
    cv2.imwrite(str(tmp_path / "protect.png"), spot())
    settings = replace(
        ONLY_DIRT,
        maps=(GivenMap(source=tmp_path / "map.png", alone=True),),
        protect=tmp_path / "protect.png",
    )
    restore_film(small_film, tmp_path / "out.mkv", settings)
    assert np.array_equal(pictures(small_film), pictures(tmp_path / "out.mkv"))


class TestWhatDoesNotFitIsRefusedBeforeTheWork:
    def refused(self, film, tmp_path, settings, error=SettingsError) -> str:
        with pytest.raises(error) as told:
            restore_film(film, tmp_path / "out.mkv", settings)
        assert not (tmp_path / "out.mkv").exists()
        return str(told.value)

    def test_another_size(self, small_film, tmp_path):
        cv2.imwrite(str(tmp_path / "map.png"), np.zeros((HEIGHT, WIDTH + 2), np.uint8))
        settings = replace(ONLY_DIRT, maps=(GivenMap(source=tmp_path / "map.png"),))
        assert f"{WIDTH + 2}×{HEIGHT}" in self.refused(small_film, tmp_path, settings, FilmFileError)

    def test_another_number_of_frames(self, small_film, tmp_path):
        film_of(tmp_path / "map.mkv", [spot()] * 3)
        settings = replace(ONLY_DIRT, maps=(GivenMap(source=tmp_path / "map.mkv"),))
        words = self.refused(small_film, tmp_path, settings)
        assert "has 3 frames" in words and str(COUNT) in words

    def test_no_alpha_channel(self, small_film, tmp_path):
        words = self.refused(small_film, tmp_path, replace(ONLY_DIRT, maps=(GivenMap(source=None),)), FilmFileError)
        assert "no alpha channel" in words

    def test_a_map_of_what_is_not_repaired(self, small_film, tmp_path):
        settings = replace(ONLY_DIRT, maps=(GivenMap(source=tmp_path / "map.mkv", kind="scratch"),))
        assert "repair is off" in self.refused(small_film, tmp_path, settings)

    def test_a_folder_without_masks(self, tmp_path):
        with pytest.raises(SettingsError, match=r"neither dirt\.mkv nor scratch\.mkv"):
            reviewed_masks(tmp_path)

    def test_an_unknown_kind(self):
        with pytest.raises(SettingsError, match="'dirt' or 'scratch'"):
            GivenMap(source=None, kind="hair")  # type: ignore[arg-type]


def test_masks_are_not_replaced_unasked(small_film, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "dirt.mkv").write_bytes(b"mine")
    with pytest.raises(FilmFileError, match=r"dirt\.mkv"):
        restore_film(small_film, tmp_path / "out.mkv", replace(PLAIN, mask_films=tmp_path / "masks"))
    assert (tmp_path / "masks" / "dirt.mkv").read_bytes() == b"mine"


def test_a_frame_of_a_map_belongs_to_the_frame_of_its_number(small_film, tmp_path):
    """Over a cut, too, where the stages begin anew."""
    frames = [spot() if t in (CUT - 1, CUT, COUNT - 1) else spot(0) for t in range(COUNT)]
    folder = tmp_path / "maps"
    folder.mkdir()
    for t, mask in enumerate(frames):
        cv2.imwrite(str(folder / f"map_{t:03d}.png"), mask)
    mask_run.detect_film(small_film, tmp_path / "out", replace(ONLY_DIRT, maps=(GivenMap(source=folder, alone=True),)))
    marked = torch.from_numpy(pictures(tmp_path / "out" / "dirt.mkv")[..., 0])
    assert torch.equal(marked > 0, torch.from_numpy(np.stack(frames)) > 0)
