"""What pre-restoration aims at, and what a run of its benchmark reached of it."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from .methods import DAMAGED, EVEN, METHODS, NETWORK, NLM, PER_FRAME, REFERENCE, REPAIR, Film
from .report import ALL, PreRestoreReport
from .scores import PictureFigures

_INPUTS: Mapping[Film, str] = {"damaged": DAMAGED, "repaired": REPAIR, "even": EVEN}

Sign = Literal["≥", "≤", ">"]
_COMPARE: Mapping[Sign, Callable[[float, float], bool]] = {"≥": operator.ge, "≤": operator.le, ">": operator.gt}


@dataclass(frozen=True, kw_only=True)
class Target:
    """One aim.

    Attributes:
        what: What is measured.
        sign: How the figure should stand to the bound.
        bound: What it should reach.
        unit: Written behind the figures.
        digits: Digits behind the point.
        measure: Reads the figure of a method from a report; None where it was not measured.
    """

    what: str
    sign: Sign
    bound: float
    unit: str
    digits: int
    measure: Callable[[PreRestoreReport, str], float | None]

    def met(self, report: PreRestoreReport, name: str) -> bool | None:
        """Tell whether a method meets the target; None where it was not measured."""
        value = self.measure(report, name)
        return None if value is None else _COMPARE[self.sign](value, self.bound)

    def reached(self, report: PreRestoreReport, name: str) -> str:
        """Write what a method reached, and whether that misses the target."""
        value = self.measure(report, name)
        if value is None:
            return "–"
        return self._show(value) + ("" if self.met(report, name) else " missed")

    def show_bound(self) -> str:
        """Write the bound with its unit."""
        return f"{self.sign} {self._show(self.bound)}"

    def _show(self, value: float) -> str:
        return f"{value:.{self.digits}f} {self.unit}".rstrip()


def _of(report: PreRestoreReport, name: str) -> PictureFigures | None:
    return report.figures.get(ALL, {}).get(name)


def _over(
    beside: Callable[[str], str], figure: Literal["psnr", "ssim"]
) -> Callable[[PreRestoreReport, str], float | None]:
    """How much more of a figure a method has than another one."""

    def measure(report: PreRestoreReport, name: str) -> float | None:
        own, other = _of(report, name), _of(report, beside(name))
        if own is None or other is None:
            return None
        mine, theirs = getattr(own, figure), getattr(other, figure)
        return None if mine is None or theirs is None else float(mine - theirs)

    return measure


def _always(name: str) -> Callable[[str], str]:
    return lambda _: name


def _ratio(
    figure: Literal["warp_error", "flicker"], beside: Callable[[str], str]
) -> Callable[[PreRestoreReport, str], float | None]:
    """A figure of a method over that of another film."""

    def measure(report: PreRestoreReport, name: str) -> float | None:
        own, other = _of(report, name), _of(report, beside(name))
        if own is None or other is None:
            return None
        mine, theirs = getattr(own, figure), getattr(other, figure)
        return None if mine is None or not theirs else float(mine / theirs)

    return measure


def _input_of(name: str) -> str:
    return _INPUTS[METHODS[name].film]


def _seconds(report: PreRestoreReport, _name: str) -> float | None:
    """Strength, grain and what came before change nothing about the time of the network."""
    cost = report.costs.get(NETWORK)
    return None if cost is None else cost.seconds_per_frame


def _growth(report: PreRestoreReport, _name: str) -> float | None:
    shorter, longer = (report.peaks.get(length) for length in report.settings.lengths)
    return None if shorter is None or longer is None else longer / shorter


TARGETS: tuple[Target, ...] = (
    Target(
        what="PSNR above repair alone", sign="≥", bound=1.5, unit="dB", digits=2, measure=_over(_always(REPAIR), "psnr")
    ),
    Target(
        what="PSNR above what the network got",
        sign="≥",
        bound=1.5,
        unit="dB",
        digits=2,
        measure=_over(_input_of, "psnr"),
    ),
    Target(
        what="SSIM above repair alone", sign=">", bound=0, unit="", digits=4, measure=_over(_always(REPAIR), "ssim")
    ),
    Target(
        what="SSIM above what the network got", sign=">", bound=0, unit="", digits=4, measure=_over(_input_of, "ssim")
    ),
    Target(
        what="PSNR above fastNlMeansMulti", sign=">", bound=0, unit="dB", digits=2, measure=_over(_always(NLM), "psnr")
    ),
    Target(
        what="SSIM above fastNlMeansMulti", sign=">", bound=0, unit="", digits=4, measure=_over(_always(NLM), "ssim")
    ),
    Target(
        what="PSNR above the network per frame",
        sign=">",
        bound=0,
        unit="dB",
        digits=2,
        measure=_over(_always(PER_FRAME), "psnr"),
    ),
    Target(
        what="SSIM above the network per frame",
        sign=">",
        bound=0,
        unit="",
        digits=4,
        measure=_over(_always(PER_FRAME), "ssim"),
    ),
    Target(
        what="warp error over the reference's own",
        sign="≤",
        bound=1.25,
        unit="",
        digits=3,
        measure=_ratio("warp_error", _always(REFERENCE)),
    ),
    Target(
        what="flicker over that of the network's input",
        sign="≤",
        bound=1,
        unit="",
        digits=3,
        measure=_ratio("flicker", _input_of),
    ),
    Target(what="the network alone, a frame", sign="≤", bound=0.5, unit="s", digits=3, measure=_seconds),
    Target(
        what="peak memory of the longer stream over the shorter one's",
        sign="≤",
        bound=1.05,
        unit="",
        digits=3,
        measure=_growth,
    ),
)
"""The aims. Figures are means over all clips; ratios are ratios of means."""
