"""With a prior: settings of single shots, what of it is sampled again, and a record that gives the source back."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.reel.delivery.run_report import report_facts
from vldm_core.reel.prior import restore_film_with_prior
from vldm_core.reel.record.file import RecordReader, record_path
from vldm_core.reel.record.repairs import Repairs, Selection
from vldm_core.reel.record.report.report import write_report
from vldm_core.reel.record.undo import undo_repairs
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.reel.resumable.run import RunSettings, restore_reel
from vldm_core.reel.shot_choices import ShotChoices, ShotRow
from vldm_core.reel.with_prior.settings import PriorReelSettings
from vldm_core.reel.with_prior.shot_prior import PriorOfShot
from vldm_core.semantics.table.description import ShotDescription
from vldm_core.semantics.table.table import ShotTable
from vldm_core.video.geometry import FitSettings
from vldm_core.video.info import FilmFrame, FilmInfo
from vldm_core.video.writing.encoding import WriteSettings
from vldm_core.video.writing.writer import open_writer

from ...prior.tiny_pipeline import tiny_pipeline
from ..conftest import CUT, damaged_frame
from ..record.test_record import all_repairs, planes_of, same

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHOTS = ((0, 7), (7, 13), (13, 18))
"""The cut is found before the last; the first two are parted where a table of settings says so."""
DIRT = ReelSettings(lines=None, splices=None, flicker=None, average=None, motion="quick")
SMALL = PriorReelSettings(
    reel=DIRT, prompt="a street", fitting=FitSettings(short_side=48, multiple=16), steps=2, strength=0.5
)


class Brighter:
    """Stands for a pipeline: lifts every picture by a step that the prompt says, and notes what it was asked."""

    def __init__(self) -> None:
        self.components: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []

    def drive(self, **how: Any) -> None:
        if how["strength"] > 0.95:
            raise SettingsError("strength is too much for this sampler")

    def __call__(self, frames: torch.Tensor, **how: Any) -> SimpleNamespace:
        self.asked.append({"first": how["first_frame"], "cfg": how["settings"].cfg.scale, **how})
        return SimpleNamespace(frames=(frames + 0.01 * len(how["prompt"])).clamp(0, 1))


def write(path, pix_fmt: str = "yuv420p"):
    """18 damaged frames, with a cut before frame 13."""
    info = FilmInfo.of_frames(64, 48, 24)
    with open_writer(path, info, settings=WriteSettings(codec="ffv1", pix_fmt=pix_fmt)) as writer:
        for number, (first, last) in enumerate(SHOTS):
            for index in range(first, last):
                picture = damaged_frame(CUT + index if number == 1 else index)[0][20:68, 20:84]
                picture = np.ascontiguousarray(picture[::-1] if number == 2 else picture)
                writer.write(FilmFrame(index=index, image=picture))
    return path


@pytest.fixture(scope="module", params=["yuv420p", "yuv422p10le"])
def recorded(request, tmp_path_factory):
    """A film, what a prior has made of its first and last shot, and the record; the middle shot is repaired alone."""
    folder = tmp_path_factory.mktemp(request.param)
    source, out = write(folder / "film.mkv", request.param), folder / "out.mkv"
    rows = (ShotRow(first=7, last=13, prior=PriorOfShot(apply=False)),)
    reel = replace(DIRT, record=record_path(out), choices=ShotChoices(rows=rows))
    report = restore_film_with_prior(source, out, Brighter(), replace(SMALL, reel=reel))
    assert [(shot.first, shot.last) for shot in report.shots] == list(SHOTS)
    return source, out


def test_all_taken_back_is_the_source(recorded, tmp_path):
    source, out = recorded
    assert not same([plane[:7] for plane in planes_of(source)], [plane[:7] for plane in planes_of(out)])
    back = tmp_path / "back.mkv"
    undone = undo_repairs(record_path(out), out, back)
    assert same(planes_of(back), planes_of(source))
    assert undone.whole == 12 and undone.fixes == len(np.unique(all_repairs(record_path(out)).number))
    with RecordReader(record_path(back)) as reader:
        assert not list(reader.originals()) and not list(reader.parts())
        assert reader.about["whole_picture"] == [] and [row["prior"] for row in reader.about["shots"]] == [None] * 3


def test_one_shot_taken_back_and_then_another(recorded, tmp_path):
    source, out = recorded
    first, then = tmp_path / "first.mkv", tmp_path / "then.mkv"
    undo_repairs(record_path(out), out, first, Selection(shots=(2,)))
    before, made, got = planes_of(source), planes_of(out), planes_of(first)
    assert same([plane[13:] for plane in got], [plane[13:] for plane in before])
    assert same([plane[:13] for plane in got], [plane[:13] for plane in made])
    undo_repairs(record_path(first), first, then, Selection(frames=(0, 2)))
    again = planes_of(then)
    assert same([plane[:3] for plane in again], [plane[:3] for plane in before])
    assert same([plane[3:] for plane in again], [plane[3:] for plane in got])
    with RecordReader(record_path(then)) as reader:
        assert [number for number, _ in reader.originals()] == [3, 4, 5, 6]
        assert [row["originals"] for row in reader.about["shots"]] == [True, False, False]


def test_single_repairs_within_a_changed_picture_take_force(recorded, tmp_path):
    source, out = recorded
    with pytest.raises(SettingsError, match="prior changed the whole picture in shot 0, 2"):
        undo_repairs(record_path(out), out, tmp_path / "back.mkv", Selection(kinds=("dirt",)))
    undo_repairs(record_path(out), out, tmp_path / "middle.mkv", Selection(kinds=("dirt",), shots=(1,)))
    assert same(
        [plane[7:13] for plane in planes_of(tmp_path / "middle.mkv")], [plane[7:13] for plane in planes_of(source)]
    )
    undo_repairs(record_path(out), out, tmp_path / "forced.mkv", Selection(kinds=("dirt",)), force=True)
    assert not same(planes_of(tmp_path / "forced.mkv"), planes_of(source))


def test_a_film_of_another_size_is_refused(recorded, tmp_path):
    _, out = recorded
    small = tmp_path / "small.mkv"
    with open_writer(small, FilmInfo.of_frames(32, 24, 24), settings=WriteSettings(codec="ffv1")) as writer:
        for index in range(18):
            writer.write(FilmFrame(index=index, image=np.zeros((24, 32, 3), np.uint8)))
    with pytest.raises(FilmFileError, match="frames of 32×24, and its source has 64×48"):
        undo_repairs(record_path(out), small, tmp_path / "back.mkv", force=True)
    assert not (tmp_path / "back.mkv").exists()


def test_what_the_record_says(recorded, tmp_path):
    source, out = recorded
    alone = tmp_path / "alone.mkv"
    choices = ShotChoices(rows=(ShotRow(first=7, last=13),))
    restore_film(source, alone, replace(DIRT, record=record_path(alone), choices=choices))
    ours, theirs = all_repairs(record_path(out)), all_repairs(record_path(alone))
    assert len(ours) and all(np.array_equal(one, theirs.arrays()[name]) for name, one in ours.arrays().items())
    with RecordReader(record_path(out)) as reader:
        about = reader.about
        assert about["whole_picture"] == ["prior"] and about["stages"][-1] == "prior"
        assert about["prior"]["prompt"] == "a street" and about["prior"]["pipeline"]
        assert [row["prior"] and row["prior"]["prompt"] for row in about["shots"]] == ["a street", None, "a street"]
        assert about["choices"]["shots"][0]["settings"] == {"prior": False}
        assert about["result"]["lossless"] and about["source"]["files"][0]["name"].endswith("film.mkv")
        assert {number for number, _ in reader.originals()} == {*range(7), *range(13, 18)}
    write_report(record_path(out), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "whole frames as they came" in page and "a street" in page


def test_whole_frames_go_back_whatever_was_done_to_the_picture(tmp_path):
    source, out, back = write(tmp_path / "film.mkv"), tmp_path / "out.mkv", tmp_path / "back.mkv"
    reel = replace(DIRT, record=record_path(out), stabilise=StabiliseSettings(), choices=None)
    restore_film_with_prior(source, out, Brighter(), replace(SMALL, reel=reel))
    undo_repairs(record_path(out), out, back)
    assert same(planes_of(back), planes_of(source))


def test_a_run_that_was_ended_gives_the_same_record(recorded, tmp_path):
    source, out = recorded
    again = tmp_path / "out.mkv"
    rows = (ShotRow(first=7, last=13, prior=PriorOfShot(apply=False)),)
    settings = replace(SMALL, reel=replace(DIRT, record=record_path(again), choices=ShotChoices(rows=rows)))

    def end(phase: str, done: int, total: int | None, preview: Any = None) -> None:
        if phase == "restore with prior" and done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_film_with_prior(source, again, Brighter(), settings, end, run=RunSettings())
    assert not record_path(again).exists()
    restore_film_with_prior(source, again, Brighter(), settings, run=RunSettings())
    once = tmp_path / "once.mkv"
    undisturbed = replace(settings, reel=replace(settings.reel, record=record_path(once)))
    restore_film_with_prior(source, once, Brighter(), undisturbed, run=RunSettings())
    assert same(planes_of(again), planes_of(once))
    with RecordReader(record_path(again)) as one, RecordReader(record_path(out)) as other:
        both = zip(one.originals(), other.originals(), strict=True)
        assert all(mine[0] == yours[0] and same(mine[1], yours[1]) for mine, yours in both)
        ours, theirs = (Repairs.joined(list(each.parts())).arrays() for each in (one, other))
        assert all(np.array_equal(values, theirs[name]) for name, values in ours.items())


def test_rows_say_how_a_shot_is_sampled(tmp_path):
    source, out = write(tmp_path / "film.mkv"), tmp_path / "out.mkv"
    choices = ShotChoices.from_csv(
        "first,last,skip,prior,prior.prompt,prior.negative,prior.strength,prior.cfg,prior.steps,prior.seed\n"
        "0,6,,,1906,,0.25,7,4,\n"
        "7,12,yes,,,,,,,\n"
        "13,15,,off,,,,,,\n"
        "16,17,,,,dust,,,,5\n"
    )
    assert ShotChoices.from_json(choices.to_json()) == choices
    pipeline = Brighter()
    settings = replace(SMALL, negative_prompt="blur", seed=5, reel=replace(DIRT, choices=choices))
    report = restore_film_with_prior(source, out, pipeline, settings)
    names = ("first", "prompt", "negative_prompt", "strength", "cfg", "num_inference_steps")
    assert [tuple(each[name] for name in names) for each in pipeline.asked] == [
        (0, "1906", "blur", 0.25, 7, 4),
        (16, "a street", "dust", 0.5, SMALL.restoration.cfg.scale, 2),
    ]
    before, after = planes_of(source), planes_of(out)
    assert same([plane[7:13] for plane in before], [plane[7:13] for plane in after]), "skipped, sample by sample"
    restore_film(source, tmp_path / "repaired.mkv", replace(DIRT, choices=choices.without_prior()))
    repaired = planes_of(tmp_path / "repaired.mkv")
    assert same([plane[13:16] for plane in repaired], [plane[13:16] for plane in after]), "repaired alone"
    facts = report_facts(report, settings.reel, source, out)
    assert facts["shots"][0]["own"] == {"prior": {"prompt": "1906", "strength": 0.25, "cfg": 7, "steps": 4}}


def test_a_changed_row_samples_its_shot_alone(tmp_path):
    """With a real pipeline: prompts, strengths, switches and repairs of one shot leave the others as they were kept."""
    source, out = write(tmp_path / "film.mkv"), tmp_path / "out.mkv"
    pipeline, asked = tiny_pipeline(), []
    real = type(pipeline).__call__

    class Listening(type(pipeline)):  # type: ignore[misc]
        def __call__(self, frames: torch.Tensor, **how: Any) -> Any:
            asked.append(how["first_frame"])
            return real(self, frames, **how)

    pipeline.__class__ = Listening
    kept = RunSettings(keep=True)

    def made(*rows: ShotRow, **others: Any) -> np.ndarray:
        asked.clear()
        reel = replace(DIRT, choices=ShotChoices(rows=rows) if rows else None, write=WriteSettings(overwrite=True))
        restore_film_with_prior(source, out, pipeline, replace(SMALL, reel=reel, **others), run=kept)
        return planes_of(out)[0]

    first = made()
    assert asked == [0, 13]
    last = ShotRow(first=13, last=18, prior=PriorOfShot(prompt="a tram"))
    second = made(last)
    assert asked == [13]
    assert np.array_equal(first[:13], second[:13]) and not np.array_equal(first[13:], second[13:])
    made(replace(last, changes='{"dirt": false}'))
    assert asked == [13], "its repair is another"
    made(last, prompt="a road")
    assert asked == [0], "what has a prompt of its own is not asked for the film's"
    assert np.array_equal(made(), first) and asked == [], "all of it was kept"


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"prior": {"promt": "x"}}, "there is no setting prior.promt of a shot; there are prompt"),
        ({"prior": 3}, "prior is 3; give true, false, or a table"),
        ({"prior": {"strength": 1.5}}, "prior.strength is 1.5; use 0.0 to 1.0"),
        ({"prior": {"steps": 2.5}}, "prior.steps is 2.5; use a whole number, 1 to 1000"),
        ({"prior": {"seed": True}}, "prior.seed is True; use a whole number, 0 or more"),
        ({"prior": {"prompt": 5}}, "prior.prompt is 5; give text"),
    ],
)
def test_what_makes_no_sense_is_told(said, match):
    row = {"first": 0, "last": 3, "settings": said}
    with pytest.raises(SettingsError, match=f"row 1: {match}"):
        ShotChoices.from_json(json.dumps({"format": "vldm shot settings", "shots": [row]}))


def test_what_does_not_go_together_is_refused_before_any_work(tmp_path):
    source, out = tmp_path / "none.mkv", tmp_path / "out.mkv"
    spoken = ShotChoices(rows=(ShotRow(first=2, last=5, prior=PriorOfShot(prompt="a tram")),))
    for restore in (restore_film, restore_reel):
        with pytest.raises(SettingsError, match=r"frames 2 to 4 of the table of shots: .*a tram.*restore with --prior"):
            restore(write(tmp_path / f"{restore.__name__}.mkv"), out, replace(DIRT, choices=spoken))
    table = ShotTable(descriptions=(ShotDescription(first=0, last=7), ShotDescription(first=7, last=18)))
    with pytest.raises(SettingsError, match="parts a shot of the table of shots at frame 2"):
        replace(SMALL, table=table, reel=replace(DIRT, choices=spoken))
    strong = ShotChoices(rows=(ShotRow(first=0, last=7, prior=PriorOfShot(strength=1.0)),))
    with pytest.raises(SettingsError, match="too much"):
        restore_film_with_prior(source, out, Brighter(), replace(SMALL, reel=replace(DIRT, choices=strong)))
    record_path(out).write_bytes(b"")
    reel = replace(DIRT, record=record_path(out))
    with pytest.raises(FilmFileError, match="exists already"):
        restore_film_with_prior(tmp_path / "restore_film.mkv", out, Brighter(), replace(SMALL, reel=reel))


def test_the_command_line_records_and_takes_back(tmp_path):
    source, out, back = write(tmp_path / "film.mkv"), tmp_path / "out.mkv", tmp_path / "back.mkv"
    tiny_pipeline().save_pretrained(tmp_path / "model")
    (tmp_path / "shots.csv").write_text("first,last,prior.prompt,skip\n0,3,a tram,\n13,17,,yes\n", encoding="utf-8")

    def run(*words: object) -> str:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    small = ("--steps", 2, "--strength", 0.5, "--short-side", 64, "--no-lines", "--no-average", "--no-flicker")
    prior = ("--prior", tmp_path / "model", "--device", "cpu", "--workers", 1)
    run("restore", source, out, "--record", "--shot-settings", tmp_path / "shots.csv", *prior, *small)
    said = run("record", "show", record_path(out))
    assert "a prior changed the frames of shot 0, 1: record undo --shot gives them back as they came" in said
    assert "13 of them whole" in run("record", "undo", record_path(out), out, back)
    assert same(planes_of(back), planes_of(source))
