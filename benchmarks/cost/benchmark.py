"""The cost benchmark: what restoring takes of time by the size of the film, in a warm process.

Every checkout that is measured has one process of its own, which stays warm. The checkouts take turns, run by run, so
that whatever else the machine does meanwhile meets both alike; the process that waits does nothing.
"""

import statistics
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from vldm_core.progress import Progress, silent

from ..common.report import machine_facts
from ..common.workers import lanes
from .checkouts import Checkout, opened_checkout
from .films import write_films
from .report import CheckoutCost, CostReport
from .settings import AGAINST, HERE, CostSettings


def run_cost_benchmark(
    data: Path | None = None, *, settings: CostSettings | None = None, progress: Progress = silent
) -> CostReport:
    """Measure every part on a film of every size.

    Args:
        data: Folder of the detection benchmark's material, of which a clip is aged; None measures films made from
            nothing.
        settings: Defaults to detection and repair, and `restore`, at 480×368 and 2048×1556.
        progress: Called after every run; may raise to interrupt.

    Raises:
        FilmFileError: The folder holds no material.
        VLDMError: A measuring process failed; the message ends with what it said.
    """
    settings = settings or CostSettings()
    figures: list[CheckoutCost] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vldm-cost-")))
        checkouts = {HERE: stack.enter_context(opened_checkout())}
        if settings.against is not None:
            checkouts[AGAINST] = stack.enter_context(opened_checkout(settings.against))
        runs = len(settings.films) * len(settings.parts) * (1 + settings.repeats)
        step = _Rounds(progress, runs)
        for width, height, frames in settings.films:
            paths = folder / "film.mkv", folder / "first.mkv"
            # In a process of its own, so that ageing a large film leaves no memory held.
            with lanes(1) as workers:
                workers.run([(write_films, (paths, width, height, frames, data))], partial(progress, "make films"))
            for part in settings.parts:
                rows = _measured(checkouts, part, paths, folder, settings.repeats, step)
                figures += [_summed_up(name, part, (width, height, frames), answers) for name, answers in rows.items()]
            for path in paths:
                path.unlink()
        machine = machine_facts() | {
            "threads": checkouts[HERE].facts["threads"],
            "film": "made from nothing" if data is None else "an aged clip",
        }
    return CostReport(figures=tuple(figures), settings=settings, machine=machine)


class _Rounds:
    """Counts the rounds for whoever watches."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self) -> None:
        self._done += 1
        self._progress("measure cost", self._done, self._total)


def _measured(
    checkouts: dict[str, Checkout],
    part: str,
    paths: tuple[Path, Path],
    folder: Path,
    repeats: int,
    step: _Rounds,
) -> dict[str, list[dict[str, Any]]]:
    """Warm every checkout up on the shorter film, then let them take turns on the whole one."""
    film, short = paths
    for checkout in checkouts.values():
        checkout.ask(part, short, folder)
    step()
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    for number in range(repeats):
        turns = list(checkouts.items())
        # Who comes second finds the file in memory and the processor warm; so both come second as often.
        for name, checkout in turns if number % 2 == 0 else reversed(turns):
            answers[name].append(checkout.ask(part, film, folder))
        step()
    return answers


def _summed_up(name: str, part: str, film: tuple[int, int, int], answers: list[dict[str, Any]]) -> CheckoutCost:
    wall = [float(answer["seconds_per_frame"]) for answer in answers]
    cpu = [float(answer["cpu_seconds_per_frame"]) for answer in answers]
    return CheckoutCost(
        checkout=name,
        part=part,
        width=film[0],
        height=film[1],
        frames=film[2],
        seconds_per_frame=tuple(wall),
        cpu_seconds_per_frame=tuple(cpu),
        flows_per_pair=statistics.median(answer["flows_per_pair"] for answer in answers),
        flow_frames_per_pair=statistics.median(answer["flow_frames_per_pair"] for answer in answers),
        peak_mb=answers[-1]["peak_mb"],
    )
