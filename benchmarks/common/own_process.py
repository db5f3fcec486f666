"""A process of its own for what is measured, so that its time and its memory are its own.

What is measured runs once on a few frames, so that libraries, weights and caches are warm, and then once on all that it
was given, timed. Nothing else should run meanwhile.

Peak memory is the high-water mark of resident memory of the whole process: interpreter, libraries, the clip and what
the method needs. Allocation tracers see neither OpenCV nor torch, so the kernel's own count is taken (VmHWM on Linux,
ru_maxrss elsewhere on Unix; none on Windows).
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vldm_core.errors import VLDMError

REPOSITORY = Path(__file__).resolve().parents[2]

_WARM_UP = 4
"""Frames of the run that is not timed."""

_LOG_LINES = 12
"""So many of the last lines that a failed process said are told."""


@dataclass(frozen=True, kw_only=True)
class MethodCost:
    """What a method costs on one clip, process warm.

    Attributes:
        seconds_per_frame: Wall time.
        cpu_seconds_per_frame: Time of all threads together, of the user and of the system.
        peak_mb: High-water mark of the memory of the process, MB of 10^6 bytes, or None where the system does not tell.
        loaded_mb: The same before it saw a frame.
        threads: Threads of torch.
        frames: Frames it was measured on.
    """

    seconds_per_frame: float
    cpu_seconds_per_frame: float
    peak_mb: float | None
    loaded_mb: float | None
    threads: int
    frames: int


def answer_of(module: str, *arguments: object, what: str) -> dict[str, Any]:
    """Run ``python -m module`` to its end and return what it said with `answer`.

    Args:
        module: Its full name.
        arguments: Of its command line.
        what: What is measured, for the message.

    Raises:
        VLDMError: The process failed; the message ends with what it logged.
    """
    path = os.pathsep.join(part for part in (str(REPOSITORY), os.environ.get("PYTHONPATH")) if part)
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    if done.returncode:
        raise VLDMError(f"measuring {what} ended with code {done.returncode}:\n{last_lines(done.stderr)}")
    # Libraries may greet on standard output; the answer is the last line.
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def cost_of(module: str, what: str, *arguments: object) -> MethodCost:
    """Run a module that measures one method in a process of its own, and ends with `answer`.

    Args:
        module: Its full name.
        what: What is measured, its first argument.
        arguments: The others.

    Raises:
        VLDMError: The process failed; the message ends with what it logged.
    """
    return MethodCost(**answer_of(module, what, *arguments, what=what))


def answer(figures: MethodCost | Mapping[str, Any]) -> None:
    """Hand figures to the process that waits in `answer_of`."""
    plain = asdict(figures) if isinstance(figures, MethodCost) else dict(figures)
    sys.stdout.write(json.dumps(plain) + "\n")


def last_lines(log: str) -> str:
    """Return the end of what a process said, where the reason stands."""
    return "\n".join(log.splitlines()[-_LOG_LINES:])


def timed(work: Callable[[int], None], frames: int, loaded: float | None) -> MethodCost:
    """Run something on a few frames to warm up, then on all of them, timed.

    Args:
        work: Takes the number of frames to work on.
        frames: How many there are.
        loaded: `peak_memory_mb` before the first frame was read.
    """
    work(min(_WARM_UP, frames))
    wall, cpu = time.perf_counter(), time.process_time()
    work(frames)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return MethodCost(
        seconds_per_frame=wall / frames,
        cpu_seconds_per_frame=cpu / frames,
        peak_mb=peak_memory_mb(),
        loaded_mb=loaded,
        threads=torch.get_num_threads(),
        frames=frames,
    )


def peak_memory_mb() -> float | None:
    """Return the high-water mark of this process's resident memory, MB of 10^6 bytes, or None on Windows."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss here: Linux hands a parent's value on to the children it starts.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    if importlib.util.find_spec("resource") is None:
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
