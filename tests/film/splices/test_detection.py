"""Seams of splices and frame lines in sight are found; lines of the scene, bars and leaders are not."""

import cv2
import numpy as np
import pytest
import torch

from vldm_core.ageing import DEFECTS, SimulationSettings, Simulator, SpliceModel, age_span
from vldm_core.errors import SettingsError
from vldm_core.film.active_picture import PictureFinder
from vldm_core.film.splices.detection import RADIUS, SpliceSettings, splice_mask
from vldm_core.film.splices.look import FrameLook
from vldm_core.video.luma import luma_array

from ..clean_cases import clean_case

HEIGHT, WIDTH = 240, 360


def scene(count, *, seed=0, speed=2):
    """A texture that pans, (count, HEIGHT, WIDTH) in grey levels."""
    rng = np.random.default_rng(seed)
    wide = WIDTH + speed * count
    layers = [s * cv2.GaussianBlur(rng.normal(size=(HEIGHT, wide)), (0, 0), s) for s in (2, 6, 20)]
    whole = np.sum(layers, axis=0)
    whole = (110 + 30 * whole / whole.std()).clip(15, 235)
    frames = np.stack([whole[:, speed * t : speed * t + WIDTH] for t in range(count)])
    return (frames + rng.normal(0, 2, frames.shape)).clip(0, 255).astype(np.float32)


def found(film, settings=None):
    """The masks of a shot, (T, H, W)."""
    finder = PictureFinder(*film[0].shape)
    for frame in film:
        finder.update(frame)
    picture = finder.finish()
    looks = [FrameLook(frame, picture) for frame in film]
    result = np.zeros((len(film), *film[0].shape), bool)
    top, bottom, left, right = picture.box
    for index in range(len(film)):
        mask = splice_mask(looks, index, settings or SpliceSettings())
        if mask is not None:
            result[index, top:bottom, left:right] = mask
    return result


def with_line(frame, row, level, thickness=2, tilt=2.0):
    drawn = np.zeros(frame.shape, np.float32)
    cv2.line(drawn, (0, round(row - tilt / 2)), (frame.shape[1], round(row + tilt / 2)), 1.0, thickness, cv2.LINE_AA)
    return frame * (1 - drawn) + level * drawn, drawn > 0.3


def near(mask):
    return cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


@pytest.mark.parametrize("row", [5, 12, HEIGHT - 5])
@pytest.mark.parametrize("level", [20.0, 245.0])
@pytest.mark.parametrize("at", ["inside", "first", "last"])
def test_a_seam_is_found_and_nothing_else(row, level, at):
    film = scene(9, seed=3)
    index = {"inside": 4, "first": 0, "last": 8}[at]
    film[index], truth = with_line(film[index], row, level)
    masks = found(film)
    assert masks[index][truth].mean() > 0.98
    assert near(truth)[masks[index]].mean() > 0.3
    assert masks[index].sum() < 10 * WIDTH
    assert not np.delete(masks, index, axis=0).any()


def test_simulated_splices_are_found():
    """Per frame and at 1 px, over what can be seen of the seams; seeds in which splices do not run into each other."""
    quiet = dict.fromkeys(DEFECTS)
    settings = SimulationSettings(**{**quiet, "splices": SpliceModel(rate=1 / 30)})
    seen = hit = right = marked = 0
    for seed in range(14):
        film = torch.from_numpy(scene(40, seed=seed))[:, None].repeat(1, 3, 1, 1) / 255
        simulator = Simulator(settings, seed, HEIGHT, WIDTH)
        cuts = [splice.cut for splice in simulator.splices(0, 40)]
        for cut in cuts:
            if not 6 <= cut < 34 or any(other != cut and abs(other - cut) < 10 for other in cuts):
                continue
            aged = list(age_span(simulator, film, cut - 5, cut + 5))
            masks = found(np.stack([luma_array(one.frame) for one in aged]))
            for one, mask in zip(aged, masks, strict=True):
                truth = (one.masks["splices"] >= 0.5).numpy()
                # What the jump pushes out of the frame cannot be seen.
                if truth.any(axis=0).mean() > 0.6:
                    seen += 1
                    hit += (near(mask) & truth).any(axis=0).mean() > 0.6
                # A frame line is dark, and no seam.
                line = (one.frame.amax(dim=0) < 0.05).numpy()
                right += int((mask & near(truth | line)).sum())
                marked += int(mask.sum())
    assert seen >= 12
    assert hit >= 0.8 * seen
    assert right >= 0.75 * marked


