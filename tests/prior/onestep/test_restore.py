"""A clip in one step: shots by themselves, tiles, sampled encodings, scores of a shot, looking back."""

from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from vldm_core.errors import SettingsError
from vldm_core.prior.onestep.changes import NO_CHANGE, Change
from vldm_core.prior.onestep.dloral.system import DLORAL, DLoral
from vldm_core.prior.onestep.osediff.system import OSEDIFF
from vldm_core.prior.onestep.run.restore import OneStepClip, one_step
from vldm_core.prior.onestep.run.settings import OneStepSettings
from vldm_core.prior.onestep.s3diff.system import S3DIFF
from vldm_core.prior.onestep.system import OneStepSystem, UNetPass
from vldm_core.prior.onestep.tiles import PublishedTiles
from vldm_core.video.shots import Shot

SIDE = 64
TILES = OneStepSettings(tiles=PublishedTiles(size=8, overlap=4, low=True))


class Simple(OneStepSystem):
    """One pass without a change, by OSEDiff's or another format."""

    def __init__(self, known=OSEDIFF):
        self.format = known

    def passes(self, *, invention, guidance, scores):
        return (UNetPass(change=NO_CHANGE),)


class Scored(Simple):
    """Steered by scores as S3Diff is; the change says them."""

    needs_scores = True

    def __init__(self):
        super().__init__(S3DIFF)
        self.measured = []

    def measure(self, pictures):
        self.measured.append(len(pictures))
        return pictures.mean(dim=(1, 2, 3))[:, None].expand(-1, 2)

    def passes(self, *, invention, guidance, scores):
        return (UNetPass(change=Change(replaced={"score": scores})),)


class Host:
    """A VAE that averages 8×8 pixels, and whatever stands in for the UNet."""

    mixes = False
    scale = 1.0
    device = torch.device("cpu")

    def __init__(self, predict):
        self.predict, self.changes, self.batches = predict, [], []

    @contextmanager
    def with_unet(self, change):
        self.changes.append(change)

        def predict(call):
            given = call.inputs
            self.batches.append(len(given.x))
            return self.predict(given.x, given.timesteps, given.context, change)

        yield predict

    @contextmanager
    def with_vae(self, change):
        def moments(pictures):
            mean = nn.functional.avg_pool2d(pictures, 8)
            mean = torch.cat((mean, mean[:, :1]), dim=1)
            return torch.cat((mean, torch.full_like(mean, -2.0)), dim=1)

        yield moments


def pixelwise(x, time, text, _change):
    return x.tanh() * 0.3 + text.mean() + 1e-4 * time.view(-1, 1, 1, 1)


def clip_of(frames, shots=None, texts=None):
    shots = shots or (Shot(0, len(frames)),)
    texts = texts or [torch.full((1, 2, 3), 0.1)] * len(shots)
    return OneStepClip(frames=frames, film=frames, shots=shots, positive=texts, negative=texts)


@pytest.fixture
def frames():
    return torch.rand(5, 3, SIDE, SIDE + 32, generator=torch.Generator().manual_seed(1))


def test_two_shots_equal_each_alone_bit_for_bit(frames):
    shots, texts = (Shot(0, 2), Shot(2, 5)), [torch.full((1, 2, 3), 0.1), torch.full((1, 2, 3), 0.7)]
    settings = OneStepSettings(encode="sample", tiles=TILES.tiles)
    both = one_step(clip_of(frames, shots, texts), Simple(), Host(pixelwise), settings, seed=4)
    assert len(both) == len(frames)
    for shot, text in zip(shots, texts, strict=True):
        own = OneStepClip(
            frames=frames[shot.first : shot.last],
            film=frames[shot.first : shot.last],
            shots=(Shot(0, len(shot)),),
            positive=[text],
            negative=[text],
            first_frame=shot.first,
            shot_start=shot.first,
        )
        alone = one_step(own, Simple(), Host(pixelwise), settings, seed=4)
        assert torch.equal(both[shot.first : shot.last], alone)


def test_tiles_equal_the_whole_for_a_net_of_single_pixels(frames):
    host = Host(pixelwise)
    tiled = one_step(clip_of(frames), Simple(), host, TILES)
    assert len(host.batches) > len(frames)
    whole = one_step(clip_of(frames), Simple(), Host(pixelwise), OneStepSettings())
    # x0 at 999 is 14.6 times as large as eps, and so is the rounding of a mean.
    assert torch.allclose(tiled, whole, atol=1e-4)
    assert not torch.equal(whole, torch.zeros_like(whole))


def test_a_sampled_encoding_repeats_and_is_one_for_the_shot(frames):
    still = frames[:1].expand(3, -1, -1, -1).contiguous()
    settings = OneStepSettings(encode="sample")
    found = one_step(clip_of(still), Simple(), Host(pixelwise), settings, seed=1)
    assert torch.equal(found, one_step(clip_of(still), Simple(), Host(pixelwise), settings, seed=1))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    other = one_step(clip_of(still), Simple(), Host(pixelwise), settings, seed=2)
    mean = one_step(clip_of(still), Simple(), Host(pixelwise), OneStepSettings())
    assert not torch.equal(found, other) and not torch.equal(found, mean)


