"""Runs one method in a process of its own, so that its time and its memory are its own.

The parent writes one JSON request per line to the worker's standard input and reads one JSON answer per line from its
standard output; frames and masks travel as NumPy files. The worker does nothing but run the method: ageing and scoring
stay in the parent, and the parent waits meanwhile, so neither disturbs the clock.

Peak memory is the high-water mark of resident memory of the whole worker process: interpreter, libraries, the clip and
what the method needs. Allocation tracers see neither OpenCV nor torch, so the kernel's own count is taken (VmHWM on
Linux, ru_maxrss elsewhere on Unix; none on Windows).
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import VLDMError
from .film_methods import METHODS, Masks, Method

Task = Literal["restore", "repair", "detect"]
"""restore: detect, then repair. repair: with the masks handed over. detect: nothing else."""


@dataclass(frozen=True, kw_only=True)
class MethodRun:
    """What a method made of a clip, and what that cost.

    Attributes:
        masks: What it found, or what it was given.
        output: (T, 3, H, W) after repair, or None for a detector.
        even: (T, 3, H, W) after repair and deflicker, or None where that was not asked for.
        seconds: Wall time of detection and repair.
        deflicker_seconds: Wall time of the deflicker stage, 0 where it did not run.
        peak_mb: High-water mark of the process so far, MB of 10^6 bytes, or None where the system does not tell.
    """

    masks: Masks
    output: Tensor | None
    even: Tensor | None
    seconds: float
    deflicker_seconds: float
    peak_mb: float | None


class MethodWorker:
    """The parent's end of a worker; make it with `method_worker`."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path, log: Path) -> None:
        self._process, self._folder, self._log = process, folder, log
        self.loaded_mb: float | None = self._ask({"task": "hello"})["peak_mb"]

    def run(self, frames: Tensor, task: Task, masks: Masks | None = None, *, deflicker: bool = False) -> MethodRun:
        """Run the method on one clip.

        Args:
            frames: (T, 3, H, W) in [0, 1].
            task: What to do.
            masks: Damage for the task "repair".
            deflicker: Run the method's deflicker stage, if it has one, on what the repair gave.

        Raises:
            VLDMError: The worker failed; the message ends with what it logged.
        """
        source, result = self._folder / "source.npz", self._folder / "result.npz"
        masks = masks or Masks()
        _store(source, frames=frames, dirt=masks.dirt, lines=masks.lines)
        answer = self._ask({"task": task, "source": str(source), "result": str(result), "deflicker": deflicker})
        made = _fetch(result)
        result.unlink()
        return MethodRun(
            masks=Masks(dirt=made.get("dirt"), lines=made.get("lines")),
            output=made.get("output"),
            even=made.get("even"),
            seconds=answer["seconds"],
            deflicker_seconds=answer["deflicker_seconds"],
            peak_mb=answer["peak_mb"],
        )

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # The worker is gone; the empty answer below tells why.
        answer = self._process.stdout.readline()
        if not answer:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-12:])
            raise VLDMError(
                f"the benchmark worker ended with code {self._process.wait()} instead of answering:\n{tail}"
            )
        return json.loads(answer)


@contextmanager
def method_worker(method: str) -> Iterator[MethodWorker]:
    """Start a worker for one of `METHODS`; it ends with the block, whatever happens in it."""
    with tempfile.TemporaryDirectory(prefix="vldm-worker-") as name:
        folder = Path(name)
        log = folder / "log.txt"
        with (
            log.open("w") as errors,
            subprocess.Popen(
                [sys.executable, "-m", __name__, method],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            try:
                yield MethodWorker(process, folder, log)
            finally:
                # It holds nothing worth a graceful end, and may be in the middle of a long clip.
                process.kill()


def serve(name: str) -> None:
    """Answer requests from standard input until it ends."""
    # Libraries that greet on standard output would break the protocol; they get standard error instead.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        if request["task"] == "hello":
            answer: dict[str, Any] = {"peak_mb": peak_memory_mb()}
        else:
            answer = _serve_clip(METHODS[name], request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _serve_clip(method: Method, request: dict[str, Any]) -> dict[str, Any]:
    clip = _fetch(Path(request["source"]))
    frames = clip["frames"]
    masks = Masks(dirt=clip.get("dirt"), lines=clip.get("lines"))
    output = even = None
    deflicker_seconds = 0.0
    start = time.perf_counter()
    if request["task"] != "repair" and method.detect is not None:
        masks = method.detect(frames)
    if request["task"] != "detect" and method.repair is not None:
        output = method.repair(frames, masks)
    seconds = time.perf_counter() - start
    if request["deflicker"] and method.deflicker is not None and output is not None:
        start = time.perf_counter()
        even = method.deflicker(output)
        deflicker_seconds = time.perf_counter() - start
    peak = peak_memory_mb()
    _store(Path(request["result"]), dirt=masks.dirt, lines=masks.lines, output=output, even=even)
    return {"seconds": seconds, "deflicker_seconds": deflicker_seconds, "peak_mb": peak}


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


def _store(path: Path, **tensors: Tensor | None) -> None:
    np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None})  # type: ignore[arg-type]


def _fetch(path: Path) -> dict[str, Tensor]:
    with np.load(path) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


if __name__ == "__main__":
    serve(sys.argv[1])
