"""A reel through a one-step restorer: from the command line, resumed, and with what is in vain refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks.onestep.random_files import random_file
from vldm_core.cli.app import app
from vldm_core.errors import SettingsError
from vldm_core.prior.onestep.reading import read_one_step
from vldm_core.prior.onestep.run.settings import OneStepSettings
from vldm_core.reel.prior import restore_film_with_prior
from vldm_core.reel.restore import ReelSettings
from vldm_core.reel.resumable.run import RunSettings
from vldm_core.reel.with_prior.one_step import OneStepPrior
from vldm_core.reel.with_prior.settings import PriorReelSettings
from vldm_core.video.geometry import FitSettings
from vldm_core.video.reading.reader import open_film

from ...prior.tiny_pipeline import tiny_pipeline
from ..conftest import write_film

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FRAMES = 6
QUICK = ReelSettings(dirt=None, lines=None, splices=None, flicker=None, average=None)
SMALL = PriorReelSettings(reel=QUICK, fitting=FitSettings(short_side=64, multiple=16))
runner = CliRunner()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def file(pipeline, tmp_path_factory):
    return random_file("pisasr", pipeline.unet, pipeline.vae, tmp_path_factory.mktemp("onestep"))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("film") / "film.mkv", FRAMES)


def pictures(path):
    with open_film(path, deinterlace="off") as frames:
        return torch.stack([frame.tensor() for frame in frames])


def prior_of(pipeline, file, **how):
    return OneStepPrior(pipeline, read_one_step(file), OneStepSettings(**how), files=[file])


def test_the_command_line_restores_a_film(model, file, film, tmp_path):
    command = ["restore", str(film), str(tmp_path / "out.mkv"), "--prior", str(model), "--one-step", str(file)]
    command += ["--invention", "0", "--short-side", "64", "--device", "cpu", "--keep-outside", "--max-frames", "15"]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    before, after = pictures(film), pictures(tmp_path / "out.mkv")
    assert after.shape == before.shape and not torch.equal(after, before)


def test_finished_parts_are_not_restored_again(pipeline, file, film, tmp_path):
    calls = []

    class Counted(OneStepPrior):
        def __call__(self, frames, **how):
            calls.append(len(frames))
            return super().__call__(frames, **how)

    def run(target, **how):
        prior = Counted(pipeline, read_one_step(file), OneStepSettings(**how), files=[file])
        settings = replace(SMALL, reel=replace(QUICK, write=replace(QUICK.write, overwrite=True)))
        restore_film_with_prior(film, target, prior, settings, run=RunSettings(keep=True))

    run(tmp_path / "out.mkv")
    assert sum(calls) == FRAMES
    run(tmp_path / "out.mkv")
    assert sum(calls) == FRAMES
    run(tmp_path / "out.mkv", invention=0.0)
    assert sum(calls) == 2 * FRAMES


def test_a_long_shot_in_parts_is_that_of_one_part(pipeline, file, film, tmp_path):
    """Frames are restored by themselves, so that parts and their fades change nothing but the rounding."""
    whole, parted = tmp_path / "whole.mkv", tmp_path / "parted.mkv"
    settings = replace(SMALL, finish=replace(SMALL.finish, colour=None))
    prior = prior_of(pipeline, file)
    restore_film_with_prior(film, whole, prior, settings)
    windows = replace(settings.restoration, windows=replace(settings.restoration.windows, length=2, overlap=1))
    restore_film_with_prior(film, parted, prior, replace(settings, most_frames=3, restoration=windows))
    assert np.allclose(pictures(whole), pictures(parted), atol=1.01 / 255)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--invention", "0.5"], "--invention: give --one-step FILE too"),
        (
            ["--one-step", "FILE", "--strength", "0.3", "--steps", "5"],
            "--strength and --steps: with --one-step nothing",
        ),
        (["--one-step", "FILE", "--damage-scores", "0.3"], "give two numbers with a comma between"),
        (["--one-step", "FILE", "--damage-scores", "0.3,0.4"], "PiSA-SR is steered by none"),
        (["--one-step", "FILE", "--keep-outside", "--no-dirt", "--no-lines"], "nothing looks for damage"),
        (["--one-step", "FILE", "--trained-fusion", "FILE"], "were not trained with a fusion"),
        (["--one-step", "NOTHING"], "does not exist"),
    ],
)
def test_what_does_not_go_together_is_told_before_any_work(model, file, film, tmp_path, options, message):
    named = {"FILE": str(file), "NOTHING": str(tmp_path / "nothing.pkl")}
    command = ["restore", str(film), str(tmp_path / "out.mkv"), "--prior", str(model), "--device", "cpu"]
    result = runner.invoke(app, [*command, *(named.get(option, option) for option in options)])
    assert result.exit_code == 1 and message in " ".join(result.stderr.split()), result.output
    assert not (tmp_path / "out.mkv").exists()


def test_controls_are_refused(pipeline, file):
    prior = prior_of(pipeline, file)
    with pytest.raises(SettingsError, match="PiSA-SR restores by itself"):
        prior(
            torch.rand(1, 3, 64, 64),
            prompt="",
            negative_prompt="",
            settings=SMALL.restoration,
            num_inference_steps=1,
            strength=1.0,
            sampler="scheduler",
            noise_schedule="auto",
            masks=None,
            control=object(),
            controls=(),
            temporal_decoder=None,
            feature_wrapping=None,
            trained_fusion=None,
            seed=0,
            fitting=SMALL.fitting,
            finish=SMALL.finish,
            first_frame=0,
            shot_start=0,
        )
