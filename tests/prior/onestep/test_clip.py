"""Clips through the pipeline with Stable Diffusion's real classes at tiny sizes and files of every system."""

import pytest
import torch
from torch import nn

from benchmarks.onestep.random_files import random_file
from vldm_core.decode.colour import ColourSettings
from vldm_core.errors import SettingsError
from vldm_core.prior.finish import FinishSettings
from vldm_core.prior.onestep.reading import read_one_step
from vldm_core.prior.onestep.run.clip import restore_one_step
from vldm_core.prior.onestep.run.headless import DiffusersHost
from vldm_core.prior.onestep.run.settings import OneStepSettings
from vldm_core.video.geometry import FitSettings
from vldm_core.video.shots import Shot

from ..tiny_pipeline import tiny_pipeline

SMALL = FitSettings(short_side=64, multiple=16)
PLAIN = FinishSettings(colour=ColourSettings(method="off"))
SIDES = {"dloral": (512, 512)}


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def systems(pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onestep")
    return {
        name: read_one_step(random_file(name, pipeline.unet, pipeline.vae, folder))
        for name in ("osediff", "pisasr", "s3diff", "hypir", "dloral")
    }


def settings_for(name, **values):
    return OneStepSettings(scores=(0.3, 0.6) if name == "s3diff" else None, **values)


def weights(pipeline):
    return [tensor.clone() for net in (pipeline.unet, pipeline.vae) for tensor in net.state_dict().values()]


@pytest.mark.parametrize("name", ["osediff", "pisasr", "s3diff", "hypir", "dloral"])
def test_as_many_frames_come_out_and_the_model_is_untouched(pipeline, systems, name):
    height, width = SIDES.get(name, (48, 64))
    # DLoRAL needs large pictures; one is enough.
    frames = torch.rand(1 if name == "dloral" else 2, 3, height, width, generator=torch.Generator().manual_seed(0))
    before = weights(pipeline)
    found = restore_one_step(pipeline, systems[name], frames, settings=settings_for(name), fitting=SMALL)
    assert found.frames.shape == frames.shape
    assert bool(found.frames.isfinite().all()) and found.latents.std() > 0
    assert all(torch.equal(a, b) for a, b in zip(before, weights(pipeline), strict=True))
    if name != "dloral":
        again = restore_one_step(pipeline, systems[name], frames, settings=settings_for(name), fitting=SMALL)
        assert torch.equal(found.frames, again.frames)


def test_the_adapters_act_and_the_dial_changes_the_picture(pipeline, systems):
    frames = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    def latents(invention):
        how = OneStepSettings(invention=invention)
        return restore_one_step(pipeline, systems["pisasr"], frames, settings=how, fitting=SMALL).latents

    low, middle, high = (latents(value) for value in (0.0, 0.5, 1.0))
    assert torch.allclose(middle, (low + high) / 2, atol=1e-4)
    assert (low - high).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["osediff", "pisasr"])
def test_two_shots_equal_each_alone(pipeline, systems, name):
    frames = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    shots, prompts = (Shot(0, 1), Shot(1, 3)), ("a boat", "two dogs")
    how = {"settings": settings_for(name), "fitting": SMALL, "finish": PLAIN}
    both = restore_one_step(pipeline, systems[name], frames, shots=shots, prompt=prompts, **how)
    for shot, prompt in zip(shots, prompts, strict=True):
        part = frames[shot.first : shot.last]
        alone = restore_one_step(pipeline, systems[name], part, prompt=prompt, first_frame=shot.first, **how)
        assert torch.equal(both.latents[shot.first : shot.last], alone.latents)
        assert torch.equal(both.frames[shot.first : shot.last], alone.frames)


@pytest.mark.parametrize("sides", [(64, 64), (40, 56)])
def test_outside_the_masks_the_film_leaves_bit_for_bit(pipeline, systems, sides):
    frames = torch.rand(2, 3, *sides, generator=torch.Generator().manual_seed(3))
    masks = torch.zeros(2, *sides)
    masks[:, 10:20, 12:30] = 1
    how = {"settings": settings_for("osediff", keep_outside=True), "fitting": SMALL}
    found = restore_one_step(pipeline, systems["osediff"], frames, masks=masks, **how).frames
    outside = (masks == 0)[:, None].expand_as(frames)
    assert torch.equal(found[outside], frames[outside])
    free = restore_one_step(
        pipeline, systems["osediff"], frames, settings=settings_for("osediff"), fitting=SMALL
    ).frames
    assert torch.equal(found[~outside], free[~outside]) and not torch.equal(found[~outside], frames[~outside])


def test_masks_are_needed_to_keep_what_lies_outside(pipeline, systems):
    with pytest.raises(SettingsError, match=r"no mask says where"):
        restore_one_step(
            pipeline, systems["osediff"], torch.rand(1, 3, 64, 64), settings=OneStepSettings(keep_outside=True)
        )


def test_temporal_layers_act_in_windows_of_a_shot(pipeline, systems):
    from vldm_core.prior.attachment import Attachment
    from vldm_core.sampling.regions.windows import WindowSettings

    calls = []

    class Mean(Attachment):
        """Takes the mean over the frames of each segment in the middle of the UNet."""

        def changes(self, view):
            def change(output, call):
                calls.append(call.frames)
                return output.mean(dim=0, keepdim=True).expand_as(output)

            return [(view["mid.attn"].module, change)]

    own = tiny_pipeline()
    own.attach(Mean())
    frames = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    how = OneStepSettings(windows=WindowSettings(length=4, overlap=2))
    plain = restore_one_step(pipeline, systems["osediff"], frames, settings=how, fitting=SMALL)
    shots = (Shot(0, 1), Shot(1, 6))
    found = restore_one_step(own, systems["osediff"], frames, settings=how, fitting=SMALL, shots=shots)
    assert calls == [(0,), (1, 2, 3, 4), (2, 3, 4, 5)]
    assert torch.allclose(found.latents[:1], plain.latents[:1], atol=1e-4)
    assert not torch.allclose(found.latents[1:], plain.latents[1:])
    with pytest.raises(SettingsError, match=r"DLoRAL looks at the frame before by itself"):
        restore_one_step(own, systems["dloral"], torch.rand(1, 3, 512, 512), fitting=SMALL)


def test_a_model_that_predicts_v_is_refused(systems):
    v = tiny_pipeline(prediction="v_prediction")
    with pytest.raises(SettingsError, match=r"predicts v_prediction, and OSEDiff was made for"):
        restore_one_step(v, systems["osediff"], torch.rand(1, 3, 64, 64), fitting=SMALL)


def test_scores_are_for_s3diff(pipeline, systems):
    with pytest.raises(SettingsError, match=r"steered by none"):
        restore_one_step(pipeline, systems["hypir"], torch.rand(1, 3, 64, 64), settings=OneStepSettings(scores=(0, 1)))
    with pytest.raises(SettingsError, match=r"de_net\.pth"):
        restore_one_step(pipeline, systems["s3diff"], torch.rand(1, 3, 64, 64))


def test_a_change_ends_with_its_block_even_after_an_error(pipeline, systems):
    before = weights(pipeline)
    host = DiffusersHost(pipeline.unet, pipeline.vae)
    change = systems["dloral"].passes(invention=1.0, guidance=1.0, scores=None)[0].change

    def stopped():
        with host.with_unet(change):
            assert pipeline.unet.conv_in.weight.shape[1] == 8
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert isinstance(pipeline.unet.conv_in.weight, nn.Parameter)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(pipeline), strict=True))
