"""The scratch detector learns, and comes out the same whether it was interrupted or not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.film.scratches.network import KIND, ScratchNetwork, ScratchNetworkConfig
from vldm_core.training.run import TrainingRun
from vldm_core.training.scratch_detector.run import train_on_examples, train_scratch_detector
from vldm_core.training.scratch_detector.task import ScratchTask, ScratchTrainingSettings, figures, tensors

from ..training_kit import check_resume_is_exact, photographs
from .candidates import candidates

SMALL = ScratchNetworkConfig(width=8, hidden=16)
QUICK = ScratchTrainingSettings(held_out=0.2)
QUICK = replace(QUICK, trainer=replace(QUICK.trainer, steps=12, batch=16, warmup=3, checkpoint_every=5))


def train(out: Path, settings: ScratchTrainingSettings = QUICK, count: int = 80, **options) -> ScratchNetwork:
    run = TrainingRun(out=out, settings=settings.trainer, description=settings.description(), **options)
    run.prepare()
    return train_on_examples(run, candidates(count), settings, SMALL)


def test_a_resumed_run_gives_the_same_file(tmp_path):
    check_resume_is_exact(train, tmp_path, step=8)
    with pytest.raises(SettingsError, match="settings differ"):
        train(tmp_path / "parted.safetensors", replace(QUICK, trainer=replace(QUICK.trainer, steps=13)), resume=True)
    with pytest.raises(SettingsError, match="doubt differ"):
        train(tmp_path / "parted.safetensors", replace(QUICK, doubt=0.2), resume=True)


def test_training_learns(tmp_path):
    settings = replace(QUICK, trainer=replace(QUICK.trainer, steps=60, batch=32, warmup=5, average=0.9))
    fresh = tensors(candidates(40))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = ScratchNetwork(SMALL).eval()
    before = ScratchTask(untrained, settings, fresh).validate(untrained).figures["log_loss"]
    network = train(tmp_path / "net.safetensors", settings, count=160)
    with torch.no_grad():
        logits = KIND.load(tmp_path / "net.safetensors")(*fresh[:-1])
        assert torch.equal(logits, network(*fresh[:-1]))
    after = figures(logits, fresh[-1])
    assert after["log_loss"] < 0.6 * before and after["recall"] > 0.85 and after["false_share"] < 0.15


def test_files_to_hold_out_are_needed(tmp_path):
    data = photographs(tmp_path / "photos", count=2)
    with pytest.raises(FilmFileError, match="give three files or more"):
        train_scratch_detector(data, tmp_path / "net.safetensors", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
