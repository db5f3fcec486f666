"""The results page of the film benchmark, as Markdown."""

from pathlib import Path

from ..common.page import sections, write_markdown
from ..common.table import markdown
from .report import FilmBenchmarkReport
from .settings import MODELS
from .tables import report_tables

_INTRODUCTION = """\
# The film benchmark

Whole restorations beside the programs that restorers run for nothing, on clips that nothing was trained on, in one run:

```
{command}
```

`DIR` holds `clips/`, `photos/`, `textures/` and `film/`. The files kept for validation (`vldm_core/data/split.py`) are
aged by {models} models, {frames} frames each at {width}×{height}, grey, seed {seed}. Every method gets the same film
file and runs as a process, one after the other. The run took {minutes:.0f} minutes on {cores} virtual cores
(torch {torch}).

{ageing}

## Methods

{methods}
"""

_READING = """\
## How to read the figures

- **Truth** is the clip as printed: with weave and the blur of the scan, without damage, flicker, grain or codec. Every
  frame of an output is first brought to it by one gain, fitted where nothing was damaged.
- **Inside** a kind of damage is where it changes the scanned picture without grain by 8 grey levels or more; a line, by
  half its depth at that height and 2 levels; a blotch of the second model, by three standard deviations of the grain.
- **Gain outside** is PSNR over that of the input where no damage changes the picture by a level or more. *Worst frame's
  loss* is by how much any frame of any clip got worse there; 0 is none.
- **Found**: damage is found if a mark lies within 1 px. A mark is right within 1 px of damage of its kind; of a line,
  of its visible skirt. Marks on other damage count neither way. Peers' masks are the pixels that they change.
- **Warp error** rewards blur; read it beside PSNR and SSIM only. **XPSNR** is FFmpeg's filter; **ST-LPIPS** looks at
  the middle of two frames.
- **Cost** is the difference between a film of {short} frames and one of {long} by the frame: starting the interpreter
  and loading weights stand apart.
- **Standing** marks (hairs in the gate, dirt on the lens) are counted apart; no peer looks for them.
"""


def write_page(report: FilmBenchmarkReport, path: Path, *, command: str) -> None:
    """Write the results page.

    Args:
        report: The figures.
        path: File to write.
        command: The command that makes the page.
    """
    settings, machine = report.settings, report.machine
    rows = tuple((name, facts["group"], facts["what"]) for name, facts in report.methods.items())
    introduction = _INTRODUCTION.format(
        command=command,
        models=" and ".join(settings.models),
        frames=settings.frames,
        width=settings.width,
        height=settings.height,
        seed=settings.seed,
        minutes=max(1.0, machine["minutes"]),
        cores=machine["cpu_count"],
        torch=machine["torch"],
        ageing="\n".join(f"- *{model}*: {MODELS[model]}" for model in settings.models),
        methods=markdown(("method", "whose", "what it is"), rows).rstrip(),
    )
    parts = [introduction, *(f"*{sentence}*\n" for sentence in report.missing)]
    parts += sections([table for table in report_tables(report) if table.essential])
    parts.append(_READING.format(short=settings.cost_frames[0], long=settings.cost_frames[1]))
    write_markdown(path, parts)
