"""What a restoration aims at, and what a run of the film benchmark reached of it."""

from collections.abc import Callable, Iterable, Mapping

from ..common.target import Figures, Target
from ..detection.sources.real_film import LineRemoval
from ..second_ageing.settings import Kind
from .report import FilmBenchmarkReport, Summary
from .settings import Model

_LEAD = 2.0
"""Decibels by which a kind of damage should be undone better than by the best of the others."""

_CHAINS = ("chain, tuned", "chain, gentle")
"""Peers that restore the whole picture, as our levels of effort do."""

_RIVALS: Mapping[str, tuple[str, ...]] = {"all": ("peer", "earlier"), "peers": ("peer",)}
"""Whom a figure is compared with → the groups of methods."""

Read = Callable[[Summary], float | None]


def _figures(model: Model, read: Read) -> Callable[[FilmBenchmarkReport], Figures]:
    def measure(report: FilmBenchmarkReport) -> Figures:
        summaries = ((name, report.summary(model, name)) for name in report.methods)
        return {name: read(summary) for name, summary in summaries if summary is not None}

    return measure


def _best(figures: Figures, names: Iterable[str]) -> float | None:
    known = [value for name in names if (value := figures.get(name)) is not None]
    return max(known) if known else None


def _lead(model: Model, read: Read, *, over: str) -> Callable[[FilmBenchmarkReport], Figures]:
    """By how much a figure stands above the best of the others: "all" of them, or the peers that are "chains"."""

    def measure(report: FilmBenchmarkReport) -> Figures:
        figures = _figures(model, read)(report)
        best = _best(figures, _CHAINS if over == "chains" else report.names(*_RIVALS[over]))
        return {name: None if best is None or value is None else value - best for name, value in figures.items()}

    return measure


def _inside(model: Model, kind: Kind) -> Target[FilmBenchmarkReport]:
    return Target(
        what=f"{model} model, inside {kind}: over the better of the version before and the best peer",
        sign="≥",
        bound=_LEAD,
        unit="dB",
        digits=1,
        measure=_lead(model, lambda summary: summary.inside.get(kind), over="all"),
    )


def _found(model: Model, kind: Kind, figure: str, bound: float, digits: int = 2) -> Target[FilmBenchmarkReport]:
    def read(summary: Summary) -> float | None:
        counts = summary.found.get(kind)
        value: float | None = None if counts is None else getattr(counts, figure)
        return value

    words = {"f1": "F1", "recall": "recall", "recall_any": "recall, any mask", "precision": "precision"}
    return Target(
        what=f"{model} model, {kind}: {words[figure]} at 1 px",
        sign="≥",
        bound=bound,
        digits=digits,
        measure=_figures(model, read),
    )


def _of_model(model: Model) -> list[Target[FilmBenchmarkReport]]:
    kinds: tuple[Kind, ...] = ("dirt", "one-frame scratch", "persistent", "drifting", "blotch")
    return [
        *(_inside(model, kind) for kind in kinds),
        Target(
            what=f"{model} model, gain outside: over the best chain",
            sign="≥",
            bound=0.0,
            unit="dB",
            digits=1,
            measure=_lead(model, lambda summary: summary.outside_gain, over="chains"),
        ),
        Target(
            what=f"{model} model, SSIM: over the best peer",
            sign=">",
            bound=0.0,
            digits=3,
            measure=_lead(model, lambda summary: summary.ssim, over="peers"),
        ),
        _found(model, "dirt", "f1", 0.85),
        _found(model, "persistent", "recall", 0.90),
        _found(model, "persistent", "precision", 0.85),
        _found(model, "drifting", "recall", 0.85),
        _found(model, "drifting", "precision", 0.80),
        _found(model, "one-frame scratch", "recall_any", 0.70),
        _found(model, "blotch", "recall_any", 0.60),
    ]


def _false_dirt(report: FilmBenchmarkReport) -> Figures:
    found: dict[str, list[float]] = {}
    for row in report.clean:
        if row.fast and row.dirt is not None:
            found.setdefault(row.method, []).append(row.dirt)
    return {name: sum(values) / len(values) for name, values in found.items()}


def _line(read: Callable[[LineRemoval], float]) -> Callable[[FilmBenchmarkReport], Figures]:
    return lambda report: {row.method: read(row.line) for row in report.real if row.line is not None}


def _texture(report: FilmBenchmarkReport) -> Figures:
    return {row.method: row.texture for row in report.real if row.texture is not None}


def _seconds(method: str) -> Callable[[FilmBenchmarkReport], Figures]:
    return lambda report: {name: cost.seconds for name, cost in report.costs.items() if name == method}


TARGETS: tuple[Target[FilmBenchmarkReport], ...] = (
    *_of_model("second"),
    *_of_model("training"),
    Target(what="false dirt on clean fast pans", sign="≤", bound=0.0005, unit="%", digits=3, measure=_false_dirt),
    Target(
        what="line of san_francisco_1906: rows found",
        sign="≥",
        bound=0.95,
        unit="%",
        digits=0,
        measure=_line(lambda line: line.rows_covered),
    ),
    Target(
        what="line of san_francisco_1906: depth left",
        sign="≤",
        bound=0.05,
        unit="%",
        digits=0,
        measure=_line(lambda line: line.depth_ratio),
    ),
    Target(
        what="line of san_francisco_1906: texture beside it that is left, repair only",
        sign="≥",
        bound=0.98,
        unit="%",
        digits=1,
        measure=_texture,
    ),
    Target(what="normal, 854×480: a frame", sign="≤", bound=0.3, unit="s", digits=2, measure=_seconds("normal")),
    Target(what="fast, 854×480: a frame", sign="≤", bound=0.12, unit="s", digits=2, measure=_seconds("fast")),
)
"""The aims."""
