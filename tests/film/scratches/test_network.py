"""The learned verdict on lines: its weights, their file, and what it says of made scenes."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vldm_core.errors import SettingsError
from vldm_core.files.networks import WEIGHTS
from vldm_core.files.weights import WeightFileError
from vldm_core.film.scratches import by_network as by_network
from vldm_core.film.scratches.detection import ScratchAnalyser, ScratchSettings, ScratchTrack, detect_scratches
from vldm_core.film.scratches.network import KIND, ScratchNetwork, ScratchNetworkConfig, shared_network
from vldm_core.film.scratches.search.appearance import (
    FAR_PLANES,
    NEAR_PLANES,
    NUMBERS,
    TIME_PLANES,
    Appearance,
    appearance,
)
from vldm_core.film.scratches.search.candidates import Window, find_candidates, find_standing
from vldm_core.film.scratches.search.layers import BandLayout, band_profiles, explain_scene
from vldm_core.film.scratches.search.motion_test import Verdict
from vldm_core.film.scratches.search.paths import tilt_steps
from vldm_core.film.scratches.tracks import continue_tracks

from ...testers import survives_its_file

HEIGHT, WIDTH, COUNT = 240, 320, 24
LEARNED = ScratchSettings(detector="learned")


def seen(count=3):
    stream = np.random.default_rng(5)
    shapes = ((NEAR_PLANES, 24, 33), (FAR_PLANES, 24, 33), (TIME_PLANES, 24, 16), (NUMBERS,))
    parts = [stream.normal(size=(count, *shape)).astype(np.float32) for shape in shapes]
    return Appearance(near=parts[0], far=parts[1], times=parts[2], numbers=parts[3])


def scenery(seed=2):
    """A street in the evening: sky, houses with flat edges, ground."""
    stream = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(stream.normal(size=(HEIGHT, WIDTH)).astype(np.float32), (0, 0), 12)
    picture = 110 + 22 * picture / picture.std()
    picture[:70] += 35
    picture[180:] -= 25
    for left, top in ((30, 90), (150, 60), (240, 110)):
        picture[top:185, left : left + 55] -= 18
    return cv2.GaussianBlur(picture, (0, 0), 0.8)


def film(moved=None, pole=False, scratch=None, crossing=True, grain=2.5, seed=3):
    """A shot of it, in which a large thing crosses the picture in front of everything but the scratch."""
    stream = np.random.default_rng(seed)
    still = scenery()
    if pole:
        still[85:200, 209:213] = 62 + 10 * np.linspace(-1, 1, 4)
    frames = []
    for t in range(COUNT):
        shift = 0.0 if moved is None else float(moved[t])
        picture = cv2.warpAffine(
            still, np.array([[1, 0, shift], [0, 1, 0]], np.float32), (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT
        )
        if crossing:
            cv2.ellipse(picture, (int(20 + 13 * t), 150), (38, 70), 0, 0, 360, 150.0, -1, cv2.LINE_AA)
        if scratch is not None:
            columns = np.arange(WIDTH) - scratch
            picture = picture - 9 * np.exp(-np.square(columns) / 2 / 0.9**2)[None]
        frames.append(picture + stream.normal(scale=grain, size=picture.shape))
    luma = np.stack(frames).clip(0, 255).astype(np.float32) / 255
    return torch.from_numpy(luma)[:, None].expand(-1, 3, -1, -1)


def share(mask, x, rows=slice(None)):
    return float((mask[:, rows, x - 1 : x + 2].amax(dim=2) > 0).float().mean())


def test_a_network_survives_its_file(tmp_path):
    torch.manual_seed(1)
    network = ScratchNetwork(ScratchNetworkConfig(width=8, hidden=16))
    network.temperature.fill_(0.7)
    network.eval()
    copy = survives_its_file(network, KIND.save, KIND.load, tmp_path / "lines.safetensors")
    assert copy.probability(seen()) == network.probability(seen())
    assert copy.probability(seen(0)) == []


def test_the_network_stays_small_and_the_package_has_its_weights():
    network = shared_network()
    assert network is shared_network()
    assert sum(value.numel() for value in network.parameters()) <= 100_000
    assert (WEIGHTS / "line_detector.safetensors").stat().st_size < 1 << 20
    assert all(0 <= value <= 1 for value in network.probability(seen()))


@pytest.mark.parametrize(
    ("description", "match"),
    [
        ('{"format": 1, "width": 1000000000, "hidden": 16}', "makes no sense.*width"),
        ('{"format": 1, "width": 8.5}', "makes no sense.*width"),
        ('{"format": 1, "width": 16, "hidden": 16}', "does not fit"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path, description, match):
    path = tmp_path / "lines.safetensors"
    network = ScratchNetwork(ScratchNetworkConfig(width=8, hidden=16))
    save_file(network.state_dict(), path, metadata={KIND.name: description})
    with pytest.raises(WeightFileError, match=rf"lines\.safetensors.*{match}.*weight-free"):
        KIND.load(path)


def test_bad_sizes_are_refused():
    for given in ({"width": 2}, {"hidden": 1000}, {"width": 8.5}):
        with pytest.raises(SettingsError, match="scratch network"):
            ScratchNetworkConfig(**given)


def window_of(frames):
    luma = frames[:, 0].numpy() * 255
    layout = BandLayout.of(HEIGHT, WIDTH)
    profiles = [band_profiles(frame, layout) for frame in luma]
    ridge = np.stack([profile.ridge for profile in profiles])
    mean = np.stack([profile.mean for profile in profiles])
    still = np.zeros(len(luma), np.float32)
    tilts = tilt_steps(layout.bands, layout.band_rows, 5.0)
    return Window.of(ridge, mean, explain_scene(ridge, still, still)), tilts, layout


def test_a_scratch_of_a_locked_off_shot_is_a_candidate_once():
    window, tilts, layout = window_of(film(scratch=120.3))
    found = find_candidates(window, tilts, layout, min_score=22, min_frames=8)
    near = [one for one in found if abs(float(one.path.x.mean()) - 120.3) < 2 and one.path.polarity < 0]
    assert len(near) == 1
    assert near[0].standing
    described = appearance(window, found)
    assert len(described) == len(found)
    assert all(np.isfinite(part).all() for part in (described.near, described.far, described.times, described.numbers))


def test_standing_lines_are_dated():
    stream = np.random.default_rng(0)
    sums = stream.normal(size=(30, 3, 64)).astype(np.float32)
    sums[8:22, 1, 40] += 8
    best = find_standing(sums, np.array([-1.0, 0.0, 1.0], np.float32), min_score=20, min_frames=8)[0]
    assert (best.first, best.polarity, best.tilt) == (8, 1, 0.0)
    assert abs(best.frames.stop - 22) <= 1
    assert abs(float(best.x.mean()) - 40) < 0.6


def test_the_scratch_of_a_locked_off_shot_is_found():
    mask = detect_scratches(film(scratch=120.3), LEARNED)
    assert share(mask, 120) > 0.85
    mask[:, :, 114:127] = 0
    assert float(mask.mean()) < 0.001
    assert not detect_scratches(film(scratch=120.3), ScratchSettings(detector="weight-free")).any()


def test_a_pole_that_gets_occluded_is_not():
    assert float(detect_scratches(film(pole=True), LEARNED).mean()) < 0.001


@pytest.mark.parametrize("sigma", [0.3, 0.8])
def test_in_gate_weave_the_scratch_is_found_and_the_pole_is_not(sigma):
    moved = np.random.default_rng(6).normal(scale=sigma, size=COUNT)
    mask = detect_scratches(film(moved, pole=True, scratch=120.3), LEARNED)
    assert share(mask, 120) > 0.85
    assert share(mask, 211) < 0.05


def test_certainty_is_a_threshold():
    frames = film(scratch=120.3)
    none = detect_scratches(frames, ScratchSettings(detector="learned", certainty=1.0))
    some = detect_scratches(frames, LEARNED)
    more = detect_scratches(frames, ScratchSettings(detector="learned", certainty=0.02))
    assert not none.any()
    assert bool((more >= some).all()) and float(some.mean()) > 0


def test_a_candidate_is_cut_with_its_window():
    window, tilts, layout = window_of(film(scratch=120.3))
    found = find_candidates(window, tilts, layout, min_score=22, min_frames=8)[0]
    half = window.within(slice(COUNT // 2, COUNT))
    part = found.within(slice(COUNT // 2, COUNT))
    assert len(half.ridge) == COUNT // 2
    assert part.path.frames == slice(0, COUNT // 2)
    assert np.array_equal(part.path.x, found.path.x[COUNT // 2 :])
    assert part.path.score == pytest.approx(found.path.score / 2)
    assert found.within(slice(COUNT, 2 * COUNT)) is None


def test_where_the_stream_is_interrupted_does_not_matter():
    """A long shot, analysed in one go and with the analyser stored and taken up again in the middle of a window."""
    frames = film(scratch=120.3).repeat(3, 1, 1, 1)[:60, 0].numpy() * 255
    whole, parted = ScratchAnalyser(LEARNED, HEIGHT, WIDTH), ScratchAnalyser(LEARNED, HEIGHT, WIDTH)
    for number, luma in enumerate(frames):
        whole.update(luma, None)
        if number == 31:
            parted = pickle.loads(pickle.dumps(parted))
        parted.update(luma, None)
    one, other = whole.finish(), parted.finish()
    # Two windows, one scratch.
    assert [track.last - track.first for track in one.tracks] == [60]
    assert np.array_equal(one.tracks[0].x, other.tracks[0].x)
    assert np.array_equal(one.tracks[0].present, other.tracks[0].present)


def test_a_scratch_goes_on_where_it_became_doubtful():
    def track(first, x, certainty):
        return ScratchTrack(
            first=first,
            x=np.full(48, x, np.float32),
            tilt=np.zeros(48, np.float32),
            left=1.0,
            right=1.0,
            depth=-6.0,
            score=90.0,
            present=np.ones((48, 10), bool),
            certainty=certainty,
        )

    tracks, doubtful = [track(24, 100.0, 0.9)], [track(48, 101.0, 0.3), track(72, 101.5, 0.2), track(0, 140.0, 0.4)]
    continue_tracks(tracks, doubtful)
    assert [(one.first, one.last, one.certainty) for one in tracks] == [(24, 120, 0.9)]
    assert [float(one.x[0]) for one in doubtful] == [140.0]


@pytest.mark.parametrize(
    ("following", "error", "share", "wanted"),
    [(1.7, 0.7, 0.8, True), (0.9, 0.6, 0.9, False), (0.4, 0.3, 0.9, False), (-0.3, 0.3, 0.9, False)],
)
def test_an_uncertain_motion_that_is_rather_the_scenes_counts_against_a_line(following, error, share, wanted):
    verdict = Verdict(film_share=share, following=following, following_error=error)
    assert by_network._leans_to_scene(verdict) is wanted


def test_motion_speaks_for_a_line_by_the_likelihood_of_its_slope() -> None:
    def said(slope: float, error: float) -> float:
        return by_network._spoken_for(Verdict(film_share=0.5, following=slope, following_error=error))

    assert said(0.0, np.inf) == said(0.6, 0.1) == 0.0
    assert 0 < said(0.2, 0.6) < said(0.0, 0.6) < said(0.0, 0.3) <= 3.0
    assert by_network._raised(0.2, 0.0) == pytest.approx(0.2)
    assert by_network._raised(0.2, 3.0) > 0.8 > 0.2 > by_network._raised(0.01, 3.0)
