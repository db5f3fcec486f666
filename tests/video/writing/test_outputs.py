"""What is written where: nothing is overwritten unasked, nothing hidden stays, numbers and names mean what they say."""

import os
import platform
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.errors import FilmFileError, FilmFileWarning, SettingsError
from vldm_core.files import temporary
from vldm_core.reel.masks import detect_film
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.writer import WriteSettings, open_writer

from ..conftest import timestamps

NOTHING = ReelSettings(dirt=None, lines=None, average=None)
QUIET = ["--no-dirt", "--no-lines", "--no-average"]


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def words(result) -> str:
    """What a command printed, without the line breaks of a narrow terminal."""
    return " ".join(result.output.split())


def scans(folder: Path, numbers, *, alpha: bool = False) -> Path:
    folder.mkdir()
    for number in numbers:
        level = np.full((24, 32, 4 if alpha else 3), 20 + number % 200, np.uint8)
        Image.fromarray(level).save(folder / f"scan_{number:05d}.png")
    return folder


class TestOverwriting:
    @pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
    def test_a_film_is_not_written_over_unasked(self, make_film, tmp_path, name):
        source, out = make_film(), tmp_path / name
        out.write_bytes(b"mine")
        told = run("restore", source, out, *QUIET)
        assert told.exit_code == 1
        assert "exists already" in words(told)
        assert "--overwrite" in words(told)
        assert "find shots" not in words(told)
        assert out.read_bytes() == b"mine"
        assert run("restore", source, out, *QUIET, "--overwrite").exit_code == 0
        assert len(timestamps(out)) == 12

    def test_pictures_are_not_written_over_unasked(self, make_film, tmp_path):
        source, out = make_film(frames=3), tmp_path / "pictures"
        out.mkdir()
        for number in range(1, 6):
            (out / f"frame_{number:06d}.png").write_bytes(b"mine")
        told = run("restore", source, out, *QUIET)
        assert told.exit_code == 1
        assert "already holds pictures" in words(told)
        assert run("restore", source, out, *QUIET, "--overwrite").exit_code == 0
        # Those of the longer film before do not stay among the new ones.
        assert sorted(p.name for p in out.iterdir()) == [f"frame_{n:06d}.png" for n in (1, 2, 3)]
        assert all(p.read_bytes() != b"mine" for p in out.iterdir())

    def test_the_sequence_being_read_is_never_written_over(self, tmp_path):
        folder = scans(tmp_path / "scans", range(3))
        with open_film(folder) as film, pytest.raises(FilmFileError, match="the sequence being read"):
            open_writer(folder / "scan_%05d.png", film.info, settings=WriteSettings(overwrite=True), source=folder)

    def test_detect_refuses_before_any_work(self, make_film, tmp_path):
        folder = tmp_path / "masks"
        folder.mkdir()
        (folder / "scratch.mkv").write_bytes(b"mine")
        seen = []
        with pytest.raises(FilmFileError, match=r"scratch\.mkv exists already"):
            detect_film(make_film(), folder, progress=lambda *report: seen.append(report))
        assert seen == []
        assert [p.name for p in folder.iterdir()] == ["scratch.mkv"]

    @pytest.mark.parametrize("taken", ["out.mkv", "clean.mkv", "masks/dirt.mkv"])
    def test_simulate_refuses_before_any_work(self, make_film, tmp_path, taken):
        path = tmp_path / taken
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
        clean, masks = tmp_path / "clean.mkv", tmp_path / "masks"
        arguments = [make_film(), tmp_path / "out.mkv", "--clean", clean, "--masks", masks]
        told = run("simulate", *arguments)
        assert told.exit_code == 1
        assert f"{path.name} exists already" in words(told)
        assert path.read_bytes() == b"mine"
        assert run("simulate", *arguments, "--overwrite").exit_code == 0
        assert len(timestamps(path)) == 12

    def test_describe_refuses_before_any_work(self, make_film, tmp_path):
        table = tmp_path / "table.csv"
        table.write_text("mine")
        told = run("describe", make_film(), "--no-repair", "--out", table)
        assert told.exit_code == 1
        assert "exists already" in words(told)
        assert table.read_text() == "mine"
        assert run("describe", make_film(), "--no-repair", "--out", table, "--overwrite").exit_code == 0
        assert table.read_text() != "mine"

    def test_what_an_earlier_run_kept_stays(self, make_film, tmp_path):
        with open_film(make_film()) as film:
            for expected in ("out.partial.mkv", "out.partial-2.mkv", "out.partial-3.mkv"):
                writer = open_writer(tmp_path / "out.mkv", film.info)
                writer.write(next(iter(film)))
                assert writer.keep_partial() == tmp_path / expected
        assert len(list(tmp_path.glob("out.partial*"))) == 3


