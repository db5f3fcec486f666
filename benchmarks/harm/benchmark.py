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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

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
from ..common.settings import check_chosen
from ..common.table import ReportTable, cell, plain_tables

_RATE = Fraction(24)

MOVED_LEVELS = 32.0
"""Grey levels from which on a pixel counts as moved: plainly seen on any content, and far above grain."""

METHODS: dict[str, Callable[[ReelSettings], ReelSettings]] = {
    "repair": lambda settings: replace(settings, flicker=None, prerestore=None),
    "repair, flicker": lambda settings: replace(settings, prerestore=None),
    "all stages": lambda settings: settings,
}
"""What of this package is measured, by name: each takes stages away from the default."""


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
        moved: Share of the pixels at risk that moved by more than `MOVED_LEVELS`, or None likewise.
        mean_outside: Mean absolute change of all other pixels, grey levels, or None likewise.
        moved_outside: Share of all other pixels that moved by more than `MOVED_LEVELS`, or None likewise.
        seconds: Wall time per frame of the method.
        failure: Why there are no figures, or None.
    """

    case: str
    method: str
    psnr: float | None = None
    moved: float | None = None
    mean_outside: float | None = None
    moved_outside: float | None = None
    seconds: float
    failure: str | None = None


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
        moved=_share_moved(inside),
        mean_outside=float(outside.mean(dtype=torch.float64)) if len(outside) else None,
        moved_outside=_share_moved(outside),
        seconds=seconds,
    )


def run_harm_benchmark(
    cases: Iterable[CleanCase],
    *,
    methods: Sequence[str] = tuple(METHODS),
    peers: dict[str, str] | None = None,
    settings: ReelSettings | None = None,
    progress: Progress = silent,
) -> tuple[Harm, ...]:
    """Give clean content to every method.

    Args:
        cases: The content.
        methods: Keys of `METHODS`.
        peers: Other programs by name: a command with ``{in}`` and ``{out}`` for the films' paths.
        settings: What `METHODS` take stages away from; defaults to `ReelSettings()`.
        progress: Called after every method.

    Raises:
        SettingsError: A method is not known, or a command lacks a path.
    """
    peers = peers or {}
    check_chosen("methods", methods, METHODS)
    for name, command in peers.items():
        if "{in}" not in command or "{out}" not in command:
            raise SettingsError(f"the command of {name} is {command!r}; it needs {{in}} and {{out}}, the films' paths")
    settings = settings or ReelSettings()
    made = []
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="vldm-harm-") as folder:
            source, count = Path(folder) / "clean.mkv", len(case.frames)
            write_clip(source, case.frames, _RATE)
            for name in methods:
                target, started = Path(folder) / "restored.mkv", time.monotonic()
                restore_film(source, target, METHODS[name](settings))
                seconds = (time.monotonic() - started) / count
                made.append(measure_harm(case, read_film(target), method=name, seconds=seconds))
                target.unlink()
                progress("measure harm", len(made), None)
            for name, command in peers.items():
                made.append(_peer(case, name, command, source, Path(folder) / "peer.mkv"))
                progress("measure harm", len(made), None)
    return tuple(made)


def harm_table(figures: Sequence[Harm]) -> ReportTable:
    """Set the methods side by side: dB at the places at risk / share moved there / mean change elsewhere."""
    methods = list(dict.fromkeys(one.method for one in figures))
    found = {(one.case, one.method): one for one in figures}
    cases = list(dict.fromkeys(one.case for one in figures))
    return ReportTable(
        section="Clean content",
        title=(
            f"PSNR at the places at risk, dB / share of them moved by more than {MOVED_LEVELS:.0f} levels, % / "
            "mean change elsewhere, levels"
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


def _peer(case: CleanCase, name: str, command: str, source: Path, target: Path) -> Harm:
    target.unlink(missing_ok=True)
    words = [word.replace("{in}", str(source)).replace("{out}", str(target)) for word in shlex.split(command)]
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


def _share_moved(change: Tensor) -> float | None:
    return float((change > MOVED_LEVELS).double().mean()) if len(change) else None


def _cell(harm: Harm | None) -> str:
    if harm is None:
        return ""
    if harm.failure is not None:
        return "failed"
    psnr = "unchanged" if harm.psnr == float("inf") else cell(harm.psnr, "one")
    moved = cell(None if harm.moved is None else 100 * harm.moved, "one")
    return f"{psnr} / {moved} % / {cell(harm.mean_outside, 'two')}"
