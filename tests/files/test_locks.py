"""A lock is held by one process, and let go of when that ends."""

import subprocess
import sys

from vldm_core.files.locks import locked

HOLD = "import sys, time; from vldm_core.files.locks import locked; from pathlib import Path\n"
HOLD += "with locked(Path(sys.argv[1])) as held: print(held, flush=True); time.sleep(60)"


def test_one_at_a_time(tmp_path):
    path = tmp_path / "lock"
    with locked(path) as first, locked(path) as second:
        assert first and not second
    with locked(path) as again:
        assert again


def test_a_killed_process_holds_nothing(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline().strip() == "True"
        with locked(path) as held:
            assert not held
        process.kill()
    with locked(path) as held:
        assert held
