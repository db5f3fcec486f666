"""A target tells what was reached, what was missed, and which of the others came nearest."""

from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.common.target import Target, target_table

Report = dict[str, Mapping[str, float | None]]
REPORT: Report = {"recall": {"a": 0.95, "b": 0.97, "c": None}, "alarm": {"a": 0.001, "b": 0.002}}


def _target(**changed) -> Target[Report]:
    values: dict[str, Any] = {"what": "recall", "sign": "≥", "bound": 0.9, "measure": lambda report: report["recall"]}
    return Target(**values | changed)


@pytest.mark.parametrize(
    ("sign", "value", "met"),
    [("≥", 0.9, True), ("≥", 0.8, False), (">", 0.9, False), ("≤", 0.9, True), ("≤", 1, False), ("<", 0.9, False)],
)
def test_every_sign_means_what_it_says(sign, value, met):
    assert _target(sign=sign).check(value) is met


def test_false_alarms_take_a_target_away():
    target = _target(alarm=lambda report: report["alarm"], largest_alarm=0.001)
    assert target.reached(REPORT, "a") == "0.950 (0.10 %)"
    assert target.reached(REPORT, "b") == "0.970 (0.20 %) missed" and target.met(REPORT, "b") is False
    assert target.reached(REPORT, "c") == "–" and target.met(REPORT, "c") is None
    assert target.met(REPORT, "unknown") is None


def test_figures_are_written_with_unit_and_digits():
    percent = _target(unit="%", digits=1)
    assert (percent.show(0.9), percent.show_bound(), percent.show(None)) == ("90.0 %", "≥ 90.0 %", "–")
    assert _target(sign="≤", bound=0.15, unit="s").show_bound() == "≤ 0.150 s"


def test_the_best_is_the_largest_or_the_smallest():
    assert _target().best(REPORT, ("a", "b", "c")) == "b: 0.970"
    assert _target(sign="≤").best(REPORT, ("a", "b")) == "a: 0.950"
    assert _target().best(REPORT, ("c",)) == "–"


def test_the_table_sets_them_side_by_side():
    table = target_table([_target(bound=0.96)], REPORT, ["a", "c"], others=("best other", ("b",)))
    assert table.headings == ("what", "target", "a", "c", "best other")
    assert table.rows == (("recall", "≥ 0.960", "0.950 missed", "–", "b: 0.970"),)
    assert target_table([_target()], REPORT, []).rows == ()
