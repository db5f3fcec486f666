"""What the pre-restoration benchmark reports: its figures, put together from the results of the clips, and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..common.own_process import MethodCost
from ..common.report import BenchmarkReport
from .methods import METHODS, REFERENCE
from .scores import PictureFigures, mean_figures
from .settings import PreRestoreBenchmarkSettings
from .tasks import MethodResult, RealFilmFigures

ALL = "all clips"


@dataclass(frozen=True, kw_only=True)
class PreRestoreReport(BenchmarkReport):
    """All figures of one run. PSNR in dB, errors in grey levels, flicker as a fraction, time in s, memory in MB.

    Attributes:
        figures: Group of clips, `ALL` or a preset → method, or `methods.REFERENCE` → means over its clips.
        clips: Every method on every clip.
        costs: Method → what it costs.
        peaks: Frames of a stream → peak memory of the process in which the network ran over it, or None where the
            system does not tell.
        real: The network at default settings on real films.
        network: What is known of the network: file, parameters.
        settings: What the benchmark ran on.
        machine: Processor count, versions and the minutes the run took.
    """

    figures: Mapping[str, Mapping[str, PictureFigures]]
    clips: Sequence[MethodResult]
    costs: Mapping[str, MethodCost]
    peaks: Mapping[int, float | None]
    real: Sequence[RealFilmFigures]
    network: Mapping[str, Any]
    settings: PreRestoreBenchmarkSettings
    machine: Mapping[str, Any]


def grouped(results: Sequence[MethodResult], presets: Sequence[str]) -> dict[str, dict[str, PictureFigures]]:
    """Average the figures of every method over all clips, and over those of each preset.

    Args:
        results: Every method on every clip.
        presets: Order of the groups.
    """
    groups = {ALL: list(results)} | {preset: [row for row in results if row.preset == preset] for preset in presets}
    return {
        group: {
            name: mean_figures(row.figures for row in rows if row.method == name)
            for name in (REFERENCE, *METHODS)
            if any(row.method == name for row in rows)
        }
        for group, rows in groups.items()
        if rows
    }
