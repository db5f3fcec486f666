"""A checkout of this repository with a warm process in it that can be asked for figures."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vldm_core.errors import VLDMError

_WORKER = Path(__file__).with_name("worker.py")
_REPOSITORY = Path(__file__).resolve().parents[2]


class Checkout:
    """Asks the warm process of a checkout; make one with `warm_process`.

    Attributes:
        facts: What the process says of itself: `package` (file of the package it has loaded), `threads`, `torch`.
    """

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process = process
        self._log = log
        self.facts: dict[str, Any] = self._answer()

    def ask(self, part: str, film: Path, folder: Path) -> dict[str, Any]:
        """Measure one part on one film, once.

        Args:
            part: Name in `settings.PARTS`.
            film: Film file.
            folder: Where a restored film may be written.

        Raises:
            VLDMError: The process ended; the message ends with what it said.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"part": part, "film": str(film), "folder": str(folder)}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            # Its answer, which is none, tells why.
            pass
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            tail = "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
            raise VLDMError(f"the measuring process ended with code {self._process.wait()}:\n{tail}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def warm_process(folder: Path | None = None) -> Iterator[Checkout]:
    """Start a process in a checkout, which ends with the block.

    Args:
        folder: Folder of the checkout; None is this one.

    Raises:
        VLDMError: The process does not start, or has loaded another package than that of the folder.
    """
    root = (folder or _REPOSITORY).resolve()
    with tempfile.TemporaryDirectory(prefix="vldm-cost-") as own:
        log = Path(own) / "log"
        with log.open("wb") as errors:
            # -P: the worker's own folder holds modules of this checkout, not of that one.
            process = subprocess.Popen(
                [sys.executable, "-P", str(_WORKER)],
                cwd=root,
                env={**os.environ, "PYTHONPATH": str(root)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
            )
        try:
            checkout = Checkout(process, log)
            if not Path(checkout.facts["package"]).resolve().is_relative_to(root):
                raise VLDMError(f"the process for {root} has loaded {checkout.facts['package']}; name the right folder")
            yield checkout
        finally:
            process.kill()
            process.communicate()
