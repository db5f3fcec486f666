"""The pack's own headless client, end to end with the real host."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest

from vldm_core.cli.queue_client import run_workflow
from vldm_core.errors import HostError

from .conftest import API, read_film, set_inputs

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
