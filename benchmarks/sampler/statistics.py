"""From single runs to figures: times per frame-step, and ratios that machine noise does not reach.

A shared or throttled machine changes speed from minute to minute, often by more than what is measured. So a ratio is
formed inside each round, between runs that followed each other, and the median over the rounds is reported, beside it
the range, the ratio of the fastest runs and that of the processor times. The ratio of floating-point operations is
exact and tells which part of a ratio is arithmetic.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from .settings import SamplerBenchmarkSettings
from .variants import VARIANTS, in_order

Clock = Literal["seconds", "cpu_seconds"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One timed run.

    Attributes:
        group: Which process ran it.
        round: Counts from 0 within the group.
        variant: What ran.
        seconds: Wall time.
        cpu_seconds: Time that the threads of the process were on a processor, all together.
        peak_mb: How far resident memory rose above its level before, MB of 10^6 bytes; None where the system does not
            tell.
    """

    group: str
    round: int
    variant: str
    seconds: float
    cpu_seconds: float
    peak_mb: float | None


@dataclass(frozen=True, kw_only=True)
class VariantSummary:
    """The figures of one variant.

    Attributes:
        seconds_per_frame_step: Wall time per frame and sampling step; per frame for a decoder. Median over the runs.
        ratio: Wall time over that of `against`, median over the rounds; 1 for what others are compared with.
        peak_mb: Median over the runs, see `Measurement`.
        against: What `ratio` compares with; None for what others are compared with.
        ratio_lowest: Lowest ratio of a round.
        ratio_highest: Highest ratio of a round.
        best_ratio: Fastest run over the reference's fastest run in the same process. Other programs only ever slow a
            run down, so on a busy machine this is the steadier figure.
        cpu_seconds_per_frame_step: As `seconds_per_frame_step`, in processor time.
        cpu_ratio: As `ratio`, in processor time.
        flop_ratio: Floating-point operations over those of `against`; exact.
        other_ratios: Wall time over that of further references.
        target: Largest ratio that is good enough, or None.
        met: Whether the ratio is that good; None without a target.
        difference: Largest difference from the variant that must give the same picture, relative to its largest value;
            None where there is no such variant.
    """

    seconds_per_frame_step: float
    ratio: float
    peak_mb: float | None
    against: str | None = None
    ratio_lowest: float = 1.0
    ratio_highest: float = 1.0
    best_ratio: float = 1.0
    cpu_seconds_per_frame_step: float
    cpu_ratio: float = 1.0
    flop_ratio: float | None = None
    other_ratios: Mapping[str, float] = field(default_factory=dict)
    target: float | None = None
    met: bool | None = None
    difference: float | None = None


def round_ratios(
    measurements: Iterable[Measurement], variant: str, against: str, clock: Clock = "seconds"
) -> tuple[float, ...]:
    """Return variant over reference of every round that holds both, in the order of the rounds."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for run in measurements:
        found.setdefault((run.group, run.round), {})[run.variant] = getattr(run, clock)
    return tuple(times[variant] / times[against] for times in found.values() if {variant, against} <= times.keys())


def best_ratio(measurements: Iterable[Measurement], variant: str, against: str) -> float | None:
    """Return the fastest run of a variant over that of its reference, median over the groups; None if none has both."""
    fastest: dict[str, dict[str, float]] = {}
    for run in measurements:
        times = fastest.setdefault(run.group, {})
        times[run.variant] = min(run.seconds, times.get(run.variant, run.seconds))
    ratios = [times[variant] / times[against] for times in fastest.values() if {variant, against} <= times.keys()]
    return median(ratios) if ratios else None


def summarise(
    measurements: Sequence[Measurement],
    settings: SamplerBenchmarkSettings,
    *,
    flops: Mapping[str, float] | None = None,
    differences: Mapping[str, float] | None = None,
) -> dict[str, VariantSummary]:
    """Return the figures of every variant that ran, in the order of the report.

    Args:
        measurements: Every timed run.
        settings: Tell how many frame-steps a run is, and the targets.
        flops: Variant to floating-point operations of one run.
        differences: Variant to its difference from what it must equal.
    """
    flops, differences = flops or {}, differences or {}
    summary = {}
    for name in in_order(run.variant for run in measurements):
        runs = [run for run in measurements if run.variant == name]
        units = settings.units(name)
        peaks = [run.peak_mb for run in runs if run.peak_mb is not None]
        against, target = VARIANTS[name].against, settings.target(name)
        wall = (1.0,) if against is None else round_ratios(measurements, name, against)
        cpu = (1.0,) if against is None else round_ratios(measurements, name, against, "cpu_seconds")
        ratio = median(wall)
        others = {other: round_ratios(measurements, name, other) for other in VARIANTS[name].also}
        summary[name] = VariantSummary(
            seconds_per_frame_step=median(run.seconds for run in runs) / units,
            ratio=ratio,
            peak_mb=median(peaks) if peaks else None,
            against=against,
            ratio_lowest=min(wall),
            ratio_highest=max(wall),
            best_ratio=1.0 if against is None else best_ratio(measurements, name, against) or ratio,
            cpu_seconds_per_frame_step=median(run.cpu_seconds for run in runs) / units,
            cpu_ratio=median(cpu),
            flop_ratio=_flop_ratio(flops, name, against),
            other_ratios={other: median(ratios) for other, ratios in others.items() if ratios},
            target=None if target is None else target.bound,
            met=None if target is None else target.check(ratio),
            difference=differences.get(name),
        )
    return summary


def _flop_ratio(flops: Mapping[str, float], name: str, against: str | None) -> float | None:
    if against is None:
        return 1.0 if flops.get(name) else None
    return flops[name] / flops[against] if name in flops and flops.get(against) else None