class TestTemporaryFiles:
    def left_behind(self, folder: Path, *, process: int, host: str | None = None) -> Path:
        host = host or re.sub(r"[^A-Za-z0-9_.]", "_", platform.node())
        path = folder / f".out-vldm-{host}-{process}-abc.mkv"
        path.write_bytes(b"x")
        return path

    def ended_process(self) -> int:
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        return process.pid

    def test_those_of_a_dead_process_are_removed(self, make_film, tmp_path):
        film = make_film()
        stale = self.left_behind(tmp_path, process=self.ended_process())
        folder = tmp_path / stale.name.replace(".mkv", "")
        folder.mkdir()
        (folder / "frame_000001.png").write_bytes(b"x")
        # The same number in another life of a container, by a process that made no such file.
        reborn = self.left_behind(tmp_path, process=os.getpid())
        restore_film(film, tmp_path / "other.mkv", NOTHING)
        assert {p.name for p in tmp_path.iterdir()} == {film.name, "other.mkv"}
        assert not reborn.exists()

    def test_those_of_others_stay(self, make_film, tmp_path):
        film = make_film()
        elsewhere = self.left_behind(tmp_path, process=self.ended_process(), host="another")
        running = self.left_behind(tmp_path, process=os.getppid())
        users = tmp_path / ".out-vldm-notes.txt"
        users.write_text("x")
        restore_film(film, tmp_path / "other.mkv", NOTHING)
        assert elsewhere.exists()
        assert running.exists()
        assert users.exists()

    def test_a_second_writer_leaves_the_first_alone(self, make_film, tmp_path):
        with (
            open_film(make_film()) as film,
            open_writer(tmp_path / "a.mkv", film.info) as first,
            open_writer(tmp_path / "b.mkv", film.info) as second,
        ):
            for frame in film:
                first.write(frame)
                second.write(frame)
        assert len(timestamps(tmp_path / "a.mkv")) == len(timestamps(tmp_path / "b.mkv")) == 12

    def test_after_a_kill_the_next_run_cleans_up(self, make_film, tmp_path):
        program = (
            "import os, signal, sys\n"
            "from vldm_core.video.reading.reader import open_film\n"
            "from vldm_core.video.writing.writer import open_writer\n"
            "film = open_film(sys.argv[1])\n"
            "writer = open_writer(sys.argv[2], film.info)\n"
            "writer.write(next(iter(film)))\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        source, out = make_film(), tmp_path / "out.mkv"
        root = str(Path(temporary.__file__).parents[3])
        subprocess.run(
            [sys.executable, "-c", program, str(source), str(out)], env=os.environ | {"PYTHONPATH": root}, check=False
        )
        assert len(list(tmp_path.glob(".out-vldm-*"))) == 1
        restore_film(source, out, NOTHING)
        assert {p.name for p in tmp_path.iterdir()} == {source.name, "out.mkv"}

    def test_a_folder_of_many_files_is_not_looked_through_for_each(self, tmp_path, monkeypatch):
        """A reel keeps thousands of chunks in one folder, each written whole."""
        looked, real = [], Path.iterdir
        monkeypatch.setattr(Path, "iterdir", lambda folder: looked.append(folder) or real(folder))
        before = len(temporary._made)
        for number in range(40):
            with temporary.written_whole(tmp_path / f"{number}.json") as part:
                part.write_bytes(b"x")
            temporary.temporary_file(tmp_path / f"{number}.mkv").rename(tmp_path / f"{number}.mkv")
        assert looked == [tmp_path]
        assert len(list(real(tmp_path))) == 80
        stale = self.left_behind(tmp_path, process=self.ended_process())
        monkeypatch.setattr(temporary, "_LOOK_AGAIN_S", 0.0)
        temporary.temporary_file(tmp_path / "last.mkv")
        assert not stale.exists(), "what others leave meanwhile goes later"
        assert len(temporary._made) <= before + 1, "names that are taken are forgotten"

    def test_long_names_fit(self, make_film, tmp_path):
        out = tmp_path / ("n" * 240 + ".mkv")
        restore_film(make_film(), out, NOTHING)
        assert out.exists()


class TestSequences:
    def test_numbers_with_gaps_are_kept(self, tmp_path):
        numbers = [86400, 86401, 86404, 86409, 86410]
        source, out = scans(tmp_path / "scans", numbers), tmp_path / "out" / "clean_%05d.png"
        out.parent.mkdir()
        with pytest.warns(FilmFileWarning, match="keeps the numbers"):
            restore_film(source, out, NOTHING)
        assert sorted(p.name for p in out.parent.iterdir()) == [f"clean_{n:05d}.png" for n in numbers]

    def test_a_sequence_without_gaps_starts_at_its_number(self, tmp_path):
        source = scans(tmp_path / "scans", range(7, 10))
        restore_film(source, tmp_path / "out", NOTHING)
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"frame_{n:06d}.png" for n in (7, 8, 9)]

    @pytest.mark.parametrize(
        ("text", "rate"), [("16", 16), ("24000/1001", Fraction(24000, 1001)), ("23.976", Fraction(24000, 1001))]
    )
    def test_the_rate_of_a_sequence_can_be_given(self, tmp_path, text, rate):
        source = scans(tmp_path / "scans", range(4))
        assert run("restore", source, tmp_path / "out.mkv", *QUIET, "--fps", text).exit_code == 0
        with open_film(tmp_path / "out.mkv") as film:
            assert film.info.frame_rate == rate

    def test_a_film_file_has_its_own_rate(self, make_film, tmp_path):
        told = run("restore", make_film(), tmp_path / "out.mkv", *QUIET, "--fps", "16")
        assert told.exit_code == 1
        assert "has its own frame rate" in words(told)
        with pytest.raises(SettingsError, match="own frame rate"):
            open_film(make_film(), sequence_rate=25)

    @pytest.mark.parametrize("text", ["0", "-3", "film", "1/0"])
    def test_a_rate_that_is_none_is_refused(self, tmp_path, text):
        told = run("restore", scans(tmp_path / "scans", range(2)), tmp_path / "out.mkv", *QUIET, f"--fps={text}")
        assert told.exit_code == 1
        assert "--fps is" in words(told)


