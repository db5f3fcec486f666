"""The results of the resolution study as tables and as a page."""

from pathlib import Path

from ..common.page import picture, sections, write_markdown
from ..common.table import ReportTable, cell, markdown, plain_tables
from .sizes import WAY_MEANINGS
from .study import ResolutionReport, ResolutionRow

_INTRODUCTION = """\
# The resolution study

What a restorer is worth, and what it costs, at different working sizes:

```
{command}
```

{clips} clips of {frames} frames at {width}×{height}, kept for validation and aged with everything that the damage
simulation has ({names}), are repaired, freed of flicker, brought to a working size, restored, brought back and measured
at their own size against the print without damage, grain, flicker, codec and softness. The run took {minutes:.0f}
minutes with {threads} threads on {cores} virtual cores (torch {torch}).
"""

_READING = """\
## How to read the figures

- Dashed in the picture, and *nothing* in the table, is the film after repair and flicker removal, which the first
  restorer got; for the warp error the dashed line is the reference's own, {reference} grey levels.
- **Detail** is the share of the reference's fine texture that is there, **residue** fine texture that is not the
  reference's, in grey levels; **warp error** is the difference of neighbouring frames along the flow of the reference,
  in grey levels. It rewards blur, so it stands beside the others.
- **Seconds a frame** include the way to the size and back; they were taken while the study ran, one after the other.
- A restorer sees a scaled picture with grain and blur of another size. Below the film's own size fine detail is lost on
  the way; that cannot be got back.
"""


_PRIOR = """\
## With a prior and its control

With `--prior FILE` what the pre-restorer made goes through a Stable Diffusion model at the same sizes, and with
`--control FILE` once more under a restoration control, from the same frames: so what the control is worth, and at
which size, stands in neighbouring tables. The sizes answer three questions: below 512 (`resized` to 256 and 384), at
512 (`padded`, which leaves the picture's scale alone), and with the short side resized to 512 (`resized` and `fitted`,
which is what Fit For Prior does). Working sizes of a prior are multiples of 64. Embeddings and reference pictures are
not given; where a system looks at a reference, the least damaged frame of the clip serves.

```
python -m benchmarks resolution --data DIR --sizes 256,384,512 --control v2.pth \\
    --prior v2-1_512-ema-pruned.safetensors --sampler spaced_ddpm --steps 50 --strength 1 --start noise
```

{measured}
"""

_NO_PRIOR = """\
This page has no such rows: they need published weights, which its run did not have. With small random models of the
real classes the command makes them all; of quality they say nothing then."""
_WITH_PRIOR = "Weights that are random make such rows too; of a system's quality they then say nothing."


def format_report(report: ResolutionReport) -> str:
    """Lay the report out as plain text tables."""
    return plain_tables(report_tables(report), notes=_best(report))


def report_tables(report: ResolutionReport) -> tuple[ReportTable, ...]:
    """Return a table per restorer."""
    figures = report.repaired
    nothing = (
        "nothing",
        "",
        "",
        cell(figures.psnr, "two"),
        cell(figures.ssim, "share"),
        cell(figures.detail, "share"),
        cell(figures.residue, "two"),
        cell(figures.warp_error, "two"),
        cell(0.0, "share"),
    )
    return tuple(
        ReportTable(
            section="Figures",
            title=f"{name}: {description}",
            headings=(
                "way",
                "short side",
                "it works at",
                "PSNR dB",
                "SSIM",
                "detail",
                "residue",
                "warp error",
                "s per frame",
            ),
            rows=(nothing, *(_cells(row) for row in report.rows if row.restorer == name)),
        )
        for name, description in report.restorers.items()
    )


def write_page(report: ResolutionReport, path: Path, *, command: str, curves: Path | None = None) -> None:
    """Write the results page.

    Args:
        report: The figures.
        path: File to write.
        command: The command that makes the page.
        curves: Picture of the curves to show on it, or None.
    """
    material, machine = report.settings.material, report.machine
    parts = [
        _INTRODUCTION.format(
            command=command,
            clips=len(report.clips),
            frames=material.frames,
            width=material.width,
            height=material.height,
            names=", ".join(report.clips),
            minutes=max(1.0, machine["minutes"]),
            threads=machine["threads"],
            cores=machine["cpu_count"],
            torch=machine["torch"],
        ),
        markdown(("way", "what it is"), [(way, WAY_MEANINGS[way]) for way in report.settings.ways]),
    ]
    if curves is not None:
        parts.append(picture("Figures over working size", curves, path))
    parts += sections(report_tables(report), below={"Figures": _best(report)})
    with_prior = any(name.startswith("prior") for name in report.restorers)
    parts.append(_PRIOR.format(measured=_WITH_PRIOR if with_prior else _NO_PRIOR))
    parts.append(_READING.format(reference=cell(report.reference_warp_error, "two")))
    write_markdown(path, parts)


def _best(report: ResolutionReport) -> list[str]:
    found = {name: report.best(name) for name in report.restorers}
    return [
        f"{name}: the highest PSNR is {cell(row.figures.psnr, 'two')} dB, {row.way} to a short side of "
        f"{row.short_side}, in {cell(row.seconds_per_frame, 'two')} s a frame."
        for name, row in found.items()
    ]


def _cells(row: ResolutionRow) -> tuple[str, ...]:
    return (
        row.way,
        str(row.short_side),
        f"{row.width}×{row.height}",
        cell(row.figures.psnr, "two"),
        cell(row.figures.ssim, "share"),
        cell(row.figures.detail, "share"),
        cell(row.figures.residue, "two"),
        cell(row.figures.warp_error, "two"),
        cell(row.seconds_per_frame, "share"),
    )
