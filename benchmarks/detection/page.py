"""The results page of the detection benchmark, as Markdown."""

from pathlib import Path

from vldm_core.metrics.detection_curve import CURVE_THRESHOLDS

from ..common.page import picture, sections, write_markdown
from ..common.table import markdown
from .report import DetectionBenchmarkReport
from .sources.strata import LINE_DEPTHS, STRATA
from .tables import real_line_sentences, report_tables
from .tasks import REFERENCES

_INTRODUCTION = """\
# The detection benchmark

Detection and repair of film damage beside the textbook methods, on the same clips, in one run:

```
{command}
```

`DIR` holds `clips/`, `photos/` and `film/`. {sources} are aged by the damage simulation,
{frames} frames each ({line_frames} where there are scratches) at {width}×{height} with grain of σ {grain:g} grey
levels, seed {seed}. The run took {minutes:.0f} minutes on {cores} virtual cores (torch {torch}, OpenCV {opencv}).

## Strata

{strata}

Every clip with scratches has one of each depth ({depths} grey levels), dark or bright, tilted by up to 1°, with
gaps.
"""

_READING = """\
## How to read the figures

- **Tolerance.** A damaged pixel is found if a marked one lies within 0, 1 or 2 px; a marked pixel is right if a
  damaged one does. Where one tolerance is given, it is 1 px. Figures of detection pool all pixels of all clips.
  Pixels on damage of the other kind, or touched by less than counts as damage, count neither way.
- **False alarm**: share of undamaged pixels that are marked; the gaps of a scratch are undamaged. *Away from
  scratches* counts marks more than 2 px from any scratch, gaps counted as scratch: scratches that are not there.
- **Clean clips** are the sources as they are; those with upright structure are looked at once more with grain.
- **AP**: area under the precision-recall curve of the scores over {thresholds} fixed thresholds. For SDIp the
  score is the smaller of the two differences where they agree in sign, for ROD the largest ranked difference in
  units of its threshold, for the column integral the largest |z| at which the vote still passes, for the row
  extrema the least depth asked for at which the pixel is still marked. *Best F1* is the highest on that curve,
  a threshold chosen with the truth in hand; *F1* is what the method's own threshold gives.
- **Locked-off**: neither camera nor gate weave moves the scene against the film (less than 0.25 px, standard
  deviation), so that motion cannot tell a scratch from an upright line of the scene. These clips are reported
  apart.
- **PSNR and SSIM** are measured inside the damage against the same film, same grain, without the damage, and
  averaged over clips. {references} A subtraction keeps the grain below a scratch and may exceed them; a fill
  cannot know the grain.
- **Flicker** and **warp error** (grey levels) reward blur and freezing, so they stand beside fidelity only; the
  row *undamaged* is what a perfect repair has.
- **Cost** is measured with nothing else running, libraries and weights warm: detection and repair together,
  wall time and the time of all threads. Peak memory is that of the whole process. What `restore` takes, and how time
  grows with the frame, says `python -m benchmarks cost`.
"""


_VALIDATION = "The files kept for validation, on which nothing was trained (`vldm_core/data/split.py`),"
_EVERY = "All clips and photographs there, also those that our detectors were trained on,"


def write_page(report: DetectionBenchmarkReport, path: Path, *, command: str, curves: Path | None = None) -> None:
    """Write the results page.

    Args:
        report: The figures.
        path: File to write.
        command: The command that makes the page.
        curves: Picture of the curves to show on it, or None.
    """
    settings, machine = report.settings, report.machine
    parts = [
        _INTRODUCTION.format(
            command=command,
            sources=_EVERY if settings.all_sources else _VALIDATION,
            frames=settings.frames,
            line_frames=settings.line_frames,
            width=settings.width,
            height=settings.height,
            grain=settings.grain,
            seed=settings.seed,
            minutes=max(1.0, machine["minutes"]),
            cores=machine["cpu_count"],
            torch=machine["torch"],
            opencv=machine["opencv"],
            strata=_strata(report).rstrip(),
            depths=", ".join(f"{depth:g}" for depth in LINE_DEPTHS),
        ),
        "## Methods\n\n" + _methods(report),
    ]
    above = {} if curves is None else {"Dirt, hair and blotches": [picture("Precision-recall curves", curves, path)]}
    essential = [table for table in report_tables(report) if table.essential]
    parts += sections(essential, above=above, below={"Real films": real_line_sentences(report)})
    references = [f"*{name}* is {meaning}." for name, meaning in REFERENCES.items()]
    parts.append(_READING.format(references=" ".join(references), thresholds=len(CURVE_THRESHOLDS)))
    write_markdown(path, parts)


def _strata(report: DetectionBenchmarkReport) -> str:
    rows = []
    for stratum, meaning in STRATA.items():
        clips = dict.fromkeys(
            row["clip"].rpartition("/")[0] + (" (locked-off)" if row["locked"] else "")
            for row in report.clips
            if row["stratum"] == stratum
        )
        if clips:
            rows.append((stratum, meaning, ", ".join(clips)))
    return markdown(("stratum", "what it holds", "clips"), rows)


def _methods(report: DetectionBenchmarkReport) -> str:
    rows = []
    for name, facts in report.methods.items():
        same = facts["same_as"]
        rows.append((name, facts["description"] + (f"; here the same as {same}" if same else "")))
    return markdown(("method", "what it is"), rows)
