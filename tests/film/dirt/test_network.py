"""The dirt network reads and writes its file; its planes say what they are meant to say, whatever the window."""

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
from vldm_core.film.dirt.detection import RADIUS, dirt_probability
from vldm_core.film.dirt.features import COARSE_PLANES, FINE_PLANES, PLANES, SIGNED_COARSE, DirtFeatures, DirtPlanes
from vldm_core.film.dirt.lines import line_sums
from vldm_core.film.dirt.looks import NeighbourLooks, middle_of_three
from vldm_core.film.dirt.moving_objects import moving_spots
from vldm_core.film.dirt.network import KIND, KINDS, DirtNetwork, DirtNetworkConfig, shared_network
from vldm_core.film.motion.window import FrameWindow
from vldm_core.film.robust import sorted_planes

from ...testers import survives_its_file, windows_agree
from .dirt_scenes import scene, speckled, with_runner

TINY = DirtNetworkConfig(widths=(4, 6, 8), depths=(1, 0, 1), scale=1.5, offset=(-0.5, 0.25, 0.1))


def lively(config: DirtNetworkConfig = TINY) -> DirtNetwork:
    torch.manual_seed(3)
    return DirtNetwork(config).eval()


def some_planes(height: int = 24, width: int = 40) -> DirtPlanes:
    fine = torch.randn(len(FINE_PLANES), height, width)
    return DirtPlanes(fine, torch.randn(len(COARSE_PLANES), height // 2, width // 2))


def planes_of(frames: Tensor, index: int, lifetime: int = 3) -> dict[str, Tensor]:
    seen = DirtFeatures(NeighbourLooks(FrameWindow(frames)), lifetime=lifetime).planes(index)
    assert seen is not None
    return dict(zip(PLANES, (*seen.fine, *seen.coarse), strict=True))


def test_file_round_trip(tmp_path: Path) -> None:
    network = lively()
    again = survives_its_file(network, KIND.save, KIND.load, tmp_path / "detector.safetensors")
    planes = some_planes()
    found = again.probability(planes)
    assert torch.equal(found, network.probability(planes))
    expected = 1.5 * network(planes.fine[None], planes.coarse[None])[0] + torch.tensor(TINY.offset)[:, None, None]
    assert found.shape == (len(KINDS), 24, 40) and torch.allclose(found, torch.sigmoid(expected), atol=1e-6)


@pytest.mark.parametrize(
    ("description", "match"),
    [
        ('{"format": 1, "planes": ["spike"]}', "makes no sense.*looks at"),
        ('{"format": 1, "planes": 5}', "makes no sense"),
        ('{"format": 1, "widths": [4, 6, 1000000000]}', "makes no sense.*widths"),
        ('{"format": 1, "offset": ["a", "b", "c"]}', "makes no sense"),
        ('{"format": 1, "offset": [NaN, 0, 0]}', "makes no sense.*calibration"),
        ('{"format": 1, "widths": [4, 6, 12]}', "does not fit"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, description: str, match: str) -> None:
    path = tmp_path / "detector.safetensors"
    save_file(lively().state_dict(), path, metadata={KIND.name: description})
    with pytest.raises(WeightFileError, match=f"detector.safetensors.*{match}"):
        KIND.load(path)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"planes": ("spike",)}, "looks at"),
        ({"widths": (0, 1, 1)}, "widths"),
        ({"depths": (1, 1)}, "depths"),
        ({"scale": 0.0}, "calibration"),
        ({"offset": (0.0, 0.0, float("inf"))}, "calibration"),
    ],
)
def test_wrong_configurations_are_refused(wrong: dict, match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        DirtNetworkConfig(**wrong)


def test_size_of_the_network() -> None:
    assert sum(parameter.numel() for parameter in DirtNetwork().parameters()) <= 120_000


def test_a_network_looks_no_farther_than_it_says() -> None:
    network, planes = lively(DirtNetworkConfig()), some_planes(8, 256)
    torch.manual_seed(5)
    other = DirtPlanes(planes.fine.clone(), planes.coarse.clone())
    other.fine[:, :, :16], other.coarse[:, :, :8] = 5.0, 5.0
    changed = (network.probability(planes) - network.probability(other)).abs().amax(dim=(0, 1)) > 0
    assert changed[:16].any() and not changed[16 + network.reach :].any()


def test_six_values_are_put_in_order() -> None:
    values = np.random.default_rng(0).normal(size=(6, 20, 30)).astype(np.float32)
    assert np.array_equal(np.stack(sorted_planes(list(values))), np.sort(values, axis=0))
    assert np.array_equal(middle_of_three(*values[:3]), np.median(values[:3], axis=0))


def test_planes_of_a_negative_change_their_sign() -> None:
    frames, _ = speckled(scene(6, 96, 128))
    positive, negative = planes_of(frames, 2), planes_of(1 - frames, 2)
    for name in FINE_PLANES + COARSE_PLANES[:SIGNED_COARSE]:
        assert torch.corrcoef(torch.stack([positive[name].flatten(), negative[name].flatten()]))[0, 1] < -0.8, name
    for name in COARSE_PLANES[SIGNED_COARSE:]:
        if name != "grain":
            assert (positive[name] >= 0).all() and (negative[name] >= 0).all(), name


def test_planes_show_what_they_are_named_after() -> None:
    frames = scene(9, pan=0.4)
    frames[4, :, 60:66, 130:137] = 0.97
    frames[4, :, 20:120, 40] += 4 / 255
    x, y = np.meshgrid(np.arange(192), np.arange(144))
    frames[4] += 0.03 * torch.from_numpy((np.hypot(x - 100, y - 100) < 22).astype(np.float32))
    frames[5, :, 20:26, 100:107] = 0.03
    seen = planes_of(frames.clamp(0, 1), 4)
    speck, half_speck = (slice(61, 65), slice(131, 136)), (slice(31, 32), slice(66, 68))
    for name in ("over middle", "over before", "over after", "beyond nearest", "beyond most", "beyond surroundings"):
        assert seen[name][speck].min() > 2, name
    assert seen["moves on"][half_speck].min() > 2 and seen["held"][half_speck].min() > 2
    line = seen["line"][40:100]
    assert line[:, 39:42].amax(dim=1).mean() > 1.4 > 0.9 > line[:, 60:90].abs().mean()
    patch = seen["wide patch"]
    assert patch[45:55, 45:55].mean() > patch[10:20, 10:30].abs().mean() + 0.5
    assert seen["later beyond"][11:12, 51:53].max() < -1.5 and seen["earlier beyond"][11:12, 51:53].abs().max() < 1


def test_what_lasts_is_held_and_what_stands_still_does_not_move_on() -> None:
    frames = scene(9, pan=3.0)
    frames[3:5, :, 60:66, 130:137] = 0.97
    frames[:, :, 20:26, 30:37] = 0.97
    seen = planes_of(frames, 3)
    lasting, standing = (slice(31, 32), slice(66, 68)), (slice(11, 12), slice(16, 18))
    assert seen["held"][lasting].max() < 1 and seen["moves on"][lasting].min() > 2
    assert seen["held"][standing].max() < 1 and seen["moves on"][standing].max() < 1.6
    assert planes_of(frames, 3, lifetime=1)["held"][lasting].min() > 2


def test_a_faint_line_stands_out_of_grain_along_its_length() -> None:
    stream = np.random.default_rng(4)
    residual = stream.normal(0, 3, (160, 200)).astype(np.float32)
    rows = np.arange(160)
    for start, lean in ((50, 0.0), (120, 0.1)):
        residual[rows, np.rint(start + lean * (rows - 80)).astype(int)] += 3.0
    sums = line_sums(residual, 3.0)
    assert sums.shape == (40, 200)
    middle = sums[20]
    assert middle[48:53].max() > 4 and middle[118:123].max() > 3.5
    assert np.abs(np.delete(middle, [*range(35, 66), *range(104, 136)])).max() < 4
    assert np.allclose(line_sums(-residual, 3.0), -sums, atol=1e-4)


def test_ends_of_a_shot_are_flagged() -> None:
    frames = scene(6, 96, 128)
    assert [bool(planes_of(frames, index)["one-sided"].any()) for index in range(6)] == [True, *[False] * 4, True]
    assert DirtFeatures(NeighbourLooks(FrameWindow(frames[:2]))).planes(0) is None


@pytest.mark.parametrize(("height", "width"), [(33, 41), (16, 17), (90, 130)])
def test_planes_are_whole_squares(height: int, width: int) -> None:
    seen = DirtFeatures(NeighbourLooks(FrameWindow(torch.rand(5, 3, height, width)))).planes(2)
    assert seen is not None
    rows, columns = -(-height // 8) * 8, -(-width // 8) * 8
    assert seen.fine.shape == (len(FINE_PLANES), rows, columns)
    assert seen.coarse.shape == (len(COARSE_PLANES), rows // 2, columns // 2)


def test_windows_give_the_same_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    network = lively()
    monkeypatch.setattr(dirt, "shared_network", lambda: network)
    dirty, _ = speckled(with_runner(scene(17, 90, 130)), per_frame=3)
    whole = dirt_probability(dirty)
    assert whole.std() > 0.01

    def only_what_counts(window: slice, kept: slice) -> Tensor:
        found = dirt_probability(dirty[window], keep=kept)
        assert not found[: kept.start].any() and not found[kept.stop :].any()
        return found

    windows_agree(lambda window, kept: dirt_probability(dirty[window]), whole, (5, 9), radius=RADIUS)
    windows_agree(only_what_counts, whole, (5, 9), radius=RADIUS)


def test_the_file_is_read_once() -> None:
    assert shared_network() is shared_network()
    assert not any(parameter.requires_grad for parameter in shared_network().parameters())
    assert shared_network().head.weight.is_contiguous(memory_format=torch.channels_last)


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
