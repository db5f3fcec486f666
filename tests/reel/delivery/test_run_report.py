"""The report of a run as JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.errors import SettingsError
from vldm_core.notices import Notice
from vldm_core.reel.delivery.run_report import TimedProgress, check_report_path, report_facts
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.reel.resumable.keys import pack_key
from vldm_core.reel.resumable.run import RunSettings, restore_reel
from vldm_core.reel.shot_choices import ShotChoices, ShotRow

from ..conftest import CUT, HEIGHT, WIDTH
from ..test_restore import frames_of

QUICK = ReelSettings(lines=None, flicker=None, average=None)


def test_shares_of_each_shot(small_film, tmp_path):
    choices = ShotChoices(rows=(ShotRow(first=0, last=CUT, skip=True),))
    settings, seen = replace(QUICK, choices=choices), []
    report = restore_reel(small_film, tmp_path / "a.mkv", settings, run=RunSettings(length=5), each=seen.append)
    single = restore_film(small_film, tmp_path / "b.mkv", settings)
    expected = np.mean([float(frame.dirt.mean()) for frame in seen[CUT:]])
    assert report.shares[0] == (0, 0) and report.shares == single.shares
    assert report.shares[1] == (pytest.approx(expected, abs=1e-8), 0) and expected > 0
    facts = report_facts(report, settings, small_film, tmp_path / "a.mkv")
    assert facts["shots"][0] == {
        "shot": 0, "first": 0, "last": CUT - 1, "dirt_share": 0, "scratch_share": 0, "skip": True, "quality": None,
        "own": {},
    }  # fmt: skip
    assert "skip" not in facts["shots"][1]


def test_the_command_writes_what_was_done(small_film, tmp_path):
    out, told, review = tmp_path / "out.mkv", tmp_path / "told.json", tmp_path / "look.mp4"
    options = ["--no-lines", "--no-flicker", "--no-average", "--workers", "1", "--dirt-certainty", "0.6"]
    command = ["restore", str(small_film), str(out), *options, "--report", str(told), "--review", str(review)]
    called = CliRunner().invoke(app, command)
    assert called.exit_code == 0, called.output
    facts = json.loads(told.read_text())
    assert facts["format"] == "vldm restoration report" and facts["program"].endswith(pack_key())
    assert facts["source"]["name"] == str(small_film) and facts["source"]["bytes"] == small_film.stat().st_size
    assert (facts["result"]["width"], facts["result"]["height"]) == (WIDTH, HEIGHT)
    assert facts["result"]["bytes"] == out.stat().st_size and facts["result"]["sound"]
    assert facts["frames"] == 2 * CUT == len(frames_of(review))
    assert [(shot["first"], shot["last"]) for shot in facts["shots"]] == [(0, CUT - 1), (CUT, 2 * CUT - 1)]
    assert all(shot["dirt_share"] > 0 for shot in facts["shots"])
    assert facts["settings"]["dirt"]["certainty"] == 0.6 and facts["settings"]["flicker"] is None
    assert set(facts["seconds"]) == {"all", "find shots", "analyse", "restore", "write"}
    assert facts["seconds"]["all"] >= facts["seconds"]["restore"] >= 0
    again = CliRunner().invoke(app, [*command[:2], str(tmp_path / "two.mkv"), *command[3:]])
    assert again.exit_code == 1 and "exists already" in again.output and not (tmp_path / "two.mkv").exists()


def test_equal_notices_are_one_with_the_ranges_of_their_frames(small_film, tmp_path):
    report = restore_film(small_film, tmp_path / "out.mkv", QUICK)
    notices = [Notice(stage="dirt", text="left alone", frame=number) for number in (3, 4, 5, 9, 4)]
    notices.append(Notice(stage="film", text="is odd"))
    facts = report_facts(report, QUICK, small_film, tmp_path / "out.mkv", notices=notices)
    assert facts["notices"] == [
        {"stage": "dirt", "text": "left alone", "frames": [[3, 5], [9, 9]]},
        {"stage": "film", "text": "is odd", "frames": []},
    ]


def test_names_that_cannot_be_are_refused(tmp_path):
    (tmp_path / "there.json").write_text("mine")
    for name, match in (("a.txt", r"ends in \.json"), ("no/a.json", "no folder"), ("there.json", "exists already")):
        with pytest.raises(SettingsError, match=match):
            check_report_path(tmp_path / name)
    check_report_path(tmp_path / "there.json", overwrite=True)


def test_progress_is_handed_on():
    seen = []
    timed = TimedProgress(lambda *report: seen.append(report))
    timed("restore", 1, 2, None)
    timed("restore", 2, 2, None)
    assert seen == [("restore", 1, 2, None), ("restore", 2, 2, None)] and timed.seconds["restore"] >= 0
