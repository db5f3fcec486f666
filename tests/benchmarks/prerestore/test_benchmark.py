"""The pre-restoration benchmark end to end on a tiny data folder."""

import json
import math

import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks.common.own_process import MethodCost
from benchmarks.prerestore import benchmark as prerestore_benchmark
from benchmarks.prerestore import cost as prerestore_cost
from benchmarks.prerestore.cost import MEASURED, measure_cost
from benchmarks.prerestore.methods import METHODS, NETWORK, REFERENCE
from benchmarks.prerestore.report import ALL
from benchmarks.prerestore.settings import PreRestoreBenchmarkSettings
from vldm_core.cli.app import app
from vldm_core.errors import VLDMError

from ..prerestore_data import TINY, made_clip, write_data, write_network


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("weights") / "net.safetensors")


@pytest.fixture(scope="module")
def report(data, weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    seen = []
    made = prerestore_benchmark.run_prerestore_benchmark(
        data,
        weights=weights,
        json_path=folder / "figures.json",
        pictures=folder / "pictures",
        settings=TINY,
        progress=lambda *args: seen.append(args[:3]),
    )
    return made, json.loads((folder / "figures.json").read_text()), folder / "pictures", seen


def test_every_method_runs_on_every_clip(report):
    made, stored, _, seen = report
    clips = {row.clip for row in made.clips}
    assert clips == {"01_dog/1940s", "kait-herzog-8242/8mm amateur"}
    for clip in clips:
        assert {row.method for row in made.clips if row.clip == clip} == {REFERENCE, *METHODS}
    assert set(stored["figures"]) == {ALL, "1940s", "8mm amateur"}
    for rows in stored["figures"].values():
        assert list(rows) == [REFERENCE, *METHODS]
        values = [value for row in rows.values() for value in row.values() if value is not None]
        assert all(math.isfinite(value) for value in values)
    mean = sum(row.figures.psnr for row in made.clips if row.method == NETWORK) / 2
    assert made.figures[ALL][NETWORK].psnr == pytest.approx(mean)
    assert stored["network"]["file"] == "net.safetensors" and stored["network"]["parameters"] > 1000
    last = {phase: (done, total) for phase, done, total in seen}
    assert list(last) == ["age and repair", "run methods"] and last["run methods"] == (9, 9)


def test_pictures_of_clips_and_real_films_are_written(report):
    made, _, pictures, _ = report
    row = Image.open(pictures / "01_dog-1940s.png")
    assert row.size == (5 * 96 + 4 * 4, 64)
    pairs = sorted(path.name for path in pictures.glob("san*"))
    assert pairs == ["san_francisco_1906-000.png", "san_francisco_1906-004.png"]
    assert Image.open(pictures / pairs[0]).size == (2 * 96 + 4, 64)
    (film,) = made.real
    assert (film.film, film.frames) == ("san_francisco_1906", 5) and film.texture_before > 0


def test_time_is_measured_for_every_stage_and_the_network_at_two_lengths(weights, tmp_path, monkeypatch):
    runs = []

    def measured(method, clip, network, frames):
        runs.append((method, frames))
        assert (clip, network) == (tmp_path, weights)
        return MethodCost(
            seconds_per_frame=0.1, cpu_seconds_per_frame=0.1, peak_mb=frames, loaded_mb=1, threads=1, frames=frames
        )

    monkeypatch.setattr(prerestore_benchmark, "measure_cost", measured)
    costs, peaks = prerestore_benchmark._measure(tmp_path, weights, TINY, lambda *_: None)
    assert set(costs) == set(MEASURED) and runs.count((NETWORK, 4)) == runs.count((NETWORK, 8)) == 1
    assert peaks == {4: 4, 8: 8} and costs[NETWORK].frames == 8


def test_a_stage_is_measured_in_a_process_of_its_own(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made_clip().save(tmp_path / "clip.npz")
    cost = measure_cost(NETWORK, tmp_path / "clip.npz", weights, 7)
    assert (cost.frames, cost.threads) == (7, 1) and cost.seconds_per_frame > 0
    assert cost.peak_mb is None or cost.peak_mb >= cost.loaded_mb > 20


def test_every_measured_stage_sees_the_film_that_it_begins_with(weights, tmp_path, monkeypatch):
    clip = made_clip()
    clip.save(tmp_path / "clip.npz")
    seen = {}

    def noted(name):
        def note(frames, *_, **__):
            seen[name] = frames.clone()
            return frames

        return note

    for name in ("repair", "remove_flicker", "non_local_means", "per_frame"):
        monkeypatch.setattr(prerestore_cost, name, noted(name))
    monkeypatch.setattr(prerestore_cost, "pre_restore_stream", lambda pairs, *_: noted("stream")(next(pairs)[0][None]))
    for method in MEASURED:
        prerestore_cost.serve(method, tmp_path / "clip.npz", weights, 6)
    assert (seen["repair"][:4] == clip.damaged).all() and len(seen["repair"]) == 6
    assert (seen["remove_flicker"][:4] == clip.repaired).all()
    for name in ("non_local_means", "per_frame"):
        assert (seen[name][:4] == clip.even).all() and (seen[name][4] == clip.even[2]).all()
    assert (seen["stream"] == clip.even[:1]).all()


def test_the_command_line_runs_it(data, weights, tmp_path, monkeypatch):
    asked = []

    def run(folder, **options):
        asked.append((folder, options))
        raise VLDMError("enough")

    monkeypatch.setattr(prerestore_benchmark, "run_prerestore_benchmark", run)
    line = ["benchmark", "prerestore", "--data", str(data), "--weights", str(weights), "--clips", "3", "--frames", "5"]
    done = CliRunner().invoke(app, [*line, "--presets", "1920s,8mm amateur", "--no-cost", "--lanes", "1"])
    assert done.exit_code == 1
    settings = PreRestoreBenchmarkSettings(clips=3, frames=5, presets=("1920s", "8mm amateur"), costs=False, lanes=1)
    assert asked[0][0] == data and asked[0][1]["weights"] == weights and asked[0][1]["settings"] == settings
