"""Work is shared out among processes, and they end with the one that started them."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.common.workers import lanes
from vldm_core.errors import VLDMError

_PATIENCE = 20.0
"""Seconds after which a process counts as never ending."""


def test_a_lane_that_is_killed_is_reported():
    with lanes(1) as workers, pytest.raises(VLDMError, match="run with fewer lanes"):
        workers.run([(os._exit, (3,))], lambda done, total: None)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux, to wait for a process of another")
def test_lanes_end_with_the_process_that_started_them(tmp_path):
    """Even when it is killed."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os\n"
        "from benchmarks.common.workers import lanes\n"
        "if __name__ == '__main__':\n"
        "    with lanes(1) as workers:\n"
        "        print(workers.run([(os.getpid, ())], lambda done, total: None)[0], flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == -9, done.stderr
    try:
        ended = os.pidfd_open(int(done.stdout))
    except ProcessLookupError:
        return
    try:
        assert select.select([ended], [], [], _PATIENCE)[0], "the worker outlived the process that started it"
    finally:
        os.close(ended)
