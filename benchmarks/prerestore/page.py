"""The results of the pre-restoration benchmark as tables and as a page."""

from pathlib import Path

from ..common.page import relative, sections, write_markdown
from ..common.table import ReportTable, cell, markdown, plain_tables
from ..common.target import target_table
from .cost import MEASURED
from .methods import DEFAULT, FLICKERING, METHODS, NETWORK, REFERENCE
from .report import ALL, PreRestoreReport
from .scores import PictureFigures
from .targets import TARGETS

_JUDGED = (NETWORK, DEFAULT, FLICKERING)

_INTRODUCTION = """\
# The pre-restoration benchmark

What the pre-restoration network makes of repaired film, beside the repair alone, OpenCV's denoiser over time and the
same network without time, on the same frames, in one run:

```
{command}
```

`DIR` holds `clips/`, `photos/` and `film/`. The files kept for validation, on which nothing was trained
(`vldm_core/data/split.py`), become {clips} clips of {frames} frames at {width}×{height}, aged with
everything that the damage simulation has for {presets}, seed {seed}. Our own detection,
repair and flicker removal run once, with their defaults, in the order of the film stages; every method gets the frames
that they leave. The reference is the same print without damage, grain, flicker, mixed frames, codec and softness, but
with its weave and its tones. The network is `{network}` with {parameters:,} parameters. The run took
{minutes:.0f} minutes on {cores} virtual cores (torch {torch}, OpenCV {opencv}).
"""

_READING = """\
## How to read the figures

- **PSNR** and **SSIM** (of the luma) against the reference, averaged over clips. Part of the difference to repair alone
  is flicker, so the targets are judged against what the network got, too.
- **Detail** is the share of the reference's fine texture (what a Gaussian of σ 2 px takes off the luma) that is there,
  at its place: 1 is all of it, less is blur. **Residue** is fine texture that is not the reference's, grain, noise and
  artefacts alike, as a standard deviation in grey levels: 0 is as smooth as the reference.
- **Warp error** is the mean difference of neighbouring frames along the flow of the reference, in grey levels, and
  **flicker** the standard deviation over time of the change of brightness. Both reward blur and freezing, so they
  stand beside fidelity only. The reference's own warp error is not 0: things appear, and flow is not perfect.
- **Targets** are judged on the means over all clips. Flicker is compared with what the network got.
- **Cost** is measured at the size of the clips with nothing else running, libraries and weights warm, each stage by
  itself, wall time and the time of all threads. Peak memory is that of the whole process, interpreter and libraries
  included. The streams play one clip back and forth.
"""


def format_report(report: PreRestoreReport) -> str:
    """Lay the report out as plain text tables."""
    return plain_tables(report_tables(report))


def report_tables(report: PreRestoreReport) -> tuple[ReportTable, ...]:
    """Return all tables, in order, without those that would be empty."""
    tables = [
        target_table(TARGETS, report, [name for name in _JUDGED if name in report.figures.get(ALL, {})]),
        *(_figures(report, group) for group in report.figures),
        _cost(report),
        _memory(report),
        _real(report),
    ]
    return tuple(table for table in tables if table.rows)


def write_page(report: PreRestoreReport, path: Path, *, command: str, pictures: Path | None = None) -> None:
    """Write the results page.

    Args:
        report: The figures.
        path: File to write.
        command: The command that makes the page.
        pictures: Folder that the pictures were written to; the page says where it is.
    """
    settings, machine = report.settings, report.machine
    parts = [
        _INTRODUCTION.format(
            command=command,
            clips=len({row.clip for row in report.clips}),
            frames=settings.frames,
            width=settings.width,
            height=settings.height,
            presets=", ".join(f"*{preset}*" for preset in report.figures if preset != ALL),
            seed=settings.seed,
            network=report.network["file"],
            parameters=report.network["parameters"],
            minutes=max(1.0, machine["minutes"]),
            cores=machine["cpu_count"],
            torch=machine["torch"],
            opencv=machine["opencv"],
        ),
        "## Methods\n\n" + markdown(("method", "what it is"), [(name, m.description) for name, m in METHODS.items()]),
    ]
    if pictures is not None:
        parts.append(f"Pictures of every clip and of real films: `{relative(pictures, path)}`.\n")
    parts += sections(report_tables(report))
    chosen = ", ".join(f"{row.clip} {row.strength:g}" for row in report.clips if row.strength is not None)
    if chosen:
        parts.append(f"The h of the non-local means: {chosen}.\n")
    parts.append(_READING)
    write_markdown(path, parts)


def _figures(report: PreRestoreReport, group: str) -> ReportTable:
    rows = report.figures[group]
    own = rows.get(REFERENCE)
    clips = dict.fromkeys(row.clip for row in report.clips if group in (ALL, row.preset))
    names = [REFERENCE, *(name for name in METHODS if name in rows)]
    return ReportTable(
        section="Figures",
        title=group if group == ALL else f"{group} ({', '.join(clip.rpartition('/')[0] for clip in clips)})",
        headings=(
            "method",
            "PSNR dB",
            "SSIM",
            "detail",
            "residue",
            "warp error",
            "over the reference's",
            "flicker %",
        ),
        rows=tuple((name, *_cells(rows[name], own)) for name in names if name in rows),
    )


def _cells(figures: PictureFigures, reference: PictureFigures | None) -> tuple[str, ...]:
    base = None if reference is None else reference.warp_error
    ratio = None if figures.warp_error is None or not base else figures.warp_error / base
    return (
        cell(figures.psnr, "two"),
        cell(figures.ssim, "share"),
        cell(figures.detail, "share"),
        cell(figures.residue, "two"),
        cell(figures.warp_error, "two"),
        cell(ratio, "two"),
        cell(figures.flicker, "percent"),
    )


def _cost(report: PreRestoreReport) -> ReportTable:
    return ReportTable(
        section="Cost",
        title=f"at {report.settings.width}×{report.settings.height}",
        headings=("method", "what is measured", "s per frame", "CPU s per frame", "peak MB", "threads", "frames"),
        rows=tuple(
            (
                name,
                MEASURED[name],
                cell(cost.seconds_per_frame, "share"),
                cell(cost.cpu_seconds_per_frame, "share"),
                cell(cost.peak_mb, "whole"),
                str(cost.threads),
                str(cost.frames),
            )
            for name, cost in report.costs.items()
        ),
    )


def _memory(report: PreRestoreReport) -> ReportTable:
    return ReportTable(
        section="Cost",
        title="memory of the network over streams of different length",
        headings=("frames", "peak MB"),
        rows=tuple((str(frames), cell(peak, "one")) for frames, peak in report.peaks.items()),
    )


def _real(report: PreRestoreReport) -> ReportTable:
    return ReportTable(
        section="Real films",
        title="after repair and flicker removal, and after the network at default settings",
        headings=(
            "film",
            "frames",
            "flicker % before",
            "after",
            "warp error before",
            "after",
            "fine texture before",
            "after",
        ),
        rows=tuple(
            (
                row.film,
                str(row.frames),
                cell(row.flicker_before, "percent"),
                cell(row.flicker_after, "percent"),
                cell(row.warp_error_before, "two"),
                cell(row.warp_error_after, "two"),
                cell(row.texture_before, "two"),
                cell(row.texture_after, "two"),
            )
            for row in report.real
        ),
    )
