"""Pre-restoration among the film stages: its place, its masks, shot by shot, the same in a stream and in a batch."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.film.flicker.removal import FlickerSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.prerestore.run import PreRestoreSettings
from vldm_core.prerestore.run import pre_restore as pre_restore_clip
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.stages import batch as pipeline
from vldm_core.stages.analysis import ShotAnalysis, analyse_shot
from vldm_core.stages.plan import StagePlan
from vldm_core.stages.settings import StageSettings
from vldm_core.stages.stage import ShotContext, Stage, StageModels
from vldm_core.stages.stage_frame import StageFrame
from vldm_core.video.shots import Shot

from ..prerestore.test_network import trained
from ..prerestore.test_run import film
from ..testers import interrupt_comes_out

SETTINGS = PreRestoration(segment=4, lookahead=2, keep_grain=0.0)


def flickering(count: int) -> Tensor:
    gain = 1 - 0.2 * (torch.arange(count) % 2)
    return (film(count) * gain[:, None, None, None]).clamp(0, 1)


def masks(count: int) -> tuple[Tensor, Tensor]:
    dirt, scratch = torch.zeros(count, 40, 52), torch.zeros(count, 40, 52)
    dirt[1, 5:15, 8:20] = 1
    scratch[:, :, 30:32] = 1
    return dirt, scratch


def restored(frames: Tensor, settings: StageSettings, network, *, size: int) -> list[StageFrame[int]]:
    dirt, scratch = masks(len(frames))
    stream = (
        StageFrame(image=frame, origin=10 * t, dirt=dirt[t], scratch=scratch[t]) for t, frame in enumerate(frames)
    )
    plan = StagePlan.from_settings(settings, StageModels(prerestorer=network))
    analysis = analyse_shot(frames, plan.analysis, *frames.shape[-2:])
    return list(plan.run(stream, ShotContext(analysis=analysis, window=size)))


def test_it_stands_between_brightness_and_stabilising_and_minds_both_masks() -> None:
    frames, network = flickering(11), trained()
    chosen = replace(
        StageSettings.no_stages(), flicker=FlickerSettings(), prerestore=SETTINGS, stabilise=StabiliseSettings()
    )
    made = restored(frames, chosen, network, size=4)
    assert [frame.origin for frame in made] == [10 * t for t in range(11)]

    def alone(images: Tensor, stage: Stage, analysis: ShotAnalysis) -> Tensor:
        stream = (StageFrame(image=image, origin=None) for image in images)
        return torch.stack([frame.image for frame in stage.run(stream, ShotContext(analysis=analysis, window=4))])

    flicker, _, weave = StagePlan.from_settings(chosen, StageModels(prerestorer=network)).stages
    analysis = analyse_shot(frames, StagePlan.from_settings(chosen).analysis, 40, 52)
    even = alone(frames, flicker, analysis)
    by_hand, _ = pre_restore_clip(even, network, SETTINGS, masks=torch.maximum(*masks(11)))
    unmasked, _ = pre_restore_clip(even, network, SETTINGS)
    assert not torch.equal(by_hand, unmasked)
    assert torch.equal(torch.stack([frame.image for frame in made]), alone(by_hand, weave, analysis))


@pytest.mark.parametrize("size", [1, 5, 64])
def test_the_chunk_of_the_stages_does_not_show_and_the_batch_gives_the_same(size) -> None:
    frames, network = film(11), trained()
    made = restored(frames, replace(StageSettings.no_stages(), prerestore=SETTINGS), network, size=size)
    dirt, scratch = masks(11)
    batch, latents = pipeline.pre_restore_frames(frames, dirt=dirt, scratch=scratch, network=network, settings=SETTINGS)
    assert torch.equal(torch.stack([frame.image for frame in made]), batch)
    assert latents is not None and latents.shape == (11, 4, 5, 7)
    assert torch.equal(torch.stack([frame.latent for frame in made]), latents)
    assert not torch.equal(batch, frames)


def test_nothing_crosses_a_cut() -> None:
    network = trained()
    frames, other = torch.cat((film(6), film(5).flip(1))), torch.cat((film(6), 1 - film(5)))
    shots = (Shot(0, 6), Shot(6, 11))
    cut, latents = pipeline.pre_restore_frames(frames, shots=shots, network=network, settings=SETTINGS)
    elsewhere, _ = pipeline.pre_restore_frames(other, shots=shots, network=network, settings=SETTINGS)
    assert torch.equal(cut[:6], elsewhere[:6]) and not torch.equal(cut[6:], elsewhere[6:])
    alone, _ = pipeline.pre_restore_frames(frames[6:], network=network, settings=SETTINGS)
    assert torch.equal(cut[6:], alone)
    mixed, _ = pipeline.pre_restore_frames(frames, network=network, settings=SETTINGS)
    assert not torch.equal(mixed[5], cut[5])
    assert len(latents) == 11


def test_an_interrupt_comes_through_before_a_frame_is_finished() -> None:
    network = trained()
    calls = interrupt_comes_out(
        lambda progress: pipeline.pre_restore_frames(film(6), network=network, progress=progress), at=5
    )
    assert [done for _, done, _ in calls] == [0] * 5


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(SettingsError, match="the scratch mask is"):
        pipeline.pre_restore_frames(film(3), network=trained(), scratch=torch.zeros(3, 40, 40))
    with pytest.raises(SettingsError, match="precision is 'int8'"):
        PreRestoration(precision="int8")  # type: ignore[arg-type]
    assert PreRestoration().strength == PreRestoreSettings().strength
