"""A checkout of this repository with a warm process in it that can be asked for figures."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vldm_core.errors import VLDMError

from ..common.conversation import WarmProcess, warm_process
from ..common.own_process import REPOSITORY

_WORKER = Path(__file__).with_name("worker.py")


class Checkout:
    """Asks the warm process of a checkout; make one with `opened_checkout`.

    Attributes:
        facts: What the process says of itself: `package` (file of the package it has loaded), `threads`, `torch`.
    """

    def __init__(self, process: WarmProcess) -> None:
        self._process = process
        self.facts: dict[str, Any] = process.heard()

    def ask(self, part: str, film: Path, folder: Path) -> dict[str, Any]:
        """Measure one part on one film, once.

        Args:
            part: Name in `settings.PARTS`.
            film: Film file.
            folder: Where a restored film may be written.

        Raises:
            VLDMError: The process ended; the message ends with what it said.
        """
        return self._process.ask({"part": part, "film": str(film), "folder": str(folder)})


@contextmanager
def opened_checkout(folder: Path | None = None) -> Iterator[Checkout]:
    """Start a process in a checkout, which ends with the block.

    Args:
        folder: Folder of the checkout; None is this one.

    Raises:
        VLDMError: The process does not start, or has loaded another package than that of the folder.
    """
    root = (folder or REPOSITORY).resolve()
    # -P: the worker's own folder holds modules of this checkout, not of that one.
    command = [sys.executable, "-P", str(_WORKER)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with warm_process(command, what="the measuring process", environment=environment, folder=root) as process:
        checkout = Checkout(process)
        if not Path(checkout.facts["package"]).resolve().is_relative_to(root):
            raise VLDMError(f"the process for {root} has loaded {checkout.facts['package']}; name the right folder")
        yield checkout
