"""The tests below tests/host/inside run inside a ComfyUI, in one process for all of them.

The host's modules cannot be imported beside the other tests: it has a `nodes` and a `server` of its own, and it sets up
torch as it likes. So pytest only learns the names of the tests here, from the source of their files; a process that is
a host (inside_main.py) runs them, in one pytest session a file, and every test passes, fails or is skipped here as it
did there. Below inside/, tests are ordinary pytest functions that import `comfy` and, as `pack`, this pack.
"""

import ast
import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .local_host import require_host

INSIDE = Path(__file__).resolve().parent / "inside"
# A process that says nothing for so long is stuck: the longest test takes about a tenth of it. In seconds.
PATIENCE_S = 300.0
_HOST = pytest.StashKey["InsideHost"]()


class InsideFailureError(Exception):
    """A test failed inside the host; the message is pytest's own report from there."""


class InsideHost:
    """The host process; starts with the first order."""

    def __init__(self, host_folder: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vldm-inside-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "host.log"
        program = Path(__file__).with_name("inside_main.py")
        self._command = [sys.executable, str(program), str(host_folder), self._folder.name]
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._answering = False
        self._expected: set[str] = set()
        self._counts: dict[str, int] = {}
        self._reports: dict[str, list[dict[str, Any]]] = {}
        self._broken: list[str] = []

    def call(self, module: str, function: str, *arguments: str) -> None:
        """Call a function of a module below inside/."""
        self._order({"call": [f"inside.{module}", function, *arguments]})
        while self._answering:
            message = self._next()
            if "raised" in message:
                raise InsideFailureError(message["raised"])

    def begin(self, names: list[str]) -> None:
        """Start running tests, all of one file, by node id."""
        self._order({"tests": names})
        self._expected = set(names)

    def expects(self, name: str) -> bool:
        """Whether this test was begun, and no process ended since then."""
        return name in self._expected

    def reports(self, name: str) -> list[dict[str, Any]]:
        """Wait until a test that was begun has ended with all its parameters; return its reports.

        Raises:
            InsideFailureError: The process ended or is stuck, or there is no such test.
        """
        while self._answering and not self._has_ended(name):
            message = self._next()
            if "collected" in message:
                self._counts = message["collected"]
            elif "broken" in message:
                self._broken.append(message["broken"])
            elif "test" in message:
                self._reports.setdefault(function_of(message["test"]), []).append(message)
        if name not in self._reports:
            raise InsideFailureError("\n".join(self._broken) or f"the host did not run {name}; {self._tail()}")
        return self._reports[name]

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        self._answering, self._expected = False, set()
        if process is not None:
            assert process.stdin is not None and process.stdout is not None
            process.kill()
            process.wait()
            process.stdin.close()

    def close(self) -> None:
        """End the process and remove its folder."""
        self.stop()
        self._folder.cleanup()

    def _has_ended(self, name: str) -> bool:
        ended = sum(report["when"] == "teardown" for report in self._reports.get(name, ()))
        return bool(ended) and ended == self._counts[name]

    def _order(self, order: dict[str, Any]) -> None:
        while self._answering:
            # The rest of an order before, of which nothing is asked any more.
            self._next()
        self._expected, self._counts, self._reports, self._broken = set(), {}, {}, []
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._answering = True

    def _start(self) -> None:
        self.stop()
        with self._log.open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                self._command,
                cwd=self._folder.name,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
            )
        answers: queue.SimpleQueue[str] = queue.SimpleQueue()

        def listen() -> None:
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    answers.put(line)
            answers.put("")

        threading.Thread(target=listen, daemon=True).start()
        self._process, self._answers = process, answers

    def _next(self) -> dict[str, Any]:
        """Return the next answer."""
        try:
            line = self._answers.get(timeout=PATIENCE_S)
        except queue.Empty:
            line, what = "", f"said nothing for {PATIENCE_S:g} s"
        else:
            what = "ended"
        if not line:
            self.stop()
            raise InsideFailureError(f"the host process {what}; {self._tail()}")
        message: dict[str, Any] = json.loads(line)
        if message.get("done"):
            self._answering = False
        return message

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        # Progress bars write over their own line.
        return "its log ends with\n" + "\n".join([line for line in lines if "it/s]" not in line][-40:])


def function_of(node_id: str) -> str:
    """Return a test's node id without its parameters."""
    return node_id.partition("[")[0]


def inside_host(config: pytest.Config, host_folder: Path) -> InsideHost:
    """Return the one host process of this test session."""
    if _HOST not in config.stash:
        config.stash[_HOST] = InsideHost(host_folder)
        config.add_cleanup(config.stash[_HOST].close)
    return config.stash[_HOST]


class InsideFile(pytest.File):
    """A file of tests that are known by name here and run inside the host."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the functions that pytest would take for tests."""
        self.add_marker("host")
        for statement in ast.parse(self.path.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.ClassDef) and statement.name.startswith("Test"):
                raise self.CollectError(f"{self.path}: tests inside the host are functions, not classes")
            if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test"):
                yield InsideTest.from_parent(self, name=statement.name, line=statement.lineno - 1)


class InsideTest(pytest.Item):
    """A test function with all its parameters."""

    def __init__(self, *, line: int, **more: Any) -> None:
        super().__init__(**more)
        self.line = line

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the test is, for pytest's reports."""
        return self.path, self.line, self.name

    def runtest(self) -> None:
        """Let the host run what is left of the file, unless it does already; wait for this test."""
        host = inside_host(self.config, require_host())
        if not host.expects(self.nodeid):
            file = [item.nodeid for item in self.session.items if item.parent is self.parent]
            host.begin(file[file.index(self.nodeid) :])
        reports = host.reports(self.nodeid)
        failed, skipped = ([report for report in reports if report["outcome"] == how] for how in ("failed", "skipped"))
        if failed:
            parts = (f"{report['test']}, {report['when']}\n{report['text']}" for report in failed)
            raise InsideFailureError("\n\n".join(parts))
        if skipped:
            # Of a test with parameters as a whole, so that no skip hides among those that passed.
            pytest.skip("; ".join(dict.fromkeys(report["text"] for report in skipped)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show what the host's pytest showed."""
        if isinstance(excinfo.value, InsideFailureError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)