class TestPicturesThatCannotBeFinished:
    def test_they_are_kept(self, make_film, tmp_path, monkeypatch):
        with open_film(make_film(frames=3)) as film:
            writer = open_writer(tmp_path / "out", film.info)
            for frame in film:
                writer.write(frame)
        real, calls = os.replace, []

        def fails_once(first, second):
            calls.append(second)
            if len(calls) == 1:
                raise OSError(5, "Input/output error")
            real(first, second)

        monkeypatch.setattr(os, "replace", fails_once)
        with pytest.raises(FilmFileError, match=r"Input/output error; what was written is kept as .*out\.partial"):
            writer.close()
        assert len(list((tmp_path / "out.partial").iterdir())) == 3

    def test_a_full_disk_is_an_error_in_words(self, make_film, tmp_path, monkeypatch):
        with open_film(make_film(frames=3)) as film:
            writer = open_writer(tmp_path / "out", film.info)

            def full(descriptor):
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(os, "fsync", full)
            with pytest.raises(FilmFileError, match=r"frame_000001\.png .* failed at frame 0: No space left"):
                writer.write(next(iter(film)))


def test_a_film_whose_name_looks_like_a_pattern_is_a_film(make_film, tmp_path):
    source, out = make_film("reel %04d.mkv"), tmp_path / "clean %d.mkv"
    restore_film(source, out, NOTHING)
    assert len(timestamps(Path(f"file:{out}"))) == 12


def test_a_missing_film_of_such_a_name_is_missing(tmp_path):
    with pytest.raises(FilmFileError, match="does not exist"):
        open_film(tmp_path / "reel %04d.mkv")


@pytest.mark.parametrize(("word", "deinterlaced"), [("top", True), ("bottom", True), ("off", False), ("auto", False)])
def test_the_field_order_can_be_given(make_film, tmp_path, word, deinterlaced):
    source, out = make_film(size=(64, 48)), tmp_path / "out.mkv"
    assert run("restore", source, out, *QUIET, "--no-flicker", "--deinterlace", word).exit_code == 0
    with open_film(source) as film, open_film(out, deinterlace="off") as made:
        same = all(np.array_equal(a.image, b.image) for a, b in zip(film, made, strict=True))
    assert same != deinterlaced
