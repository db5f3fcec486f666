"""One real ComfyUI server, on the CPU and with this pack only, for all host tests."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import pytest

from vldm_core.cli.queue_client import load_workflow

from .inside_host import INSIDE, InsideFile, InsideHost, inside_host
from .local_host import host_server, require_host, script

workflow_names = script("workflow_names")

API = Path(__file__).resolve().parents[2] / "workflows" / "api"
"""The shipped workflows as the server takes them."""


@dataclass
class Run:
    """How one prompt ended."""

    status: str
    cached: set[str]
    outputs: dict[str, Any]
    error: dict[str, Any]


class QueueChanges:
    """Listens to what the server tells everybody: that its queue has changed."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("http", "ws", 1) + "/ws"
        self._changed = threading.Condition()
        threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True).start()

    def wait_for(self, look: Callable[[], Any], timeout: float) -> Any:
        """Look now, and again after every change, until something is seen; return it, or what was seen last."""
        with self._changed:
            return self._changed.wait_for(look, timeout)

    async def _listen(self) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(self._url, max_msg_size=0) as socket:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT and json.loads(message.data)["type"] == "status":
                    self._tell()
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()


class Host:
    """The running server, and a plain client that shares no code with the pack's own."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.url: str = server.url
        self._queue = QueueChanges(server.url)

    def get(self, path: str) -> Any:
        return self.server.get(path)

    def read(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content = answer.read()
                return answer.status, json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def queue(self, prompt: dict[str, Any]) -> str:
        status, answer = self.post("/prompt", {"prompt": prompt, "client_id": uuid.uuid4().hex})
        assert status == 200 and not answer["node_errors"], answer
        return answer["prompt_id"]

    def wait(self, prompt_id: str, timeout: float = 180) -> Run:
        entry = self._queue.wait_for(lambda: self.get(f"/history/{prompt_id}").get(prompt_id), timeout)
        if not entry:
            pytest.fail(f"prompt {prompt_id} did not end within {timeout} s; the server's log ends with\n{self.tail()}")
        messages = dict(entry["status"]["messages"])
        status = next(reversed(messages)).removeprefix("execution_")
        cached = set(messages.get("execution_cached", {}).get("nodes", ()))
        return Run(status, cached, entry["outputs"], messages.get("execution_error", {}))

    def run(self, prompt: dict[str, Any]) -> Run:
        return self.wait(self.queue(prompt))

    def wait_until_idle(self) -> None:
        assert self._queue.wait_for(lambda: not self.get("/prompt")["exec_info"]["queue_remaining"], 180)

    def tail(self) -> str:
        return "\n".join(self.server.log().splitlines()[-40:])

    def files(self) -> set[str]:
        """Names of all files in the folders the server writes to."""
        folders = (self.server.output_folder, self.server.temp_folder)
        return {
            str(path.relative_to(self.server.base))
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file()
        }


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> InsideFile | None:
    """Leave the tests below inside/ to a host process."""
    if INSIDE in module_path.parents:
        return InsideFile.from_parent(parent, path=module_path)
    return None


@pytest.fixture(scope="session")
def host_folder() -> Path:
    """The ComfyUI folder."""
    return require_host()


@pytest.fixture(scope="session")
def inside(pytestconfig, host_folder) -> InsideHost:
    """The process that is a host without a server."""
    return inside_host(pytestconfig, host_folder)


@pytest.fixture(scope="session")
def host(host_folder, tmp_path_factory) -> Iterator[Host]:
    """The server; its input folder holds demo_film.mp4 and long_film.mp4."""
    base = tmp_path_factory.mktemp("comfyui")
    (base / "input").mkdir()
    write_film(base / "input" / "demo_film.mp4", frames=12)
    write_film(base / "input" / "long_film.mp4", frames=160)
    with host_server.HostServer(host_folder, base) as server:
        yield Host(server)


@pytest.fixture(scope="session")
def nodes(host) -> dict[str, Any]:
    """Descriptions of all nodes of the server, by id."""
    return host.get("/object_info")


@pytest.fixture
def clean_film() -> dict[str, Any]:
    """The shipped workflow of single nodes."""
    return load_workflow(API / "clean_film.json")


@pytest.fixture
def restore_reel() -> dict[str, Any]:
    """The shipped workflow of one node."""
    return load_workflow(API / "restore_reel.json")


def by_class(prompt: dict[str, Any], name: str) -> str:
    """Return the key of the first node of a class."""
    return next(key for key, node in prompt.items() if node["class_type"] == name)


def set_inputs(prompt: dict[str, Any], name: str, **values: Any) -> dict[str, Any]:
    """Set inputs of the first node of a class; return the prompt."""
    prompt[by_class(prompt, name)]["inputs"].update(values)
    return prompt


def read_film(path: Path) -> tuple[np.ndarray, Fraction | None]:
    """Return all frames of a film, (T, H, W, 3) uint8, and its rate."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), stream.average_rate


def sound_packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def write_film(path: Path, *, frames: int, width: int = 160, height: int = 120, scratch: int = 100) -> None:
    """Write a panning picture with dirt and a scratch in a fixed column, 24000/1001 frames per second, and a tone."""
    rate = Fraction(24000, 1001)
    sample_rate = 48000
    generator = np.random.default_rng(7)
    coarse = generator.uniform(40, 215, (height // 8 + 2, width // 4 + frames // 8 + 2, 3))
    scene = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)[:height].astype(np.uint8)
    with av.open(str(path), "w") as container:
        video = container.add_stream("h264", rate=rate, options={"crf": "12", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=sample_rate, layout="mono")
        for index in range(frames):
            picture = scene[:, index : index + width].copy()
            picture[:, scratch] = picture[:, scratch] // 2
            row, column = generator.integers(0, (height - 6, width - 6))
            picture[row : row + 5, column : column + 4] = 250
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        count = round(frames / rate * sample_rate)
        tone = (0.2 * np.sin(np.arange(count) * 2 * np.pi * 440 / sample_rate)).astype(np.float32)[None]
        sound = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        sound.sample_rate = sample_rate
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
