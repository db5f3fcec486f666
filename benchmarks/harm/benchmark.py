"""Harm: what restoring does to clean content that a restorer must leave alone.

A file of makers gives the content: titles, subtitles, bars, leaders, rain and the like, each with the places that are
at risk. Every method gets the same lossless film; what comes back is compared with what went in, at those places and
elsewhere. Other programs take part as commands, run as processes, so that no code of theirs is needed here.
"""

import importlib.util
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.metrics.fidelity import GREY_LEVELS, decibels
from vldm_core.progress import Progress, silent
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.video.luma import luma
from vldm_core.video.writing.clip import write_clip

from ..common.material import read_film
from ..common.peers import filled
from ..common.settings import check_chosen
from ..common.table import ReportTable, cell, plain_tables

_RATE = Fraction(24)

MOVED_LEVELS = 32.0
"""Grey levels from which on a pixel counts as moved: plainly seen on any content, and far above grain."""

LARGEST_BEYOND_GRAIN = 0.2
"""Grey levels by which the places at risk may change on average, beyond what grain explains."""

_GRAIN_REACH = 3.0
"""Standard deviations of the grain that a pixel may change by when grain is taken off or filled with other grain."""

_GRAIN_CELL = 8
"""Pixels on each side of the cells in which grain is measured."""

_CALMEST = 0.2
"""Share of the cells, the calmest ones, whose scatter is taken for grain; the others hold picture."""

REPAIR = "repair only"


def _repair_only() -> ReelSettings:
    usual = ReelSettings()
    return replace(ReelSettings.no_stages(), dirt=usual.dirt, lines=usual.lines)


METHODS: dict[str, Callable[[], ReelSettings]] = {
    REPAIR: _repair_only,
    "fast": partial(ReelSettings.of_quality, "fast"),
    "normal": partial(ReelSettings.of_quality, "normal"),
    "best": partial(ReelSettings.of_quality, "best"),
}
"""What of this package is measured, by name."""

MUST_STAY = frozenset(
    {
        "intertitle",
        "intertitle_no_grain",
        "intertitle_weave",
        "subtitles",
        "timecode",
        "pillarbox",
        "leaders",
        "cue_marks",
        "animation",
        "poles",
        "poles_still",
        "poles_no_grain",
    }
)
"""Content for which there is a target: titles, bars, leaders, cue marks, drawings, and poles and masts."""


@dataclass(frozen=True, kw_only=True)
class CleanCase:
    """Clean content.

    Attributes:
        name: Its name.
        frames: (T, 3, H, W), RGB, [0, 1].
        at_risk: (T, H, W) bool, where the content is that is easily taken for damage.
    """

    name: str
    frames: Tensor
    at_risk: Tensor


