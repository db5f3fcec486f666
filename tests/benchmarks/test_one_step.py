"""The benchmark of one-step restorers runs the floor and each system, and reports a ratio to the floor."""

import json

import pytest

from benchmarks.onestep.benchmark import FLOOR, OneStepBenchmarkSettings, run_one_step_benchmark
from vldm_core.errors import SettingsError

TINY = OneStepBenchmarkSettings(
    systems=("osediff", "s3diff"), width=32, vae_width=32, side=64, frames=2, rounds=2
)  # fmt: skip


def test_every_system_is_measured_beside_the_floor(tmp_path):
    done = []
    report = run_one_step_benchmark(TINY, lambda _phase, at, total, *_: done.append((at, total)))
    assert set(report.seconds) == {FLOOR, "osediff", "s3diff"}
    assert all(len(times) == TINY.rounds and min(times) > 0 for times in report.seconds.values())
    assert report.ratio(FLOOR) == 1 and report.ratio("s3diff") > 0
    assert done[-1] == (6, 6) and set(report.merge) == {"osediff", "s3diff"}
    assert "osediff" in report.text() and "ratio to the floor" in report.text()
    report.write_json(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["settings"]["frames"] == TINY.frames


@pytest.mark.parametrize(
    ("values", "message"),
    [({"systems": ("esrgan",)}, "there is no system"), ({"side": 100}, "multiple"), ({"rounds": 0}, "rounds 0")],
)
def test_settings_that_cannot_be_measured(values, message):
    with pytest.raises(SettingsError, match=message):
        OneStepBenchmarkSettings(**values)
