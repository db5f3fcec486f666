"""A run that is ended goes on where it was, and gives the film that it would have given in one go."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.film.box_fixes import parse_fixes
from vldm_core.film.flicker.removal import FlickerSettings
from vldm_core.notices import Notices
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.reel.resumable import first_pass
from vldm_core.reel.resumable.maker import ChunkMaker, storage
from vldm_core.reel.resumable.run import RunSettings, restore_reel
from vldm_core.reel.resumable.status import latest_picture, run_folder, run_status
from vldm_core.reel.resumable.work_folder import WorkFolder, told
from vldm_core.video.info import FilmFrame, FilmInfo
from vldm_core.video.writing.encoding import WriteSettings
from vldm_core.video.writing.writer import open_writer

from ..conftest import CUT, damaged_frame, write_film
from ..test_restore import frames_of, packets_of

SETTINGS = ReelSettings.of_quality("fast")
LIGHT = replace(SETTINGS, dirt=None, lines=None, average=None)
"""A first pass and frames that change, in a third of the time: for what does not depend on the stages."""
EVEN = replace(SETTINGS, dirt=None, lines=None)
"""Stages with neighbours besides."""
COUNT = 2 * CUT
SHORT = RunSettings(length=6)
"""Several chunks a shot."""


class EnoughError(Exception):
    """Stands for an interrupt."""


@pytest.fixture(scope="module")
def at_once(small_film, tmp_path_factory):
    """What a pass without chunks makes of the film: the file, the report and the notices."""
    path = tmp_path_factory.mktemp("at_once") / "out.mkv"
    notices = Notices()
    return path, restore_film(small_film, path, SETTINGS, notices=notices), notices


@pytest.fixture(scope="module")
def light_at_once(small_film, tmp_path_factory):
    """The same by the light settings."""
    path, notices = tmp_path_factory.mktemp("light") / "out.mkv", Notices()
    return path, restore_film(small_film, path, LIGHT, notices=notices), notices


def stop_after(count, phase="restore"):
    def progress(name, done, total, preview=None):
        if name == phase and done >= count:
            raise EnoughError

    return progress


def noting(steps):
    """Note every step of every pass: its name, and how many frames were done."""
    return lambda phase, done, *_: steps.append((phase, done))


def same_film(path, at_once):
    np.testing.assert_array_equal(frames_of(path), frames_of(at_once[0]))
    assert packets_of(path, "audio") == packets_of(at_once[0], "audio")
    assert [t for t, _ in packets_of(path, "video")] == [t for t, _ in packets_of(at_once[0], "video")]


def test_in_chunks_the_film_is_the_one_of_a_single_pass(small_film, at_once, tmp_path):
    notices, seen = Notices(), []
    out = tmp_path / "out.mkv"
    report = restore_reel(
        small_film, out, replace(SETTINGS, mask_films=tmp_path / "masks"), run=SHORT, notices=notices, each=seen.append
    )
    same_film(out, at_once)
    assert replace(report, seconds=0) == replace(at_once[1], seconds=0)
    assert sorted(map(str, notices)) == sorted(map(str, at_once[2]))
    assert [frame.number for frame in seen] == list(range(COUNT))
    dirt = frames_of(tmp_path / "masks" / "dirt.mkv")[..., 0] > 0
    np.testing.assert_array_equal(dirt, np.stack([frame.dirt.numpy() > 0 for frame in seen]))
    assert dirt.any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", "out.mkv"], "nothing else is left"


@pytest.mark.parametrize(("frames", "settings"), [(1, LIGHT), (CUT, SETTINGS), (COUNT - 1, LIGHT)])
def test_an_interrupted_run_goes_on(small_film, at_once, light_at_once, tmp_path, frames, settings):
    out = tmp_path / "out.mkv"
    with pytest.raises(EnoughError):
        restore_reel(small_film, out, settings, stop_after(frames), run=SHORT)
    assert not out.exists()
    done = run_status(WorkFolder.beside(out)).done
    counted = []
    restore_reel(small_film, out, settings, noting(counted), run=SHORT)
    same_film(out, light_at_once if settings is LIGHT else at_once)
    assert {phase for phase, count in counted if count < COUNT} <= {"restore", "write"}, "the first pass is kept"
    assert min(count for phase, count in counted if phase == "restore") >= done > frames - 7


def test_an_interrupt_while_the_film_is_put_together_costs_no_chunk(small_film, light_at_once, tmp_path, monkeypatch):
    out = tmp_path / "out.mkv"
    with pytest.raises(EnoughError):
        restore_reel(small_film, out, LIGHT, stop_after(5, "write"), run=SHORT)
    assert not out.exists()
    monkeypatch.setattr(ChunkMaker, "make", None)
    restore_reel(small_film, out, LIGHT, run=SHORT)
    same_film(out, light_at_once)


def test_another_codec_only_encodes_again(small_film, light_at_once, tmp_path, monkeypatch):
    kept = replace(SHORT, keep=True)
    folder = WorkFolder(tmp_path / "work")
    restore_reel(small_film, tmp_path / "out.mkv", LIGHT, run=kept, folder=folder)
    monkeypatch.setattr(ChunkMaker, "make", None)
    monkeypatch.setattr(first_pass, "find_shots", None)
    lossy = replace(LIGHT, write=WriteSettings(codec="h264"))
    restore_reel(small_film, tmp_path / "out.mp4", lossy, run=kept, folder=folder)
    assert len(frames_of(tmp_path / "out.mp4")) == COUNT
    restore_reel(small_film, tmp_path / "again.mkv", LIGHT, run=SHORT, folder=folder)
    same_film(tmp_path / "again.mkv", light_at_once)
    assert not folder.path.exists()


def test_other_settings_redo_only_what_they_touch(small_film, tmp_path, monkeypatch):
    kept, folder = replace(SHORT, keep=True), WorkFolder(tmp_path / "work")
    restore_reel(small_film, tmp_path / "out.mkv", EVEN, run=kept, folder=folder)
    monkeypatch.setattr(first_pass, "find_shots", None)
    # How much of the flicker is taken off is not asked in the first pass of cuts, but in that of the shots.
    softer = replace(EVEN, average=replace(EVEN.average, strength=0.5))
    phases = []
    restore_reel(
        small_film,
        tmp_path / "soft.mkv",
        softer,
        noting(phases),
        run=kept,
        folder=folder,
    )
    assert ("analyse", 1) not in phases and ("restore", 1) in phases
    restore_film(small_film, tmp_path / "plain.mkv", softer)
    np.testing.assert_array_equal(frames_of(tmp_path / "soft.mkv"), frames_of(tmp_path / "plain.mkv"))
    phases.clear()
    quick = replace(EVEN, flicker=FlickerSettings(period=12))
    restore_reel(
        small_film,
        tmp_path / "q.mkv",
        quick,
        noting(phases),
        run=kept,
        folder=folder,
    )
    assert ("analyse", 1) in phases


@pytest.mark.parametrize("harm", ["flipped", "short", "gone", "torn description", "marks"])
def test_a_chunk_that_is_damaged_on_the_disk_is_made_again(small_film, light_at_once, tmp_path, harm):
    out = tmp_path / "out.mkv"
    with pytest.raises(EnoughError):
        restore_reel(small_film, out, LIGHT, stop_after(20), run=SHORT)
    folder = WorkFolder.beside(out)
    film = sorted(folder.chunks.glob("*.mkv"))[1]
    contents = film.read_bytes()
    if harm == "flipped":
        film.write_bytes(contents[:-200] + bytes(200))
    elif harm == "short":
        film.write_bytes(contents[:-200])
    elif harm == "gone":
        film.unlink()
    elif harm == "torn description":
        description = film.with_suffix(".json")
        description.write_bytes(description.read_bytes()[:-40])
    else:
        film.with_suffix(".npz").write_bytes(b"nothing")
    restore_reel(small_film, out, LIGHT, run=SHORT)
    same_film(out, light_at_once)


def test_a_torn_journal_and_a_torn_analysis_do_no_harm(small_film, light_at_once, tmp_path):
    out = tmp_path / "out.mkv"
    with pytest.raises(EnoughError):
        restore_reel(small_film, out, LIGHT, stop_after(20), run=SHORT)
    folder = WorkFolder.beside(out)
    journal = folder.path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    torn = list(folder.analyses.glob("*.npz"))
    assert len(torn) == 4, "of two shots, before and after they have settled each other's doubts"
    for analysis in torn:
        analysis.write_bytes(analysis.read_bytes()[:50])
    assert run_status(folder).frames == COUNT
    restore_reel(small_film, out, LIGHT, run=SHORT)
    same_film(out, light_at_once)


def test_a_full_disk_is_told_and_costs_nothing_that_is_finished(small_film, light_at_once, tmp_path, monkeypatch):
    out = tmp_path / "out.mkv"
    real, kept = WorkFolder.keep_chunk, []

    def full(folder, chunk):
        if len(kept) == 2:
            raise OSError(28, "No space left on device")
        kept.append(chunk)
        with told(folder.path):
            real(folder, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(WorkFolder, "keep_chunk", full)
        with pytest.raises((FilmFileError, OSError), match="No space"):
            restore_reel(small_film, out, LIGHT, run=SHORT)
    assert run_status(WorkFolder.beside(out)).chunks == 2
    restore_reel(small_film, out, LIGHT, run=SHORT)
    same_film(out, light_at_once)


def test_a_film_that_is_pulled_is_told_and_the_run_goes_on_when_it_is_back(small_film, light_at_once, tmp_path):
    film, out = tmp_path / "film.mkv", tmp_path / "out.mkv"
    film.write_bytes(small_film.read_bytes())
    with pytest.raises(EnoughError):
        restore_reel(film, out, LIGHT, stop_after(9), run=SHORT)
    film.rename(tmp_path / "away.mkv")
    with pytest.raises(FilmFileError, match=r"film\.mkv"):
        restore_reel(film, out, LIGHT, run=SHORT)
    (tmp_path / "away.mkv").rename(film)
    restore_reel(film, out, LIGHT, run=SHORT)
    same_film(out, light_at_once)


def test_one_process_at_a_time(small_film, tmp_path):
    out = tmp_path / "out.mkv"
    with WorkFolder.beside(out) as folder:
        assert folder.at_work
        with pytest.raises(FilmFileError, match="another process"):
            restore_reel(small_film, out, SETTINGS)


def test_an_output_that_cannot_work_is_refused_before_the_work(small_film, tmp_path):
    with pytest.raises(FilmFileError, match="cannot write"):
        restore_reel(small_film, tmp_path / "out.avi", SETTINGS, stop_after(0, "find shots"))
    (tmp_path / "out.mkv").write_bytes(b"mine")
    with pytest.raises(FilmFileError, match="exists already"):
        restore_reel(small_film, tmp_path / "out.mkv", SETTINGS, stop_after(0, "find shots"))


def test_restart_begins_anew(small_film, light_at_once, tmp_path):
    out, phases = tmp_path / "out.mkv", []
    with pytest.raises(EnoughError):
        restore_reel(small_film, out, LIGHT, stop_after(20), run=SHORT)
    restore_reel(
        small_film,
        out,
        LIGHT,
        noting(phases),
        run=replace(SHORT, restart=True),
    )
    assert ("find shots", 1) in phases
    same_film(out, light_at_once)


def test_status_and_the_latest_picture(small_film, tmp_path):
    out = tmp_path / "out.mkv"
    with pytest.raises(FilmFileError, match="no folder of a run"):
        run_status(run_folder(out))
    with pytest.raises(EnoughError):
        restore_reel(small_film, out, LIGHT, stop_after(20), run=SHORT)
    found = run_status(run_folder(out))
    assert (found.frames, found.shots, found.analysed, found.at_work) == (COUNT, 2, 2, False)
    assert 12 <= found.done <= 20 and found.speed > 0 and found.left > 0
    number, picture = latest_picture(run_folder(out))
    assert number == found.done - 1 and picture.shape == (120, 160, 3)
    assert json.loads((WorkFolder.beside(out).path / "run.json").read_text())["source"] == str(small_film)


@pytest.mark.parametrize(
    ("pix_fmt", "bits", "name", "write", "kept"),
    [
        ("yuv420p", 8, "out.mkv", WriteSettings(), None),
        ("yuv420p", 8, "out.mkv", WriteSettings(pix_fmt="yuv420p10le"), "yuv420p10le"),
        ("yuv420p", 8, "out.mp4", WriteSettings(codec="h265", bits=10), "yuv420p10le"),
        ("yuv420p", 8, "out.mov", WriteSettings(codec="prores"), "yuv422p10le"),
        ("yuv420p10le", 10, "out.mkv", WriteSettings(pix_fmt="yuv420p"), None),
        ("rgb24", 8, "out.mkv", WriteSettings(), None),
        ("rgb24", 8, "out/%04d.png", WriteSettings(), None),
        ("rgb24", 8, "out/%04d.dpx", WriteSettings(bits=10), 16),
        ("rgb24", 8, "out/%04d.exr", WriteSettings(), 16),
        ("gbrp10le", 10, "out/%04d.dpx", WriteSettings(), None),
    ],
)
def test_frames_are_kept_as_deep_as_film_or_result(pix_fmt, bits, name, write, kept):
    info = FilmInfo.of_frames(32, 24, 24, bit_depth=bits, pix_fmt=pix_fmt)
    chosen = storage(name, info, write)
    assert (chosen.bits or chosen.pix_fmt) == kept
    assert chosen.intermediate


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "gray", "yuv422p10le", "yuva420p", "bgr0"])
def test_every_kind_of_film_comes_out_of_chunks_as_in_one_go(tmp_path, pix_fmt):
    film = tmp_path / "film.mkv"
    info = FilmInfo.of_frames(64, 48, 24)
    rng = np.random.default_rng(1)
    with open_writer(film, info, settings=WriteSettings(codec="ffv1", pix_fmt=pix_fmt)) as writer:
        for index in range(6):
            shown = rng.integers(0, 256, (48, 64, 1 if pix_fmt == "gray" else 3), np.uint8)
            writer.write(FilmFrame(index=index, image=np.repeat(shown, 3, axis=2) if pix_fmt == "gray" else shown))
    settings = ReelSettings(dirt=None, lines=None, flicker=None)
    restore_film(film, tmp_path / "one.mkv", settings)
    restore_reel(film, tmp_path / "two.mkv", settings, run=RunSettings(length=4))
    pictures = [[packet for _, packet in packets_of(tmp_path / f"{name}.mkv", "video")] for name in ("one", "two")]
    assert pictures[0] == pictures[1] and len(pictures[0]) == 6


CALL = """
import sys
from tests.reel.resumable.test_run import LIGHT, SETTINGS, SHORT
from vldm_core.reel.resumable.run import restore_reel
if __name__ == "__main__":
    settings = LIGHT if sys.argv[3] == "light" else SETTINGS
    restore_reel(sys.argv[1], sys.argv[2], settings, lambda phase, done, *_: print(phase, done, flush=True), run=SHORT)
