"""Work is shared out among processes, and they end with the one that started them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.common.workers import lanes
from vldm_core.errors import VLDMError


def test_a_lane_that_is_killed_is_reported():
    with lanes(1) as workers, pytest.raises(VLDMError, match="run with fewer lanes"):
        workers.run([(os._exit, (3,))], lambda done, total: None)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
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
    worker = int(done.stdout)
    deadline = time.monotonic() + 20
    while _lives(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _lives(worker)


def _lives(process: int) -> bool:
    """Whether a process is there and is no zombie that nobody has collected."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(") ")[2].split()[0] != "Z"
