"""Training of temporal layers: they learn, the prior stays as it was, and a run goes on exactly."""

from dataclasses import replace

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.prior.temporal.files import read_temporal_layers
from vldm_core.prior.unet import UNetView
from vldm_core.training.temporal_layers.run import train_temporal_layers
from vldm_core.training.temporal_layers.task import TemporalTrainingSettings

from ..prerestorer.smooth import photographs
from ..prior_kit import TRAINER, material, tiny_prior
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


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingsError, match="use 2 frames"):
        TemporalTrainingSettings(frames=1)
    with pytest.raises(SettingsError, match="share from 0 to 1"):
        TemporalTrainingSettings(dropout=2)
