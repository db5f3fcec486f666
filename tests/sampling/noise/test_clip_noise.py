"""Video noise is standard normal and white in every frame, depends on the film frame, and stops at cuts."""

import math

import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.sampling.latent_flow import consistent, to_latent_flow, warp_nearest
from vldm_core.sampling.noise.clip_noise import VideoNoiseSettings, mixed_seed, video_noise
from vldm_core.video.shots import Shot

from ...testers import windows_agree

SHAPE = (40, 4, 12, 16)


def make(mode: str, shape: tuple[int, ...] = SHAPE, seed: int = 7, **more: object) -> Tensor:
    options = {name: more.pop(name) for name in ("window", "stride", "mix") if name in more}
    return video_noise(shape, seed=seed, settings=VideoNoiseSettings(mode=mode, **options), **more)  # type: ignore


def wild_flow(frames: int, height: int, width: int) -> Tensor:
    """Zoom, rotation and a sheared edge at once: overlaps and holes everywhere."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    field = torch.stack((30 * x + 14 * y, 10 * y - 25 * x)) + torch.where(x > 0.2, 40.0, -8.0)
    return field.expand(frames - 1, 2, height, width)


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1])


@pytest.mark.parametrize("mode", ["independent", "shared", "freenoise", "warped"])
def test_every_frame_is_standard_normal_and_white(mode: str) -> None:
    shape = (12, 4, 64, 64)
    noise = make(mode, shape, flow=wild_flow(12, 512, 512), window=4, stride=2)
    assert noise.shape == shape and noise.dtype == torch.float32
    error = 5 / math.sqrt(4 * 64 * 64)
    for frame in noise:
        assert abs(frame.mean()) < error
        assert abs(frame.var() - 1) < error * math.sqrt(2)
        assert abs((frame**4).mean() - 3) < 0.4
        for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 2), (5, 3)):
            assert abs(correlation(frame[:, dy:, dx:], frame[:, : 64 - dy, : 64 - dx])) < error * 1.1
        assert abs(correlation(frame[0], frame[1])) < 2 * error


def test_no_value_is_used_twice_in_a_warped_frame() -> None:
    noise = make("warped", (10, 4, 24, 32), flow=wild_flow(10, 192, 256))
    for frame in noise:
        assert frame[0].unique().numel() == 24 * 32


@pytest.mark.parametrize("mode", ["independent", "shared", "freenoise"])
def test_chunks_agree_with_the_whole(mode: str) -> None:
    shots = (Shot(0, 23), Shot(23, 60))
    whole = make(mode, (60, 4, 4, 6), shots=shots)

    def chunk(window: slice, kept: slice) -> torch.Tensor:
        return make(mode, (window.stop - window.start, 4, 4, 6), shots=shots, first_frame=window.start)

    for edges in ((20,), (10, 30), (24,), (50, 51)):
        windows_agree(chunk, whole, edges)


def test_seeds_and_frames_are_unrelated() -> None:
    one, two = make("independent", seed=1), make("independent", seed=2)
    assert abs(correlation(one, two)) < 0.02 and abs(correlation(one[1:], two[:-1])) < 0.02
    assert abs(correlation(one[1:], one[:-1])) < 0.02
    assert torch.equal(one, make("independent", seed=1))
    assert len({mixed_seed(a, b) for a in range(-20, 20) for b in range(40)}) == 1600
    assert mixed_seed(0) == 0xE220A8397B1DCDAF  # SplitMix64's published first output for state 0


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_shared_noise_has_the_correlation_asked_for(mix: float) -> None:
    noise = make("shared", (6, 4, 64, 64), mix=mix, shots=(Shot(0, 3), Shot(3, 6)))
    assert correlation(noise[0], noise[2]) == pytest.approx(mix, abs=0.03)
    assert abs(correlation(noise[2], noise[3])) < 0.03


def test_freenoise_repeats_the_window_in_shuffled_blocks() -> None:
    noise, plain = make("freenoise"), make("independent")
    assert noise.unique(dim=0).shape[0] == 16
    assert torch.equal(noise[:16], plain[:16])
    for block in range(16, 40, 4):
        before = {frame.sum().item() for frame in noise[block - 16 : block - 12]}
        assert {frame.sum().item() for frame in noise[block : block + 4]} == before
    assert not torch.equal(noise[16:32], noise[:16])
    assert torch.equal(make("freenoise", (16, 4, 4, 4)), make("independent", (16, 4, 4, 4)))


def test_freenoise_does_not_reach_over_a_cut() -> None:
    noise = make("freenoise", shots=(Shot(0, 10), Shot(10, 40)))
    plain = make("independent")
    assert torch.equal(noise[:26], plain[:26])
    assert noise[10:].unique(dim=0).shape[0] == 16


def test_warped_noise_moves_with_the_picture() -> None:
    flow = torch.zeros(7, 2, 96, 128)
    flow[:, 0] = -16.0  # content moves right by 2 latent pixels
    noise = make("warped", (8, 4, 12, 16), flow=flow)
    assert torch.equal(noise[1:, :, :, 2:], noise[:-1, :, :, :-2])
    assert torch.equal(noise[1:, :, :, :2], make("independent", (8, 4, 12, 16))[1:, :, :, :2])


def test_slow_motion_is_not_lost_to_rounding() -> None:
    flow = torch.zeros(20, 2, 96, 128)
    flow[:, 1] = 8 * 0.3
    noise = make("warped", (21, 4, 12, 16), flow=flow)
    assert torch.equal(noise[20, :, :6], noise[0, :, 6:])


def test_warped_noise_starts_anew_at_a_cut() -> None:
    flow = torch.zeros(7, 2, 96, 128)
    noise = make("warped", (8, 4, 12, 16), flow=flow, shots=(Shot(0, 3), Shot(3, 8)))
    assert torch.equal(noise[2], noise[0]) and torch.equal(noise[7], noise[3])
    assert abs(correlation(noise[2], noise[3])) < 0.15
    assert torch.equal(noise[3], make("independent", (8, 4, 12, 16))[3])


def test_flow_is_scaled_per_axis() -> None:
    small = to_latent_flow(torch.full((1, 2, 576, 1024), 10.0), 72, 128)
    assert torch.equal(small, torch.full((1, 2, 72, 128), 1.25))
    uneven = to_latent_flow(torch.full((1, 2, 32, 64), 8.0), 8, 8)
    assert torch.equal(uneven[0, :, 0, 0], torch.tensor([1.0, 2.0]))
    ramp = torch.arange(16.0).expand(1, 2, 16, 16)
    assert to_latent_flow(ramp, 2, 2)[0, 0, 0].tolist() == [3.5 / 8, 11.5 / 8]
    assert to_latent_flow(torch.zeros(0, 2, 16, 16), 2, 2).shape == (0, 2, 2, 2)


def test_nearest_warp_and_consistency() -> None:
    latent = torch.arange(12.0).reshape(1, 3, 4)
    flow = torch.zeros(2, 3, 4)
    flow[0] = 1.4
    warped, inside = warp_nearest(latent, flow)
    assert torch.equal(warped[0, 0], torch.tensor([1.0, 2.0, 3.0, 3.0]))
    assert inside[0].tolist() == [True, True, True, False]
    back = -flow
    assert torch.equal(consistent(flow, back), inside)
    back[0, 1, 2] += 0.3  # 0.09 > 0.001 * (1.96 + 1.21) + 0.05
    assert not consistent(flow, back)[1, 1] and consistent(flow, back)[0, 1]


@pytest.mark.parametrize(
    "wrong", [{"mode": "x"}, {"window": 0}, {"stride": 17}, {"stride": 0}, {"mix": 1.1}, {"mix": -0.1}]
)
def test_wrong_settings_say_what_to_do(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="use"):
        VideoNoiseSettings(**wrong)  # type: ignore[arg-type]


def test_wrong_arguments_say_what_to_do() -> None:
    with pytest.raises(SettingsError, match="needs flow"):
        make("warped")
    with pytest.raises(SettingsError, match="needs flow"):
        make("warped", flow=torch.zeros(3, 2, 96, 128))
    with pytest.raises(SettingsError, match="give"):
        make("independent", (4, 8, 8))
    with pytest.raises(SettingsError, match="without gaps"):
        make("independent", shots=(Shot(0, 10), Shot(11, 40)))
    with pytest.raises(SettingsError, match="without gaps"):
        make("independent", shots=(Shot(0, 10),))