def test_the_other_end_of_the_overlap_is_found_beside_a_seam_alone():
    film = scene(9, seed=14)
    film[4], other = with_line(film[4], 62, 20.0)
    other[:, : WIDTH // 4] = False
    film[4, :, : WIDTH // 4] = scene(9, seed=14)[4, :, : WIDTH // 4]
    assert not found(film).any()
    film[4], seam = with_line(film[4], 6, 245.0)
    masks = found(film)
    assert masks[4][seam].mean() > 0.98
    assert masks[4][other].mean() > 0.98
    assert not np.delete(masks, 4, axis=0).any()


def test_a_frame_line_in_sight_is_marked_in_its_frame():
    film = scene(9, seed=5)
    film[4] = np.vstack([np.full((7, WIDTH), 5.0, np.float32), film[4][:-7]])
    masks = found(film)
    assert masks[4, :7].all()
    assert not masks[4, 10:].any()
    assert not np.delete(masks, 4, axis=0).any()


def test_a_border_that_moves_is_left():
    film = scene(9, seed=5)
    film[:, :6] = 5.0
    film[4] = np.vstack([np.full((7, WIDTH), 5.0, np.float32), film[4][:-7]])
    assert not found(film).any()


def test_a_line_of_the_scene_stays_where_the_film_jumps():
    film = scene(9, seed=6, speed=0)
    film = np.stack([with_line(frame, 9, 240.0)[0] for frame in film])
    film[4] = np.roll(film[4], 6, axis=0)
    assert not found(film).any()
    assert not found(film[:5])[4, 10:].any()


def test_a_line_that_leaves_or_comes_with_the_camera_stays():
    wide = np.vstack([scene(1, seed=seed)[0] for seed in (7, 8)])
    wide, _ = with_line(wide, 200, 240.0)
    up, down = (np.stack([wide[190 - 3 * t :][:HEIGHT] for t in steps]) for steps in (range(-4, 6), range(5, -5, -1)))
    for film in (up, down):
        assert not found(film).any()
        for last in range(4, len(film)):
            assert not found(film[:last]).any()
            assert not found(film[last - 4 :]).any()


def test_what_hides_a_line_of_the_scene_beside_makes_it_no_seam():
    film = np.stack([with_line(frame, 9, 240.0)[0] for frame in scene(6, seed=9, speed=0)])
    for t in (1, 2, 3):
        film[t, :, 40 : 40 + 130] = 120
    assert not found(film).any()


def test_repeats_of_a_frame_do_not_speak_for_it():
    film = scene(6, seed=10)
    film[2], truth = with_line(film[2], 8, 240.0)
    film = np.repeat(film, 2, axis=0)
    masks = found(film)
    assert masks[4][truth].mean() > 0.98
    assert masks[5][truth].mean() > 0.98
    assert not np.delete(masks, [4, 5], axis=0).any()


def test_blank_frames_beside_leave_a_doubt():
    film = scene(7, seed=11)
    film[2], _ = with_line(film[2], 8, 240.0)
    film[3:] = 255
    assert not found(film).any()


def test_what_is_marked_depends_on_frames_within_the_radius_alone():
    film = scene(2 * RADIUS + 5, seed=12)
    film[RADIUS + 1], _ = with_line(film[RADIUS + 1], 8, 240.0)
    whole = found(film)[RADIUS + 1]
    assert whole.any()
    assert np.array_equal(found(film[1 : 2 * RADIUS + 2])[RADIUS], whole)


@pytest.mark.parametrize("size", [(16, 16), (40, 1), (1, 40), (720, 64)])
def test_frames_of_any_size_are_looked_at(size):
    rng = np.random.default_rng(0)
    film = rng.uniform(0, 255, (5, *size)).astype(np.float32)
    assert found(film).shape == film.shape


def test_a_large_frame_is_marked_at_its_own_size():
    film = np.stack([cv2.resize(frame, (3 * WIDTH, 3 * HEIGHT)) for frame in scene(5, seed=13)])
    film[2], truth = with_line(film[2], 20, 245.0, thickness=7, tilt=6)
    masks = found(film)
    assert masks[2][truth].mean() > 0.98
    assert masks[2].sum() < 30 * 3 * WIDTH
    assert not masks[[0, 1, 3, 4]].any()


CLEAN = (
    *("intertitle_weave", "subtitles", "timecode", "lightning", "animation", "countdown", "pillarbox", "negative"),
    *("noisy_8mm", "duplicates", "leaders", "strobe", "ball", "cue_marks", "poles"),
)


@pytest.mark.parametrize("name", CLEAN)
def test_clean_content_is_left(name):
    frames, _ = clean_case(name, 0, 24)
    film = np.stack([luma_array(frame) for frame in frames])
    assert not found(film).any()
    for first in range(0, 24, 6):
        assert not found(film[first : first + 6]).any()


@pytest.mark.parametrize("options", [{"depth": 1.0}, {"depth": 300.0}, {"coverage": 0.3}, {"coverage": 1.0}])
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(SettingsError):
        SpliceSettings(**options)
