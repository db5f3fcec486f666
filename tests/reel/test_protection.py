"""Where a mask protects, nothing is marked and nothing changes, in memory and in files."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.scratches.detection import ScratchSettings
from vldm_core.reel import masks
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.stages import batch as pipeline
from vldm_core.video.reading.reader import open_film

from .conftest import CUT, HEIGHT, SCRATCH_X, WIDTH

_SIDE = slice(SCRATCH_X + 10, WIDTH)


def _frames(path) -> torch.Tensor:
    with open_film(path) as film:
        return torch.stack([frame.tensor() for frame in film])


def _picture(path, where: slice):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, where] = 255
    cv2.imwrite(str(path), mask)
    return path


def test_a_batch_has_no_marks_where_it_is_protected(small_film):
    film = _frames(small_film)
    shots = pipeline.detect_shots_in(film)
    settings: dict[str, Any] = {"shots": shots, "dirt": DirtSettings(), "lines": ScratchSettings()}
    free = pipeline.detect_damage(film, **settings)
    protect = torch.zeros(film.shape[0], HEIGHT, WIDTH)
    protect[:CUT, :, _SIDE] = 1
    protect[CUT:, :, : SCRATCH_X + 10] = 1
    found = pipeline.detect_damage(film, **settings, protect=protect)
    assert free.dirt[protect > 0].any() and free.scratch[protect > 0].any()
    assert not found.dirt[protect > 0].any() and not found.scratch[protect > 0].any()
    assert torch.equal(found.scratch, free.scratch * (protect == 0))
    assert found.dirt[:CUT].any() and found.scratch[:CUT, :, SCRATCH_X].any()


def test_a_protect_mask_of_another_length_is_refused(small_film):
    film = _frames(small_film)[:5]
    with pytest.raises(SettingsError, match="protect mask"):
        pipeline.detect_damage(film, protect=torch.zeros(1, HEIGHT, WIDTH))


def test_a_restored_film_is_unchanged_where_it_is_protected(small_film, tmp_path):
    protect = _picture(tmp_path / "protect.png", _SIDE)
    settings = ReelSettings(flicker=None, average=None, protect=protect)
    report = restore_film(small_film, tmp_path / "out.mkv", settings)
    before, after = _frames(small_film), _frames(tmp_path / "out.mkv")
    assert torch.equal(before[..., _SIDE], after[..., _SIDE])
    assert not torch.equal(before[..., :SCRATCH_X], after[..., :SCRATCH_X])
    assert report.dirt_share > 0 and report.scratch_share > 0


def test_mask_films_are_black_where_it_is_protected(small_film, tmp_path):
    protect = _picture(tmp_path / "protect.png", slice(0, SCRATCH_X + 10))
    masks.detect_film(small_film, tmp_path, ReelSettings(protect=protect))
    dirt, scratch = _frames(tmp_path / "dirt.mkv"), _frames(tmp_path / "scratch.mkv")
    assert not dirt[..., : SCRATCH_X + 10].any() and not scratch.any()
    assert dirt[..., _SIDE].any()


def test_a_mask_that_does_not_fit_is_refused_before_any_work(small_film, tmp_path):
    path = tmp_path / "protect.png"
    cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH + 1), np.uint8))
    with pytest.raises(FilmFileError, match=f"{WIDTH + 1}×{HEIGHT}"):
        restore_film(small_film, tmp_path / "out.mkv", ReelSettings(protect=path))
    with pytest.raises(FilmFileError, match="cannot be read"):
        masks.detect_film(small_film, tmp_path / "masks", ReelSettings(protect=tmp_path / "none.png"))
    assert {entry.name for entry in tmp_path.iterdir()} == {"protect.png"}


def test_an_outline_leaves_the_damage_in_sight():
    frames = torch.full((1, 3, 7, 9), 0.5)
    dirt = torch.zeros(1, 7, 9)
    dirt[0, 3, 3:5] = 1
    painted = pipeline.overlay(frames, dirt, torch.zeros_like(dirt), style="outline")
    changed = (painted != frames).any(dim=1)[0]
    assert changed.sum() == 10 and not changed[3, 3:5].any()
    assert painted[0, 0, 2, 2] > painted[0, 1, 2, 2], "dirt is red"
    filled = pipeline.overlay(frames, dirt, torch.zeros_like(dirt))
    assert torch.equal((filled != frames).any(dim=1)[0], dirt[0] > 0)