"""
KILLS = int(os.environ.get("VLDM_KILLS", "2"))
"""How often a run is killed, every second time with all stages; more of them on request."""


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_run_goes_on_to_the_same_film(small_film, at_once, light_at_once, tmp_path, seed):
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("no such signal on this system")
    out, rng = tmp_path / "out.mkv", np.random.default_rng(seed)
    how, settings, wanted = ("light", LIGHT, light_at_once) if seed % 2 else ("full", SETTINGS, at_once)
    steps = int(rng.integers(1, 3 * COUNT + 8))
    command = [sys.executable, "-c", CALL, str(small_film), str(out), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as process:
        for _, _ in zip(range(steps), process.stdout, strict=False):
            pass
        time.sleep(float(rng.random()) * 0.05)
        process.send_signal(signal.SIGKILL)
    assert not out.exists() or process.returncode == 0
    out.unlink(missing_ok=True)
    restore_reel(small_film, out, settings, run=SHORT)
    same_film(out, wanted)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"], "nothing hidden is left either"


def test_a_sequence_of_pictures_too(tmp_path, small_film):
    pictures, out = tmp_path / "in", tmp_path / "out"
    restore_film(small_film, pictures, ReelSettings(dirt=None, lines=None, flicker=None, average=None))
    with pytest.raises(EnoughError):
        restore_reel(pictures, out, LIGHT, stop_after(9), run=SHORT)
    restore_reel(pictures, out, LIGHT, run=SHORT)
    restore_film(pictures, tmp_path / "plain", LIGHT)
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == COUNT
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_long_films_too(tmp_path):
    """A shot of more chunks than one run of the feed keeps."""
    film = write_film(tmp_path / "long.mkv", 90, audio=False)
    restore_film(film, tmp_path / "one.mkv", EVEN)
    restore_reel(film, tmp_path / "two.mkv", EVEN, run=RunSettings(length=7))
    np.testing.assert_array_equal(frames_of(tmp_path / "one.mkv"), frames_of(tmp_path / "two.mkv"))


def test_a_box_is_repaired_in_any_case_and_only_its_chunks_are_made_again(small_film, at_once, tmp_path):
    plain = replace(SETTINGS, flicker=None, average=None)
    kept, folder = RunSettings(length=3, keep=True), WorkFolder(tmp_path / "work")
    restore_reel(small_film, tmp_path / "one.mkv", plain, run=kept, folder=folder)
    before = frames_of(tmp_path / "one.mkv")
    # In the last shot; the first one lies beyond the cut.
    fix = parse_fixes(f"{COUNT - 4}@20,30,9x8")
    steps = []
    restore_reel(small_film, tmp_path / "two.mkv", replace(plain, fixes=fix), noting(steps), run=kept, folder=folder)
    after = frames_of(tmp_path / "two.mkv")
    assert ("analyse", 1) not in steps
    assert min(done for phase, done in steps if phase == "restore") >= CUT, "the first shot is not touched"
    changed = (before != after).any(-1)
    inside = np.zeros_like(changed)
    inside[COUNT - 4, 30:38, 20:29] = True
    assert changed[inside].mean() > 0.5 and not changed[:CUT].any()
    assert not changed[~inside].any()
    with pytest.raises(SettingsError, match="frames 0 to"):
        restore_reel(small_film, tmp_path / "no.mkv", replace(plain, fixes=parse_fixes("99@0,0,1x1")))
    with pytest.raises(SettingsError, match="switch it on"):
        restore_reel(small_film, tmp_path / "no.mkv", replace(plain, dirt=None, fixes=fix))


@pytest.fixture(scope="module")
def repaired_in_chunks(small_film, tmp_path_factory):
    """The film repaired in chunks, which are kept: its frames, the settings and the folder."""
    path = tmp_path_factory.mktemp("chunks")
    plain = replace(SETTINGS, flicker=None, average=None)
    folder = WorkFolder(path / "work")
    restore_reel(small_film, path / "one.mkv", plain, run=RunSettings(length=3, keep=True), folder=folder)
    return frames_of(path / "one.mkv"), plain, folder


def labelled(marks):
    return cv2.connectedComponents(marks.astype(np.uint8))[1]


@pytest.mark.parametrize("kind", ["dirt", "around", "keep", "scratch"])
def test_a_box_by_another_method_redoes_only_its_chunks(small_film, repaired_in_chunks, tmp_path, kind):
    before, plain, folder = repaired_in_chunks
    # A spot of dirt in the last shot, with some picture around it, and another one in the same frame.
    frame = COUNT - 4
    rows, columns = (labelled(damaged_frame(frame)[1]) == 1).nonzero()
    left, top = int(columns.min()) - 3, int(rows.min()) - 3
    width, height = int(columns.max()) + 4 - left, int(rows.max()) + 4 - top
    fixes = parse_fixes(f"{frame}@{left},{top},{width}x{height}={kind}")
    steps = []
    restore_reel(
        small_film, tmp_path / "two.mkv", replace(plain, fixes=fixes), noting(steps),
        run=RunSettings(length=3, keep=True), folder=folder,
    )  # fmt: skip
    after, source = frames_of(tmp_path / "two.mkv"), frames_of(small_film)
    assert ("analyse", 1) not in steps
    assert min(done for phase, done in steps if phase == "restore") >= CUT, "the first shot is not touched"
    inside = np.zeros(before.shape[:-1], bool)
    inside[frame, top : top + height, left : left + width] = True
    changed = (before != after).any(-1)
    assert changed[inside].any() and not changed[:CUT].any()
    assert labelled(damaged_frame(frame)[1]).max() > 1, "there is dirt beside the box"
    # What is searched for after a scratch was taken off may differ a little in the neighbours.
    assert not changed[~inside].any() or (kind == "scratch" and changed[~inside].mean() < 1e-3)
    if kind == "keep":
        spots = damaged_frame(frame)[1] & inside[frame]
        np.testing.assert_array_equal(after[frame][spots], source[frame][spots])
    if kind == "around":
        spots = damaged_frame(frame)[1] & inside[frame]
        clean = damaged_frame(frame, damaged=False)[0]
        # A spot is some hundred levels off; what is painted is as smooth as the picture around it.
        assert np.abs(after[frame][spots].astype(float) - clean[spots]).mean() < 12
