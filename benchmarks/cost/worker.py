"""A warm process in one checkout: measures one thing after the other, as it is asked to.

It is run as a file, with the checkout's folder as PYTHONPATH, and uses nothing but what that checkout holds: the other
checkout may be an older one, without this file. It reads one request a line and answers with one line, both JSON. What
libraries say on standard output goes to standard error.
"""

import dataclasses
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

_METHODS = ("benchmarks.detection.methods", "benchmarks.film.methods", "vldm_core.evaluation.film_methods")
"""Where checkouts keep the methods of the detection benchmark, the newest first."""


class FlowCount:
    """Counts the dense optical flows that are estimated, and the pixels that they are estimated on."""

    def __init__(self) -> None:
        self.flows = 0
        self.pixels = 0
        self._lock = threading.Lock()
        make = cv2.DISOpticalFlow.create
        count = self

        class Counted:
            """An estimator of OpenCV whose `calc` is counted."""

            def __init__(self, *preset: int) -> None:
                self._estimator = make(*preset)

            def __getattr__(self, name: str) -> Any:
                return getattr(self._estimator, name)

            def calc(self, first: np.ndarray, second: np.ndarray, flow: Any) -> Any:
                count.add(first.size)
                return self._estimator.calc(first, second, flow)

        class Factory:
            """Stands for `cv2.DISOpticalFlow`."""

            create = Counted

        cv2.DISOpticalFlow = Factory  # type: ignore[assignment, misc]
        cv2.DISOpticalFlow_create = Counted  # type: ignore[attr-defined]

    def add(self, pixels: int) -> None:
        """Count one flow."""
        with self._lock:
            self.flows += 1
            self.pixels += pixels


def peak_memory_mb() -> float | None:
    """Return the high-water mark of this process's resident memory, MB of 10^6 bytes, or None where it is not told."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def _first_of(names: tuple[str, ...]) -> Any:
    """Import the first of these modules that there is."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
    raise ModuleNotFoundError(f"this checkout has none of {', '.join(names)}")


def _work(part: str, film: Path, folder: Path) -> tuple[Callable[[], None], int]:
    """Return what is measured and the number of its frames; what starts from memory has the film read beforehand."""
    reel = importlib.import_module("vldm_core.reel.restore")
    settings = reel.ReelSettings()
    with settings.read.open(film) as opened:
        clip = torch.stack([frame.tensor() for frame in opened])
    if part == "repair":
        restore = _first_of(_METHODS).METHODS["ours"].restore
        # A copy, so that nothing that is remembered of these frames saves time.
        return (lambda: restore(clip.clone())), len(clip)
    if part == "without network":
        # An older checkout may know nothing of one of them.
        settings = dataclasses.replace(
            settings, **{name: None for name in ("average", "prerestore") if hasattr(settings, name)}
        )
    target = folder / f"restored-{os.getpid()}.mkv"

    def restore_file() -> None:
        reel.restore_film(film, target, settings)
        target.unlink()

    return restore_file, len(clip)


def measure(part: str, film: Path, folder: Path, count: FlowCount) -> dict[str, float | None]:
    """Run something once, timed.

    Args:
        part: Name in `settings.PARTS`.
        film: Film file.
        folder: Where a restored film may be written.
        count: The flows of this process.

    Returns:
        Frames; wall time and the time of all threads together, s a frame; flows a pair of neighbouring frames, and the
        same in frames' worth of pixels; peak memory in MB of 10^6 bytes.
    """
    work, frames = _work(part, film, folder)
    flows, pixels = count.flows, count.pixels
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    with importlib.import_module("vldm_core.reel.restore").ReelSettings().read.open(film) as opened:
        size = opened.info.width * opened.info.height
    return {
        "frames": frames,
        "seconds_per_frame": wall / frames,
        "cpu_seconds_per_frame": cpu / frames,
        "flows_per_pair": (count.flows - flows) / (frames - 1),
        "flow_frames_per_pair": (count.pixels - pixels) / (frames - 1) / size,
        "peak_mb": peak_memory_mb(),
    }


def main() -> None:
    """Answer requests until there are no more."""
    # A descriptor of its own, so that libraries that greet on standard output do not answer.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        count = FlowCount()
        package = importlib.import_module("vldm_core")
        facts = {"package": package.__file__, "threads": torch.get_num_threads(), "torch": torch.__version__}
        answers.write(json.dumps(facts) + "\n")
        answers.flush()
        for line in sys.stdin:
            request = json.loads(line)
            figures = measure(request["part"], Path(request["film"]), Path(request["folder"]), count)
            answers.write(json.dumps(figures) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
