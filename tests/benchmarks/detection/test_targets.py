"""What was aimed at beside what was reached."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.common.own_process import MethodCost
from benchmarks.detection.report import make_report
from benchmarks.detection.scores import DetectionTally
from benchmarks.detection.settings import DetectionBenchmarkSettings
from benchmarks.detection.sources.strata import DIRT_KINDS, LINE_KINDS
from benchmarks.detection.targets import TARGETS, other_methods
from benchmarks.detection.tasks import ClipResult, FalseAlarms
from vldm_core.metrics.detection_curve import MASK_THRESHOLDS, DetectionCounts


def _tally(labels: int, found: int, wrong: int) -> DetectionTally:
    """So many of 100 true pixels found, so many of 10000 undamaged ones marked."""
    hits = np.zeros((3, labels, 2), np.int64)
    hits[:, 0] = 100 - found, found
    right, alarms = (np.tile(np.array(row, np.int64), (3, 1)) for row in ((100 - found, found), (10000 - wrong, wrong)))
    counts = DetectionCounts(thresholds=MASK_THRESHOLDS, found=hits, right=right, wrong=alarms)
    return DetectionTally(mask=counts, soft=None, far=0, pixels=10100)


@pytest.fixture
def report():
    def result(method: str, dirt: tuple[int, int] | None, lines: tuple[int, int] | None) -> ClipResult:
        return ClipResult(
            clip="a/drifting",
            stratum="drifting",
            locked=False,
            method=method,
            dirt=None if dirt is None else _tally(len(DIRT_KINDS), *dirt),
            lines=None if lines is None else _tally(len(LINE_KINDS), *lines),
        )

    cost = MethodCost(
        seconds_per_frame=0.1, cpu_seconds_per_frame=0.2, peak_mb=None, loaded_mb=None, threads=2, frames=4
    )
    return make_report(
        results=[
            result("ours", (90, 5), (95, 20)),
            result("sdip", (60, 60), None),
            result("line_vote", None, (97, 500)),
        ],
        alarms=[FalseAlarms(clip="c", group="fast motion", method="ours", dirt=0.0009, lines=0.0)],
        real=[],
        costs={"ours": cost, "sdip": replace(cost, seconds_per_frame=0.05), "line_vote": cost},
        settings=DetectionBenchmarkSettings(methods=("ours", "sdip", "line_vote")),
        machine={},
    )


def _target(start: str):
    (found,) = [target for target in TARGETS if target.what.startswith(start)]
    return found


def test_targets_tell_what_was_reached_and_what_was_missed(report):
    assert _target("dirt, hair").reached(report, "ours") == "0.923"
    assert _target("dirt, hair").reached(report, "sdip") == "0.545 missed"
    assert _target("dirt: false alarm").reached(report, "ours") == "0.09 %"
    # Recall enough, but more false alarms than allowed.
    assert _target("scratches, drifting").reached(report, "ours") == "0.950 (0.20 %) missed"
    assert _target("scratches, gate weave").reached(report, "ours") == "–"
    assert _target("detection and repair").reached(report, "ours") == "0.100 s"
    assert _target("dirt: false alarm").show_bound() == "≤ 0.10 %"


def test_the_best_textbook_method_stands_beside(report):
    assert _target("dirt, hair").best(report, other_methods(report)) == "sdip: 0.545"
    assert _target("scratches, drifting").best(report, other_methods(report)) == "line_vote: 0.970 (5.00 %)"
    assert _target("scratches, upright").best(report, other_methods(report)) == "–"
    # A detector alone is not compared with what repairs, too.
    assert _target("detection and repair").best(report, other_methods(report)) == "sdip: 0.050 s"
