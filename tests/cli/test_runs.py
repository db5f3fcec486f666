"""Commands for runs that were ended: they tell how far one is, go on with it, and clear it away."""

import json

import pytest
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.reel.restore import ReelSettings
from vldm_core.reel.resumable.run import RunSettings, restore_reel
from vldm_core.reel.resumable.work_folder import WorkFolder
from vldm_core.video.reading.reader import open_film

from ..reel.conftest import write_film

runner = CliRunner()
QUICK = ReelSettings(lines=None, flicker=None, average=None)
COUNT = 20


class EnoughError(Exception):
    """Stands for whatever ends a run."""


@pytest.fixture
def ended(tmp_path):
    """A film, and the name of a result that a run was making when it was ended."""
    film, out = write_film(tmp_path / "film.mkv", COUNT), tmp_path / "out.mkv"

    def progress(phase, done, total, preview=None):
        if phase == "restore" and done == 12:
            raise EnoughError

    with pytest.raises(EnoughError):
        restore_reel(film, out, QUICK, progress, run=RunSettings(length=5))
    return film, out


def run(*words):
    result = runner.invoke(app, [str(word) for word in words])
    assert "Traceback" not in result.output
    return result


def test_status_tells_how_far_it_is(ended, tmp_path):
    _, out = ended
    told = run("status", out)
    assert told.exit_code == 0 and f"of {COUNT}" in told.stdout and "not at work" in told.stdout
    found = json.loads(run("status", out, "--json").stdout)
    assert 5 <= found["done"] < COUNT and found["frames"] == COUNT and found["left"] > 0
    picture = tmp_path / "last.png"
    assert run("status", f"{out}.vldm", "--picture", picture).exit_code == 0 and picture.stat().st_size > 1000


def test_resume_goes_on_without_being_told_how(ended, monkeypatch):
    monkeypatch.setattr("vldm_core.reel.resumable.first_pass.find_shots", None)
    _, out = ended
    # Chunks of another length are other chunks: what was learnt of the shots is used all the same.
    assert run("resume", out).exit_code == 0
    with open_film(out) as film:
        assert len(list(film)) == COUNT
    assert not WorkFolder.beside(out).path.exists()


def test_resume_writes_the_report_and_the_review_copy_too(tmp_path, monkeypatch):
    film, out = write_film(tmp_path / "film.mkv", COUNT), tmp_path / "out.mkv"
    report, review = tmp_path / "told.json", tmp_path / "look.mp4"
    words = ("restore", film, out, "--no-lines", "--no-flicker", "--no-average", "--no-record", "--workers", 1)
    with monkeypatch.context() as patch:
        # The run ends before the film is put together.
        patch.setattr("vldm_core.reel.resumable.run._put_together", None)
        with pytest.raises(TypeError):
            runner.invoke(
                app, [str(word) for word in (*words, "--report", report, "--review", review)], catch_exceptions=False
            )
    assert not out.exists() and not report.exists() and not review.exists()
    assert run("resume", out).exit_code == 0
    facts = json.loads(report.read_text())
    assert facts["frames"] == COUNT and facts["settings"]["flicker"] is None and facts["result"]["name"] == str(out)
    with open_film(review) as copy:
        assert len(list(copy)) == COUNT


def test_an_address_is_no_place_for_a_run(tmp_path):
    film = write_film(tmp_path / "film.mkv", 3, audio=False)
    told = " ".join(run("restore", film, "s3://bucket/out.mkv", "--no-record").stderr.split())
    assert "is an address (s3)" in told and "(--storage)" in told


def test_the_same_command_goes_on(tmp_path):
    film, out = write_film(tmp_path / "film.mkv", COUNT), tmp_path / "out.mkv"
    words = ("restore", film, out, "--no-lines", "--no-flicker", "--no-average", "--no-record", "--workers", 1)
    assert run(*words, "--keep-work").exit_code == 0
    folder = WorkFolder.beside(out)
    kept = {path: path.stat().st_mtime_ns for path in folder.chunks.iterdir()}
    assert run(*words).exit_code == 1, "the result is there already"
    out.unlink()
    assert run(*words, "--keep-work").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in folder.chunks.iterdir()} == kept
    assert run(*words, "--overwrite", "--restart").exit_code == 0 and not folder.path.exists()


def test_clean_takes_away_what_was_kept(ended):
    _, out = ended
    with WorkFolder.beside(out):
        assert run("clean", out).exit_code == 1
    assert run("clean", out).exit_code == 0
    assert not WorkFolder.beside(out).path.exists()


@pytest.mark.parametrize("command", ["status", "resume", "clean"])
def test_where_there_is_no_run_it_is_said(command, tmp_path):
    result = run(command, tmp_path / "out.mkv")
    assert result.exit_code == 1 and "no folder of a run" in " ".join(result.stderr.split())


def test_what_a_folder_cannot_say_is_asked_for(ended):
    _, out = ended
    about = WorkFolder.beside(out).path / "run.json"
    facts = json.loads(about.read_text())
    about.write_text(json.dumps(facts | {"maps": 1}))
    assert "give the command" in " ".join(run("resume", out).stderr.split())
    about.write_text(json.dumps(facts | {"write": {"codec": 3, "magic": 1}}))
    assert "cannot be read" in " ".join(run("resume", out).stderr.split())
