"""Training parts of a prior by command: what is wrong is told before a model is opened, and what is said arrives."""

import pytest
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.cli.train.prior import TemporalTrainingOptions
from vldm_core.prerestore.network import KIND
from vldm_core.training.temporal_layers.task import TemporalTrainingSettings

from ..training.prior_kit import headed_prerestorer, prerestorer_file
from ..training.training_kit import photographs


def told(*words) -> str:
    result = CliRunner().invoke(app, ["train", *map(str, words)])
    assert result.exit_code == 1
    return " ".join(result.stderr.split())


@pytest.mark.parametrize("task", ["temporal", "control"])
def test_what_is_wrong_with_films_and_files_is_told_before_a_model_is_opened(task, tmp_path):
    out, cache = tmp_path / "out.safetensors", tmp_path / "cache"
    words = [task, tmp_path / "no_model", "--cache", cache, "--out", out, "--data"]
    assert "no film or picture for training" in told(*words, tmp_path / "nothing")
    photos = photographs(tmp_path / "photos")
    assert "a prior needs sides divisible by 64" in told(*words, photos, "--side", 100)
    out.write_bytes(b"")
    assert "would be replaced" in told(*words, photos)
    assert "no_model" in told(*words, photos, "--overwrite")
    assert not cache.exists()


def test_an_era_without_films_is_told_before_a_model_is_opened(tmp_path):
    words = ["lora", tmp_path / "no_model", "--data", tmp_path, "--cache", tmp_path / "c", "--out", tmp_path / "o"]
    assert "sort films into folders by era" in told(*words)


def test_hints_that_do_not_fit_are_told_before_a_model_is_opened(tmp_path):
    photos, plain = photographs(tmp_path / "photos"), prerestorer_file(tmp_path)
    headed = tmp_path / "headed.safetensors"
    KIND.save(headed_prerestorer(), headed)

    def said(task, *more):
        out, cache = tmp_path / "control.safetensors", tmp_path / "cache"
        return told(task, tmp_path / "no_model", "--cache", cache, "--out", out, "--data", photos, *more)

    for task in ("temporal", "control"):
        control = ("--control", plain) if task == "temporal" else ()
        assert "were both given" in said(task, "--prerestorer", plain, "--latent-head", headed, *control)
        assert "has no latent head" in said(task, "--latent-head", plain, *control)
    assert "give --control FILE too" in said("temporal", "--latent-head", headed)
    assert "is not a part of a known restoration control" in said("temporal", "--control", plain)
    (tmp_path / "control.prerestorer.safetensors").write_bytes(b"")
    assert "control.prerestorer.safetensors would be replaced" in said("control", "--latent-head", headed)


def test_the_trainer_gets_what_is_said():
    options = TemporalTrainingOptions(data=[], cache=None, steps=7, batch=3, precision="no", checkpoint_every=5)  # type: ignore[arg-type]
    trainer = options.trainer(TemporalTrainingSettings().trainer)
    assert (trainer.steps, trainer.batch, trainer.precision) == (7, 3, "no")
    assert trainer.checkpoint_every == trainer.validate_every == 5
    assert trainer.accumulation == TemporalTrainingSettings().trainer.accumulation
