"""What a program and all that it starts take of the processors."""

import os
import threading
from pathlib import Path

from vldm_core.errors import VLDMError

_EVERY_S = 0.2


class FamilyTime:
    """Counts the time of a process and of all its descendants, those that end meanwhile too. Linux only.

    Processes are looked at five times a second: what one does after the last look before its end is missed.

    Args:
        pid: Of the first process.
    """

    def __init__(self, pid: int) -> None:
        if not Path("/proc/self/stat").exists():
            raise VLDMError("the time of processors is read from /proc, which this system has not")
        self._pid = pid
        self._spent: dict[int, float] = {pid: 0.0}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        found: dict[int, tuple[int, float]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    # The name in brackets may hold spaces.
                    facts = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
                except OSError:
                    continue
                found[int(entry.name)] = int(facts[1]), (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")
        while new := {pid for pid, (parent, _) in found.items() if parent in self._spent and pid not in self._spent}:
            self._spent.update(dict.fromkeys(new, 0.0))
        for pid in self._spent.keys() & found.keys():
            self._spent[pid] = max(self._spent[pid], found[pid][1])

    def end(self) -> tuple[float, float]:
        """Stop counting; return the seconds of all, and of the first process alone."""
        self._ended.set()
        self._thread.join()
        return sum(self._spent.values()), self._spent[self._pid]
