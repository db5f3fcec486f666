"""Marks that are too small are completed, and nothing else is marked."""

import cv2
import numpy as np
import torch
from torch import Tensor

from vldm_core.film.fill.regions import complete_marks
from vldm_core.metrics.detection import dilate

from ...testers import windows_agree
from ..dirt.dirt_scenes import scene, speckled, with_runner

_RADIUS = 3
"""Frames on each side that the motion at a frame depends on, and the neighbour itself."""


def _eroded(marks: Tensor, side: int) -> Tensor:
    kernel = np.ones((side, side), np.uint8)
    return torch.from_numpy(np.stack([cv2.erode(mark.byte().numpy(), kernel) for mark in marks])).float()


def _with_blob(clean: Tensor) -> tuple[Tensor, Tensor]:
    truth = torch.zeros(len(clean), *clean.shape[-2:])
    cv2.ellipse(truth[3].numpy(), (96, 70), (22, 16), 20, 0, 360, 1.0, -1)
    return torch.where(truth[:, None] > 0, torch.full((), 0.97), clean), truth


def test_the_rim_that_a_detector_left_is_marked() -> None:
    dirty, truth = _with_blob(scene(7))
    completed = complete_marks(dirty, _eroded(truth, 5))
    assert completed[3][truth[3] > 0].mean() > 0.95
    assert completed[3][~dilate(truth, 1)[3]].mean() < 0.002


def test_cracks_and_bays_inside_a_mark_are_marked() -> None:
    dirty, truth = _with_blob(scene(7))
    marks = truth.clone()
    marks[3, 66:69, 80:130] = 0
    marks[3, 74:80, 92:98] = 0
    # What the detector missed there is fainter than the rest.
    dirty = torch.where(((truth > 0) & (marks == 0))[:, None], 0.9 * scene(7) + 0.1, dirty)
    completed = complete_marks(dirty, marks)
    assert completed[3][truth[3] > 0].mean() > 0.95


def test_marks_that_fit_hardly_grow() -> None:
    clean = with_runner(scene(7))
    dirty, truth = speckled(clean)
    marks = dilate(truth, 1).float()
    completed = complete_marks(dirty, marks)
    assert ((completed > 0) & (marks == 0)).float().mean() < 0.2 * marks.mean()
    assert (completed >= marks).all()


def test_no_marks_stay_none() -> None:
    assert not complete_marks(scene(3), torch.zeros(3, 144, 192)).any()


def test_the_ends_of_a_shot_stay() -> None:
    dirty, truth = speckled(scene(5))
    marks = _eroded(truth.float(), 3)
    completed = complete_marks(dirty, marks)
    assert torch.equal(completed[[0, -1]], marks[[0, -1]])


def test_windows_give_the_same_marks() -> None:
    dirty, truth = speckled(scene(13, 96, 128), per_frame=4)
    marks = _eroded(truth.float(), 3)
    whole = complete_marks(dirty, marks)
    windows_agree(
        lambda window, kept: complete_marks(dirty[window], marks[window], keep=kept), whole, (4, 9), radius=_RADIUS
    )
