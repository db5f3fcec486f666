"""Measures what one method costs, in a process of its own, so that its time and its memory are its own.

The process loads a clip, runs the method once on its first frames, so that libraries, weights and caches are warm, and
then once on all that it was given, timed. Nothing else should run meanwhile.

Peak memory is the high-water mark of resident memory of the whole process: interpreter, libraries, the clip and what
the method needs. Allocation tracers see neither OpenCV nor torch, so the kernel's own count is taken (VmHWM on Linux,
ru_maxrss elsewhere on Unix; none on Windows).
"""

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vldm_core.errors import VLDMError

from ..film.material import AgedClip
from ..film.methods import METHODS, Masks, Method
from .processes import run_module

_WARM_UP = 4
"""Frames of the run that is not timed."""


@dataclass(frozen=True, kw_only=True)
class MethodCost:
    """What a method costs on one clip, process warm: detection and repair, or what of the two it does.

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


def measure_cost(method: str, clip: Path, frames: int) -> MethodCost:
    """Measure one of `METHODS` on the first frames of a clip.

    Args:
        method: Its name.
        clip: File that `AgedClip.save` wrote.
        frames: Frames to measure on.

    Raises:
        VLDMError: The method failed; the message ends with what it logged.
    """
    return measured_apart(__name__, method, str(clip), str(frames))


def measured_apart(module: str, what: str, *arguments: str) -> MethodCost:
    """Run a module in a process of its own that ends with `answer`.

    Args:
        module: Its full name.
        what: What is measured, its first argument.
        arguments: The others.

    Raises:
        VLDMError: The process failed; the message ends with what it logged.
    """
    done = run_module(module, what, *arguments)
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-12:])
        raise VLDMError(f"measuring {what} ended with code {done.returncode}:\n{tail}")
    # Libraries may greet on standard output; the answer is the last line.
    return MethodCost(**json.loads(done.stdout.splitlines()[-1]))


def answer(cost: MethodCost) -> None:
    """Hand a cost to the process that waits in `measured_apart`."""
    sys.stdout.write(json.dumps(vars(cost)) + "\n")


def serve(name: str, path: Path, count: int) -> MethodCost:
    """Measure a method in this process; see `measure_cost`."""
    method = METHODS[name]
    loaded = peak_memory_mb()
    frames = AgedClip.load(path).aged[:count].clone()
    return timed(lambda number: _run(method, frames[:number]), len(frames), loaded)


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


def _run(method: Method, frames: Tensor) -> None:
    if method.restore is not None:
        method.restore(frames)
        return
    masks = Masks() if method.detect is None else method.detect(frames)
    if method.repair is not None:
        method.repair(frames, masks)


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


if __name__ == "__main__":
    answer(serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
