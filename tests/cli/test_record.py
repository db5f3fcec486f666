"""The commands for the record of a restoration."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.video.reading.reader import open_film

from ..reel.conftest import write_film

runner = CliRunner()


def run(*options, code=0):
    result = runner.invoke(app, [str(option) for option in options])
    assert result.exit_code == code, result.output
    return result


def frames_of(path):
    with open_film(path) as film:
        return np.stack([frame.image for frame in film])


@pytest.fixture(scope="module")
def restored(tmp_path_factory):
    """A film, its restoration by repairs alone, and the record that is written unasked."""
    folder = tmp_path_factory.mktemp("restored")
    film, out = write_film(folder / "film.mkv", 12), folder / "out.mkv"
    run("restore", film, out, "--quality", "fast", "--no-flicker", "--no-average", "--workers", 1)
    assert sorted(path.name for path in folder.iterdir()) == ["film.mkv", "out.mkv", "out.mkv.record.zip"]
    return film, out, folder / "out.mkv.record.zip"


def test_show(restored):
    _, _, record = restored
    found = json.loads(run("record", "show", record, "--json").stdout)
    assert found["record"]["frames"] == 12
    kinds = {fix["kind"] for fix in found["fixes"]}
    assert kinds == {"dirt", "scratch"}
    some = json.loads(run("record", "show", record, "--json", "--kind", "dirt", "--frames", "2-3").stdout)["fixes"]
    assert some == [fix for fix in found["fixes"] if fix["kind"] == "dirt" and fix["first"] in (2, 3)]
    lines = run("record", "show", record, "--most", 3).stdout.splitlines()
    assert len(lines) == 6 and f"{len(found['fixes']) - 3} more" in lines[-1]
    assert "--frames" in run("record", "show", record, "--frames", "two", code=1).output


def test_undo_and_report(restored, tmp_path):
    film, out, record = restored
    run("record", "undo", record, out, tmp_path / "back.mkv")
    np.testing.assert_array_equal(frames_of(tmp_path / "back.mkv"), frames_of(film))
    run("record", "undo", record, out, tmp_path / "dirty.mkv", "--kind", "dirt", "--shot", 0)
    dirty, clean = frames_of(tmp_path / "dirty.mkv"), frames_of(out)
    assert (dirty != clean).any() and (dirty != frames_of(film)).any()
    assert "exists already" in run("record", "undo", record, out, tmp_path / "back.mkv", code=1).output
    run("record", "undo", record, out, tmp_path / "back.mkv", "--fix", 1, "--overwrite")
    run("record", "report", tmp_path / "back.mkv.record.zip", tmp_path / "report.html")
    assert "Taken back" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_no_record_where_none_is_wanted(restored, tmp_path):
    film, *_ = restored
    run("restore", film, tmp_path / "out.mkv", "--quality", "fast", "--no-lines", "--no-record", "--workers", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]
