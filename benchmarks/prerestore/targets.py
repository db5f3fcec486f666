"""What pre-restoration aims at, and what a run of its benchmark reached of it."""

from collections.abc import Callable, Mapping
from typing import Literal

from ..common.target import Figures, Target
from .methods import DAMAGED, EVEN, METHODS, NETWORK, NLM, PER_FRAME, REFERENCE, REPAIR, Film
from .report import ALL, PreRestoreReport

_INPUTS: Mapping[Film, str] = {"damaged": DAMAGED, "repaired": REPAIR, "even": EVEN}

_Measure = Callable[[PreRestoreReport], Figures]


def _against(beside: Callable[[str], str], figure: str, compare: Callable[[float, float], float | None]) -> _Measure:
    """Compare a figure of every method with that of another film."""

    def measure(report: PreRestoreReport) -> Figures:
        rows = report.figures.get(ALL, {})
        found: dict[str, float | None] = {}
        for name in METHODS:
            if name in rows and beside(name) in rows:
                mine, theirs = (getattr(rows[row], figure) for row in (name, beside(name)))
                found[name] = None if mine is None or theirs is None else compare(mine, theirs)
        return found

    return measure


def _over(beside: Callable[[str], str], figure: Literal["psnr", "ssim"]) -> _Measure:
    """How much more of a figure a method has than another one."""
    return _against(beside, figure, lambda mine, theirs: float(mine - theirs))


def _ratio(figure: Literal["warp_error", "flicker"], beside: Callable[[str], str]) -> _Measure:
    """A figure of a method over that of another film."""
    return _against(beside, figure, lambda mine, theirs: float(mine / theirs) if theirs else None)


def _always(name: str) -> Callable[[str], str]:
    return lambda _: name


def _input_of(name: str) -> str:
    return _INPUTS[METHODS[name].film]


def _seconds(report: PreRestoreReport) -> Figures:
    """Strength, grain and what came before change nothing about the time of the network."""
    cost = report.costs.get(NETWORK)
    return dict.fromkeys(METHODS, None if cost is None else cost.seconds_per_frame)


def _growth(report: PreRestoreReport) -> Figures:
    shorter, longer = (report.peaks.get(length) for length in report.settings.lengths)
    return dict.fromkeys(METHODS, None if shorter is None or longer is None else longer / shorter)


TARGETS: tuple[Target[PreRestoreReport], ...] = (
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
    Target(what="SSIM above repair alone", sign=">", bound=0, digits=4, measure=_over(_always(REPAIR), "ssim")),
    Target(what="SSIM above what the network got", sign=">", bound=0, digits=4, measure=_over(_input_of, "ssim")),
    Target(
        what="PSNR above fastNlMeansMulti", sign=">", bound=0, unit="dB", digits=2, measure=_over(_always(NLM), "psnr")
    ),
    Target(what="SSIM above fastNlMeansMulti", sign=">", bound=0, digits=4, measure=_over(_always(NLM), "ssim")),
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
        digits=4,
        measure=_over(_always(PER_FRAME), "ssim"),
    ),
    Target(
        what="warp error over the reference's own",
        sign="≤",
        bound=1.25,
        measure=_ratio("warp_error", _always(REFERENCE)),
    ),
    Target(
        what="flicker over that of the network's input",
        sign="≤",
        bound=1,
        measure=_ratio("flicker", _input_of),
    ),
    Target(what="the network alone, a frame", sign="≤", bound=0.5, unit="s", measure=_seconds),
    Target(
        what="peak memory of the longer stream over the shorter one's",
        sign="≤",
        bound=1.05,
        measure=_growth,
    ),
)
"""The aims. Figures are means over all clips; ratios are ratios of means."""
