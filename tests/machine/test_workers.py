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


def test_sums_are_the_same_whatever_the_number_of_cores():
    """Inside the block one thread multiplies, and afterwards as many as before."""
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        with workers.same_sums():
            assert threads() and set(threads()) == {1}
        assert threads()[: len(before)] == before
