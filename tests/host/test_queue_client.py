"""The pack's own headless client, end to end with the real host."""

import copy
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from vldm_core.cli.queue_client import run_workflow
from vldm_core.cli.queue_shots import ShotQueue, run_per_shot
from vldm_core.errors import HostError, SettingsError
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.video.info import FilmFrame, FilmInfo
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.clip import write_clip
from vldm_core.video.writing.writer import open_writer

from ..reel.conftest import texture
from .conftest import API, read_film, set_inputs, sound_packets

pytestmark = pytest.mark.host


def test_command_line_uploads_runs_and_fetches(host, tmp_path):
    film = tmp_path / "uploaded film.mp4"
    film.write_bytes((host.server.input_folder / "demo_film.mp4").read_bytes())
    command = [
        sys.executable, "-m", "vldm_core", "queue", str(API / "restore_reel.json"), "--server", host.url,
        "--set", f"Load Video.file={film}", "--set", "Restore Reel.crf=23", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (host.server.input_folder / "uploaded film.mp4").exists()
    paths = [Path(line) for line in done.stdout.split("\n") if line]
    assert {path.parent for path in paths} == {tmp_path / "out"}
    # Shown by Restore Reel and saved by Save Video: one film.
    (path,) = paths
    assert path.name.startswith("restored_reel") and len(read_film(path)[0]) == 12


def test_rejection_exits_with_one_and_names_the_input(host, tmp_path):
    command = [
        sys.executable, "-m", "vldm_core", "queue", str(API / "restore_reel.json"), "--server", host.url,
        "--set", "Restore Reel.codec=divx", "--out", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "codec" in done.stderr and "Restore Reel" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_function_reports_progress_and_fetches_pictures(host, clean_film, tmp_path):
    seen = []
    sets = ["Compare.layout=split", "Remove Flicker.strength=0.9"]
    paths = run_workflow(
        clean_film, server=host.url, sets=sets, out=tmp_path, progress=lambda *report: seen.append(report)
    )
    assert {"Remove Flicker", "Reduce Grain", "Compare", "Save Video"} <= {phase for phase, *_ in seen}
    assert any(total and done for _, done, total, *_ in seen)
    assert {path.suffix for path in paths} == {".mp4", ".png"}
    assert not list(tmp_path.glob(".*"))


def test_failure_in_a_node(host, clean_film):
    with pytest.raises(HostError, match=r"\(Compare\) failed: frame is 99"):
        run_workflow(clean_film, server=host.url, sets=["Compare.frame=99"])


def test_stopping_the_client_stops_the_server(host, restore_reel):
    class EnoughError(Exception):
        pass

    def stop(phase, done, total, preview=None):
        if phase == "Restore Reel" and done:
            raise EnoughError

    prompt = set_inputs(copy.deepcopy(restore_reel), "VLDM_RestoreReel", crf=24)
    with pytest.raises(EnoughError):
        run_workflow(set_inputs(prompt, "LoadVideo", file="long_film.mp4"), server=host.url, progress=stop)
    host.wait_until_idle()
    last = next(reversed(host.get("/history?max_items=1").values()))
    assert "execution_interrupted" in dict(last["status"]["messages"])


def write_two_shots(path):
    """Twelve frames in two shots, of 24000/1001 a second, with a tone."""
    one, two = (texture(seed) for seed in (1, 2))
    info = FilmInfo.of_frames(160, 120, Fraction(24000, 1001))
    plain = path.with_name("plain.mkv")
    with open_writer(plain, info) as writer:
        for index in range(24):
            scene = one if index < 12 else two
            picture = np.repeat(scene[:120, index : index + 160, None], 3, axis=2).astype(np.uint8)
            writer.write(FilmFrame(index=index, image=picture))
    tone = torch.sin(torch.arange(48000) / 20)[None]
    with open_film(plain) as film:
        write_clip(path, torch.stack([f.tensor() for f in film]), info.frame_rate, waveform=tone, sample_rate=48000)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_two_shots(tmp_path_factory.mktemp("film") / "film.mkv")


class TestPerShot:
    """A film goes through a workflow shot by shot, and comes back as one."""

    def how(self, *servers, **others):
        sets = ("Restore Reel.codec=ffv1", "Restore Reel.folder=output", "Restore Reel.quality=fast")
        return ShotQueue(servers=servers, sets=sets, **others)

    def only_the_reel(self, prompt):
        """Without Save Video, which takes no lossless film."""
        return {key: node for key, node in prompt.items() if node["class_type"] in ("LoadVideo", "VLDM_RestoreReel")}

    def test_shots_are_joined_with_the_sound(self, host, film, restore_reel, tmp_path):
        prompt, out = self.only_the_reel(restore_reel), tmp_path / "out.mkv"
        # The second server is not there: its shots go to the first.
        assert run_per_shot(prompt, film, out, self.how(host.url, "http://127.0.0.1:9")) == 2
        made, rate = read_film(out)
        plain = tmp_path / "plain.mkv"
        restore_film(film, plain, ReelSettings.of_quality("fast"))
        assert np.array_equal(made, read_film(plain)[0]) and rate == Fraction(24000, 1001)
        assert sound_packets(out) == sound_packets(film)
        assert not out.with_name("out.mkv.vldm").exists()

    def test_what_is_done_is_not_sent_again(self, host, film, restore_reel, tmp_path):
        prompt, out = self.only_the_reel(restore_reel), tmp_path / "out.mkv"

        class EnoughError(Exception):
            pass

        def stop(phase, done, total, preview=None):
            if phase == "shots" and done == 1:
                raise EnoughError

        with pytest.raises(EnoughError):
            run_per_shot(prompt, film, out, self.how(host.url), stop)
        host.wait_until_idle()
        first = []
        run_per_shot(prompt, film, out, self.how(host.url), lambda phase, done, *_: first.append((phase, done)))
        assert ("shots", 0) not in first and len(read_film(out)[0]) == 24

    def test_without_a_server_it_is_said(self, film, restore_reel, tmp_path):
        with pytest.raises(HostError, match="no server is left"):
            run_per_shot(self.only_the_reel(restore_reel), film, tmp_path / "out.mkv", self.how("http://127.0.0.1:9"))

    def test_a_workflow_without_a_film_is_refused(self, host, film, tmp_path):
        prompt = {"1": {"class_type": "EmptyImage", "inputs": {}}}
        with pytest.raises(SettingsError, match="LoadVideo"):
            run_per_shot(prompt, film, tmp_path / "out.mkv", self.how(host.url))

    def test_another_number_of_frames_is_refused(self, host, film, restore_reel, tmp_path, monkeypatch):
        # All of the film in the place of each shot.
        monkeypatch.setattr("vldm_core.cli.queue_shots.run_workflow", lambda *_, **__: [film])
        with pytest.raises(HostError, match="a frame for every frame"):
            run_per_shot(self.only_the_reel(restore_reel), film, tmp_path / "out.mkv", self.how(host.url))
