"""A ComfyUI without a server that runs pytest files: the other end of `inside_host`.

Started as ``python inside_main.py PATH/TO/ComfyUI FOLDER``. FOLDER becomes the host's base folder. Every line of
standard input is an order, answered by lines of standard output, all of them JSON:

    {"tests": ["tests/host/inside/…::test_…", …]}       how many there are, a line a phase of each, {"done": true}
    {"call": ["inside.MODULE", "FUNCTION", ARGUMENT…]}   {"done": true}, or with it what was raised, {"raised": …}

What is printed otherwise goes to standard error. The process ends when standard input does.
"""

import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[2]
INSIDE = Path(__file__).resolve().parent / "inside"


def become_host(host_folder: str, base: str) -> None:
    """Make this process a host, with the pack as `pack` and the helpers of the tests as `inside`."""
    operators = ROOT / "vldm_core" / "machine" / "vision_operators.py"
    _load("vision_operators", operators).declare_missing_operators()
    sys.path.insert(0, host_folder)
    # The folders that the host makes must not be those of a user.
    sys.argv = ["main.py", "--cpu", "--base-directory", base]
    options = importlib.import_module("comfy.options")
    options.enable_args_parsing()
    _load("pack", ROOT / "__init__.py", folder=ROOT)
    package = ModuleType("inside")
    package.__path__ = [str(INSIDE)]
    sys.modules["inside"] = package


def _load(name: str, path: Path, folder: Path | None = None) -> ModuleType:
    search = None if folder is None else [str(folder)]
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=search)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Reports:
    """Sends what becomes of every test, and of files that cannot be collected."""

    def __init__(self, answers: TextIO) -> None:
        self.answers = answers

    def send(self, **message: Any) -> None:
        self.answers.write(json.dumps(message) + "\n")
        self.answers.flush()

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.send(broken=str(report.longrepr))

    def pytest_collection_finish(self, session: Any) -> None:
        self.send(collected=Counter(item.nodeid.partition("[")[0] for item in session.items))

    def pytest_runtest_logreport(self, report: Any) -> None:
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        if report.failed:
            text = "\n".join([text, *(f"{title}\n{content}" for title, content in report.sections if content)])
        self.send(test=report.nodeid, when=report.when, outcome=report.outcome, text=text)


def run_tests(names: list[str], base: str, answers: TextIO) -> None:
    """Run tests by their node ids, relative to the checkout."""
    import pytest

    pytest.main(
        [
            f"--rootdir={ROOT}",
            f"--config-file={ROOT / 'pyproject.toml'}",
            # The fixtures of the other tests are for the other side.
            f"--confcutdir={INSIDE}",
            "--override-ini=addopts=--import-mode=importlib",
            f"--basetemp={Path(base) / 'pytest'}",
            "-pno:cacheprovider",
            *(str(ROOT / name) for name in names),
        ],
        plugins=[Reports(answers)],
    )


def orders(source: TextIO) -> Iterator[dict[str, Any]]:
    """Yield the orders until nobody is there to give one."""
    while line := source.readline():
        yield json.loads(line)


def main() -> None:
    """Answer orders."""
    host_folder, base = sys.argv[1:]
    # pytest and the host write to the first two streams as they like.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    source = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(2, 1)
    become_host(host_folder, base)
    for order in orders(source):
        done: dict[str, Any] = {"done": True}
        if "tests" in order:
            run_tests(order["tests"], base, answers)
        else:
            module, function, *arguments = order["call"]
            try:
                getattr(importlib.import_module(module), function)(*arguments)
            except Exception:  # noqa: BLE001 - whoever gave the order is told
                done["raised"] = traceback.format_exc()
        answers.write(json.dumps(done) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
