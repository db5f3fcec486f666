"""Drawn lines stay: cross hairs and borders come upright and level; scratches along the film only."""

import cv2
import numpy as np
import pytest
import torch

from vldm_core.film.scratches.detection import ScratchSettings
from vldm_core.film.scratches.search.drawn_lines import LevelLines
from vldm_core.film.scratches.tracks import ScratchTrack
from vldm_core.stages.analysis import AnalysisSettings, analyse_shot

HEIGHT, WIDTH, COUNT = 160, 240, 16


def countdown(hair=True, level=True, grain=2.0):
    """A leader: a clock hand sweeps, a ring stands, two lines cross; (T, H, W) grey levels."""
    generator = np.random.default_rng(1)
    frames = []
    for t in range(COUNT):
        frame = np.full((HEIGHT, WIDTH), 176.0, np.float32)
        centre = (WIDTH // 2, HEIGHT // 2)
        cv2.ellipse(frame, centre, (300, 300), 0, -90, t / COUNT * 360 - 90, 120, -1)
        cv2.circle(frame, centre, 60, 240, 3, cv2.LINE_AA)
        if hair:
            frame[:, WIDTH // 2 - 1 : WIDTH // 2 + 1] = 20
        if level:
            frame[HEIGHT // 2 - 1 : HEIGHT // 2 + 1] = 20
        frames.append(frame + grain * generator.normal(size=frame.shape))
    return np.stack(frames).clip(0, 255)


def found(grey, **options):
    frames = torch.from_numpy(np.repeat(grey[:, None].round(), 3, axis=1).astype(np.float32) / 255)
    wanted = AnalysisSettings(scratches=ScratchSettings(**options))
    return analyse_shot(frames, wanted, *grey.shape[1:]).scratches


def street(level, seed=3):
    """A locked-off scene, something that passes, and over all an upright line, with or without a level one."""
    generator = np.random.default_rng(seed)
    still = cv2.GaussianBlur(generator.normal(size=(HEIGHT, WIDTH)), (0, 0), 10)
    still = 130 + 12 * still / still.std()
    frames = []
    for t in range(24):
        frame = still.copy()
        cv2.ellipse(frame, (10 + 10 * t, 100), (24, 45), 0, 0, 360, 150.0, -1, cv2.LINE_AA)
        frame -= 21 * np.exp(-np.square(np.arange(WIDTH) - 90.3) / 2 / 0.9**2)
        if level:
            frame -= 21 * np.exp(-np.square(np.arange(HEIGHT) - 71.6) / 2 / 0.9**2)[:, None]
        frames.append(frame + generator.normal(scale=2.5, size=frame.shape))
    return np.stack(frames).clip(0, 255)


def test_a_line_that_meets_a_level_one_is_drawn():
    assert len(found(street(level=False)).tracks) == 1, "the same line alone is a scratch"
    lines = found(street(level=True))
    assert not lines.tracks and not lines.doubtful


@pytest.mark.parametrize("detector", ["learned", "weight-free"])
def test_the_cross_hairs_of_the_countdown_stay(clean_cases, detector):
    frames, _ = clean_cases("countdown")
    grey = np.stack(frames)[4:28].mean(axis=3)
    lines = found(grey, detector=detector)
    assert not lines.tracks and not lines.doubtful


@pytest.mark.parametrize("name", ["intertitle_weave", "timecode", "subtitles", "poles"])
def test_thin_upright_things_of_the_clean_cases_are_no_scratches(clean_cases, name):
    frames, _ = clean_cases(name)
    assert not found(np.stack(frames)[:20].mean(axis=3)).tracks


def test_a_scratch_through_cross_hairs_is_found_where_it_wanders():
    grey = countdown(hair=False)
    for t in range(COUNT):
        x = 70 + round(3 * np.sin(t / 3))
        grey[t, :, x : x + 2] = np.clip(grey[t, :, x : x + 2] + 45, 0, 255)
    assert [round(float(track.x.mean()) / 4) for track in found(grey).tracks] == [round(70 / 4)]


def track(x=100.0, depth=-60.0, tilt=0.0, rows=slice(None)):
    present = np.zeros((COUNT, 10), bool)
    present[:, rows] = True
    return ScratchTrack(
        first=0,
        x=np.broadcast_to(np.float32(x), COUNT).copy(),
        tilt=np.full(COUNT, tilt, np.float32),
        left=1.0,
        right=1.0,
        depth=depth,
        score=100.0,
        present=present,
    )


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (track(), True),
        (track(rows=slice(4, 6)), True),
        (track(depth=60.0), False),
        (track(depth=-4.0), False),
        (track(tilt=0.02), False),
        (track(x=np.linspace(100, 103, COUNT)), False),
        (track(rows=slice(0, 3)), False),
    ],
    ids=["crosses", "touches", "other polarity", "much fainter", "leans", "drifts", "does not meet it"],
)
def test_which_lines_belong_to_a_level_line(line, wanted):
    level = LevelLines(COUNT)
    for frame in countdown(hair=False):
        level.update(frame.astype(np.float32))
    assert level.drawn([line], 1.0) == [wanted]


def test_a_horizon_and_a_level_line_that_comes_and_goes_are_none():
    horizon, passing = LevelLines(COUNT), LevelLines(COUNT)
    for t in range(COUNT):
        frame = np.full((HEIGHT, WIDTH), 120, np.float32)
        edge, line = frame.copy(), frame.copy()
        edge[80:] = 40
        if t % 2:
            line[80:82] = 20
        horizon.update(edge)
        passing.update(line)
    assert horizon.drawn([track()], 1.0) == passing.drawn([track()], 1.0) == [False]
    assert LevelLines(3).drawn([track()], 1.0) == [False]
