"""The dirt detector learns, and comes out the same whether it was interrupted or not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.errors import SettingsError
from vldm_core.film.dirt.features import SCALE, DirtPlanes
from vldm_core.film.dirt.network import KIND, DirtNetwork, DirtNetworkConfig
from vldm_core.training.dirt_detector.run import train_on_examples
from vldm_core.training.dirt_detector.task import DirtTask, DirtTrainingSettings
from vldm_core.training.run import TrainingRun

from ..training_kit import check_resume_is_exact, photographs
from .spots import TINY, spots

QUICK = DirtTrainingSettings(side=32, held_out=0.2)
QUICK = replace(QUICK, trainer=replace(QUICK.trainer, steps=20, batch=2, warmup=2, rate=1e-2, checkpoint_every=8))


def train(out: Path, settings: DirtTrainingSettings = QUICK, **options) -> DirtNetwork:
    run = TrainingRun(out=out, settings=settings.trainer, description=settings.description(), **options)
    run.prepare()
    return train_on_examples(run, spots(), settings, TINY)


def test_a_resumed_run_gives_the_same_file(tmp_path: Path) -> None:
    check_resume_is_exact(train, tmp_path, step=13)
    with pytest.raises(SettingsError, match="settings differ"):
        train(tmp_path / "parted.safetensors", replace(QUICK, trainer=replace(QUICK.trainer, seed=1)), resume=True)
    with pytest.raises(SettingsError, match="evidence differ"):
        train(tmp_path / "parted.safetensors", replace(QUICK, evidence=2.0), resume=True)


def test_training_learns(tmp_path: Path) -> None:
    settings = replace(QUICK, trainer=replace(QUICK.trainer, steps=120, batch=4, warmup=5, average=0.9))
    fine, coarse, labels = spots()
    untrained = DirtTask(DirtNetwork(TINY), settings, spots())
    before = untrained.validate(untrained.module).figures["loss"]
    network = train(tmp_path / "network.safetensors", settings)
    after = DirtTask(network, settings, spots()).validate(network).figures["loss"]
    # A network this small draws three kinds of rims less sharply than two.
    assert after < 0.15 * before
    network = KIND.load(tmp_path / "network.safetensors")
    seen = [
        DirtPlanes(near.float() / SCALE.step, far.float() / SCALE.step) for near, far in zip(fine, coarse, strict=True)
    ]
    found = torch.stack([network.probability(planes).amax(dim=0) for planes in seen]) > 0.5
    assert (found == (labels > 0)).float().mean() > 0.97


def test_too_few_examples(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="make more shots"):
        train(tmp_path / "network.safetensors", replace(QUICK, held_out=0.99))


def test_command(tmp_path: Path) -> None:
    out, photos = tmp_path / "detector.safetensors", photographs(tmp_path / "photos", count=2)
    arguments = ["train", "dirt-detector", "--data", str(photos), "--out", str(out), "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(app, [*arguments, "--shots", "1", "--hard-shots", "0", "--steps", "1"])
    assert result.exit_code == 0, result.output
    assert KIND.load(out).config == DirtNetworkConfig(offset=KIND.load(out).config.offset)
