"""Chunks that come through a storage, from workers that do not see the run's folder."""

import hashlib
import json
import multiprocessing.util
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.reel.restore import restore_film
from vldm_core.reel.resumable.run import RunSettings, restore_reel
from vldm_core.reel.resumable.sharing.storage import SharedStorage
from vldm_core.reel.resumable.work_folder import WorkFolder

from ..conftest import write_film
from ..test_restore import frames_of
from .test_run import SETTINGS, EnoughError, stop_after
from .test_workers import made_of

COUNT, LENGTH = 9, 3
"""Frames of the film, which is one shot, and of a chunk."""


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("film") / "film.mkv", COUNT)


@pytest.fixture(scope="module")
def expected(film, tmp_path_factory):
    path = tmp_path_factory.mktemp("expected") / "out.mkv"
    restore_film(film, path, SETTINGS)
    return frames_of(path)


@pytest.fixture
def storage(tmp_path):
    """A folder that stands for a storage, and its address."""
    path = tmp_path / "bucket"
    return path, f"file://{path}"


@pytest.mark.parametrize("workers", [1, 2])
def test_chunks_come_through_the_storage(film, expected, tmp_path, storage, workers, monkeypatch):
    path, address = storage
    local = tmp_path / "local"
    local.mkdir()
    # Processes talk through a socket in the system's own folder: the path of one has 107 bytes at most.
    multiprocessing.util.get_temp_dir()
    monkeypatch.setattr("tempfile.tempdir", str(local))
    sent, real = [], SharedStorage.fetch

    def fetch(own, folder, first, last, key):
        assert not (folder.chunks / folder.chunk_files(first, last, key)[0]).exists(), "workers do not write here"
        found = real(own, folder, first, last, key)
        if found is not None:
            sent.append(first)
        return found

    monkeypatch.setattr(SharedStorage, "fetch", fetch)
    out = tmp_path / "out.mkv"
    restore_reel(film, out, SETTINGS, run=RunSettings(length=LENGTH, workers=workers, storage=address))
    np.testing.assert_array_equal(frames_of(out), expected)
    assert sorted(sent) == [0, 3, 6]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bucket", "local", "out.mkv"]
    assert not any(path.iterdir()) and not list(local.glob("*vldm*")), "nothing is left"


def test_what_workers_have_finished_alone_is_fetched(film, expected, tmp_path, storage):
    path, address = storage
    run, out = RunSettings(length=LENGTH, storage=address), tmp_path / "out.mkv"
    with pytest.raises(EnoughError):
        restore_reel(film, out, SETTINGS, stop_after(8), run=run)
    folder = WorkFolder.beside(out)
    # The computer that led the run has lost what it had fetched.
    lost = [each.name for each in folder.chunks.glob("*.json")]
    assert len(lost) == 2
    shutil.rmtree(folder.chunks)
    # And one of the storage's files is not as it was sent.
    (path / folder.path.name / lost[0]).with_suffix(".mkv").write_bytes(b"torn")
    restore_reel(film, out, SETTINGS, run=replace(run, keep=True))
    np.testing.assert_array_equal(frames_of(out), expected)
    assert len(made_of(folder)) == 2 + 2, "the torn one and the one that was not there are made"


def test_names_of_files_are_not_read_from_the_storage(tmp_path, storage):
    path, address = storage
    folder = WorkFolder(tmp_path / "work")
    with folder:
        shared = SharedStorage.of_run(address, folder)
        for name in folder.chunk_files(0, 4, "k"):
            (path / "work" / name).write_bytes(b"")
        empty = hashlib.sha256(b"").hexdigest()
        facts = {
            "key": "k", "first": 0, "last": 4, "film": "../../film.mkv", "marks": "m", "repairs": "r",
            "sizes": [0, 0, 0], "hashes": [empty] * 3,
            "frames": [], "dirt": 0, "scratch": 0, "notices": [], "seconds": 0,
        }  # fmt: skip
        description = path / "work" / folder.description(0, 4, "k").name
        description.write_text(json.dumps(facts))
        assert shared.fetch(folder, 0, 4, "k") is None
        named = dict(zip(("film", "marks", "repairs"), folder.chunk_files(0, 4, "k"), strict=True))
        description.write_text(json.dumps({**facts, **named}))
        assert shared.fetch(folder, 0, 4, "k") is not None, "the names were all that was wrong"


@pytest.mark.parametrize("address", ["nowhere://bucket/runs", "s4://x"])
def test_an_address_that_nothing_opens_is_refused_before_the_film_is_opened(tmp_path, address):
    with pytest.raises(SettingsError, match="no address of a storage"):
        restore_reel(tmp_path / "missing.mkv", tmp_path / "out.mkv", SETTINGS, run=RunSettings(storage=address))


def test_a_storage_that_cannot_be_written_to_is_told_of(film, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(FilmFileError, match=r"cannot work at file://.*all computers"):
        restore_reel(film, tmp_path / "out.mkv", SETTINGS, run=RunSettings(storage=f"file://{tmp_path}/file/runs"))


def test_a_chunk_that_went_elsewhere_is_told_of(film, tmp_path, storage, monkeypatch):
    monkeypatch.setattr(SharedStorage, "send", lambda *_: None)
    run = RunSettings(length=LENGTH, storage=storage[1])
    with pytest.raises(FilmFileError, match="the same storage"):
        restore_reel(film, tmp_path / "out.mkv", SETTINGS, run=run)


def test_resume_and_clean_know_the_storage(film, expected, tmp_path, storage, monkeypatch):
    path, address = storage
    run, out = RunSettings(length=LENGTH, storage=address), tmp_path / "out.mkv"
    with pytest.raises(EnoughError):
        restore_reel(film, out, SETTINGS, stop_after(4), run=run)
    assert any(path.rglob("*.mkv"))
    assert CliRunner().invoke(app, ["clean", str(out)]).exit_code == 0
    assert not any(path.iterdir()) and not WorkFolder.beside(out).path.exists()
    with pytest.raises(EnoughError):
        restore_reel(film, out, SETTINGS, stop_after(4), run=run)
    sent, real = [], SharedStorage.send

    def send(own, folder, chunk):
        sent.append(chunk.first)
        real(own, folder, chunk)

    monkeypatch.setattr(SharedStorage, "send", send)
    result = CliRunner().invoke(app, ["resume", str(out), "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert sent and not any(path.iterdir())
    np.testing.assert_array_equal(frames_of(out), expected)


def test_restart_begins_anew_there_too(film, tmp_path, storage):
    path, address = storage
    run, out = RunSettings(length=LENGTH, storage=address), tmp_path / "out.mkv"
    with pytest.raises(EnoughError):
        restore_reel(film, out, SETTINGS, stop_after(4), run=run)
    folder = WorkFolder.beside(out)
    (path / folder.path.name / "of an earlier run").write_text("old")
    restore_reel(film, out, SETTINGS, run=replace(run, restart=True, keep=True))
    assert made_of(folder).count(0) == 2
    assert not (path / folder.path.name / "of an earlier run").exists()
