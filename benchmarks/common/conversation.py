"""A process that stays warm and answers one question after the other, each a line of JSON."""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vldm_core.errors import VLDMError

from .own_process import last_lines


class WarmProcess:
    """Asks a process; make one with `warm_process`."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path, what: str) -> None:
        self._process, self._log, self._what = process, log, what

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Ask something.

        Raises:
            VLDMError: The process ended; the message ends with what it logged.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(dict(question)) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # It is gone; the empty answer below tells why.
        return self.heard()

    def heard(self) -> dict[str, Any]:
        """Wait for the next answer.

        Raises:
            VLDMError: The process ended; the message ends with what it logged.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            # Its last words come after it has closed its answers.
            code = self._process.wait()
            tail = last_lines(self._log.read_text(encoding="utf-8", errors="replace"))
            raise VLDMError(f"{self._what} ended with code {code} instead of answering:\n{tail}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def warm_process(
    command: Sequence[str], *, what: str, environment: Mapping[str, str], folder: Path | None = None
) -> Iterator[WarmProcess]:
    """Start a process that reads a line of JSON and answers with one, until it is ended with the block.

    Args:
        command: Program and arguments.
        what: What it is, for messages.
        environment: Of the process, whole.
        folder: Where it runs; None is here.
    """
    with tempfile.TemporaryDirectory(prefix="vldm-process-") as own:
        log = Path(own) / "log.txt"
        with (
            log.open("wb") as errors,
            subprocess.Popen(
                list(command),
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
            ) as process,
        ):
            try:
                yield WarmProcess(process, log, what)
            finally:
                # It holds nothing worth a graceful end, and may be in the middle of a long run.
                process.kill()
                # What it did not read is lost, and must not hide why.
                with suppress(BrokenPipeError):
                    process.communicate()
