"""Shots: true cuts in bad film, and nothing else."""

import pickle
from itertools import pairwise
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from scenedetect import FrameTimecode
from scipy import ndimage

from vldm_core.errors import SettingsError
from vldm_core.stages.batch import detect_shots_in
from vldm_core.video.shots import FilmCutDetector, Shot, ShotDetector, ShotSettings

from ..testers import interrupt_comes_out

SIZE = (240, 184)
WHITE = np.full((SIZE[1], SIZE[0], 3), 250, np.uint8)
BLACK = np.full((SIZE[1], SIZE[0], 3), 3, np.uint8)
FILMS = ["film/great_train_robbery_1903.mkv", "film/market_street_1906.mkv", "film/san_francisco_1906.mkv"]


def shot(seed, count, speed=(1.0, 0.5), brightness=110.0, contrast=40.0):
    """A textured scene under a moving camera."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    scene = sum(s * ndimage.gaussian_filter(rng.normal(size=(2 * height, 2 * width, 3)), (s, s, 0)) for s in (3, 9, 27))
    scene = brightness + contrast * scene / scene.std()
    frames = []
    for t in range(count):
        matrix = np.array([[1, 0, -60 - speed[0] * t], [0, 1, -60 - speed[1] * t]], np.float64)
        frames.append(cv2.warpAffine(scene, matrix, SIZE, borderMode=cv2.BORDER_REFLECT).clip(0, 255).astype(np.uint8))
    return frames


def aged(frames, seed, flicker=0.07, weave=1.0, specks=15):
    """Flicker (global and as a field), weave with jumps, dirt with bursts, grain."""
    rng = np.random.default_rng(seed)
    height, width = frames[0].shape[:2]
    gain, result = 0.0, []
    for frame in frames:
        gain = 0.5 * gain + 0.87 * rng.normal(0, flicker)
        field = cv2.resize(rng.normal(0, flicker / 2, (4, 4)), (width, height), interpolation=cv2.INTER_CUBIC)
        picture: Any = frame * (1 + gain + field)[..., None].clip(0.4, 1.8)
        shift = rng.normal(0, weave, 2) + (rng.uniform(-8, 8, 2) if rng.random() < 0.03 else 0)
        picture = cv2.warpAffine(
            picture,
            np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64),
            (width, height),
            borderMode=cv2.BORDER_REFLECT,
        )
        burst = rng.random() < 0.04
        for _ in range(8 * specks if burst else rng.poisson(specks)):
            grey = float(rng.choice([10, 250]))
            centre = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.circle(picture, centre, int(rng.integers(1, 8 if burst else 4)), (grey,) * 3, -1)
        picture += rng.normal(0, 2.5, (height, width, 1))
        result.append(picture.clip(0, 255).astype(np.uint8))
    return result


def shots_of(frames, settings=None):
    detector = ShotDetector(settings)
    for frame in frames:
        detector.update(frame)
    return detector.finish()


def cuts(frames, **settings):
    shots = shots_of(frames, ShotSettings(**settings))
    assert shots[0].first == 0 and shots[-1].last == len(frames)
    assert all(a.last == b.first for a, b in pairwise(shots))
    return [s.first for s in shots[1:]]


def film(path, size=None):
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames] if size else frames


def test_cuts_between_shots_of_all_lengths():
    lengths = [20, 6, 8, 30, 7, 15]
    frames = [f for i, n in enumerate(lengths) for f in shot(i, n)]
    expected = np.cumsum(lengths)[:-1].tolist()
    assert cuts(frames) == expected
    assert cuts(aged(frames, 0)) == expected


def test_cuts_in_very_dark_material():
    frames = [f for i in range(4) for f in shot(i, 12, brightness=9.0, contrast=3.5)]
    assert cuts(frames) == [12, 24, 36]
    assert cuts(aged(frames, 1, specks=2)) == [12, 24, 36]


@pytest.mark.parametrize("length", [1, 2, 4])
@pytest.mark.parametrize("flash", [WHITE, BLACK])
def test_flashes_do_not_cut(length, flash):
    scene = aged(shot(0, 24), 2)
    assert cuts(scene[:12] + [flash] * length + scene[12:]) == []


def test_flashes_at_the_ends_do_not_cut():
    scene = shot(0, 20)
    assert cuts([WHITE, WHITE, *scene]) == []
    assert cuts([*scene, BLACK, BLACK]) == []


def test_flashes_on_both_sides_do_not_hide_a_cut():
    one, two = shot(0, 20), shot(1, 20)
    assert cuts([*one[:18], WHITE, *one[18:], two[0], WHITE, *two[1:]]) == [21]
    assert cuts([*one, WHITE, *two]) in ([20], [21])


def test_a_burn_does_not_cut():
    scene = shot(0, 30)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    for t, radius in ((13, 60), (14, 120), (15, 180), (16, 90)):
        share = np.clip(1.6 - np.hypot(x - 150, y - 80) / radius, 0, 1)[..., None]
        scene[t] = (scene[t] * (1 - share) + np.array([250, 220, 160], np.float64) * share).astype(np.uint8)
    assert cuts(scene) == []


def test_duplicates_jumps_and_fast_motion_do_not_cut():
    doubled = [f for f in shot(0, 15) for _ in range(2)] + [f for f in shot(1, 15) for _ in range(2)]
    assert cuts(doubled) == [30]
    jumping = shot(2, 30)
    for t in range(10, 30):
        jumping[t] = np.roll(jumping[t], (8, -6), (0, 1))
    assert cuts(jumping) == []
    assert cuts(shot(3, 30, speed=(18.0, 4.0))) == []


def test_leader_and_frames_without_structure():
    assert cuts([*shot(0, 20), *[BLACK] * 12, *shot(1, 20)]) == [20, 32]
    assert cuts([WHITE] * 12 + [BLACK] * 12) == [12]
    assert cuts([BLACK] * 30) == []


def test_dissolves_stay_one_shot():
    one, two = shot(0, 50), shot(1, 50)
    weights = np.clip((np.arange(50) - 15) / 20, 0, 1)
    mixed = [((1 - w) * a + w * b).astype(np.uint8) for a, b, w in zip(one, two, weights, strict=True)]
    assert cuts(mixed) == []


def test_short_insertions_and_ends():
    one, two = shot(0, 30), shot(1, 10)
    assert cuts(one[:15] + two[:6] + one[15:]) == [15, 21]
    assert cuts(one[:15] + two[:4] + one[15:], min_length=4) == [15, 19]
    assert cuts(two[:3] + one) == [3]
    assert cuts(one + two[:3]) == [30]


@pytest.mark.parametrize("length", [2, 3, 4, 5])
@pytest.mark.parametrize("worn", [False, True])
def test_shots_of_two_frames_are_shots(length, worn):
    one, two, three = shot(0, 20), shot(1, length), shot(2, 20)
    wear = (lambda frames, seed: aged(frames, seed, flicker=0.05, specks=5)) if worn else (lambda frames, _: frames)
    assert cuts(wear([*one, *two, *three], 0)) == [20, 20 + length], "between two others"
    assert cuts(wear([*one, *two, *one[10:], *three], 1)) == [20, 20 + length, 30 + length], "inserted"
    assert cuts(wear([*two, *one], 2)) == [length], "at the start"
    assert cuts(wear([*one, *two], 3)) == [20], "at the end"


def test_a_montage_of_short_shots():
    lengths = [12, 2, 3, 2, 2, 5, 12, 2]
    frames = [f for i, n in enumerate(lengths) for f in shot(i, n)]
    assert cuts(frames) == np.cumsum(lengths)[:-1].tolist()


def test_one_frame_alone_is_no_shot():
    one, two, three = shot(0, 30), shot(1, 1), shot(2, 20)
    assert cuts(one[:15] + two + one[15:]) == []
    assert cuts(one + two + three) in ([30], [31])
    assert cuts(two + one) == cuts(one + two) == []


@pytest.mark.parametrize("name", FILMS)
def test_real_film_has_no_cut_of_its_own(shared_data, name):
    assert cuts(film(shared_data(name))) == []


def test_real_films_one_after_the_other(shared_data):
    reels = [film(shared_data(name), SIZE)[:24] for name in FILMS]
    assert cuts([f for reel in reels for f in reel]) == [24, 48]
    assert cuts([f for i, reel in enumerate(reels) for f in aged(reel, i, flicker=0.05)]) == [24, 48]


def test_fast_crossings_in_a_clean_clip_do_not_cut(shared_data):
    assert cuts(film(shared_data("clips/seeking.mp4"), SIZE)) == []


def test_layouts_of_frames_give_the_same_shots():
    frames = [*shot(0, 12), *shot(1, 12)]
    tensor = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
    deep = [f.astype(np.uint16) * 257 for f in frames]
    expected = (Shot(0, 12), Shot(12, 24))
    assert shots_of(frames) == shots_of(tensor) == shots_of(deep) == expected
    assert [len(s) for s in expected] == [12, 12]
    assert pickle.loads(pickle.dumps(expected)) == expected


@pytest.mark.parametrize("size", [(24, 18), (64, 400), (700, 40), (1280, 720)])
def test_any_frame_size_works(size):
    frames = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in [*shot(0, 10), *shot(1, 10)]]
    assert cuts(frames) == [10]


def test_streaming_tells_cuts_soon_and_holds_few_frames():
    detector = ShotDetector()
    found = {}
    for t, frame in enumerate([*shot(0, 40), *shot(1, 40)]):
        for cut in detector.update(frame):
            found[cut] = t
        assert len(detector._detector._looks) <= 2 * (ShotSettings().min_length - 1)
        assert len(detector._detector._suspects) <= ShotSettings().min_length
    assert found == {40: 44}
    assert detector.finish() == (Shot(0, 40), Shot(40, 80))
    assert ShotDetector().finish() == ()


def test_the_detector_works_inside_scenedetect():
    detector = FilmCutDetector()
    found = []
    for t, frame in enumerate([*shot(0, 12), *shot(1, 12)]):
        found += detector.process_frame(FrameTimecode(t, 24.0), frame[..., ::-1])
    found += detector.post_process(FrameTimecode(23, 24.0))
    assert [cut.frame_num for cut in found] == [12]
    assert detector.event_buffer_length == 5


def test_progress_may_interrupt():
    frames = torch.rand(5, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    calls = interrupt_comes_out(lambda progress: detect_shots_in(frames, progress=progress), at=3)
    assert [(done, total) for _, done, total in calls] == [(1, 5), (2, 5), (3, 5)]


def test_wrong_arguments_are_refused():
    with pytest.raises(SettingsError, match=r"threshold is 1.5"):
        ShotSettings(threshold=1.5)
    with pytest.raises(SettingsError, match="min_length is 1"):
        ShotSettings(min_length=1)
    with pytest.raises(SettingsError, match="first 5, last 5"):
        Shot(5, 5)
    with pytest.raises(SettingsError, match="tensors"):
        ShotDetector().update(torch.zeros(32, 40, 3))
    with pytest.raises(SettingsError, match="arrays"):
        ShotDetector().update(np.zeros((32, 40, 3), np.float32))
