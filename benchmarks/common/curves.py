"""Pictures of curves for the results pages, drawn by matplotlib."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vldm_core.machine.companions import importing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = (4.2, 4.2)
"""Inches of a panel, across and down."""

_LEGEND_ROW = 0.24
"""Inches of a row of the legend."""

_DOTS_PER_INCH = 100


@dataclass(frozen=True, kw_only=True)
class CurveLine:
    """One line of a panel.

    Attributes:
        name: What it is; lines of one name have one colour in all panels.
        label: What the legend says; empty is the name.
        across: Places across.
        up: Figures there; NaN leaves a gap.
        dot: A place that is marked, across and up, or None.
    """

    name: str
    label: str = ""
    across: Sequence[float]
    up: Sequence[float]
    dot: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class CurvePanel:
    """Lines over one pair of axes.

    Attributes:
        title: What it shows.
        across: What lies across.
        up: What is up; may be empty where the title says it.
        lines: The most important first: it is drawn on top.
        level: A figure drawn as a dashed line all across, or None.
        ticks: Places across that are named, spaced by their ratios and each marked on the lines; None names round
            numbers and marks none.
        shares: Whether both axes are shares, 0 … 1.
    """

    title: str
    across: str
    up: str = ""
    lines: Sequence[CurveLine]
    level: float | None = None
    ticks: Sequence[float] | None = None
    shares: bool = False


def draw_panels(panels: Sequence[CurvePanel]) -> "Figure":
    """Draw panels side by side, each with its legend below; one legend for all where they say the same.

    Args:
        panels: At least one.

    Raises:
        VLDMError: matplotlib is missing.
    """
    with importing("matplotlib", "'vldm[benchmark]'"):
        from matplotlib.figure import Figure
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
    colours = {name: f"C{number % 10}" for number, name in enumerate(names)}
    labels = [[line.label or line.name for line in panel.lines] for panel in panels]
    shared = all(row == labels[0] for row in labels)
    height = _PANEL[1] + _LEGEND_ROW * max(map(len, labels))
    figure = Figure((len(panels) * _PANEL[0], height), dpi=_DOTS_PER_INCH, layout="constrained")
    plots = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, axes in zip(panels, plots, strict=True):
        _draw(axes, panel, colours)
        if not shared:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False, fontsize="small")
    if shared and labels[0]:
        figure.legend(*plots[0].get_legend_handles_labels(), loc="outside lower left", frameon=False, fontsize="small")
    return figure


def write_panels(panels: Sequence[CurvePanel], path: Path) -> None:
    """Draw panels into a picture file; see `draw_panels`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_panels(panels).savefig(path)


def _draw(axes: "Axes", panel: CurvePanel, colours: dict[str, str]) -> None:
    axes.set(title=panel.title, xlabel=panel.across, ylabel=panel.up)
    axes.grid(color="0.88")
    axes.set_axisbelow(True)
    for depth, line in enumerate(panel.lines):
        colour, above = colours[line.name], 2 + len(panel.lines) - depth
        marker = None if panel.ticks is None else "o"
        axes.plot(line.across, line.up, marker=marker, color=colour, label=line.label or line.name, zorder=above)
        if line.dot is not None:
            axes.plot(*line.dot, marker="o", markeredgecolor="white", color=colour, zorder=above)
    if panel.level is not None:
        axes.axhline(panel.level, color="0.2", linewidth=1, linestyle="--")
    if panel.ticks is not None:
        axes.set_xscale("log")
        axes.set_xticks(panel.ticks, [f"{place:g}" for place in panel.ticks])
        axes.minorticks_off()
    if panel.shares:
        axes.set(xlim=(0, 1.01), ylim=(0, 1.01))
