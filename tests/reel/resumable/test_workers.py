"""Several processes give the frames of one, also where one of them is killed."""

import os
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest

from vldm_core.errors import FilmFileError, SettingsError, VLDMError
from vldm_core.progress import Pulse, silent
from vldm_core.reel.restore import restore_film
from vldm_core.reel.resumable.run import RunSettings, restore_reel
from vldm_core.reel.resumable.sharing.cluster import Cluster
from vldm_core.reel.resumable.sharing.job import WorkerError
from vldm_core.reel.resumable.sharing.processes import Processes, _Worker
from vldm_core.reel.resumable.sharing.share import hired, in_good_order, workers_from
from vldm_core.reel.resumable.work_folder import WorkFolder

from ..test_restore import frames_of
from .test_run import SETTINGS, EnoughError, stop_after

TWO = RunSettings(length=4, workers=2)


@pytest.fixture(scope="module")
def expected(small_film, tmp_path_factory):
    path = tmp_path_factory.mktemp("expected") / "out.mkv"
    restore_film(small_film, path, SETTINGS)
    return frames_of(path)


@pytest.fixture
def started(monkeypatch):
    """The workers that are started, in turn."""
    found, real = [], Processes._start

    def start(crew):
        found.append(real(crew))
        return found[-1]

    monkeypatch.setattr(Processes, "_start", start)
    return found


def made_of(folder):
    """First frames of the chunks that a run has made, in turn."""
    return [line["first"] for line in folder.journal() if line["event"] == "chunk"]


def test_two_workers_do_both_passes(small_film, expected, tmp_path, started):
    restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, run=TWO)
    np.testing.assert_array_equal(frames_of(tmp_path / "out.mkv"), expected)
    assert len(started) == 2
    assert not any(worker.process.is_alive() for worker in started)


def test_two_workers_one_of_which_is_killed_make_the_same_film(small_film, expected, tmp_path, started):
    killed = []

    def progress(phase, done, total, preview=None):
        if phase == "restore" and done >= 6 and not killed:
            killed.append(started[-1])
            os.kill(started[-1].process.pid, signal.SIGKILL)

    folder = WorkFolder(tmp_path / "work")
    restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, progress, run=replace(TWO, keep=True), folder=folder)
    np.testing.assert_array_equal(frames_of(tmp_path / "out.mkv"), expected)
    assert killed and len(started) == 3
    assert len(made_of(folder)) == len(set(made_of(folder))), "what was finished is not made again"


def test_an_interrupt_ends_the_workers_and_keeps_what_is_finished(small_film, expected, tmp_path, started):
    with pytest.raises(EnoughError):
        restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, stop_after(10), run=TWO)
    assert started and not any(worker.process.is_alive() for worker in started)
    restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, run=RunSettings(length=4))
    np.testing.assert_array_equal(frames_of(tmp_path / "out.mkv"), expected)


def test_a_chunk_that_ends_every_worker_ends_the_run(small_film, tmp_path, monkeypatch):
    monkeypatch.setattr(Processes, "_start", _start_dying)
    with pytest.raises(WorkerError, match="ended by itself"):
        restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, run=TWO)


def _start_dying(crew):
    ours, theirs = crew._context.Pipe()
    process = crew._context.Process(target=os._exit, args=(3,), daemon=True)
    process.start()
    theirs.close()
    worker = _Worker(process, ours)
    crew._workers.append(worker)
    return worker


class Wrong:
    """Work that cannot be done."""

    def __init__(self, error):
        self.error = error

    def open(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "told"), [(FilmFileError("it is gone"), "it is gone"), (KeyError("dirt"), "failed: KeyError")]
)
def test_what_a_worker_raises_is_raised_here(error, told):
    with hired(2) as crew, pytest.raises(VLDMError, match=told):
        crew.do(Wrong(error), [(1,), (2,)], Pulse(silent, "work", 2), print)


def test_the_longest_tasks_come_first_and_the_others_as_the_film_is_read():
    frames = [10, 12, 300, 9, 11, 500, 10]
    assert in_good_order("abcdefg", frames, 2) == tuple("fcabdeg")
    assert in_good_order("abcdefg", frames, 1) == tuple("abcdefg")
    assert in_good_order("abcdefg", [20] * 7, 2) == tuple("abcdefg")


@pytest.fixture
def ray():
    """Ray, where it is there; what a test starts of it ends with it."""
    found = pytest.importorskip("ray", reason="Ray is an optional dependency; pip install vldm[ray]")
    yield found
    found.shutdown()


def test_a_ray_cluster_one_of_whose_workers_is_lost_makes_the_same_film(
    small_film, expected, tmp_path, monkeypatch, ray
):
    hired_so_far, real, lost = [], Cluster._hire, []

    def hire(cluster):
        hired_so_far.append(real(cluster))
        return hired_so_far[-1]

    def progress(phase, done, total, preview=None):
        if phase == "restore" and done >= 6 and not lost:
            lost.append(hired_so_far[-1])
            ray.kill(hired_so_far[-1].actor)

    monkeypatch.setattr(Cluster, "_hire", hire)
    folder = WorkFolder(tmp_path / "work")
    run = RunSettings(length=4, workers="ray:2", keep=True)
    restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, progress, run=run, folder=folder)
    np.testing.assert_array_equal(frames_of(tmp_path / "out.mkv"), expected)
    assert lost and len(hired_so_far) == 3, "one more than two, over both passes"
    assert len(made_of(folder)) == len(set(made_of(folder))), "what was finished is not made again"
    assert not ray.is_initialized()


@pytest.mark.parametrize("wrong", [0, -1, "rays", "ray=", "4 of them", "", "ray:0", "ray:x"])
def test_what_names_no_workers_is_refused(wrong):
    with pytest.raises(SettingsError, match="workers"):
        RunSettings(workers=wrong)


@pytest.mark.parametrize(
    ("text", "workers"), [("3", 3), ("ray", "ray"), (" ray=auto ", "ray=auto"), ("ray:4=auto", "ray:4=auto")]
)
def test_workers_as_they_are_typed(text, workers):
    assert workers_from(text) == workers


def test_without_ray_it_is_said(small_film, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match="pip install"):
        restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, run=RunSettings(workers="ray"))
