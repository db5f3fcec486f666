"""Pre-restoration among the film stages: its place, its masks, shot by shot, the same in a stream and in a batch."""

import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.film.fill.repair import DirtRepairSettings
from vldm_core.film.flicker.removal import FlickerSettings
from vldm_core.film.scratches.repair.repair import LineRepairSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.prerestore.run import PreRestoreSettings
from vldm_core.prerestore.run import pre_restore as pre_restore_clip
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.stages import batch as pipeline
from vldm_core.stages.analysis import AnalysisSettings
from vldm_core.stages.stream import StageFrame, even_brightness, restore_shot, steady
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


def restored(frames: Tensor, analysis, *, size: int, **more) -> list[StageFrame[int]]:
    dirt, scratch = masks(len(frames))
    stream = (
        StageFrame(image=frame, origin=10 * t, dirt=dirt[t], scratch=scratch[t]) for t, frame in enumerate(frames)
    )
    return list(
        restore_shot(
            stream,
            analysis,
            dirt=None,
            size=size,
            line_repair_settings=LineRepairSettings(),
            dirt_repair_settings=DirtRepairSettings(),
            **more,
        )
    )


def test_it_stands_between_brightness_and_stabilising_and_minds_both_masks() -> None:
    frames, network = flickering(11), trained()
    wanted_stages = AnalysisSettings(lines=None, flicker=FlickerSettings(), stabilise=StabiliseSettings())
    analysis = pipeline.analyse_shot(frames, wanted_stages, 40, 52)
    made = restored(frames, analysis, size=4, prerestorer=network, prerestore_settings=SETTINGS)
    assert [frame.origin for frame in made] == [10 * t for t in range(11)]

    evened = even_brightness((StageFrame(image=frame, origin=None) for frame in frames), analysis.flicker)
    even = torch.stack([frame.image for frame in evened])
    by_hand, _ = pre_restore_clip(even, network, SETTINGS, masks=torch.maximum(*masks(11)))
    unmasked, _ = pre_restore_clip(even, network, SETTINGS)
    assert not torch.equal(by_hand, unmasked)
    steadied = steady((StageFrame(image=frame, origin=None) for frame in by_hand), analysis.weave, size=4)
    assert torch.equal(torch.stack([f.image for f in made]), torch.stack([f.image for f in steadied]))


@pytest.mark.parametrize("size", [1, 5, 64])
def test_the_chunk_of_the_stages_does_not_show_and_the_batch_gives_the_same(size) -> None:
    frames, network = film(11), trained()
    analysis = pipeline.analyse_shot(frames, AnalysisSettings(lines=None, flicker=None, stabilise=None), 40, 52)
    made = restored(frames, analysis, size=size, prerestorer=network, prerestore_settings=SETTINGS)
    dirt, scratch = masks(11)
    batch, latents = pipeline.pre_restore_frames(frames, dirt=dirt, scratch=scratch, network=network, settings=SETTINGS)
    assert torch.equal(torch.stack([frame.image for frame in made]), batch)
    assert latents is not None and latents.shape == (11, 4, 5, 7)
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
