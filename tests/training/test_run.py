"""What every training looks at before the work: nothing is replaced unasked, and it is the run that it was."""

import inspect

import pytest
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.cli.train.networks import train_dirt_detector, train_scratch_detector
from vldm_core.errors import SettingsError
from vldm_core.training.dirt_detector.examples import DirtExampleSettings
from vldm_core.training.dirt_detector.task import DirtTrainingSettings
from vldm_core.training.run import check_output
from vldm_core.training.scratch_detector.examples import ScratchExampleSettings
from vldm_core.training.scratch_detector.task import ScratchTrainingSettings

from .training_kit import photographs

COMMANDS = ("dirt-detector", "line-detector", "prerestore")
FEW = {
    "dirt-detector": ("--shots", "2", "--hard-shots", "0"),
    "line-detector": ("--shots", "8"),
    "prerestore": ("--films", "2"),
}


@pytest.fixture
def pictures(tmp_path):
    return photographs(tmp_path / "my pictures")


def command(kind, data, tmp_path, *options, cache="cache"):
    paths = ("--data", str(data), "--out", str(tmp_path / "net.safetensors"), "--cache", str(tmp_path / cache))
    result = CliRunner().invoke(app, ["train", kind, *paths, "--threads", "1", *FEW[kind], *options])
    return result.exit_code, " ".join(result.output.split())


def checkpoints(tmp_path):
    return sorted(path.name for path in (tmp_path / "net.training").glob("step-*"))


def test_the_dirt_detector_replaces_nothing_unasked(pictures, tmp_path):
    kind, out = "dirt-detector", tmp_path / "net.safetensors"
    code, output = command(kind, pictures, tmp_path, "--steps", "2", "--checkpoint-every", "1")
    assert code == 0, output
    weights = out.read_bytes()
    assert checkpoints(tmp_path) == ["step-000002"]
    code, output = command(kind, pictures, tmp_path, "--steps", "2", cache="never made")
    assert code == 1 and "give --resume to go on from the checkpoint, or --overwrite to begin anew" in output
    code, output = command(kind, pictures, tmp_path, "--steps", "3", "--resume", cache="never made")
    assert code == 1 and "is of another run: settings differ" in output
    code, output = command(kind, pictures, tmp_path, "--steps", "2", "--shots", "3", "--resume", cache="never made")
    assert code == 1 and "is of another run: examples differ" in output
    assert not (tmp_path / "never made").exists()
    assert out.read_bytes() == weights and checkpoints(tmp_path) == ["step-000002"]
    # Resumed at its end and begun anew it gives the same.
    for option in ("--resume", "--overwrite"):
        code, output = command(kind, pictures, tmp_path, "--steps", "2", "--checkpoint-every", "1", option)
        assert code == 0 and out.read_bytes() == weights, output


@pytest.mark.parametrize("kind", COMMANDS)
def test_weights_of_another_training_stop_the_command_before_the_work(kind, pictures, tmp_path):
    out = tmp_path / "net.safetensors"
    for options in ((), ("--resume",)):
        out.write_bytes(b"mine")
        code, output = command(kind, pictures, tmp_path, *options)
        assert code == 1 and "--overwrite to begin anew" in output
        assert out.read_bytes() == b"mine" and not (tmp_path / "cache").exists()
    out.unlink()
    step = tmp_path / "net.training" / "step-000001"
    step.mkdir(parents=True)
    (step / "run.json").write_text("mine")
    code, output = command(kind, pictures, tmp_path, "--resume")
    assert code == 1 and "not a checkpoint of this training" in output and not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["net.checkpoint", "net.training/state.pt"])
def test_a_checkpoint_of_an_earlier_version_is_not_passed_over(name, pictures, tmp_path):
    (tmp_path / "net.training").mkdir()
    (tmp_path / name).write_bytes(b"hours of work")
    code, output = command("dirt-detector", pictures, tmp_path, "--resume")
    assert code == 1 and "written by an earlier version" in output and not (tmp_path / "cache").exists()


def test_the_line_detector_needs_files_to_hold_out(pictures, tmp_path):
    (pictures / "p2.png").unlink()
    code, output = command("line-detector", pictures, tmp_path)
    assert code == 1 and "give three files or more" in output and not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("command", "settings", "examples"),
    [
        (train_dirt_detector, DirtTrainingSettings(), DirtExampleSettings()),
        (train_scratch_detector, ScratchTrainingSettings(), ScratchExampleSettings()),
    ],
)
def test_the_commands_have_the_defaults_of_the_settings(command, settings, examples):
    defaults = {name: each.default for name, each in inspect.signature(command).parameters.items()}
    for name in ("steps", "seed", "checkpoint_every"):
        assert defaults[name] == getattr(settings.trainer, name)
    for name in {"shots", "hard_shots", "seed"} & defaults.keys():
        assert defaults[name] == getattr(examples, name)


def test_names_that_cannot_be_written_to(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    for name, message in (("net.bin", "does not end in .safetensors"), ("folder.safetensors", "is a folder")):
        with pytest.raises(SettingsError, match=message):
            check_output(tmp_path / name, tmp_path / "state", resume=False, overwrite=True)
    check_output(tmp_path / "new.safetensors", tmp_path / "state", resume=True, overwrite=False)
