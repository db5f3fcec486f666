"""The command line reaches the functions, and failures end in one line and an exit code."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.errors import SettingsError
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.flicker.removal import FlickerSettings
from vldm_core.film.scratches.detection import ScratchSettings
from vldm_core.video.reading.reader import open_film

from ..reel.conftest import CUT, write_film

runner = CliRunner()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("cli") / "film.mkv", 2 * CUT)


def test_shots_as_json(film):
    result = runner.invoke(app, ["shots", str(film), "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert rows == [{"shot": 0, "first": 0, "last": CUT - 1}, {"shot": 1, "first": CUT, "last": 2 * CUT - 1}]


def test_restore_writes_the_film(film, tmp_path):
    out = tmp_path / "out.mp4"
    result = runner.invoke(app, ["restore", str(film), str(out), "--no-dirt", "--stabilise", "--quality", "20"])
    assert result.exit_code == 0, result.output
    with open_film(out) as restored:
        assert restored.info.codec == "h264"
        assert restored.info.has_audio
        assert len(list(restored)) == 2 * CUT


def test_nothing_is_found_where_a_mask_protects(film, tmp_path):
    with open_film(film) as source:
        height, width = source.info.height, source.info.width
    protect = tmp_path / "protect.png"
    cv2.imwrite(str(protect), np.full((height, width), 255, np.uint8))
    options = ["--protect", str(protect), "--dirt-detector", "weight-free", "--scratch-detector", "weight-free"]
    result = runner.invoke(app, ["detect", str(film), str(tmp_path / "masks"), *options])
    assert result.exit_code == 0, result.output
    for name in ("dirt", "scratch"):
        with open_film(tmp_path / "masks" / f"{name}.mkv") as mask:
            assert all(frame.image.max() == 0 for frame in mask)
    options += ["--no-flicker", "--no-prerestore"]
    result = runner.invoke(app, ["restore", str(film), str(tmp_path / "out.mkv"), *options])
    assert result.exit_code == 0, result.output
    with open_film(film) as source, open_film(tmp_path / "out.mkv") as restored:
        assert all(np.array_equal(a.image, b.image) for a, b in zip(source, restored, strict=True))


def test_the_detector_of_the_command_line_is_used(film, tmp_path, monkeypatch):
    used = []
    monkeypatch.setattr("vldm_core.reel.masks.detect_film", lambda *given, **_: used.append(given[2]))
    options = ["--dirt-detector", "learned", "--scratch-detector", "learned"]
    result = runner.invoke(app, ["detect", str(film), str(tmp_path), *options])
    assert result.exit_code == 0, result.output
    assert (used[0].dirt.detector, used[0].lines.detector) == ("learned", "learned")
    assert runner.invoke(app, ["detect", str(film), str(tmp_path)]).exit_code == 0
    assert (used[1].dirt, used[1].lines) == (DirtSettings(), ScratchSettings())
    assert runner.invoke(app, ["detect", str(film), str(tmp_path), "--dirt-detector", "magic"]).exit_code == 2


def test_the_size_of_a_flash_reaches_the_stage(film, tmp_path, monkeypatch):
    used = []

    def told(*given, **_):
        used.append(given[2])
        raise SettingsError("enough")

    monkeypatch.setattr("vldm_core.reel.restore.restore_film", told)
    restore = ["restore", str(film), str(tmp_path / "out.mkv"), "--no-prerestore"]
    for options in ([], ["--flash", "2.5"], ["--no-flicker"]):
        runner.invoke(app, restore + options)
    assert [settings.flicker for settings in used] == [FlickerSettings(), FlickerSettings(flash=2.5), None]
    assert runner.invoke(app, [*restore, "--flash", "0.5"]).exit_code == 2


def test_an_output_that_cannot_work_is_refused_before_the_film_is_read(film, tmp_path):
    result = runner.invoke(app, ["restore", str(film), str(tmp_path / "out.avi")])
    assert result.exit_code == 1
    assert ".avi" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_errors_are_one_line(tmp_path):
    result = runner.invoke(app, ["restore", str(tmp_path / "missing.mkv"), str(tmp_path / "out.mkv")])
    assert result.exit_code == 1
    assert "missing.mkv" in result.stderr
    assert "Traceback" not in result.output


def test_queue_says_that_no_server_answers(tmp_path):
    workflow = tmp_path / "w.json"
    workflow.write_text(json.dumps({"1": {"class_type": "LoadVideo", "inputs": {"file": "a.mp4"}}}))
    result = runner.invoke(app, ["queue", str(workflow), "--server", "http://127.0.0.1:9", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "127.0.0.1:9" in result.stderr


def test_help_is_quick_to_come():
    """Training, measuring and diffusers are loaded by the commands that need them."""
    program = (
        "import sys; from typer.testing import CliRunner; from vldm_core.cli.app import app\n"
        "result = CliRunner().invoke(app, ['train', '--help'])\n"
        "heavy = ('torch', 'cv2', 'diffusers', 'accelerate')\n"
        "print(result.exit_code, 'prerestore' in result.output, [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=2) == ["0", "True", "[]\n"]
