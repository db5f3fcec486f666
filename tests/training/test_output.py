"""The detectors' commands: one's own folder, nothing replaced unasked, all of it said before the work."""

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.training.output import check_output, claim_sources

COMMANDS = ("dirt-detector", "line-detector")
FEW = {"dirt-detector": ("--shots", "2", "--hard-shots", "0"), "line-detector": ("--shots", "8")}


@pytest.fixture
def pictures(tmp_path):
    stream = np.random.default_rng(2)
    folder = tmp_path / "my pictures"
    folder.mkdir()
    for number in range(3):
        picture = cv2.GaussianBlur(stream.normal(size=(400, 520, 3)).astype(np.float32), (0, 0), 6)
        cv2.imwrite(str(folder / f"p{number}.png"), np.clip(120 + 500 * picture, 0, 255).astype(np.uint8))
    return folder


def command(kind, data, tmp_path, *options, cache="cache"):
    paths = ("--data", str(data), "--out", str(tmp_path / "net.safetensors"), "--cache", str(tmp_path / cache))
    result = CliRunner().invoke(app, ["train", kind, *paths, "--threads", "1", *FEW[kind], *options])
    return result.exit_code, " ".join(result.output.split())


def test_the_dirt_detector_replaces_nothing_unasked(pictures, tmp_path):
    kind, out = "dirt-detector", tmp_path / "net.safetensors"
    code, output = command(kind, pictures, tmp_path, "--steps", "2", "--checkpoint-every", "1")
    assert code == 0, output
    weights, checkpoint = out.read_bytes(), out.with_suffix(".checkpoint").read_bytes()
    code, output = command(kind, pictures, tmp_path, "--steps", "2", cache="never made")
    assert code == 1 and "give --resume to go on from the checkpoint, or --overwrite to begin anew" in output
    code, output = command(kind, pictures, tmp_path, "--steps", "3", "--resume", cache="never made")
    assert code == 1 and "a run with other settings" in output
    assert not (tmp_path / "never made").exists()
    assert (out.read_bytes(), out.with_suffix(".checkpoint").read_bytes()) == (weights, checkpoint)
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
    out.with_suffix(".checkpoint").write_bytes(b"mine")
    code, output = command(kind, pictures, tmp_path, "--resume")
    assert code == 1 and "not a checkpoint of this training" in output and not (tmp_path / "cache").exists()


def test_the_line_detector_needs_files_to_hold_out(pictures, tmp_path):
    (pictures / "p2.png").unlink()
    code, output = command("line-detector", pictures, tmp_path)
    assert code == 1 and "give three files or more" in output and not (tmp_path / "cache").exists()


def test_names_that_cannot_be_written_to(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    for name, message in (("net.bin", "does not end in .safetensors"), ("folder.safetensors", "is a folder")):
        with pytest.raises(SettingsError, match=message):
            check_output(tmp_path / name, tmp_path / "state", resume=False, overwrite=True)
    check_output(tmp_path / "new.safetensors", tmp_path / "state", resume=True, overwrite=False)


def test_a_folder_of_examples_belongs_to_its_files(tmp_path):
    claim_sources(tmp_path, [tmp_path / "b.mp4", tmp_path / "a.mp4"])
    claim_sources(tmp_path, [tmp_path / "elsewhere" / "a.mp4", tmp_path / "b.mp4"])
    with pytest.raises(FilmFileError, match="made of other files"):
        claim_sources(tmp_path, [tmp_path / "a.mp4"])
