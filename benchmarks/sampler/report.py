"""What the sampler benchmark reports: its data, its JSON form, its table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..common.report import BenchmarkReport
from ..common.table import NONE, ReportTable, cell, plain_tables
from ..common.target import Target
from .settings import SamplerBenchmarkSettings
from .statistics import Measurement, VariantSummary
from .variants import VARIANTS

_SD_WIDTH = 320


@dataclass(frozen=True, kw_only=True)
class SamplerBenchmarkReport(BenchmarkReport):
    """All figures of one run. Times in s, memory in MB.

    Attributes:
        summary: Variant → its figures.
        rounds: Every timed run.
        left_out: Group → why it did not run.
        settings: What the benchmark ran on.
        machine: Processor and versions.
    """

    summary: Mapping[str, VariantSummary]
    rounds: Sequence[Measurement]
    left_out: Mapping[str, str]
    settings: SamplerBenchmarkSettings
    machine: Mapping[str, Any]


def format_report(report: SamplerBenchmarkReport) -> str:
    """Lay the report out as a plain text table with notes."""
    return plain_tables([summary_table(report)], notes=_notes(report))


def summary_table(report: SamplerBenchmarkReport) -> ReportTable:
    """Return a row per variant."""
    return ReportTable(
        section="Sampler benchmark",
        title=_title(report.settings),
        headings=("variant", "against", *_HEADINGS, "what"),
        rows=tuple(
            (name, row.against or NONE, *_figures(row, report.settings.target(name)), VARIANTS[name].description)
            for name, row in report.summary.items()
        ),
    )


_HEADINGS = ("s/frame-step", "ratio", "range", "best", "CPU ratio", "FLOP ratio", "target", "met", "peak MB")


def _figures(row: VariantSummary, target: Target["SamplerBenchmarkReport"] | None) -> tuple[str, ...]:
    compared = row.against is not None
    return (
        f"{row.seconds_per_frame_step:.4f}",
        f"{row.ratio:.3f}" if compared else "1",
        f"{row.ratio_lowest:.2f} … {row.ratio_highest:.2f}" if compared else NONE,
        cell(row.best_ratio if compared else None, "share"),
        cell(row.cpu_ratio if compared else None, "share"),
        cell(row.flop_ratio if compared else None, "share"),
        NONE if target is None else target.show_bound(),
        {None: NONE, True: "yes", False: "no"}[row.met],
        cell(row.peak_mb, "whole"),
    )


def _title(settings: SamplerBenchmarkSettings) -> str:
    return (
        f"UNet width {settings.width}, {settings.frames} frames (long: {settings.long_frames}) of "
        f"{settings.latent}x{settings.latent} latents, {settings.steps} steps, cfg {settings.cfg:g}, "
        f"{settings.threads} threads; median of {settings.rounds} rounds"
    )


def _notes(report: SamplerBenchmarkReport) -> list[str]:
    notes = [
        f"{name} over {other}: {ratio:.3f}"
        for name, row in report.summary.items()
        for other, ratio in row.other_ratios.items()
    ]
    equal = [f"{name} {row.difference:.0e}" for name, row in report.summary.items() if row.difference is not None]
    if equal:
        notes.append(f"Largest difference from what must be the same picture: {', '.join(equal)}.")
    notes += [f"{group} left out: {reason}." for group, reason in report.left_out.items()]
    if report.settings.width != _SD_WIDTH:
        notes.append(
            f"The targets are meant for Stable Diffusion's width {_SD_WIDTH}; at {report.settings.width} the ratios "
            "only hint at it."
        )
    return notes
