"""The results of the cost benchmark as text and as a page."""

from pathlib import Path

from ..common.page import sections, write_markdown
from ..common.table import markdown, plain_tables
from .report import CostReport, cost_tables
from .settings import PARTS

_INTRODUCTION = """\
# What restoring costs

The time that restoring takes, by the size of the film, in a process that is warm:

```
{command}
```

The films are {film}, with dirt and scratches in them. {machine}
"""

_READING = """\
## How to read the figures

- Before a part is timed, it runs once on a few frames of the film, so that libraries, weights and caches are warm. Then
  it runs {repeats} times on the whole film. The least of the runs is what the machine can do when nothing else keeps it
  busy; the median is what it did meanwhile.
- **Wall** is what a clock shows, **CPU** the time of all threads together.
- **Flows a pair** counts the dense optical flows that are estimated, by pairs of neighbouring frames; **in frames** is
  the pixels that they are estimated on, in frames of the film.
- **Peak memory** is that of the process so far, which does one part after the other.
"""


def format_report(report: CostReport) -> str:
    """Lay the report out as plain text tables."""
    return plain_tables(cost_tables(report), notes=[f"The films are {report.machine['film']}. {_machine(report)}"])


def write_page(report: CostReport, path: Path, *, command: str) -> None:
    """Write the results page.

    Args:
        report: The figures.
        path: File to write.
        command: The command that makes the page.
    """
    parts = [
        _INTRODUCTION.format(command=command, film=report.machine["film"], machine=_machine(report)),
        markdown(("part", "what it is"), [(part, PARTS[part]) for part in report.settings.parts]),
        *sections(cost_tables(report)),
        _READING.format(repeats=report.settings.repeats),
    ]
    write_markdown(path, parts)


def _machine(report: CostReport) -> str:
    machine = report.machine
    return f"{machine['cpu_count']} virtual cores, {machine['threads']} threads of torch {machine['torch']}."
