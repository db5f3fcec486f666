"""The results page of the benchmark of trained parts, as Markdown."""

import json
from pathlib import Path

from ..common.page import picture, write_markdown
from ..common.report import machine_facts, plain
from ..common.table import markdown_table
from .benchmark import PriorReport

_INTRODUCTION = """\
# Trained parts of a prior

What temporal layers, a control branch, LoRAs by era, the latent head and the fusion are good for, each trained as a
user would train it and tried on clips of files that nothing was trained on:

```
{command}
```

**All of it is measured in a small world**: a VAE and a UNet of Stable Diffusion's own classes at small widths (3.2 and
3.9 million weights), trained on cut-outs of 128×128 pixels of a few clips and photographs. It shows whether a part does
what it is for. How much it does so on a full-size model, it does not show.

Its weights, and those of all parts, ship in half precision. They are trained anew, in about two hours of one core,
by `python -m benchmarks world --data DIR --cache CACHE --out WORLD`, on those clips and photographs and on photographs
that scikit-image and matplotlib ship.

**It is a poor world**: what its VAE decodes is 19 dB from what it encoded in frames that it has not seen (`psnr` of
its training), mostly for want of detail, and its greys come out reddish. Pictures are given the colours of the
film, as is usual; of temporal layers they are shown as they are decoded.
"""

_READING = """\
## How to read the figures

- ± is the standard deviation from seed to seed of the mean over all clips.
- **Flicker** is the local one of `vldm_core.metrics`: how unsteady brightness is along the motion, cell by cell.
- **Warp error** is what a frame differs by from its predecessor along the target's motion, in grey levels, beyond what
  the target itself does. A picture that is steadier than the target has a negative one.
- PSNR, SSIM and ST-LPIPS are measured beside the undamaged film.
- A fusion is a network that has been trained on such clips, so not all that it gains over the pre-restored picture need
  come from the prior.
"""


def write_page(report: PriorReport, path: Path, *, command: str, pictures: Path | None = None) -> None:
    """Write the results page.

    Args:
        report: A run.
        path: File to write.
        command: The command that makes the page.
        pictures: Folder with a picture for each part, if there are any.
    """
    parts = [_INTRODUCTION.format(command=command), "## What was to be shown\n", markdown_table(report.summary())]
    for finding in report.findings:
        parts += [f"## {finding.part}\n", f"{finding.how}\n", markdown_table(finding.table())]
        if pictures is not None and finding.rows:
            parts.append(picture(finding.part, pictures / finding.file_name, path))
    write_markdown(path, [*parts, _READING])


def write_json(report: PriorReport, path: Path) -> None:
    """Write all figures as JSON, with the machine that they were measured on."""
    parts = [
        {"part": finding.part, "how": finding.how, "figures": plain(finding.figures), "claims": plain(finding.claims)}
        for finding in report.findings
    ]
    content = {"machine": machine_facts(), "seconds": report.seconds, "parts": parts}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
