"""Freed planes of large frames serve the next ones, and go back to the system when that is asked for."""

import subprocess
import sys
from fractions import Fraction

import pytest
import torch

from vldm_core.machine.allocator import keep_to_one_heap, share_one_heap
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.clip import write_clip

# Planes of a large frame are made in turn with small things that stay, as caches and results do.
PROGRAM = """
import resource, sys, threading
import numpy as np
from vldm_core.machine.allocator import give_blocks_back, share_one_heap

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

if sys.argv[1] == "shared":
    assert share_one_heap() and share_one_heap()
np.ones(3_000_000, np.float32)
before, faults, kept = resident(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt, []

def work():
    for size in range(40):
        planes = [np.ones(1_500_000 + 100_000 * (size % 7), np.float32) for _ in range(6)]
        kept.append(np.ones(20_000, np.float32))
        features = np.ones(10_000_000, np.float32)
        del planes, features

for _ in range(4):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
give_blocks_back()
print(resident() - before, faults)
"""


def measured(how: str) -> tuple[float, int]:
    """Megabytes that a process keeps of freed planes in the end, and pages that it was given."""
    run = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    left, faults = run.stdout.split()
    return float(left), int(faults)


@pytest.mark.skipif(not share_one_heap(), reason="this C library has heaps of another kind")
def test_freed_planes_serve_the_next_and_go_back_in_the_end() -> None:
    left, faults = measured("shared")
    assert left < 30
    assert faults < measured("as is")[1] / 2


@pytest.mark.parametrize(("width", "height", "asked"), [(480, 368, False), (1280, 720, False), (1920, 1080, True)])
def test_large_films_alone_ask_for_it(tmp_path, monkeypatch, width: int, height: int, asked: bool) -> None:
    calls = []
    monkeypatch.setattr("vldm_core.video.reading.reader.share_one_heap", lambda: calls.append(1))
    write_clip(tmp_path / "film.mkv", torch.full((2, 3, height, width), 0.5), Fraction(24))
    with open_film(tmp_path / "film.mkv"):
        assert bool(calls) is asked


WINDOWS = """
import sys, threading
import numpy as np
from vldm_core.machine.allocator import keep_to_one_heap, part_windows_from_planes

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

assert keep_to_one_heap()
# A large block that was given back: glibc takes all smaller ones from the heap from now on.
np.ones(6_000_000, np.float32)
if sys.argv[1] == "parted":
    assert part_windows_from_planes(160, 120)
before, kept = resident(), []

def work():
    for size in range(200):
        window = np.ones((24 + size % 5, 3, 120, 160), np.float32)
        kept.append(np.ones(3 * 120 * 160, np.uint8))
        del window

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(resident() - before - sum(each.nbytes for each in kept) / 1e6)
"""


@pytest.mark.skipif(not keep_to_one_heap(), reason="this C library has heaps of another kind")
def test_windows_leave_no_gaps_among_planes() -> None:
    def left(how: str) -> float:
        run = subprocess.run([sys.executable, "-c", WINDOWS, how], capture_output=True, text=True, check=True)
        return float(run.stdout)

    parted, as_it_comes = left("parted"), left("as it comes")
    assert parted < 2 < as_it_comes, (parted, as_it_comes)