@dataclass(frozen=True, kw_only=True)
class Harm:
    """What became of clean content, by its luma.

    Attributes:
        case: Name of the content.
        method: Name of the method.
        psnr: dB at the places at risk, all frames together; infinite where they came out as they went in, None where
            the method failed or there are none.
        largest: Largest change of a pixel at risk, grey levels, or None likewise.
        beyond_grain: Mean over the pixels at risk of the change beyond three standard deviations of the grain, grey
            levels, or None likewise.
        moved: Share of the pixels at risk that moved by more than `MOVED_LEVELS`, or None likewise.
        mean_outside: Mean absolute change of all other pixels, grey levels, or None likewise.
        moved_outside: Share of all other pixels that moved by more than `MOVED_LEVELS`, or None likewise.
        seconds: Wall time per frame of the method.
        failure: Why there are no figures, or None.
    """

    case: str
    method: str
    psnr: float | None = None
    largest: float | None = None
    beyond_grain: float | None = None
    moved: float | None = None
    mean_outside: float | None = None
    moved_outside: float | None = None
    seconds: float
    failure: str | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where there is none for this content, or no figures."""
        if self.case not in MUST_STAY or self.moved is None or self.beyond_grain is None:
            return None
        return self.moved == 0 and self.beyond_grain <= LARGEST_BEYOND_GRAIN


def load_cases(file: Path, names: Sequence[str] = ()) -> Iterable[CleanCase]:
    """Make clean content, one case after the other.

    Args:
        file: A Python file with a dictionary MAKERS: name to a function that returns RGB uint8 frames (H, W, 3) and,
            for each frame, a bool mask (H, W) of the content at risk. It is run.
        names: Which of them; all when empty.

    Raises:
        SettingsError: The file cannot be used, or a name is not in it; before anything is made.
    """
    makers = _makers(file)
    unknown = [name for name in names if name not in makers]
    if unknown:
        raise SettingsError(f"{file} has no {', '.join(unknown)}; it has {', '.join(makers)}")
    return (_make(name, makers[name]) for name in names or makers)


def measure_harm(case: CleanCase, output: Tensor, *, method: str, seconds: float) -> Harm:
    """Compare what a method made of clean content with it.

    Args:
        case: The content.
        output: (T, 3, H, W), RGB or three equal channels, [0, 1].
        method: Name of the method.
        seconds: Wall time per frame.
    """
    if output.shape != case.frames.shape:
        failure = f"{tuple(output.shape)} came back of {tuple(case.frames.shape)}"
        return Harm(case=case.name, method=method, seconds=seconds, failure=failure)
    change = (luma(output) - luma(case.frames)).abs()
    inside, outside = change[case.at_risk], change[~case.at_risk]
    square = float(inside.square().mean(dtype=torch.float64)) if len(inside) else None
    return Harm(
        case=case.name,
        method=method,
        psnr=None if square is None else decibels(square, GREY_LEVELS),
        largest=float(inside.max()) if len(inside) else None,
        beyond_grain=_mean((inside - _GRAIN_REACH * _grain(case.frames)).clamp(min=0)),
        moved=_share_moved(inside),
        mean_outside=_mean(outside),
        moved_outside=_share_moved(outside),
        seconds=seconds,
    )


def run_harm_benchmark(
    cases: Iterable[CleanCase],
    *,
    methods: Sequence[str] = tuple(METHODS),
    peers: Mapping[str, str | Sequence[str]] | None = None,
    progress: Progress = silent,
) -> tuple[Harm, ...]:
    """Give clean content to every method.

    Args:
        cases: The content.
        methods: Keys of `METHODS`.
        peers: Other programs by name: a command, or its words, with ``{in}`` and ``{out}`` for the films' paths.
        progress: Called after every method.

    Raises:
        SettingsError: A method is not known, or a command lacks a path.
    """
    commands = {name: shlex.split(one) if isinstance(one, str) else one for name, one in (peers or {}).items()}
    check_chosen("methods", methods, METHODS)
    for name, words in commands.items():
        said = shlex.join(words)
        if "{in}" not in said or "{out}" not in said:
            raise SettingsError(f"the command of {name} is {said}; it needs {{in}} and {{out}}, the films' paths")
    made = []
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="vldm-harm-") as folder:
            source, count = Path(folder) / "clean.mkv", len(case.frames)
            write_clip(source, case.frames, _RATE)
            for name in methods:
                target, started = Path(folder) / "restored.mkv", time.monotonic()
                restore_film(source, target, METHODS[name]())
                seconds = (time.monotonic() - started) / count
                made.append(measure_harm(case, read_film(target), method=name, seconds=seconds))
                target.unlink()
                progress("measure harm", len(made), None)
            for name, words in commands.items():
                made.append(_peer(case, name, words, source, Path(folder) / "peer.mkv"))
                progress("measure harm", len(made), None)
    return tuple(made)


def harm_table(figures: Sequence[Harm]) -> ReportTable:
    """Set the methods side by side, case by case; see the title for what a cell says."""
    methods = list(dict.fromkeys(one.method for one in figures))
    found = {(one.case, one.method): one for one in figures}
    cases = list(dict.fromkeys(one.case for one in figures))
    return ReportTable(
        section="Clean content",
        title=(
            f"at the places at risk: PSNR, dB / share moved by more than {MOVED_LEVELS:.0f} levels, % / largest "
            "change, levels / mean change beyond grain, levels; ✓ and ✗: target of content that must stay"
        ),
        headings=("content", *methods),
        rows=tuple((case, *(_cell(found.get((case, name))) for name in methods)) for case in cases),
    )


def format_harm(figures: Sequence[Harm]) -> str:
    """Lay the figures out as plain text."""
    failures = [f"{one.case}, {one.method}: {one.failure}" for one in figures if one.failure is not None]
    return plain_tables([harm_table(figures)], notes=failures)


def _makers(file: Path) -> dict[str, Callable[[], Any]]:
    if not file.is_file():
        raise SettingsError(f"{file} is not a file; give the Python file that makes the clean content")
    module = _module(file)
    makers = getattr(module, "MAKERS", None)
    if not isinstance(makers, dict) or not makers:
        raise SettingsError(f"{file} has no dictionary MAKERS with functions that make clean content")
    return makers


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"vldm_cases_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Functions of the file are told from what it imports by the name of their module.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _make(name: str, maker: Callable[[], Any]) -> CleanCase:
    frames, masks = maker()
    pictures = torch.from_numpy(np.stack(frames)).movedim(-1, 1).float() / GREY_LEVELS
    return CleanCase(name=name, frames=pictures, at_risk=torch.from_numpy(np.stack(masks)).bool())


def _peer(case: CleanCase, name: str, command: Sequence[str], source: Path, target: Path) -> Harm:
    target.unlink(missing_ok=True)
    words = filled(command, source, target)
    started = time.monotonic()
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        failure = done.stderr.strip().splitlines()[-1:] or ["no reason given"] if done.returncode else []
    except OSError as error:
        failure = [str(error)]
    seconds = (time.monotonic() - started) / len(case.frames)
    if not failure:
        try:
            return measure_harm(case, read_film(target), method=name, seconds=seconds)
        except FilmFileError as error:
            failure = [str(error)]
    return Harm(case=case.name, method=name, seconds=seconds, failure=failure[0])


def _grain(frames: Tensor) -> float:
    """Measure the grain of content: the scatter of what is fine in its calmest cells, grey levels."""
    scatter = []
    for plane in luma(frames[::_GRAIN_CELL]).numpy():
        fine = plane - cv2.GaussianBlur(plane, (0, 0), 1.5)
        height, width = (side // _GRAIN_CELL * _GRAIN_CELL for side in plane.shape)
        cells = fine[:height, :width].reshape(height // _GRAIN_CELL, _GRAIN_CELL, width // _GRAIN_CELL, _GRAIN_CELL)
        scatter.append(float(np.quantile(cells.std(axis=(1, 3)), _CALMEST)))
    return float(np.median(scatter))


def _mean(values: Tensor) -> float | None:
    return float(values.mean(dtype=torch.float64)) if values.numel() else None


def _share_moved(change: Tensor) -> float | None:
    return float((change > MOVED_LEVELS).double().mean()) if len(change) else None


def _cell(harm: Harm | None) -> str:
    if harm is None:
        return ""
    if harm.failure is not None:
        return "failed"
    verdict = {True: " ✓", False: " ✗", None: ""}[harm.reached if harm.method == REPAIR else None]
    if harm.psnr == float("inf"):
        return f"unchanged{verdict}"
    moved = cell(None if harm.moved is None else 100 * harm.moved, "one")
    parts = (cell(harm.psnr, "one"), moved, cell(harm.largest, "whole"), cell(harm.beyond_grain, "two"))
    return " / ".join(parts) + verdict
