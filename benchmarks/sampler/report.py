"""What the sampler benchmark reports: its data, its JSON form, its table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .settings import SamplerBenchmarkSettings
from .statistics import Measurement, VariantSummary
from .variants import VARIANTS

_TABLE_WIDTH = 200
_SD_WIDTH = 320


@dataclass(frozen=True, kw_only=True)
class SamplerBenchmarkReport:
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

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers, strings and None, ready for JSON."""
        return {
            "machine": dict(self.machine),
            "settings": asdict(self.settings),
            "summary": {name: asdict(figures) for name, figures in self.summary.items()},
            "left_out": dict(self.left_out),
            "rounds": [asdict(run) for run in self.rounds],
        }

    def write_json(self, path: Path) -> None:
        """Write the report as JSON; every number is finite."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def format_report(report: SamplerBenchmarkReport) -> str:
    """Lay the report out as a plain text table with notes."""
    settings = report.settings
    table = Table(
        title=_title(settings), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for heading in ("variant", "against"):
        table.add_column(heading, no_wrap=True)
    for heading in ("s/frame-step", "ratio", "range", "best", "CPU ratio", "FLOP ratio", "target", "met", "peak MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("what", no_wrap=True)
    for name, row in report.summary.items():
        table.add_row(name, row.against or "-", *_figures(row), VARIANTS[name].description)
    text = StringIO()
    console = Console(file=text, width=_TABLE_WIDTH, no_color=True, highlight=False, soft_wrap=True)
    console.print(table)
    for note in _notes(report):
        console.print(note, markup=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _figures(row: VariantSummary) -> tuple[str, ...]:
    compared = row.against is not None
    return (
        f"{row.seconds_per_frame_step:.4f}",
        f"{row.ratio:.3f}" if compared else "1",
        f"{row.ratio_lowest:.2f} … {row.ratio_highest:.2f}" if compared else "-",
        f"{row.best_ratio:.3f}" if compared else "-",
        f"{row.cpu_ratio:.3f}" if compared else "-",
        f"{row.flop_ratio:.3f}" if compared and row.flop_ratio is not None else "-",
        "-" if row.target is None else f"≤ {row.target:.3f}",
        {None: "-", True: "yes", False: "no"}[row.met],
        "-" if row.peak_mb is None else f"{row.peak_mb:.0f}",
    )


def _title(settings: SamplerBenchmarkSettings) -> str:
    return (
        f"Sampler benchmark: UNet width {settings.width}, {settings.frames} frames (long: {settings.long_frames}) of "
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
