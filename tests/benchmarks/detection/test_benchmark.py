"""The detection benchmark end to end on a tiny data folder."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks.common.curves import draw_panels
from benchmarks.detection import benchmark as detection_benchmark
from benchmarks.detection.benchmark import format_report, run_detection_benchmark
from benchmarks.detection.cost import measure_cost
from benchmarks.detection.curves import curve_panels
from benchmarks.detection.page import write_page
from benchmarks.detection.report import ALL, MOVING
from benchmarks.detection.settings import DetectionBenchmarkSettings
from benchmarks.detection.sources.aged import age
from benchmarks.detection.sources.shots import clean_clip, find_sources
from vldm_core.cli.app import app
from vldm_core.errors import FilmFileError, SettingsError, VLDMError

from ...testers import interrupt_comes_out
from ..film_data import moving_texture, write_film, write_photo

TINY = DetectionBenchmarkSettings(
    frames=4,
    line_frames=5,
    height=64,
    width=96,
    all_sources=True,
    methods=("ours", "median", "line_vote"),
    cost_frames=3,
    lanes=1,
    seed=7,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_film(folder / "clips" / "alpha.mp4", moving_texture(1, 8, step=2))
    write_photo(folder / "photos" / "beta.png")
    return folder


@pytest.fixture(scope="module")
def report(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "figures" / "film.json"
    seen = []
    # On frames this small a second thread costs more than it brings.
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = run_detection_benchmark(data, json_path=path, settings=TINY, progress=lambda *args: seen.append(args[:3]))
    monkeypatch.undo()
    return made, json.loads(path.read_text()), seen


def _numbers(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, (int, float)):
        yield value


def test_every_clip_is_run_by_every_method_that_its_stratum_is_for(report):
    _, stored, _ = report
    clips = ["alpha/transient", "alpha/persistent", "alpha/weave"]
    clips += ["beta/transient", "beta/persistent", "beta/drifting", "beta with posts/upright"]
    rows = {clip: [row["method"] for row in stored["clips"] if row["clip"] == clip] for clip in clips}
    assert sum(map(len, rows.values())) == len(stored["clips"])
    assert rows["alpha/transient"] == ["untouched", "ours", "median", "undamaged"]
    assert rows["beta/persistent"] == ["untouched", "ours", "median", "line_vote", "undamaged"]
    assert rows["beta/drifting"] == ["untouched", "ours", "line_vote", "undamaged"]
    assert all(math.isfinite(number) for number in _numbers(stored))


def test_groups_pool_what_the_methods_look_for(report):
    made, stored, _ = report
    assert set(stored["dirt"][ALL]) == {"ours"}
    assert set(stored["lines"][ALL]) == {"ours", "line_vote"}
    assert set(stored["lines"]) == {ALL, MOVING, "persistent", "weave", "drifting", "upright"}
    assert "transient" in stored["dirt"] and "transient" not in stored["lines"]
    assert len(stored["lines"][ALL]["line_vote"]["average_precision"]) == 3
    assert set(stored["dirt"][ALL]["ours"]["recall_by_kind"]) == {"dirt", "hair", "blotch"}
    curve = made.line_curves[ALL]["line_vote"]
    assert np.all(np.diff(curve.recall, axis=1) <= 1e-12)


def test_repairs_stand_beside_what_they_can_reach(report):
    _, stored, _ = report
    assert set(stored["repair_known"]) == {"transient", "persistent"}
    for rows in stored["repair_known"].values():
        assert set(rows) == {"untouched", "ours", "median", "other grain", "no grain"}
        assert rows["untouched"]["psnr"]["all"] < rows["other grain"]["psnr"]["all"] < rows["no grain"]["psnr"]["all"]
        assert rows["ours"]["outside_max"] == 0 < rows["median"]["outside_max"]
        assert rows["ours"]["psnr"]["all"] > rows["untouched"]["psnr"]["all"] + 3
    assert stored["repair_known"]["transient"]["ours"]["psnr"]["lines"] is None
    assert set(stored["repair_own"]["weave"]) == {"untouched", "ours", "undamaged"}
    assert stored["repair_own"]["transient"]["ours"]["outside_max"] == 0


def test_false_alarms_go_by_clip_and_group(report):
    _, stored, _ = report
    rows = {(row["clip"], row["group"], row["method"]): row for row in stored["clean_false_alarms"]}
    places = [("alpha", "fast motion"), ("beta", "fast motion"), ("beta with posts", "upright structure")]
    places += [("beta with posts, with grain", "upright structure")]
    places += [("mean", "fast motion"), ("mean", "upright structure")]
    assert set(rows) == {(*place, name) for place in places for name in ("ours", "line_vote")}
    mean = rows["mean", "fast motion", "ours"]["dirt"]
    assert mean == pytest.approx(sum(rows[name, "fast motion", "ours"]["dirt"] for name in ("alpha", "beta")) / 2)
    assert rows["alpha", "fast motion", "line_vote"]["dirt"] is None


def test_cost_is_measured_per_process(report):
    _, stored, _ = report
    assert set(stored["costs"]) == set(TINY.methods)
    for cost in stored["costs"].values():
        assert cost["seconds_per_frame"] > 0 and cost["cpu_seconds_per_frame"] > 0
        assert cost["peak_mb"] >= cost["loaded_mb"] > 20
        assert (cost["threads"], cost["frames"]) == (1, 3)


def test_progress_reaches_the_end_of_every_phase(report):
    _, _, seen = report
    last = {phase: (done, total) for phase, done, total in seen}
    assert list(last) == ["age clips", "measure cost", "run methods"]
    assert last["age clips"] == (11, 11)
    assert all(done == total for done, total in last.values())


def test_tables_page_and_curves_show_it_all(report, tmp_path):
    made, _, _ = report
    text = format_report(made)
    for words in (
        "Targets",
        "At a glance",
        "Repair with the true masks: transient",
        "upright structure",
        "CPU s",
        "recall scratch 10",
    ):
        assert words in text
    assert all(name in text for name in TINY.methods)
    assert "nan" not in text and "None" not in text
    write_page(made, tmp_path / "page.md", command="do it --all", curves=tmp_path / "curves.png")
    page = (tmp_path / "page.md").read_text()
    for words in ("do it --all", "![Precision-recall curves](curves.png)", "## Repair with own masks", "with posts"):
        assert words in page
    assert "{" not in page and "nan" not in page
    blocks = [block.splitlines() for block in page.split("\n\n") if block.startswith("| ")]
    assert len(blocks) > 10
    assert all(len({line.count("|") for line in block}) == 1 for block in blocks)
    dirt, lines = draw_panels(curve_panels(made)).axes
    assert dirt.get_title() == f"Dirt, hair and blotches: {ALL}" and lines.get_title() == f"Scratches: {MOVING}"
    drawn = {str(line.get_label()).partition(",")[0]: line.get_xydata() for line in lines.get_lines()}
    curve = made.line_curves[MOVING]["line_vote"]
    assert np.array_equal(drawn["line_vote"], np.stack([curve.recall[1], curve.precision[1]], axis=1), equal_nan=True)
    legend = [text.get_text() for text in lines.get_legend().get_texts()]
    assert f"line_vote, area {made.lines[MOVING]['line_vote'].average_precision[1]:.2f}" in legend


def test_progress_may_interrupt(data):
    interrupt_comes_out(lambda progress: run_detection_benchmark(data, settings=TINY, progress=progress))


def test_a_source_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "broken.mp4").write_bytes(b"no film")
    with pytest.raises(FilmFileError, match=r"broken\.mp4"):
        run_detection_benchmark(tmp_path, settings=TINY)


def test_the_command_writes_its_files(report, data, tmp_path, monkeypatch):
    made, _, _ = report
    asked = {}

    def run(folder, *, json_path, settings, progress):
        asked.update(folder=folder, json_path=json_path, settings=settings)
        return made

    monkeypatch.setattr(detection_benchmark, "run_detection_benchmark", run)
    page, curves, figures = (tmp_path / name for name in ("page.md", "curves.png", "film.json"))
    command = [
        "benchmark",
        "detection",
        "--data",
        str(data),
        "--quick",
        "--all-sources",
        "--sources",
        "1",
        "--lanes",
        "1",
    ]
    command += ["--methods", "line_vote,local_extremum", "--strata", "persistent"]
    command += ["--markdown", str(page), "--curves", str(curves), "--json", str(figures)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert asked["settings"] == replace(
        DetectionBenchmarkSettings.quick(),
        all_sources=True,
        sources=1,
        lanes=1,
        methods=("line_vote", "local_extremum"),
        strata=("persistent",),
    )
    assert (asked["folder"], asked["json_path"]) == (data, figures)
    assert "--quick --all-sources --sources 1 --methods line_vote,local_extremum" in page.read_text()
    assert Image.open(curves).width > 300
    assert "At a glance" in done.output


def test_the_command_refuses_unknown_methods(data):
    done = CliRunner().invoke(app, ["benchmark", "detection", "--data", str(data), "--methods", "magic"])
    assert done.exit_code == 1
    assert "magic" in done.output and "line_vote" in done.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 2}, "frames is 2; use 4 or more"),
        ({"line_frames": 3}, "use 4 or more"),
        ({"cost_frames": 1}, "use 3 or more"),
        ({"width": 32}, "64 px or more"),
        ({"sources": 0}, "sources is 0; use 1 or more"),
        ({"lanes": 0}, "lanes is 0; use 1 or more"),
        ({"seed": -1}, "seed is -1"),
        ({"methods": ("ours", "magic")}, "magic"),
        ({"methods": ("ours", "ours")}, "each once"),
        ({"strata": ()}, "choose some"),
        ({"strata": ("fixed",)}, "strata are"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(SettingsError, match=message):
        DetectionBenchmarkSettings(**change)


def test_a_method_that_fails_says_why(data, tmp_path):
    settings = DetectionBenchmarkSettings(height=64, width=96, all_sources=True)
    source = find_sources(data, settings)[0]
    age(clean_clip(source, settings, frames=4), "persistent", settings).clip.save(tmp_path / "clip.npz")
    with pytest.raises(VLDMError, match="at least 3 frames, got 2"):
        measure_cost("median", tmp_path / "clip.npz", 2)
