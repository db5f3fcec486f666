"""The benchmark of workers: its film, how the time of processes is counted, and what it makes of the figures."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.workers import benchmark
from benchmarks.workers.benchmark import (
    ALONE,
    WayCost,
    WorkersReport,
    WorkersSettings,
    chosen_ways,
    format_workers,
    run_workers_benchmark,
)
from benchmarks.workers.family import FamilyTime
from benchmarks.workers.film import write_long_film
from vldm_core.errors import FilmFileError, SettingsError, VLDMError
from vldm_core.video.reading.reader import open_film

from ..film_data import moving_texture, write_film

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="times are read from /proc")


@pytest.fixture
def data(tmp_path):
    write_film(tmp_path / "film" / "a.mkv", moving_texture(1, 5))
    return tmp_path


def test_the_film_has_shots_that_differ(data, tmp_path):
    with open_film(data / "film" / "a.mkv") as film:
        length = len(list(film))
    written = write_long_film(tmp_path / "long.mkv", data, width=64, height=64, frames=4 * length + 3)
    with open_film(tmp_path / "long.mkv") as film:
        frames = [frame.image for frame in film]
    assert written == len(frames) == 4 * length + 3
    shots = [frames[start : start + length] for start in range(0, 4 * length, length)]
    np.testing.assert_array_equal(shots[1][0], shots[0][-1])
    np.testing.assert_array_equal(shots[2][0], shots[0][0][:, ::-1])
    assert len({np.stack(shot).tobytes() for shot in shots}) == 4
    with pytest.raises(FilmFileError, match=r"no \.mkv"):
        write_long_film(tmp_path / "none.mkv", tmp_path / "film", width=64, height=64, frames=9)


BUSY = """
import subprocess, sys, time
if len(sys.argv) > 1:
    subprocess.run([sys.executable, "-c", sys.argv[1]])
while time.process_time() < 0.6:
    pass
time.sleep(0.5)
"""


@needs_proc
def test_the_time_of_what_a_process_starts_is_counted_with_it():
    with subprocess.Popen([sys.executable, "-c", BUSY, BUSY]) as process:
        family = FamilyTime(process.pid)
        process.wait()
        everything, first = family.end()
    assert 0.5 <= first < everything - 0.5


def _report(seconds):
    figures = [
        WayCost(way=way, seconds=wall, cpu_seconds=(10.0, 12.0), parent_seconds=(1.0, 1.0), film="f")
        for way, wall in seconds.items()
    ]
    return WorkersReport(figures=tuple(figures), frames=100, shots=3)


def test_the_gain_is_the_median_over_turns():
    report = _report({ALONE: (10.0, 20.0), "two workers": (5.0, 16.0)})
    assert report.gain(1) == pytest.approx((2 + 1.25) / 2) and report.expense(1) == 1
    assert "1.62" in format_workers(report) and "two workers" in format_workers(report)


def test_frames_that_differ_are_an_error(data, monkeypatch):
    def restored(film, target, way, quality):
        target.write_bytes(b"")
        return {"film": way, "seconds": 1.0, "cpu": 1.0, "parent": 1.0, "frames": 60, "shots": 1}

    monkeypatch.setattr(benchmark, "_restored", restored)
    monkeypatch.setattr(benchmark.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    with pytest.raises(VLDMError, match="others than those"):
        run_workers_benchmark(data, settings=WorkersSettings(frames=60, ways=chosen_ways(["2"])))


def test_wrong_requests_are_named():
    with pytest.raises(SettingsError, match="choose some"):
        chosen_ways(["3"])
    with pytest.raises(SettingsError, match="frames is 5"):
        WorkersSettings(frames=5)
