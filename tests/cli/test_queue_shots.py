"""A film through a workflow shot by shot: long shots go in parts, which fade into each other. Servers are played."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vldm_core.cli import queue_shots
from vldm_core.cli.queue_shots import ShotQueue, run_per_shot
from vldm_core.errors import HostLostError, SettingsError
from vldm_core.video.info import FilmFrame
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.encoding import WriteSettings
from vldm_core.video.writing.writer import open_writer

from ..reel.conftest import CUT, write_film

COUNT = CUT + 6
PROMPT = {"1": {"class_type": "LoadVideo", "inputs": {"file": ""}}}
HOW = ShotQueue(servers=("one", "two"), write=WriteSettings(codec="ffv1"))


class Servers:
    """Play servers that lift each prompt's film by its number of calls; note what they were sent."""

    def __init__(self, lifts: bool = True, lost: tuple[str, ...] = ()) -> None:
        self.sent: list[int] = []
        self._lifts, self._lost, self._lock = lifts, lost, threading.Lock()

    def run(self, _prompt: Any, *, server: str, sets: Any, out: Path, **_: Any) -> list[Path]:
        if server in self._lost:
            raise HostLostError(f"{server} is gone")
        with self._lock:
            out.mkdir(parents=True, exist_ok=True)
            with open_film(sets[-1].value, deinterlace="off") as film:
                frames = list(film)
                self.sent.append(len(frames))
                lift = 10 * len(self.sent) if self._lifts else 0
                with open_writer(out / "made.mkv", film.info, settings=WriteSettings(codec="ffv1")) as writer:
                    for frame in frames:
                        lifted = np.minimum(frame.image.astype(int) + lift, 255).astype(np.uint8)
                        writer.write(FilmFrame(index=frame.index, pts=frame.pts, duration=frame.duration, image=lifted))
        return [out / "made.mkv"]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("film") / "film.mkv", COUNT)


def pictures(path) -> np.ndarray:
    with open_film(path, deinterlace="off") as reader:
        return np.stack([frame.image for frame in reader])


@pytest.fixture
def play(monkeypatch):
    def play(**how: Any) -> Servers:
        servers = Servers(**how)
        monkeypatch.setattr(queue_shots, "run_workflow", servers.run)
        return servers

    return play


@pytest.mark.parametrize("lost", [(), ("two",)])
def test_parts_that_nothing_is_done_to_join_to_the_film(film, tmp_path, play, lost):
    servers = play(lifts=False, lost=lost)
    how = replace(HOW, most_frames=6, overlap=2)
    assert run_per_shot(PROMPT, film, tmp_path / "out.mkv", how) == 2
    # 14 frames in the fewest parts of 6, each with two of the one before it; then 6 in one go.
    assert servers.sent == [6, 6, 6, 6]
    assert np.array_equal(pictures(tmp_path / "out.mkv"), pictures(film))
    assert not (tmp_path / "out.mkv.vldm").exists()


def test_parts_fade_into_each_other(film, tmp_path, play):
    servers = play()
    how = replace(HOW, servers=("one",), most_frames=8, overlap=2)
    run_per_shot(PROMPT, film, tmp_path / "out.mkv", how)
    assert servers.sent == [8, 8, 6]
    lifted = np.median((pictures(tmp_path / "out.mkv").astype(int) - pictures(film)).reshape(COUNT, -1), axis=1)
    assert lifted[:6].tolist() == [10] * 6 and lifted[8:CUT].tolist() == [20] * 6 and lifted[CUT:].tolist() == [30] * 6
    assert np.allclose(lifted[6:8], [10 + 10 / 3, 10 + 20 / 3], atol=0.6)


def test_parts_that_are_done_are_not_sent_again(film, tmp_path, play):
    how = replace(HOW, servers=("one",), most_frames=8, overlap=2)

    def stop(phase: str, done: int, total: int | None, preview: Any = None) -> None:
        if phase == "shots" and done == 2:
            raise KeyboardInterrupt

    play()
    with pytest.raises(KeyboardInterrupt):
        run_per_shot(PROMPT, film, tmp_path / "out.mkv", how, stop)
    servers = play(lifts=False)
    run_per_shot(PROMPT, film, tmp_path / "out.mkv", how)
    assert servers.sent == [6]
    other = play(lifts=False)
    run_per_shot(PROMPT, film, tmp_path / "whole.mkv", HOW)
    assert sorted(other.sent) == [6, CUT]


@pytest.mark.parametrize(("most", "overlap", "match"), [(5, 2, "use 6 or more"), (9, -1, "overlap is -1")])
def test_parts_that_are_too_short_are_refused(most, overlap, match):
    with pytest.raises(SettingsError, match=match):
        ShotQueue(servers=("one",), most_frames=most, overlap=overlap)
