"""Every training on a prior, killed in the middle and called again, ends with the file of one that ran through."""

import os
import signal
import time
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.prerestore.network import KIND
from vldm_core.training.checkpoints import newest_checkpoint
from vldm_core.training.control_branch.branch import new_branch, save_branch
from vldm_core.training.control_branch.run import head_file
from vldm_core.training.prerestorer import run as _  # noqa: F401 - it names the settings that are replaced below
from vldm_core.training.prerestorer.examples import RepairedFilmSettings
from vldm_core.training.prerestorer.task import PreRestoreTrainingSettings
from vldm_core.video.writing.clip import write_clip

from ..training.prior_kit import headed_prerestorer, moved, prerestorer_file, tiny_prior, wide_prior
from ..training.training_kit import photographs

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a training is killed in a fork of this process")

STEPS = ("--steps", "6", "--checkpoint-every", "2", "--seed", "3", "--threads", "1")
SMALL = (*STEPS, "--films", "2", "--validation-films", "1", "--side", "64")
MODEL = ("--batch", "1", "--accumulation", "1", "--precision", "no")
PICTURES = ("--pictures", "2", "--validation-pictures", "1", "--side", "64", "--rank", "2")
TASKS = {
    "temporal under a control": (
        "temporal", *SMALL, *MODEL, "--frames", "4", "--control", "{control}", "--latent-head", "{headed}",
    ),
    "control with a latent head": ("control", *SMALL, *MODEL, "--latent-head", "{headed}"),
    "latent head": (
        "prerestore", *STEPS, "--films", "1", "--batch", "1", "--precision", "no", "--head-only",
        "--from", "{prerestorer}", "--vae", "{model}",
    ),
    "lora": ("lora", *STEPS, *MODEL, *PICTURES),
    "fusion": (
        "fusion", *SMALL, *MODEL, "--sample-side", "64", "--sampling-steps", "2", "--strength", "0.5",
        "--prerestorer", "{prerestorer}",
    ),
    "temporal-decoder": ("temporal-decoder", *SMALL, *MODEL, "--frames", "4", "--sample-side", "64"),
}  # fmt: skip
"""What is said to each, with names of files in braces."""
_LONGEST = 120.0


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A model, clean pictures, films of an era, and a cache that all trainings share."""
    folder = tmp_path_factory.mktemp("training")
    tiny_prior().pipeline.save_pretrained(folder / "model")
    wide_prior().pipeline.save_pretrained(folder / "wide model")
    photographs(folder / "photos")
    prerestorer_file(folder)
    KIND.save(headed_prerestorer(), folder / "headed.safetensors")
    save_branch(moved(new_branch(tiny_prior().unet)), folder / "control.safetensors")
    era = folder / "eras" / "1900s"
    era.mkdir(parents=True)
    for number in range(2):
        torch.manual_seed(number)
        write_clip(era / f"{number}.mkv", torch.rand(3, 3, 64, 64), Fraction(18))
    return folder


def words(task: str, place: Path, out: Path) -> list[str]:
    command, *said = TASKS[task]
    files = {name: str(place / f"{name}.safetensors") for name in ("control", "headed", "prerestorer")}
    given = [word.format(model=place / "model", **files) for word in said]
    data = place / ("eras" if command == "lora" else "photos")
    cache = {"lora": "lora", "prerestore": "head"}.get(command, "films")
    model = [] if command == "prerestore" else [str(place / ("wide model" if "decoder" in command else "model"))]
    return [
        "train", command, *model, "--data", str(data), "--cache", str(place / cache), "--out", str(out), *given,
    ]  # fmt: skip


def run(*arguments: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output


def kill_in_the_middle(arguments: list[str], checkpoints: Path) -> None:
    """Start a training in a fork and kill it once it has written a checkpoint."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        CliRunner().invoke(app, arguments)
        os._exit(0)
    deadline = time.monotonic() + _LONGEST
    while newest_checkpoint(checkpoints) is None:
        assert time.monotonic() < deadline, "no checkpoint was written"
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the training ended without a checkpoint"
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("task", TASKS)
def test_a_killed_training_ends_with_the_same_file(task: str, place: Path, tmp_path: Path, monkeypatch) -> None:
    # Its command has no size of the films.
    small = PreRestoreTrainingSettings(
        films=RepairedFilmSettings(films=1, frames=5, height=64, width=64), validation_films=1
    )
    monkeypatch.setattr("vldm_core.training.prerestorer.task.PreRestoreTrainingSettings", lambda: small)
    whole, parted = ((tmp_path / name if task == "lora" else tmp_path / f"{name}.safetensors") for name in ("a", "b"))
    run(*words(task, place, whole))
    files = [out / "1900s.safetensors" if task == "lora" else out for out in (whole, parted)]
    kill_in_the_middle(words(task, place, parted), files[1].with_suffix(".training"))
    assert not files[1].exists()
    run(*words(task, place, parted), "--resume")
    assert files[0].read_bytes() == files[1].read_bytes()
    if task == "control with a latent head":
        assert head_file(files[0]).read_bytes() == head_file(files[1]).read_bytes()
    assert shown(files[0].with_suffix(".training") / "record")


def shown(record: Path) -> list[str]:
    """Return the pictures that a training has shown of its validation."""
    events = EventAccumulator(str(record))
    events.Reload()
    return events.Tags()["images"]
