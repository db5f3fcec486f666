"""The sampler benchmark: the host's sampler, ours, and what others offer, at the same shapes, in one run, as ratios.

Each group holds the reference and what is compared with it, in one process; there is one process at a time.
Its rounds run the variants one after the other, every second round backwards, so that neither a machine that slows
down nor what an earlier run left in the caches favours one of them. Before the first round every variant runs once
untimed; its operations are counted then.
"""

import logging
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

from vldm_core.errors import VLDMError
from vldm_core.progress import Progress, silent

from .report import SamplerBenchmarkReport, format_report
from .settings import SamplerBenchmarkSettings
from .statistics import Measurement, summarise
from .variants import GROUPS, VARIANTS
from .worker import SamplerWorker, find_host, sampler_worker

__all__ = ["SamplerBenchmarkReport", "SamplerBenchmarkSettings", "format_report", "run_sampler_benchmark"]

_log = logging.getLogger(__name__)

LARGEST_DIFFERENCE = 1e-3
"""Relative difference up to which pictures count as the same: float32 sums in another order."""


@dataclass(kw_only=True)
class _Findings:
    """What accumulates while the groups run."""

    rounds: list[Measurement] = field(default_factory=list)
    flops: dict[str, float] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def run_sampler_benchmark(
    host: Path | None = None,
    *,
    json_path: Path | None = None,
    settings: SamplerBenchmarkSettings | None = None,
    progress: Progress = silent,
) -> SamplerBenchmarkReport:
    """Run the sampler benchmark.

    Args:
        host: The ComfyUI folder; None takes $COMFYUI_PATH, else ~/comfy/ComfyUI.
        json_path: File to write the report to, or None.
        settings: Defaults to Stable Diffusion 1.5 at full width, which takes the better part of an hour on two cores
            and 10 GB of memory.
        progress: Called per run; may raise to interrupt.

    Returns:
        All figures. Groups that cannot run here are named with the reason.

    Raises:
        HostNotFoundError: There is no ComfyUI.
        VLDMError: A variant failed, or two that must give the same picture did not.
    """
    settings = settings or SamplerBenchmarkSettings()
    folder = find_host(host)
    found = _Findings()
    phases = {group: f"{group} ({number + 1}/{len(settings.groups)})" for number, group in enumerate(settings.groups)}
    for groups in [(group,) for group in phases] if settings.process_per_group else [tuple(phases)]:
        with sampler_worker(folder, settings.threads) as worker:
            for group in groups:
                _run_group(group, worker, settings, found, phases[group], progress)
    report = SamplerBenchmarkReport(
        summary=summarise(found.rounds, settings, flops=found.flops, differences=found.differences),
        rounds=found.rounds,
        left_out=found.left_out,
        settings=settings,
        machine={
            "cpu": _processor(),
            "cpu_count": os.cpu_count(),
            "threads": settings.threads,
            "platform": platform.platform(),
            **found.versions,
        },
    )
    if json_path is not None:
        report.write_json(json_path)
        _log.info("sampler benchmark written to %s", json_path)
    return report


def _run_group(
    group: str,
    worker: SamplerWorker,
    settings: SamplerBenchmarkSettings,
    found: _Findings,
    phase: str,
    progress: Progress,
) -> None:
    names = GROUPS[group]
    total, done = len(names) * (1 + settings.rounds), 0
    progress(phase, done, total)
    loaded = worker.load(group, settings)
    if loaded.left_out is not None:
        found.left_out[group] = loaded.left_out
        progress(phase, total, total)
        return
    found.versions |= loaded.versions
    for name in names:
        found.flops[name] = worker.warm_up(name)
        done += 1
        progress(phase, done, total)
    for number in range(settings.rounds):
        for name in names if number % 2 == 0 else reversed(names):
            found.rounds.append(worker.run(name, number))
            done += 1
            progress(phase, done, total)
    for name in names:
        _check(name, worker.check(name), found)


def _check(name: str, difference: float | None, found: _Findings) -> None:
    if difference is None:
        return
    if difference > LARGEST_DIFFERENCE:
        raise VLDMError(
            f"{name} differs from {VARIANTS[name].equal_to} by {difference:.1e} of its largest value, but must give "
            "the same picture; its time means nothing"
        )
    found.differences[name] = max(difference, found.differences.get(name, 0.0))


def _processor() -> str:
    """Return the processor's name as far as the system tells it."""
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
