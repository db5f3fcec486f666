"""Memory of large planes goes back to the system when they are freed."""

import subprocess
import sys
from fractions import Fraction

import pytest
import torch

from vldm_core.machine.allocator import give_large_blocks_back
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.clip import write_clip

# Planes of a large frame are made in turn with small things that stay, as caches and results do.
PROGRAM = """
import sys, threading
import numpy as np
from vldm_core.machine.allocator import give_large_blocks_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

if sys.argv[1] == "back":
    assert give_large_blocks_back() and give_large_blocks_back()
np.ones(3_000_000, np.float32)
before, kept = resident(), []

def work():
    for size in range(40):
        planes = [np.ones(1_500_000 + 100_000 * (size % 7), np.float32) for _ in range(6)]
        kept.append(np.ones(20_000, np.float32))

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(resident() - before)
"""


def left_over(how: str) -> float:
    """Megabytes that a process keeps of freed planes."""
    run = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return float(run.stdout)


@pytest.mark.skipif(not give_large_blocks_back(), reason="this C library gives large blocks back by itself")
def test_freed_planes_go_back_to_the_system() -> None:
    assert left_over("back") < 30 < left_over("as is")


@pytest.mark.parametrize(("width", "height", "asked"), [(480, 368, False), (1280, 720, False), (1920, 1080, True)])
def test_large_films_alone_ask_for_it(tmp_path, monkeypatch, width: int, height: int, asked: bool) -> None:
    calls = []
    monkeypatch.setattr("vldm_core.video.reading.reader.give_large_blocks_back", lambda: calls.append(1))
    write_clip(tmp_path / "film.mkv", torch.full((2, 3, height, width), 0.5), Fraction(24))
    with open_film(tmp_path / "film.mkv"):
        assert bool(calls) is asked
