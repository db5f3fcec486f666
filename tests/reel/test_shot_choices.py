"""The table of settings of single shots: what it says, what is refused, and what becomes of the film."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.errors import SettingsError
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.reel.resumable.maker import ChunkMaker
from vldm_core.reel.resumable.remembered import recalled, remembered
from vldm_core.reel.resumable.run import RunSettings, restore_reel
from vldm_core.reel.shot_choices import ShotChoices, ShotRow, read_choices, settings_of_shots, write_template
from vldm_core.stages.settings import StageSettings
from vldm_core.video.shots import Shot

from .conftest import CUT
from .test_restore import frames_of

QUICK = ReelSettings(lines=None, flicker=None, average=None)
"""Dirt alone."""
SHOTS = (Shot(first=0, last=CUT), Shot(first=CUT, last=2 * CUT))


class TestTables:
    def test_csv_says_what_json_says(self):
        sheet = ShotChoices.from_csv(
            "first;last;skip;quality;dirt;flicker;flicker.strength;average.keep_grain;lines.detector;caption\n"
            '0;9;yes;;;;;;;"a street; 1906"\n'
            "10;19;;fast;off;;0,5;;weight-free;\n"
            "20;29;no;;on;on;;1;;\n"
        )
        rows = [
            {"first": 0, "last": 9, "skip": True},
            {
                "first": 10, "last": 19, "quality": "fast",
                "settings": {"dirt": False, "flicker": {"strength": 0.5}, "lines": {"detector": "weight-free"}},
            },
            {"first": 20, "last": 29, "settings": {"dirt": True, "flicker": True, "average": {"keep_grain": 1}}},
        ]  # fmt: skip
        table = ShotChoices.from_json(json.dumps({"format": "vldm shot settings", "shots": rows}))
        assert sheet == table == ShotChoices.from_json(table.to_json())

    def test_what_rows_make_of_the_film_s_settings(self):
        base = StageSettings(stabilise=None)
        said = {
            "dirt": {"certainty": 0.7},
            "flicker": None,
            "stabilise": {"strength": 0.5},
            "average": True,
            "lines": False,
        }
        made = ShotRow(first=0, last=5, changes=json.dumps(said)).settings(base)
        assert made.dirt == replace(base.dirt, certainty=0.7)
        assert made.flicker is None and made.lines is None and made.average == base.average
        assert made.stabilise.strength == 0.5
        assert ShotRow(first=0, last=5, quality="fast").settings(made) == StageSettings.of_quality("fast")
        assert ShotRow(first=0, last=5, skip=True).settings(base) == StageSettings.no_stages()

    def test_given_maps_count_in_all_shots(self):
        base = replace(StageSettings(), given_dirt="added")
        assert ShotRow(first=0, last=5, quality="best").settings(base).given_dirt == "added"

    def test_shots_are_parted_where_a_row_begins_or_ends(self):
        choices = ShotChoices(rows=(ShotRow(first=3, last=6, skip=True), ShotRow(first=CUT, last=2 * CUT, skip=True)))
        parts = choices.parted(SHOTS)
        assert [(part.first, part.last) for part in parts] == [(0, 3), (3, 6), (6, CUT), (CUT, 2 * CUT)]
        settings = settings_of_shots(choices, QUICK, parts)
        assert [not isinstance(each, ReelSettings) for each in settings] == [False, True, False, True]

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("first,skip\n0,yes\n", "needs a header with first and last"),
            ("first,last,skip\n0,5,perhaps\n", "row 1: skip is 'perhaps'; give yes or no"),
            ("first,last,quality\n0,5,superb\n", "quality is 'superb'; use one of fast"),
            ("first,last,skip\nzero,5,yes\n", "first is 'zero'; give the whole number"),
            ("first,last,skip\n0,5,yes\n3,9,yes\n", "says frame 3 twice"),
            ("first,last,skip\n5,3,yes\n", "from frame 5 to 3"),
            ("first,last,skip,dirt\n0,5,yes,on\n", "to be skipped, and says settings"),
            ("first,last,dirt,dirt.certainty\n0,5,off,0.5\n", "switches dirt off and says dirt.certainty"),
            ("first,last,sepia\n0,5,on\n", "frames 0 to 5 of the table of shots: .*sepia"),
            ("first,last,flicker.strenght\n0,5,1\n", "no setting flicker.strenght"),
            ("first,last,flicker.strength\n0,5,7\n", "flicker"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, text, match):
        with pytest.raises(SettingsError, match=match):
            ShotChoices.from_csv(text).check(StageSettings())

    def test_a_row_beyond_the_film_is_refused(self, small_film, tmp_path):
        choices = ShotChoices(rows=(ShotRow(first=20, last=2 * CUT + 1, skip=True),))
        with pytest.raises(SettingsError, match="the film has frames 0 to 27"):
            restore_reel(small_film, tmp_path / "out.mkv", replace(QUICK, choices=choices))

    @pytest.mark.parametrize("suffix", ["csv", "json"])
    def test_a_template_says_nothing_and_can_be_read(self, tmp_path, suffix):
        path = tmp_path / f"table.{suffix}"
        write_template(SHOTS, path)
        choices = read_choices(path)
        assert [(row.first, row.last) for row in choices.rows] == [(0, CUT), (CUT, 2 * CUT)]
        assert all(row == ShotRow(first=row.first, last=row.last) for row in choices.rows)
        with pytest.raises(SettingsError, match="exists already"):
            write_template(SHOTS, path)
        with pytest.raises(SettingsError, match=r"ends in \.csv or \.json"):
            write_template(SHOTS, tmp_path / "table.txt")

    def test_a_run_remembers_its_table(self, tmp_path):
        choices = ShotChoices(rows=(ShotRow(first=3, last=6, changes='{"dirt": false}'),))
        facts = remembered("a.mkv", "b.mkv", replace(QUICK, choices=choices))
        assert recalled(json.loads(json.dumps(facts)))[2].choices == choices


class TestRestoring:
    def test_a_shot_that_is_skipped_is_left_as_it_came_and_the_others_are_not(self, small_film, tmp_path):
        settings = replace(QUICK, choices=ShotChoices(rows=(ShotRow(first=0, last=CUT, skip=True),)))
        seen = []
        restore_reel(small_film, tmp_path / "some.mkv", settings, run=RunSettings(length=6), each=seen.append)
        restore_film(small_film, tmp_path / "all.mkv", QUICK)
        restore_film(small_film, tmp_path / "single.mkv", settings)
        some, whole, film = (frames_of(path) for path in (tmp_path / "some.mkv", tmp_path / "all.mkv", small_film))
        np.testing.assert_array_equal(some[:CUT], film[:CUT])
        np.testing.assert_array_equal(some[CUT:], whole[CUT:])
        np.testing.assert_array_equal(some, frames_of(tmp_path / "single.mkv"))
        assert (whole[:CUT] != film[:CUT]).any()
        assert not any(frame.dirt.any() for frame in seen[:CUT])

    def test_an_edited_table_redoes_the_shots_that_it_touches(self, small_film, tmp_path, monkeypatch):
        made = []
        real = ChunkMaker.make

        def noted(self, run, pulse):
            made.extend((chunk.first, chunk.last) for chunk in run)
            return real(self, run, pulse)

        monkeypatch.setattr(ChunkMaker, "make", noted)
        run, out = RunSettings(length=7, keep=True), tmp_path / "out.mkv"
        chosen = replace(QUICK, write=replace(QUICK.write, overwrite=True))
        for changes in ('{"dirt": {"certainty": 0.9}}', '{"dirt": {"certainty": 0.2}}'):
            made.clear()
            rows = (ShotRow(first=CUT, last=2 * CUT, changes=changes),)
            restore_reel(small_film, out, replace(chosen, choices=ShotChoices(rows=rows)), run=run)
        assert made == [(14, 21), (21, 28)]

    def test_command_line(self, small_film, tmp_path):
        table, out = tmp_path / "shots.csv", tmp_path / "out.mkv"
        called = CliRunner().invoke(app, ["shots", str(small_film), "--write-settings", str(table)])
        assert called.exit_code == 0, called.output
        rows = table.read_text().splitlines()
        assert rows[0].startswith('"first","last","skip","quality","dirt"')
        table.write_text("\n".join([rows[0], rows[1].replace(f'"{CUT - 1}",""', f'"{CUT - 1}","yes"'), rows[2]]) + "\n")
        options = ["--no-lines", "--no-flicker", "--no-average", "--shot-settings", str(table), "--workers", "1"]
        called = CliRunner().invoke(app, ["restore", str(small_film), str(out), *options])
        assert called.exit_code == 0, called.output
        np.testing.assert_array_equal(frames_of(out)[:CUT], frames_of(small_film)[:CUT])
        assert (frames_of(out)[CUT:] != frames_of(small_film)[CUT:]).any()
        table.write_text("first,last,sepia\n0,5,on\n")
        called = CliRunner().invoke(app, ["restore", str(small_film), str(tmp_path / "two.mkv"), *options])
        assert called.exit_code == 1 and "sepia" in called.output and not (tmp_path / "two.mkv.vldm").exists()
