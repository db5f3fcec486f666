"""The command line reaches the functions, and failures end in one line and an exit code."""

import json

import pytest
from typer.testing import CliRunner

from vldm_core.cli import app
from vldm_core.video.reader import open_film

from .reel.conftest import CUT, write_film

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
