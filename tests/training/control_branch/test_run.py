"""Training of a control branch: it begins as nothing, learns to follow its hint, and is read like a published one."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.prerestore.network import KIND
from vldm_core.prerestore.run import pre_restore
from vldm_core.prior.controls.reading import read_control
from vldm_core.training.control_branch.branch import heads_of, new_branch, save_branch
from vldm_core.training.control_branch.run import head_file, train_control_branch
from vldm_core.training.control_branch.task import ControlledUNet, ControlTask, ControlTrainingSettings, HintHead
from vldm_core.training.diffusion.objective import Objective

from ..prerestorer.smooth import photographs
from ..prior_kit import NETWORK, TRAINER, headed_prerestorer, material, moved, tiny_prerestorer, tiny_prior
from ..training_kit import check_resume_is_exact

SETTINGS = ControlTrainingSettings(trainer=TRAINER, levels=2)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = photographs(tmp_path_factory.mktemp("photos"))
    (folder / "sea.png").rename(folder / "sean-afnan-244576.png")
    return material(folder, tmp_path_factory.mktemp("cache"))


def train(given, out, settings=SETTINGS, prior=None, **options):
    options = {"prerestorer": None} | options
    return train_control_branch(prior or tiny_prior(), given, out, settings=settings, **options)


def pass_of(unet, control, seed=0, hint=True):
    draw = torch.Generator().manual_seed(seed)
    x, shown = (torch.randn(2, 4, 8, 8, generator=draw) for _ in range(2))
    context = torch.randn(2, 5, unet.config.cross_attention_dim, generator=draw)
    with torch.no_grad():
        return ControlledUNet(unet, control)(x, torch.tensor([3, 700]), context, shown if hint else None)


def test_a_new_branch_changes_nothing_and_learns_from_the_first_step() -> None:
    unet = tiny_prior().unet
    control = new_branch(unet)
    assert torch.equal(pass_of(unet, control), pass_of(unet, control, hint=False))
    out = ControlledUNet(unet, control)(
        torch.randn(1, 4, 8, 8),
        torch.tensor([5]),
        torch.randn(1, 5, unet.config.cross_attention_dim),
        torch.randn(1, 4, 8, 8),
    )
    out.square().mean().backward()
    gradients = [parameter.grad for parameter in control.branch.zero_convs.parameters()]
    assert all(gradient is not None and float(gradient.abs().max()) > 0 for gradient in gradients)


def test_the_branch_learns_and_is_read_as_a_published_one(given, tmp_path) -> None:
    prior, out = tiny_prior(), tmp_path / "control.safetensors"
    before = {key: value.clone() for key, value in prior.unet.state_dict().items()}
    control = train(given, out, replace(SETTINGS, trainer=replace(TRAINER, steps=40)), prior=prior)
    assert all(torch.equal(value, before[key]) for key, value in prior.unet.state_dict().items())
    films = given.make(prior, validation=True)
    objective = Objective(prior.schedule, prior.prediction)
    task = ControlTask(ControlledUNet(prior.unet, control), objective, SETTINGS, prior.texts(["", ""]), films)
    figures = task.validate(task.module).figures
    assert figures["noise"] < figures["noise without control"]
    read = read_control([out], heads=heads_of(prior.unet))
    assert torch.equal(pass_of(prior.unet, read), pass_of(prior.unet, control))


def test_a_resumed_run_gives_the_same_file(given, tmp_path) -> None:
    check_resume_is_exact(lambda out, **options: train(given, out, **options), tmp_path, step=7)


def test_the_full_size_of_stable_diffusion_has_every_layer(tmp_path) -> None:
    """On the meta device: DiffBIR's own file has exactly these tensors."""
    from diffusers import UNet2DConditionModel

    from vldm_core.prior.checkpoints.families import SD2

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(dict(SD2.unet))
        shapes = {key: tuple(value.shape) for key, value in new_branch(unet).branch.state_dict().items()}
    assert shapes["input_blocks.0.0.weight"] == (320, 8, 3, 3)
    assert len([key for key in shapes if key.startswith("zero_convs.") and key.endswith("weight")]) == 12


def test_a_latent_head_is_trained_along_and_both_are_written(given, tmp_path) -> None:
    out, network = tmp_path / "control.safetensors", headed_prerestorer()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    train(given, out, prerestorer=network, head=True)
    assert head_file(out).name == "control.prerestorer.safetensors"
    read_control([out])
    learnt = KIND.load(head_file(out)).state_dict()
    changed = {key for key, value in learnt.items() if not torch.equal(value, before[key])}
    assert changed == {key for key in learnt if key.startswith("latent.")}
    # The one that was given stays as it was.
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    prior, films = tiny_prior(), given.make(tiny_prior(), validation=False)
    clip = films.clip(0)
    found = {
        name: prior.scale * pre_restore(films.frames(0, "frames"), each, masks=films.masks(0))[1]
        for name, each in (("before", network), ("after", KIND.load(head_file(out))))
    }
    apart = {name: float((latents - clip["clean"]).abs().mean()) for name, latents in found.items()}
    assert apart["after"] < apart["before"]
    with pytest.raises(SettingsError, match=r"prerestorer\.safetensors would be replaced"):
        train(given, tmp_path / "control.safetensors", prerestorer=network, head=True)


def test_the_noise_loss_alone_reaches_the_head() -> None:
    prior, network = tiny_prior(), headed_prerestorer()
    control = moved(new_branch(prior.unet), 0.05)
    module = ControlledUNet(prior.unet, control, HintHead(network.latent, prior.scale))
    objective = Objective(prior.schedule, prior.prediction)
    task = ControlTask(module, objective, replace(SETTINGS, latent=0.0), prior.texts(["", ""]))
    batch: Any = {"clean": torch.randn(2, 1, 4, 8, 8), "hint": torch.randn(2, 1, 192 + NETWORK.widths[2], 8, 8)}
    loss, parts = task.loss(module, batch)
    assert float(parts["latent"].detach()) == 0
    loss.backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in module.head.parameters())


def test_without_a_head_there_is_none_to_train(given, tmp_path) -> None:
    for network in (tiny_prerestorer(), None):
        with pytest.raises(SettingsError, match="latent head"):
            train(given, tmp_path / "control.safetensors", prerestorer=network, head=True)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingsError, match="share from 0 to 1"):
        ControlTrainingSettings(dropout=-1)
    with pytest.raises(SettingsError, match="weight of the latent loss is -1"):
        ControlTrainingSettings(latent=-1)


def test_a_branch_is_written_whole(tmp_path) -> None:
    control = new_branch(tiny_prior().unet)
    save_branch(control, tmp_path / "a.safetensors")
    save_branch(control, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
