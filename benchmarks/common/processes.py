"""Processes of their own for what is measured, in which the benchmarks can be imported as well."""

import os
import subprocess
import sys
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]


def run_module(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m module`` to its end and return what it wrote; its exit code is not looked at."""
    path = os.pathsep.join(part for part in (str(_REPOSITORY), os.environ.get("PYTHONPATH")) if part)
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
