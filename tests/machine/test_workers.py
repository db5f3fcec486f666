"""How many processes suit a machine follows from its cores and its memory."""

import pytest

from vldm_core.machine import workers


@pytest.mark.parametrize(
    ("cores", "free", "expected"),
    [(1, 64 << 30, 1), (2, 64 << 30, 1), (8, 64 << 30, 4), (8, 7 << 30, 2), (8, 1 << 30, 1), (6, None, 3)],
)
def test_cores_and_memory_bound_them(monkeypatch, cores, free, expected):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(workers, "_free_bytes", lambda: free)
    assert workers.suitable_workers() == expected
