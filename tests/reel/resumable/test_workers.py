"""Several processes give the frames of one, also where one of them is killed."""

import os
import signal
import sys

import numpy as np
import pytest

from vldm_core.errors import SettingsError
from vldm_core.reel.restore import restore_film
from vldm_core.reel.resumable.run import RunSettings, restore_reel
from vldm_core.reel.resumable.sharing.cluster import _Cluster
from vldm_core.reel.resumable.sharing.job import WorkerError
from vldm_core.reel.resumable.sharing.processes import _Pool, _Worker
from vldm_core.reel.resumable.sharing.share import workers_from

from ..test_restore import frames_of
from .test_run import SETTINGS, EnoughError, stop_after

TWO = RunSettings(length=4, workers=2)


@pytest.fixture(scope="module")
def expected(small_film, tmp_path_factory):
    path = tmp_path_factory.mktemp("expected") / "out.mkv"
    restore_film(small_film, path, SETTINGS)
    return frames_of(path)


def test_two_workers_one_of_which_is_killed_make_the_same_film(small_film, expected, tmp_path, monkeypatch):
    pids, started = [], _Pool._start

    def start(pool):
        started(pool)
        pids.append(pool._workers[-1].process.pid)

    killed = []

    def progress(phase, done, total, preview=None):
        if phase == "restore" and done >= 6 and not killed:
            killed.append(pids[-1])
            os.kill(pids[-1], signal.SIGKILL)

    monkeypatch.setattr(_Pool, "_start", start)
    restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, progress, run=TWO)
    np.testing.assert_array_equal(frames_of(tmp_path / "out.mkv"), expected)
    assert killed and pids[-1] != killed[0]


def test_an_interrupt_ends_the_workers_and_keeps_what_is_finished(small_film, expected, tmp_path, monkeypatch):
    pools, real = [], _Pool.__init__

    def made(pool, *given):
        real(pool, *given)
        pools.append(pool)

    monkeypatch.setattr(_Pool, "__init__", made)
    with pytest.raises(EnoughError):
        restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, stop_after(10), run=TWO)
    assert not any(worker.process.is_alive() for worker in pools[0]._workers)
    restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, run=RunSettings(length=4))
    np.testing.assert_array_equal(frames_of(tmp_path / "out.mkv"), expected)


def test_a_chunk_that_ends_every_worker_ends_the_run(small_film, tmp_path, monkeypatch):
    monkeypatch.setattr(_Pool, "_start", _start_dying)
    with pytest.raises(WorkerError, match="ended by itself"):
        restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, run=TWO)


def _start_dying(pool):
    process = pool._context.Process(target=os._exit, args=(3,), daemon=True)
    process.start()
    process.join()
    worker = _Worker(process, pool._context.Queue())
    pool._workers.append(worker)
    pool._give(worker)


def test_a_ray_cluster_one_of_whose_workers_is_lost_makes_the_same_film(small_film, expected, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is an optional dependency; pip install vldm[ray]")
    actors, real, lost = [], _Cluster._actor, []

    def started(cluster):
        actors.append(real(cluster))
        return actors[-1]

    def progress(phase, done, total, preview=None):
        if phase == "restore" and actors and not lost:
            lost.append(actors[-1])
            ray.kill(actors[-1])

    monkeypatch.setattr(_Cluster, "_actor", started)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        monkeypatch.setattr("vldm_core.reel.resumable.sharing.cluster._CORES_EACH", 1)
        restore_reel(
            small_film, tmp_path / "out.mkv", SETTINGS, progress, run=RunSettings(length=4, workers="ray", keep=True)
        )
    finally:
        ray.shutdown()
    np.testing.assert_array_equal(frames_of(tmp_path / "out.mkv"), expected)
    assert lost and len(actors) > 2


@pytest.mark.parametrize("wrong", [0, -1, "rays", "ray=", "4 of them", ""])
def test_what_names_no_workers_is_refused(wrong):
    with pytest.raises(SettingsError, match="workers"):
        RunSettings(workers=wrong)


@pytest.mark.parametrize(("text", "workers"), [("3", 3), ("ray", "ray"), (" ray=auto ", "ray=auto")])
def test_workers_as_they_are_typed(text, workers):
    assert workers_from(text) == workers


def test_without_ray_it_is_said(small_film, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match="pip install"):
        restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, run=RunSettings(workers="ray"))
