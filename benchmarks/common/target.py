"""What is aimed at, and what a run reached of it."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from .table import NONE, ReportTable

Figures = Mapping[str, float | None]
"""Name of what is measured → figure; None, or no entry, where there is none."""

Sign = Literal["≥", "≤", ">", "<"]
_COMPARE: Mapping[Sign, Callable[[float, float], bool]] = {
    "≥": operator.ge,
    "≤": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}

R = TypeVar("R")
"""The report of a benchmark."""


@dataclass(frozen=True, kw_only=True)
class Target(Generic[R]):
    """One aim.

    Attributes:
        what: What is measured.
        sign: How the figure should stand to the bound.
        bound: What it should reach.
        unit: Written behind the figures; "%" multiplies them by 100.
        digits: Digits behind the point.
        measure: Reads the figures of all that is compared from a report.
        alarm: Reads the false alarms that they come with; None where there are none.
        largest_alarm: Share of false alarms that is allowed, 0 … 1.
    """

    what: str
    sign: Sign
    bound: float
    unit: str = ""
    digits: int = 3
    measure: Callable[[R], Figures]
    alarm: Callable[[R], Figures] | None = None
    largest_alarm: float = 0.0

    def check(self, value: float, alarm: float | None = None) -> bool:
        """Tell whether a figure, with its false alarms, is good enough."""
        return _COMPARE[self.sign](value, self.bound) and (alarm is None or alarm <= self.largest_alarm)

    def met(self, report: R, name: str) -> bool | None:
        """Tell whether the target is met; None where it was not measured."""
        value = self.measure(report).get(name)
        return None if value is None else self.check(value, self._alarm(report, name))

    def reached(self, report: R, name: str) -> str:
        """Write what was reached, and whether that misses the target."""
        return self._written(report, name) + (" missed" if self.met(report, name) is False else "")

    def best(self, report: R, names: Iterable[str]) -> str:
        """Write what the best of some reached, by the figure itself, and its name."""
        figures = self.measure(report)
        found = {name: value for name in names if (value := figures.get(name)) is not None}
        if not found:
            return NONE
        best = (max if self.sign in ("≥", ">") else min)(found, key=lambda name: found[name])
        return f"{best}: {self._written(report, best)}"

    def show(self, value: float | None) -> str:
        """Write a figure with its unit."""
        if value is None:
            return NONE
        number = f"{value * (100 if self.unit == '%' else 1):.{self.digits}f}"
        return f"{number} {self.unit}".rstrip()

    def show_bound(self) -> str:
        """Write the bound with its unit."""
        return f"{self.sign} {self.show(self.bound)}"

    def _written(self, report: R, name: str) -> str:
        alarm = self._alarm(report, name)
        return self.show(self.measure(report).get(name)) + ("" if alarm is None else f" ({100 * alarm:.2f} %)")

    def _alarm(self, report: R, name: str) -> float | None:
        return None if self.alarm is None else self.alarm(report).get(name)


def target_table(
    targets: Sequence[Target[R]], report: R, names: Sequence[str], *, others: tuple[str, Sequence[str]] | None = None
) -> ReportTable:
    """Set what was reached beside what was aimed at.

    Args:
        targets: The aims.
        report: The figures.
        names: Whose figures are judged; without any the table is empty.
        others: Heading of a further column, and the names of which it tells the best.
    """
    rows = [
        (
            target.what,
            target.show_bound(),
            *(target.reached(report, name) for name in names),
            *(() if others is None else (target.best(report, others[1]),)),
        )
        for target in targets
    ]
    return ReportTable(
        section="Targets",
        title="",
        headings=("what", "target", *names, *(() if others is None else (others[0],))),
        rows=tuple(rows) if names else (),
    )
