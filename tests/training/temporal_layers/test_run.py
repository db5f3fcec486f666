"""Training of temporal layers: they learn, the prior stays as it was, and a run goes on exactly."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.prior.call import UNetCall, UNetInput
from vldm_core.prior.controls.control import RestorationControl
from vldm_core.prior.controls.material import ControlMaterial
from vldm_core.prior.temporal.files import read_temporal_layers
from vldm_core.prior.temporal.layers import TemporalConfig, TemporalLayers
from vldm_core.prior.unet import UNetView
from vldm_core.sampling.schedule import NoiseSchedule
from vldm_core.training.control_branch.branch import new_branch
from vldm_core.training.diffusion.objective import Objective, ObjectiveSettings
from vldm_core.training.temporal_layers.run import train_temporal_layers
from vldm_core.training.temporal_layers.task import ClipUNet, TemporalTask, TemporalTrainingSettings

from ...prior.controls.tiny_systems import BUILDERS
from ..prerestorer.smooth import photographs
from ..prior_kit import TRAINER, headed_prerestorer, material, moved, tiny_prerestorer, tiny_prior
from ..training_kit import check_resume_is_exact

SETTINGS = TemporalTrainingSettings(trainer=TRAINER, frames=3, levels=2)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = photographs(tmp_path_factory.mktemp("photos"))
    (folder / "sea.png").rename(folder / "sean-afnan-244576.png")
    return material(folder, tmp_path_factory.mktemp("cache"))


def train(given, out, settings=SETTINGS, prior=None, **options):
    return train_temporal_layers(prior or tiny_prior(), given, out, settings=settings, **options)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_layers_learn_and_the_prior_stays(given, tmp_path, prediction) -> None:
    prior = tiny_prior(prediction)
    before = {key: value.clone() for key, value in prior.unet.state_dict().items()}
    out = tmp_path / "layers.safetensors"
    layers = train(given, out, prior=prior)
    assert all(torch.equal(value, before[key]) for key, value in prior.unet.state_dict().items())
    assert all(bool(p.isfinite().all()) for p in layers.parameters())
    moved = [
        name for name, p in layers.layers.named_parameters() if name.endswith("conv2.weight") and p.abs().max() > 0
    ]
    assert moved and len(moved) == len(layers.config.convolutions)
    read = read_temporal_layers(out, UNetView(tiny_prior(prediction).unet))
    assert all(torch.equal(a, b) for a, b in zip(read.parameters(), layers.parameters(), strict=True))


def test_a_resumed_run_gives_the_same_file(given, tmp_path) -> None:
    check_resume_is_exact(lambda out, **options: train(given, out, **options), tmp_path, step=7)


def test_blocks_that_run_again_give_the_same_layers(given, tmp_path) -> None:
    few = replace(SETTINGS, trainer=replace(TRAINER, steps=3))
    plain = train(given, tmp_path / "plain.safetensors", few)
    again = train(given, tmp_path / "again.safetensors", few, checkpointing=True)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), again.parameters(), strict=True))


def test_under_a_control_they_are_trained_as_they_are_used() -> None:
    """What the training computes is what both attachments give on the UNet."""
    frames, draw = 3, torch.Generator().manual_seed(1)
    noisy, hint = (torch.randn(1, frames, 4, 8, 8, generator=draw) for _ in range(2))
    unet = tiny_prior().unet
    control, layers = moved(new_branch(unet)), moved(TemporalLayers(TemporalConfig.for_unet(UNetView(unet))))
    texts, times = torch.randn(1, 5, unet.config.cross_attention_dim, generator=draw), torch.tensor([300])
    with torch.no_grad():
        module = ClipUNet(unet, layers, control)
        found, other = (module(noisy, times, texts, given)[0] for given in (hint, hint.flip(1)))
    twin = tiny_prior().unet
    view = UNetView(twin)
    attached = moved(TemporalLayers(TemporalConfig.for_unet(view)))
    attached.load_state_dict(layers.state_dict())
    steering = RestorationControl(control, ControlMaterial(hint=hint[0]))
    x, text, timesteps = noisy[0], texts.expand(frames, -1, -1), times.expand(frames)
    inputs = UNetInput(x=x, timesteps=timesteps, context=text)
    call = UNetCall(frames=tuple(range(frames)), chunks=(0,), segments=((0, frames),), inputs=inputs)
    on, passing = (attached.attached(view), steering.attached(view)), (attached.during(call), steering.during(call))
    with torch.no_grad(), on[0], on[1], passing[0], passing[1]:
        wanted = twin(x, timesteps, text).sample
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert float((found - other).abs().mean()) > 1e-3


@pytest.mark.parametrize("head", [False, True])
def test_layers_learn_under_a_control_that_stays(given, tmp_path, head) -> None:
    prior, few = tiny_prior(), replace(SETTINGS, trainer=replace(TRAINER, steps=3))
    control = moved(new_branch(prior.unet))
    before = {key: value.clone() for key, value in control.state_dict().items()}
    network = headed_prerestorer() if head else tiny_prerestorer()
    options = {"control": control, "prerestorer": network, "head": head, "prior": prior}
    steered = train(given, tmp_path / "steered.safetensors", few, **options)
    assert all(torch.equal(value, before[key]) for key, value in control.state_dict().items())
    alone = train(given, tmp_path / "alone.safetensors", few)
    assert any(not torch.equal(a, b) for a, b in zip(steered.parameters(), alone.parameters(), strict=True))


def test_noise_is_carried_along_the_motion_in_its_share_of_clips() -> None:
    """Two pixels of the latent a frame: what leaves the left edge is gone, and the rest is found again."""
    clips, frames = 40, 3
    flow = torch.zeros(clips, frames - 1, 2, 8, 8)
    flow[:, :, 0] = 2.0
    batch: Any = {"clean": torch.zeros(clips, frames, 4, 8, 8), "flow": flow}
    objective = Objective(NoiseSchedule.stable_diffusion(), "eps", ObjectiveSettings())
    followed = []
    for share in (0.0, 0.5, 1.0):
        task = TemporalTask(None, objective, replace(SETTINGS, carried=share), torch.zeros(2, 1, 1))
        noise = task._noise(batch)
        same = (noise[:, 1:, :, :, :-2] == noise[:, :-1, :, :, 2:]).flatten(1).all(dim=1)
        followed.append(float(same.float().mean()))
        assert noise.std() == pytest.approx(1, abs=0.03)
    assert followed[0] == 0 and 0.25 < followed[1] < 0.75 and followed[2] == 1


def test_controls_of_another_kind_are_refused(given, tmp_path) -> None:
    with pytest.raises(SettingsError, match="this is SeeSR"):
        train(given, tmp_path / "layers.safetensors", control=BUILDERS["SeeSR"]())


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingsError, match="use 2 frames"):
        TemporalTrainingSettings(frames=1)
    with pytest.raises(SettingsError, match=r"along the motion in 1\.5 of the samples"):
        TemporalTrainingSettings(carried=1.5)
    with pytest.raises(SettingsError, match="share from 0 to 1"):
        TemporalTrainingSettings(dropout=2)
