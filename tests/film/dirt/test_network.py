"""The dirt network reads and writes its file, takes any size, and finds dirt and not what moves."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.film.dirt import detection as dirt
from vldm_core.film.dirt.comparisons import Comparisons
from vldm_core.film.dirt.detection import RADIUS, DirtSettings, detect_dirt, dirt_probability
from vldm_core.film.dirt.features import PLANES, SIGNED_PLANES, UNSIGNED_PLANES, DirtFeatures
from vldm_core.film.dirt.moving_objects import moving_spots
from vldm_core.film.dirt.network import KIND, DirtNetwork, DirtNetworkConfig, shared_network
from vldm_core.film.motion.window import FrameWindow
from vldm_core.metrics.detection import dilate, score_detection

from ...testers import survives_its_file, windows_agree
from .dirt_scenes import scene, speckled, with_runner

LEARNED = DirtSettings(detector="learned")
TINY = DirtNetworkConfig(widths=(4, 6, 8), depths=(1, 0, 1), scale=1.5, offset=(-0.5, 0.25))


def lively(config: DirtNetworkConfig = TINY) -> DirtNetwork:
    torch.manual_seed(3)
    return DirtNetwork(config).eval()


def planes_of(frames: Tensor, index: int, lifetime: int = 3) -> dict[str, Tensor]:
    seen = DirtFeatures(Comparisons(FrameWindow(frames)), lifetime=lifetime).planes(index)
    assert seen is not None
    return dict(zip(PLANES, seen, strict=True))


def test_file_round_trip(tmp_path: Path) -> None:
    network = lively()
    again = survives_its_file(network, KIND.save, KIND.load, tmp_path / "detector.safetensors")
    planes = torch.randn(len(PLANES), 24, 40)
    assert torch.equal(again.probability(planes), network.probability(planes))
    expected = torch.sigmoid(1.5 * network(planes[None])[0] + torch.tensor([-0.5, 0.25])[:, None, None])
    assert torch.allclose(again.probability(planes), expected)


@pytest.mark.parametrize(
    ("description", "match"),
    [
        ('{"format": 1, "planes": ["spike"]}', "makes no sense.*looks at"),
        ('{"format": 1, "planes": 5}', "makes no sense"),
        ('{"format": 1, "widths": [4, 6, 1000000000]}', "makes no sense.*widths"),
        ('{"format": 1, "offset": ["a", "b"]}', "makes no sense"),
        ('{"format": 1, "offset": [NaN, 0]}', "makes no sense.*calibration"),
        ('{"format": 1, "widths": [4, 6, 12]}', "does not fit"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, description: str, match: str) -> None:
    path = tmp_path / "detector.safetensors"
    save_file(lively().state_dict(), path, metadata={KIND.name: description})
    with pytest.raises(WeightFileError, match=f"detector.safetensors.*{match}.*weight-free"):
        KIND.load(path)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"planes": ("spike",)}, "looks at"),
        ({"widths": (0, 1, 1)}, "widths"),
        ({"depths": (1, 1)}, "depths"),
        ({"scale": 0.0}, "calibration"),
        ({"offset": (0.0, float("inf"))}, "calibration"),
    ],
)
def test_wrong_configurations_are_refused(wrong: dict, match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        DirtNetworkConfig(**wrong)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (16, 17), (33, 40), (64, 8)])
def test_any_size(height: int, width: int) -> None:
    assert lively()(torch.randn(2, len(PLANES), height, width)).shape == (2, 2, height, width)


def test_size_of_the_network() -> None:
    assert sum(parameter.numel() for parameter in DirtNetwork().parameters()) <= 200_000


def test_planes_of_a_negative_change_their_sign() -> None:
    frames, _ = speckled(scene(6, 96, 128))
    positive, negative = planes_of(frames, 2), planes_of(1 - frames, 2)
    for name in SIGNED_PLANES:
        assert torch.corrcoef(torch.stack([positive[name].flatten(), negative[name].flatten()]))[0, 1] < -0.85, name
    for name in UNSIGNED_PLANES:
        assert (positive[name] >= 0).all() and (negative[name] >= 0).all(), name


def test_what_lasts_shows_in_the_planes_of_stretches() -> None:
    frames = scene(9, pan=0.4)
    frames[3:5, :, 60:66, 130:137] = 0.97
    place = (slice(61, 65), slice(131, 136))
    seen = planes_of(frames, 3)
    assert seen["spike"][place].abs().max() < 0.1
    assert seen["spike over 2"][place].min() > 2
    assert seen["spike over 3"][place].abs().max() == 0
    assert planes_of(frames, 3, lifetime=1)["spike over 2"].abs().max() == 0


def test_ends_of_a_shot_are_flagged() -> None:
    frames = scene(6, 96, 128)
    assert [bool(planes_of(frames, index)["one-sided"].any()) for index in range(6)] == [True, *[False] * 4, True]
    assert DirtFeatures(Comparisons(FrameWindow(frames[:2])), lifetime=3).planes(0) is None


def test_windows_give_the_same_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    network = lively()
    monkeypatch.setattr(dirt, "shared_network", lambda: network)
    dirty, _ = speckled(with_runner(scene(17, 90, 130)), per_frame=3)
    whole = dirt_probability(dirty, LEARNED)
    assert whole.std() > 0.01

    def only_what_counts(window: slice, kept: slice) -> Tensor:
        found = dirt_probability(dirty[window], LEARNED, keep=kept)
        assert not found[: kept.start].any() and not found[kept.stop :].any()
        return found

    windows_agree(lambda window, kept: dirt_probability(dirty[window], LEARNED), whole, (5, 9), radius=RADIUS)
    windows_agree(only_what_counts, whole, (5, 9), radius=RADIUS)


def test_the_file_is_read_once() -> None:
    assert shared_network() is shared_network()
    assert not any(parameter.requires_grad for parameter in shared_network().parameters())
    assert shared_network().head.weight.is_contiguous(memory_format=torch.channels_last)


def test_specks_are_found_and_little_else() -> None:
    dirty, truth = speckled(scene(9))
    score = score_detection(detect_dirt(dirty, LEARNED)[1:-1], truth[1:-1].float())
    assert (score.recall or 0) > 0.85
    assert (score.precision or 0) > 0.9


def test_specks_are_found_where_things_run() -> None:
    dirty, truth = speckled(with_runner(scene(9, pan=3.0), speed=13.0), per_frame=3)
    score = score_detection(detect_dirt(dirty, LEARNED)[1:-1], truth[1:-1].float())
    assert (score.f1 or 0) > 0.8


def test_what_moves_is_not_dirt() -> None:
    assert detect_dirt(with_runner(scene(8), speed=11.0), LEARNED).mean() < 5e-4
    assert detect_dirt(scene(7, pan=5.0), LEARNED).mean() < 1e-4


def test_ends_of_a_shot_are_judged_from_one_side() -> None:
    dirty, truth = speckled(scene(6), per_frame=6)
    ends = torch.tensor([0, 5])
    score = score_detection(detect_dirt(dirty, LEARNED)[ends], truth[ends].float())
    assert (score.recall or 0) > 0.6
    assert (score.precision or 0) > 0.8


@pytest.mark.parametrize("life", [2, 3])
def test_a_speck_that_lasts_a_few_frames_is_found(life: int) -> None:
    frames = scene(9, pan=0.4)
    frames[3 : 3 + life, :, 60:66, 130:137] = 0.97
    assert (detect_dirt(frames, LEARNED)[3 : 3 + life, 61:65, 131:136] > 0).float().mean() > 0.9


def test_polarity_size_growth_and_protection() -> None:
    dirty, truth = speckled(scene(5), first=2, last=3)
    found = detect_dirt(dirty, LEARNED)[2] > 0
    one = {
        kind: detect_dirt(dirty, DirtSettings(detector="learned", min_size=1, polarity=kind))[2] > 0
        for kind in ("dark", "bright")
    }
    level = dirty[2, 0] - dirty[[1, 3], 0].mean(0)
    for kind, sign in (("dark", -1), ("bright", 1)):
        assert one[kind].any()
        assert (sign * level[one[kind] & truth[2]] > 0).float().mean() > 0.95
    assert not (one["dark"] & one["bright"]).any()
    assert torch.equal((one["dark"] | one["bright"]) & found, found)
    assert not detect_dirt(dirty, DirtSettings(detector="learned", min_size=500)).any()
    grown = detect_dirt(dirty, DirtSettings(detector="learned", grow=2))[2] > 0
    assert (grown & found).sum() == found.sum() < grown.sum()
    assert torch.equal(grown | dilate(found[None], 2)[0], dilate(found[None], 2)[0])
    protect = torch.zeros_like(truth)
    protect[:, :, :96] = True
    assert not detect_dirt(dirty, LEARNED, protect=protect)[2, :, :96].any()


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_frames_find_nothing(count: int) -> None:
    dirty, _ = speckled(scene(2))
    assert dirt_probability(dirty[:count], LEARNED).sum() == 0


@pytest.mark.parametrize(
    ("first", "second", "ratio", "moves"),
    [
        ((38, 30), (58, 30), -1.0, True),
        ((38, 30), (28, 30), 2.0, True),
        ((48, 30), (48, 30), -1.0, False),
        (None, None, -1.0, False),
    ],
)
def test_what_a_neighbour_shows_elsewhere_moves(
    first: tuple[int, int] | None, second: tuple[int, int] | None, ratio: float, moves: bool
) -> None:
    stream = np.random.default_rng(0)
    ground = cv2.GaussianBlur(stream.standard_normal((80, 112)).astype(np.float32), (0, 0), 4) * 150 + 120

    def with_thing(place: tuple[int, int] | None) -> np.ndarray:
        frame = ground.copy()
        if place is not None:
            x, y = place
            frame[y : y + 14, x : x + 14] = 230
            frame[y + 4 : y + 10, x + 4 : x + 10] = 30
        return frame

    frame = with_thing((48, 30))
    certainty = np.zeros_like(frame)
    certainty[30:44, 48:62] = 0.9
    found = moving_spots(certainty, 0.3, frame, (with_thing(first), with_thing(second)), frame - ground, ratio=ratio)
    assert found.any() == moves
    assert np.array_equal(found, certainty > 0) or not moves