def test_scores_are_those_of_a_shot():
    levels = [0.1, 0.3, 0.2, 0.8, 0.9]
    frames = torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE).contiguous()
    shots = (Shot(0, 3), Shot(3, 5))
    host, system = Host(lambda x, _time, _text, _change: torch.zeros_like(x)), Scored()
    one_step(clip_of(frames, shots), system, host, OneStepSettings())
    assert system.measured == [1] * 5
    scores = [change.replaced["score"] for change in host.changes]
    assert torch.allclose(torch.stack(scores), torch.tensor([[0.2, 0.2], [0.8, 0.8]]))
    given = Host(lambda x, _time, _text, _change: torch.zeros_like(x))
    system = Scored()
    one_step(clip_of(frames, shots), system, given, OneStepSettings(scores=(0.4, 0.6)))
    # One merge for all shots of the same scores, and nothing is measured.
    assert len(given.changes) == 1 and not system.measured


def test_prompts_are_those_of_their_shot(frames):
    shots, texts = (Shot(0, 2), Shot(2, 5)), [torch.zeros(1, 2, 3), torch.ones(1, 2, 3)]
    seen = []

    def look(x, _time, text, _change):
        seen.append((len(x), text.mean().item()))
        return x

    one_step(clip_of(frames, shots, texts), Simple(), Host(look), OneStepSettings())
    assert seen == [(1, 0.0)] * 2 + [(1, 1.0)] * 3


class Nothing(nn.Module):
    """Finds nothing in the frame before."""

    def forward(self, current, warped):
        return current


def looking_back() -> Any:
    """DLoRAL with flow 0, and with a retrieval that finds nothing."""
    system: Any = DLoral.__new__(DLoral)
    system.format = DLORAL
    from vldm_core.prior.onestep.dloral.retrieval import FrameRetrieval

    system.retrieval = FrameRetrieval().eval().requires_grad_(False)
    for parameter in system.retrieval.spynet.parameters():
        parameter.zero_()
    system.retrieval.cross_attn_module = Nothing()
    system.passes = lambda **_how: (UNetPass(change=NO_CHANGE),)
    return system


def test_frames_that_look_back_flicker_less_than_frames_alone():
    """A still scene with noise in every frame, and a net that takes half of the frame before."""
    generator = torch.Generator().manual_seed(3)
    scene = torch.rand(1, 3, 8 * SIDE, 8 * SIDE, generator=generator)
    frames = (scene + 0.2 * torch.randn(3, 3, 8 * SIDE, 8 * SIDE, generator=generator)).clamp(0, 1)

    def consistent(x, _time, _text, _change):
        before, here = x.chunk(2, dim=1)
        return (here - before) / 2

    class Alone(Simple):
        pass

    back = one_step(clip_of(frames), looking_back(), Host(consistent), OneStepSettings())
    alone = one_step(clip_of(frames), Alone(DLORAL), Host(lambda x, *_: torch.zeros_like(x)), OneStepSettings())
    assert len(back) == len(frames)

    def flicker(latents):
        return latents.diff(dim=0).abs().mean().item()

    assert flicker(back) < 0.8 * flicker(alone)


def test_the_first_frame_of_a_shot_looks_at_itself():
    frames = torch.rand(4, 3, 8 * SIDE, 8 * SIDE, generator=torch.Generator().manual_seed(5))
    pairs = []

    def look(x, _time, _text, _change):
        pairs.append(x)
        return torch.zeros_like(x[:, :4])

    one_step(clip_of(frames, (Shot(0, 2), Shot(2, 4))), looking_back(), Host(look), OneStepSettings())
    latents = torch.cat([nn.functional.avg_pool2d(frame[None] * 2 - 1, 8) for frame in frames])
    befores = [0, 0, 2, 2]
    for pair, before in zip(pairs, befores, strict=True):
        assert torch.allclose(pair[:, :3], latents[before : before + 1], atol=1e-4)


def test_small_pictures_are_too_small_for_the_flow(frames):
    with pytest.raises(SettingsError, match=r"512 pixels or more .* these are 96×64"):
        one_step(clip_of(frames), looking_back(), Host(pixelwise), OneStepSettings())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (OneStepSettings(invention=0.5), r"OSEDiff has no such dial"),
        (OneStepSettings(guidance=2.0), r"OSEDiff is not guided"),
    ],
)
def test_what_a_system_lacks_is_refused(frames, settings, message):
    with pytest.raises(SettingsError, match=message):
        one_step(clip_of(frames), Simple(), Host(pixelwise), settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"invention": 1.5}, "invention is 1.5"),
        ({"invention": True}, "invention is True"),
        ({"guidance": 0.5}, "guidance is 0.5"),
        ({"encode": "mode"}, "encode is 'mode'"),
        ({"scores": (0.5,)}, r"scores are \(0.5,\)"),
        ({"scores": (0.5, 2)}, "scores are"),
        ({"scored_frames": 0}, "scored_frames is 0"),
    ],
)
def test_settings_out_of_range(values, message):
    with pytest.raises(SettingsError, match=message):
        OneStepSettings(**values)
