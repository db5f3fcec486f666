"""``python -m vldm_core benchmark …`` hands on to the benchmarks, which lie beside the package in its repository."""

import importlib
import sys
from pathlib import Path

import typer

from ..errors import VLDMError
from .support import reported

_REPOSITORY = Path(__file__).resolve().parents[2]


class BenchmarksNotFoundError(VLDMError):
    """The benchmarks are not on this machine: an installed package has none."""


def _application() -> typer.Typer:
    if not (_REPOSITORY / "benchmarks" / "cli.py").is_file():
        raise BenchmarksNotFoundError(
            f"no benchmarks beside {_REPOSITORY / 'vldm_core'}; they are a part of the repository, not of the package: "
            "clone it and run the command there"
        )
    if str(_REPOSITORY) not in sys.path:
        sys.path.append(str(_REPOSITORY))
    application: typer.Typer = importlib.import_module("benchmarks.cli").app
    return application


def benchmark(context: typer.Context) -> None:
    """Measure the stages beside their baselines, all in one run."""
    with reported():
        application = _application()
    application(context.args, prog_name=context.command_path)
