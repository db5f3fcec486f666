"""The results page of the harm benchmark, as Markdown, and its figures as JSON."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from ..common.page import write_markdown
from ..common.report import plain
from ..common.table import markdown_table
from .benchmark import LARGEST_BEYOND_GRAIN, MOVED_LEVELS, REPAIR, Harm, harm_table

_INTRODUCTION = """\
# Harm

What restoring does to clean content that must stay as it is, beside the programs that restorers run:

```
{command}
```

`FILE.py` makes the content: every function of its dictionary `MAKERS` returns frames and a mask of the places at risk.
Every method gets the same film without loss.
"""

_READING = """\
## How to read the figures

- All figures are of the places at risk: the letters of a title, the raindrops, the bars. *unchanged* is unchanged to
  the last bit.
- **Beyond grain**: mean of what a pixel changed by beyond three standard deviations of the film's grain, which a method
  may take off, or give anew in what it fills.
- **Target**, with *{repair}*, for titles, subtitles, timecode, bars, leaders, cue marks, animation, poles and masts: at
  most {beyond:g} levels beyond grain, and no pixel moved by more than {moved:g}. ✓ is reached, ✗ missed.
- Rain, confetti, fireworks and the like are no damage either, but look like it: there the figures say what they cost.
"""


def write_page(figures: Sequence[Harm], path: Path, *, command: str) -> None:
    """Write the results page.

    Args:
        figures: Every method on every case.
        path: File to write.
        command: The command that makes the page.
    """
    judged = [one for one in figures if one.method == REPAIR and one.reached is not None]
    met = sum(one.reached is True for one in judged)
    failures = [f"- {one.case}, {one.method}: {one.failure}\n" for one in figures if one.failure is not None]
    parts = [
        _INTRODUCTION.format(command=command),
        f"*{REPAIR}* reaches the target for {met} of {len(judged)} contents that must stay.\n" if judged else "",
        markdown_table(harm_table(figures)),
        *failures,
        _READING.format(repair=REPAIR, beyond=LARGEST_BEYOND_GRAIN, moved=MOVED_LEVELS),
    ]
    write_markdown(path, [part for part in parts if part])


def write_json(figures: Sequence[Harm], path: Path) -> None:
    """Write the figures as JSON; "unchanged" in the place of an infinite PSNR."""
    rows = [plain(one) for one in figures]
    for row in rows:
        if row["psnr"] is not None and math.isinf(row["psnr"]):
            row["psnr"] = "unchanged"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")
