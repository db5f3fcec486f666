"""Runs a program to its end and measures what it took: time by the clock, time of all processors, memory."""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vldm_core.errors import VLDMError

from .own_process import last_lines


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a program took, from its start to its end.

    Attributes:
        seconds: By the clock.
        cpu_seconds: Of all its threads and of the programs that it ran, or None where the system does not tell.
        peak_mb: High-water mark of its memory, MB of 10^6 bytes, or None likewise.
    """

    seconds: float
    cpu_seconds: float | None
    peak_mb: float | None


def run_measured(
    words: Sequence[str], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Spent:
    """Run a program.

    Args:
        words: Its command line.
        environment: Variables that are set beside those of this process.
        folder: Where it runs; None is here.

    Raises:
        VLDMError: It cannot be started, or failed; the message ends with what it logged.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                list(words), stdout=log, stderr=log, env={**os.environ, **(environment or {})}, cwd=folder
            )
        except OSError as error:
            raise VLDMError(f"{words[0]} cannot be started: {error}") from error
        try:
            cpu, peak = _waited(process)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.monotonic() - started
        if process.returncode:
            log.seek(0)
            said = last_lines(log.read().decode(errors="replace"))
            raise VLDMError(f"{words[0]} ended with code {process.returncode}:\n{said}")
    return Spent(seconds=seconds, cpu_seconds=cpu, peak_mb=peak)


def _waited(process: "subprocess.Popen[bytes]") -> tuple[float | None, float | None]:
    """Wait for the end; returns the seconds of processors and the memory, where the system tells them."""
    if not hasattr(os, "wait4"):
        process.wait()
        return None, None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if os.uname().sysname == "Darwin" else 1024
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6
