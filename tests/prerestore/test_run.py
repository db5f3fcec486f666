"""Pre-restoration of whole shots: the same however it is cut, at any size, in bounded memory."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vldm_core.errors import SettingsError, VLDMError
from vldm_core.film.motion.shot import ShotMotion
from vldm_core.prerestore.alignment import Alignment, alignment_of, nearby
from vldm_core.prerestore.network import PreRestorer
from vldm_core.prerestore.run import PreRestoreSettings, apply, pre_restore, pre_restore_stream

from ..testers import interrupt_comes_out
from .test_network import trained


def film(frames: int, height: int = 40, width: int = 52) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    picture = torch.rand(1, 3, height // 4 + 8, width // 4 + 8, generator=generator)
    picture = torch.nn.functional.interpolate(picture, scale_factor=4, mode="bicubic")[0].clamp(0, 1)
    return torch.stack([picture[:, 4 : 4 + height, t : t + width] for t in range(frames)])


def test_it_is_the_network_on_one_segment() -> None:
    network = trained()
    frames = film(5)
    images, latents = pre_restore(frames, network, PreRestoreSettings(keep_grain=0))
    assert images.shape == frames.shape and latents is not None and latents.shape == (5, 4, 5, 7)
    assert (images - frames).abs().max() > 0.01


@pytest.mark.parametrize("masked", [False, True])
def test_a_segment_sees_the_neighbours_that_a_clip_has(masked) -> None:
    frames = film(5, 40, 56)
    masks = torch.zeros(5, 40, 56)
    masks[2, 8:20, 10:30] = float(masked)
    seen: list[Tensor] = []

    class Watched(PreRestorer):
        def encode(self, frames: Tensor, masks: Tensor, nearby: Tensor | None = None) -> tuple[Tensor, Tensor]:
            seen.append(nearby[0])
            return super().encode(frames, masks, nearby)

    network = Watched(trained().config).eval()
    pre_restore(frames, network, PreRestoreSettings(segment=5), masks=masks)
    motion = ShotMotion()
    motion.expect("test", refined=False)
    for frame, mask in zip(frames, masks, strict=True):
        motion.take(frame, mask)
    motion.end()
    backward, forward = (
        torch.from_numpy(np.stack([motion.between(t + a, t + 1 - a).full() for t in range(4)])).permute(0, 3, 1, 2)
        for a in (1, 0)
    )
    wanted = nearby(frames, backward, forward, masks)
    assert wanted.abs().sum() > 0
    # Where motion is confirmed is told by cells of the motion, not by pixels.
    assert (torch.cat(seen) != wanted).float().mean() < 0.04


@settings(max_examples=8)
@given(frames=st.integers(1, 13), segment=st.integers(1, 6), lookahead=st.integers(0, 4))
def test_every_frame_comes_once_and_the_stream_reads_no_farther_than_it_must(frames, segment, lookahead) -> None:
    network = trained()
    read = 0

    def source():
        nonlocal read
        for frame in film(frames):
            read += 1
            yield frame, None

    count = 0
    for made in pre_restore_stream(source(), network, PreRestoreSettings(segment=segment, lookahead=lookahead)):
        assert made.image.shape == (3, 40, 52)
        first = count // segment * segment
        assert read <= first + segment + lookahead
        count += 1
    assert count == frames == read


def test_the_last_segment_knows_all_of_its_past() -> None:
    network = trained()
    frames = film(9)
    whole, _ = pre_restore(frames, network, PreRestoreSettings(segment=9))
    cut, _ = pre_restore(frames, network, PreRestoreSettings(segment=4, lookahead=2))
    assert torch.allclose(cut[8], whole[8], atol=1e-5)
    # Elsewhere the horizon tells.
    blind, _ = pre_restore(frames, network, PreRestoreSettings(segment=4, lookahead=0))
    assert not torch.allclose(blind[3], whole[3], atol=1e-6)
    far, _ = pre_restore(frames, network, PreRestoreSettings(segment=4, lookahead=8))
    assert torch.allclose(far, whole, atol=1e-5)


def test_masks_are_minded_and_a_single_frame_will_do() -> None:
    network = trained()
    frames = film(3)
    masks = torch.zeros(3, 40, 52)
    masks[1, 10:30, 10:40] = 1
    free, _ = pre_restore(frames, network)
    gated, _ = pre_restore(frames, network, masks=masks)
    assert not torch.equal(free, gated)
    assert pre_restore(frames[:1], network)[0].shape == (1, 3, 40, 52)


def test_strength_and_grain() -> None:
    network = trained()
    frames = film(2)
    assert torch.equal(pre_restore(frames, network, PreRestoreSettings(strength=0))[0], frames)
    generator = torch.Generator().manual_seed(0)
    image = torch.full((3, 64, 64), 0.5)
    grain = 0.05 * torch.randn(3, 64, 64, generator=generator)
    spread = {}
    for share in (0.0, 0.5, 1.0):
        result = apply(image + grain, 0.1 - grain, PreRestoreSettings(keep_grain=share))
        spread[share] = float(result.std() / grain.std())
        assert abs(float(result.mean()) - 0.6) < 2e-3, "the tone is the network's"
    assert spread[0.0] < 1e-5 and 0.35 < spread[0.5] < 0.55 and 0.8 < spread[1.0] < 1.05


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_grain_put_back_is_what_a_gaussian_of_its_scale_takes_off(channels_last) -> None:
    generator = torch.Generator().manual_seed(0)
    image, change = torch.rand(3, 70, 90, generator=generator), 0.1 * torch.randn(3, 70, 90, generator=generator)
    kernel = torch.exp(-0.5 * (torch.arange(-4.0, 5.0) / 1.2) ** 2)
    kernel = kernel / kernel.sum()
    padded = torch.nn.functional.pad(change[:, None], (4,) * 4, mode="replicate")
    across = torch.nn.functional.conv2d(padded, kernel[None, None, None])
    coarse = torch.nn.functional.conv2d(across, kernel[None, None, :, None])[:, 0]
    if channels_last:
        change = change[None].to(memory_format=torch.channels_last)[0]
    wanted = (image + change - 0.3 * (change - coarse)).clamp(0, 1)
    assert torch.allclose(apply(image, change, PreRestoreSettings()), wanted, atol=1e-6)


@pytest.mark.parametrize("lean", [False, True])
def test_what_was_encoded_of_the_lookahead_serves_the_next_segment(monkeypatch, lean) -> None:
    network = trained()
    settings = PreRestoreSettings(segment=5, lookahead=3)
    encoded: list[int] = []

    class Watched(PreRestorer):
        def encode(self, frames: Tensor, masks: Tensor, nearby: Tensor | None = None) -> tuple[Tensor, Tensor]:
            encoded.append(frames.shape[1])
            return super().encode(frames, masks, nearby)

    watched = Watched(network.config).eval()
    watched.load_state_dict(network.state_dict())
    monkeypatch.setattr("vldm_core.prerestore.run._is_lean", lambda *_: lean)

    def run() -> tuple[Tensor, int]:
        encoded.clear()
        result = torch.stack(
            [made.image for made in pre_restore_stream([(one, None) for one in film(17)], watched, settings)]
        )
        return result, sum(encoded)

    aligned: list[int] = []

    def counted(*given: Tensor, scale: int) -> Alignment:
        aligned.append(scale)
        return alignment_of(*given, scale=scale)

    monkeypatch.setattr("vldm_core.prerestore.run.alignment_of", counted)
    kept, few = run()
    assert len(aligned) == 2 * 16, "once a pair each way"
    monkeypatch.setattr("vldm_core.prerestore.run._Runner._keeps_ahead", lambda *_, **__: False)
    again, many = run()
    assert torch.equal(kept, again)
    # Segments of 5, 5, 5 and 2 with 3, 3 and 2 behind them, of which the last is known without its successor: in the
    # third segment it is the last of the film as well. Lean, all of a frame is encoded once more for its own segment.
    assert many == 25 + (17 if lean else 0)
    assert few == many - (2 + 2 + 1)


class Hungry(PreRestorer):
    """Runs out of memory over more than some frames at once."""

    most = 2

    def encode(self, frames: Tensor, masks: Tensor, nearby: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if frames.shape[1] > self.most:
            raise torch.OutOfMemoryError("no memory")
        return super().encode(frames, masks, nearby)


def test_out_of_memory_works_on_fewer_frames_at_once(monkeypatch) -> None:
    network = trained()
    wanted, _ = pre_restore(film(7), network)
    hungry = Hungry(network.config).eval()
    hungry.load_state_dict(network.state_dict())
    monkeypatch.setattr("vldm_core.prerestore.run._frames_at_once", lambda parameter: 8)
    got, _ = pre_restore(film(7), hungry)
    assert torch.allclose(got, wanted, atol=1e-5)
    hungry.most = 0
    with pytest.raises(VLDMError, match="single frame"):
        pre_restore(film(2), hungry)


@pytest.mark.parametrize("features", [False, True])
def test_a_large_frame_in_bands_with_nothing_kept_gives_the_same_picture(monkeypatch, features) -> None:
    network = trained()
    frames = film(7, 150, 90)
    masks = torch.zeros(7, 150, 90)
    masks[2, 20:60, 30:50] = 1
    masks[5, 100:110, 4:20] = 0.5
    settings = PreRestoreSettings(segment=3, lookahead=2)

    def run() -> list:
        return list(pre_restore_stream(zip(frames, masks, strict=True), network, settings, features=features))

    wanted = run()
    encoded: list[int] = []

    class Watched(PreRestorer):
        def encode(self, frames: Tensor, masks: Tensor, nearby: Tensor | None = None) -> tuple[Tensor, Tensor]:
            encoded.append(frames.shape[-2])
            return super().encode(frames, masks, nearby)

    monkeypatch.setattr("vldm_core.prerestore.run._MOST_KEPT", 0)
    monkeypatch.setattr("vldm_core.video.buffers.bands._MOST_BYTES", 96 * 60 * 4 * 32)
    monkeypatch.setattr("vldm_core.prerestore.layers.blocks._LARGEST_PART", 1 << 15)
    watched = Watched(network.config).eval()
    watched.load_state_dict(network.state_dict())
    network = watched
    got = run()
    assert max(encoded) <= 32 + 2 * 32 < 152, "nothing is encoded as a whole"
    for one, other in zip(wanted, got, strict=True):
        # Kernels of another size add in another order, and random weights make that larger from frame to frame.
        assert torch.allclose(one.image, other.image, atol=1e-4)
        pairs = [(one.latent, other.latent)]
        if features:
            pairs += zip(one.features, other.features, strict=True)
        # Those of random weights are as large as 100.
        assert all((first - second).abs().max() < 1e-5 * max(1.0, float(first.abs().max())) for first, second in pairs)


def test_wrong_input_is_named() -> None:
    network = trained()
    with pytest.raises(SettingsError, match="needs frames"):
        pre_restore(torch.zeros(2, 1, 32, 32), network)
    with pytest.raises(SettingsError, match="masks are"):
        pre_restore(film(2), network, masks=torch.zeros(1, 40, 52))
    for wrong in ({"strength": 1.5}, {"keep_grain": -1}, {"segment": 0}, {"lookahead": -1}):
        with pytest.raises(SettingsError, match="pre-restore"):
            PreRestoreSettings(**wrong)


def test_features_come_along_where_they_are_asked_for() -> None:
    network = trained()
    plain = list(pre_restore_stream(((frame, None) for frame in film(5)), network))
    rich = list(pre_restore_stream(((frame, None) for frame in film(5)), network, features=True))
    assert all(one.features is None for one in plain)
    sizes = [(channels, 40 >> level, 56 >> level) for level, channels in enumerate(network.config.widths, 1)]
    for one, other in zip(plain, rich, strict=True):
        assert torch.equal(one.image, other.image)
        assert [tuple(level.shape) for level in other.features] == sizes


def test_a_caller_can_stop_it_within_a_segment() -> None:
    network, beats = trained(), []

    def run(beat: Callable[..., None]) -> None:
        list(pre_restore_stream([(frame, None) for frame in film(6)], network, beat=beat))

    run(lambda *call: beats.append(call))
    # Every frame is encoded, travels both ways and is decoded; every pair of neighbours has a flow.
    assert len(beats) == 6 + 5 + 6 + 6 + 6
    for stop in range(1, 30, 4):
        interrupt_comes_out(run, at=stop)
    assert not network.forward_step._forward_pre_hooks and not network.backward_step._forward_pre_hooks


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_in_half_precision_the_film_keeps_its_own(precision) -> None:
    network = trained()
    frames = film(4)
    wanted, _ = pre_restore(frames, network)
    change = float((wanted - frames).abs().mean())
    with torch.no_grad():
        for head in network.heads:
            head.weight.mul_(0.01)
            head.bias.mul_(0.01)
    wanted, _ = pre_restore(frames, network)
    half = network.to(precision)
    got, _ = pre_restore(frames, half)
    # The error is one of the small change, far below a rounding of the picture itself.
    assert change > 0.01 and float((got - wanted).abs().max()) < torch.finfo(precision).eps / 8
