"""The headless client against a small server that speaks ComfyUI's protocol."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from vldm_core.cli.queue_client import Assignment, find_node, load_workflow, parse_set, run_workflow
from vldm_core.errors import HostError, SettingsError

PROMPT: dict[str, Any] = {
    "1": {"class_type": "LoadVideo", "inputs": {"file": "old.mp4"}, "_meta": {"title": "Load Video"}},
    "2": {"class_type": "Work", "inputs": {"video": ["1", 0], "strength": 0.5}, "_meta": {"title": "Clean"}},
    "3": {"class_type": "Work", "inputs": {"video": ["2", 0], "strength": 0.5}},
    "4": {"class_type": "SaveVideo", "inputs": {"video": ["3", 0]}},
}
DESCRIPTIONS = {
    "LoadVideo": {"input": {"required": {"file": ["COMBO", {"video_upload": True}]}}},
    "Work": {
        "input": {"required": {"video": ["VIDEO", {}]}, "optional": {"strength": ["FLOAT", {"min": 0}]}},
        "output": ["VIDEO"],
    },
    "SaveVideo": {"input": {"required": {"video": ["VIDEO"]}}, "output": []},
    "PreviewVideo": {"input": {"required": {"video": ["VIDEO"]}}, "output": []},
}
SUCCESS = [["execution_start", {}], ["execution_success", {}]]


@dataclass
class FakeComfyUI:
    """Answers like the host; ``script`` decides what happens to a prompt."""

    files: dict[str, bytes] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    messages: list[Any] = field(default_factory=lambda: SUCCESS)
    answer: tuple[int, Any] = (200, {"prompt_id": "p", "node_errors": {}})
    events: list[dict[str, Any]] = field(default_factory=list)
    finishes: bool = True
    drops_socket: bool = False
    dies: bool = False
    forgets: bool = False
    upload_status: int = 200
    prompt: dict[str, Any] | None = None
    uploads: dict[str, bytes] = field(default_factory=dict)
    posted: list[tuple[str, Any]] = field(default_factory=list)
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    url: str = ""
    site: Any = None
    runner: Any = None

    async def on_socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for _ in socket:
            pass
        return socket

    async def on_prompt(self, request: web.Request) -> web.Response:
        self.prompt = (await request.json())["prompt"]
        status, body = self.answer
        response = web.json_response(body, status=status)
        # The events begin when the answer is out.
        await response.prepare(request)
        await response.write_eof()
        if status == 200:
            asyncio.get_running_loop().create_task(self._play())
        return response

    async def _play(self) -> None:
        for event in self.events:
            await self.sockets[-1].send_json(event)
        await self.sockets[-1].send_bytes(b"\0\0\0\1preview")
        if self.dies:
            # Nothing listens any more, and the socket breaks, as when the process is killed.
            await self.site.stop()
            for connection in self.runner.server.connections:
                connection.transport.abort()
        elif self.drops_socket or self.forgets:
            await self.sockets[-1].close()
        elif self.finishes:
            await self.sockets[-1].send_json({"type": "executing", "data": {"node": None, "prompt_id": "p"}})

    async def on_history(self, _: web.Request) -> web.Response:
        entry = {"outputs": self.outputs, "status": {"messages": self.messages}}
        return web.json_response({"p": entry} if self.finishes and not self.forgets else {})

    async def on_queue(self, _: web.Request) -> web.Response:
        running = [] if self.forgets else [[0, "p", {}, {}, []]]
        return web.json_response({"queue_running": running, "queue_pending": []})

    async def on_view(self, request: web.Request) -> web.Response:
        name = request.query["filename"]
        return web.Response(body=self.files[name]) if name in self.files else web.Response(status=404)

    async def on_upload(self, request: web.Request) -> web.Response:
        part = (await request.post())["image"]
        assert isinstance(part, web.FileField)
        self.uploads[part.filename] = part.file.read()
        stored = {"name": f"stored_{part.filename}", "subfolder": "", "type": "input"}
        return web.json_response(stored, status=self.upload_status)

    async def on_info(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.json_response({name: DESCRIPTIONS[name]} if name in DESCRIPTIONS else {})

    async def on_post(self, request: web.Request) -> web.Response:
        self.posted.append((request.path, await request.json()))
        return web.Response()

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/ws", self.on_socket)
        app.router.add_post("/prompt", self.on_prompt)
        app.router.add_get("/history/{id}", self.on_history)
        app.router.add_get("/view", self.on_view)
        app.router.add_post("/upload/image", self.on_upload)
        app.router.add_get("/object_info/{name}", self.on_info)
        app.router.add_get("/queue", self.on_queue)
        app.router.add_post("/queue", self.on_post)
        app.router.add_post("/interrupt", self.on_post)
        return app


@pytest.fixture
def start():
    """Return a function that serves a FakeComfyUI from a thread."""
    with contextlib.ExitStack() as stack:

        def serve(fake: FakeComfyUI) -> FakeComfyUI:
            loop = asyncio.new_event_loop()
            runner = web.AppRunner(fake.application(), shutdown_timeout=0.1)

            async def open_site() -> None:
                await runner.setup()
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                fake.site, fake.runner = site, runner
                fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

            loop.run_until_complete(open_site())
            thread = threading.Thread(target=loop.run_forever, daemon=True)
            thread.start()

            def close() -> None:
                asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
                loop.call_soon_threadsafe(loop.stop)
                thread.join(10)
                loop.close()

            stack.callback(close)
            return fake

        yield serve


def file(name: str, kind: str = "output", subfolder: str = "") -> dict[str, str]:
    return {"filename": name, "subfolder": subfolder, "type": kind}


class TestSettings:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2.strength=0.25", Assignment(node="2", input="strength", value=0.25)),
            ("Load Video.file=film (1).mp4", Assignment(node="Load Video", input="file", value="film (1).mp4")),
            ("v1.5 node.on=true", Assignment(node="v1.5 node", input="on", value=True)),
            ('2.video=["1", 0]', Assignment(node="2", input="video", value=["1", 0])),
            ("2.text=a=b", Assignment(node="2", input="text", value="a=b")),
            ('2.text="7"', Assignment(node="2", input="text", value="7")),
            ("2.text=", Assignment(node="2", input="text", value="")),
        ],
    )
    def test_parse(self, text, expected):
        assert parse_set(text) == expected

    @pytest.mark.parametrize("text", ["", "strength=1", "2.strength", ".strength=1", "2.=1"])
    def test_unreadable_setting_shows_the_form(self, text):
        with pytest.raises(SettingsError, match=r"NODE.INPUT=VALUE"):
            parse_set(text)

    def test_node_by_id_title_or_class(self):
        assert find_node(PROMPT, "2") == "2"
        assert find_node(PROMPT, "Clean") == "2"
        assert find_node(PROMPT, "SaveVideo") == "4"

    def test_ambiguous_and_unknown_nodes_list_the_choices(self):
        with pytest.raises(SettingsError, match="2, 3"):
            find_node(PROMPT, "Work")
        with pytest.raises(SettingsError, match=r"4 \(SaveVideo\)"):
            find_node(PROMPT, "Sve")

    def test_editor_format_is_told_apart(self, tmp_path):
        path = tmp_path / "ui.json"
        path.write_text(json.dumps({"nodes": [], "links": []}))
        with pytest.raises(SettingsError, match=r"ui.json.*Export \(API\)"):
            load_workflow(path)

    @pytest.mark.parametrize("text", ["[]", "{}", '{"1": {"inputs": {}}}', "not json"])
    def test_other_files_are_refused(self, tmp_path, text):
        path = tmp_path / "x.json"
        path.write_text(text)
        with pytest.raises(SettingsError, match=r"x.json"):
            load_workflow(path)
        with pytest.raises(SettingsError, match="missing"):
            load_workflow(tmp_path / "missing.json")


class TestRun:
    def test_fetches_every_file_in_node_order(self, start, tmp_path):
        fake = start(
            FakeComfyUI(
                files={"film.mp4": b"film", "a.png": b"a", "../../evil.png": b"e"},
                outputs={
                    "4": {"images": [file("film.mp4", subfolder="video")], "animated": [True]},
                    "2": {"images": [file("a.png", "temp"), file("../../evil.png", "temp")], "text": ["hello"]},
                },
            )
        )
        out = tmp_path / "new" / "out"
        results = run_workflow(PROMPT, server=fake.url.removeprefix("http://"), out=out)
        assert [path.relative_to(out).as_posix() for path in results] == ["a.png", "evil.png", "film.mp4"]
        assert (out / "film.mp4").read_bytes() == b"film"
        assert sorted(path.name for path in out.iterdir()) == ["a.png", "evil.png", "film.mp4"]
        assert fake.prompt == PROMPT
        assert fake.posted == []

    def test_same_name_from_two_nodes_is_kept_apart(self, start, tmp_path):
        outputs = {
            "2": {"images": [file("x.png", "temp")]},
            "3": {"images": [file("x.png", "output"), file("x.png", "temp")]},
        }
        fake = start(FakeComfyUI(files={"x.png": b"x"}, outputs=outputs))
        assert [path.name for path in run_workflow(PROMPT, server=fake.url, out=tmp_path)] == ["x.png", "3_x.png"]

    def test_a_film_that_is_shown_and_saved_is_fetched_once(self, start, tmp_path):
        """Restore Reel shows a film in the temporary folder, and Save Video saves that film."""
        prompt = {
            "1": PROMPT["1"],
            "2": {"class_type": "Work", "inputs": {"video": ["1", 0]}},
            "3": {"class_type": "Work", "inputs": {"video": ["2", 0]}},
            "4": {"class_type": "SaveVideo", "inputs": {"video": ["3", 0]}},
            "5": {"class_type": "PreviewVideo", "inputs": {"video": ["3", 0]}},
        }
        outputs = {
            # What another node goes on working with is another film; a picture of the work is no film.
            "2": {"images": [file("half.mp4", "temp")]},
            "3": {"images": [file("whole.mkv", "temp"), file("look.png", "temp")]},
            "4": {"images": [file("saved.mp4", subfolder="video")]},
            "5": {"images": [file("preview.mp4", "temp")]},
        }
        names = ("half.mp4", "whole.mkv", "look.png", "saved.mp4", "preview.mp4")
        fake = start(FakeComfyUI(files={name: name.encode() for name in names}, outputs=outputs))
        results = run_workflow(prompt, server=fake.url, out=tmp_path)
        assert [path.name for path in results] == ["half.mp4", "look.png", "saved.mp4"]
        # A film that nobody saves is fetched from where it is shown.
        del outputs["4"]
        fake = start(FakeComfyUI(files=fake.files, outputs=outputs))
        assert "whole.mkv" in {path.name for path in run_workflow(prompt, server=fake.url, out=tmp_path / "other")}

    def test_files_that_are_there_stay(self, start, tmp_path):
        outputs = {"4": {"images": [file("x.png")]}}
        (tmp_path / "x.png").write_bytes(b"mine")
        fake = start(FakeComfyUI(files={"x.png": b"new"}, outputs=outputs))
        assert [path.name for path in run_workflow(PROMPT, server=fake.url, out=tmp_path)] == ["x_2.png"]
        assert (tmp_path / "x.png").read_bytes() == b"mine" and (tmp_path / "x_2.png").read_bytes() == b"new"
        assert [path.name for path in run_workflow(PROMPT, server=fake.url, out=tmp_path, overwrite=True)] == ["x.png"]
        assert (tmp_path / "x.png").read_bytes() == b"new"

    def test_without_a_folder_nothing_is_fetched(self, start):
        fake = start(FakeComfyUI(outputs={"4": {"images": [file("gone.mp4")]}}))
        assert run_workflow(PROMPT, server=fake.url) == []

    def test_sets_values_and_uploads_local_files(self, start, tmp_path):
        film = tmp_path / "my film.mp4"
        film.write_bytes(b"content")
        fake = start(FakeComfyUI())
        run_workflow(PROMPT, server=fake.url, sets=[f"Load Video.file={film}", "2.strength=1", "3.strength=0"])
        assert fake.uploads == {"my film.mp4": b"content"}
        assert fake.prompt["1"]["inputs"]["file"] == "stored_my film.mp4"
        assert (fake.prompt["2"]["inputs"]["strength"], fake.prompt["3"]["inputs"]["strength"]) == (1, 0)
        assert PROMPT["2"]["inputs"]["strength"] == 0.5

    def test_a_name_that_is_no_local_file_is_left_to_the_server(self, start):
        fake = start(FakeComfyUI())
        run_workflow(PROMPT, server=fake.url, sets=["1.file=on_the_server.mp4"])
        assert fake.uploads == {}
        assert fake.prompt["1"]["inputs"]["file"] == "on_the_server.mp4"

    def test_unknown_input_and_unknown_node_type(self, start):
        fake = start(FakeComfyUI())
        with pytest.raises(SettingsError, match=r"'strenght'.*video, strength"):
            run_workflow(PROMPT, server=fake.url, sets=["2.strenght=1"])
        with pytest.raises(HostError, match="Missing"):
            run_workflow({"1": {"class_type": "Missing", "inputs": {}}}, server=fake.url, sets=["1.a=1"])

    def test_too_large_upload_names_the_way_out(self, start, tmp_path):
        (tmp_path / "a.mp4").write_bytes(b"x")
        fake = start(FakeComfyUI(upload_status=413))
        with pytest.raises(HostError, match="max-upload-size"):
            run_workflow(PROMPT, server=fake.url, sets=[f"1.file={tmp_path / 'a.mp4'}"])

    def test_progress_carries_the_title(self, start):
        events = [
            {"type": "status", "data": {"status": {}}},
            {"type": "executing", "data": {"node": "2", "prompt_id": "p"}},
            {"type": "progress", "data": {"node": "2", "value": 3, "max": 10, "prompt_id": "p"}},
            {"type": "progress", "data": {"node": "2", "value": 9, "max": 10, "prompt_id": "other"}},
            {"type": "executing", "data": {"node": "3.0.1", "prompt_id": "p"}},
        ]
        seen = []
        fake = start(FakeComfyUI(events=events))
        run_workflow(PROMPT, server=fake.url, progress=lambda *report: seen.append(report))
        assert seen == [("Clean", 0, None), ("Clean", 3, 10), ("Work", 0, None)]

    def test_lost_socket_falls_back_to_the_history(self, start, tmp_path):
        fake = start(FakeComfyUI(files={"a.png": b"a"}, outputs={"4": {"images": [file("a.png")]}}, drops_socket=True))
        assert len(run_workflow(PROMPT, server=fake.url, out=tmp_path)) == 1


class TestFailures:
    def failing(self, start: Callable[[FakeComfyUI], FakeComfyUI], fake: FakeComfyUI, **arguments: Any) -> str:
        start(fake)
        with pytest.raises(HostError) as caught:
            run_workflow(PROMPT, server=fake.url, **arguments)
        return str(caught.value)

    def test_rejected_input_names_node_and_input(self, start):
        error = {
            "type": "value_bigger_than_max",
            "message": "Value 9.0 bigger than max of 1",
            "details": "strength",
            "extra_info": {"input_name": "strength"},
        }
        body = {"error": {"message": "failed"}, "node_errors": {"2": {"class_type": "Work", "errors": [error, error]}}}
        message = self.failing(start, FakeComfyUI(answer=(400, body)))
        assert "node 2 (Clean), input 'strength': Value 9.0 bigger than max of 1" in message
        assert message.count("bigger") == 1

    def test_what_a_node_itself_says_has_no_host_around_it(self, start):
        error = {
            "type": "exception_during_inner_validation",
            "message": "Exception when validating inner node",
            "details": "overlap is 9; with length 4 use 0 to 3",
            "extra_info": {"input_name": "model"},
        }
        body = {"error": {"message": "failed"}, "node_errors": {"2": {"class_type": "Work", "errors": [error]}}}
        message = self.failing(start, FakeComfyUI(answer=(400, body)))
        assert message.endswith("\n  node 2 (Clean): overlap is 9; with length 4 use 0 to 3")

    def test_partly_rejected_workflow_is_a_failure_and_is_taken_off(self, start):
        error = {"message": "Required input is missing", "details": "video", "extra_info": {"input_name": "video"}}
        body = {"prompt_id": "p", "node_errors": {"4": {"errors": [error]}}}
        fake = FakeComfyUI(answer=(200, body))
        assert "node 4 (SaveVideo), input 'video'" in self.failing(start, fake)
        assert ("/queue", {"delete": ["p"]}) in fake.posted

    def test_rejection_without_node(self, start):
        body = {"error": {"message": "Prompt has no outputs", "details": ""}, "node_errors": {}}
        assert "Prompt has no outputs" in self.failing(start, FakeComfyUI(answer=(400, body)))

    def test_execution_error(self, start):
        data = {"node_id": "2", "exception_message": "no frame\n", "exception_type": "ValueError"}
        message = self.failing(start, FakeComfyUI(messages=[["execution_error", data]]))
        assert message == "node 2 (Clean) failed: no frame [ValueError]"

    def test_interruption(self, start):
        message = self.failing(start, FakeComfyUI(messages=[["execution_interrupted", {"node_id": "3"}]]))
        assert "interrupted in node 3" in message

    def test_timeout_cancels_the_prompt(self, start):
        fake = FakeComfyUI(finishes=False)
        assert "within 0.3 s" in self.failing(start, fake, timeout=0.3)
        assert fake.posted == [("/queue", {"delete": ["p"]}), ("/interrupt", {"prompt_id": "p"})]

    def test_caller_that_stops_cancels_the_prompt(self, start):
        class StoppedError(Exception):
            pass

        def stop(phase, done, total, preview=None):
            raise StoppedError

        running = {"type": "executing", "data": {"node": "2", "prompt_id": "p"}}
        fake = start(FakeComfyUI(finishes=False, events=[running]))
        with pytest.raises(StoppedError):
            run_workflow(PROMPT, server=fake.url, progress=stop)
        assert ("/interrupt", {"prompt_id": "p"}) in fake.posted

    def test_missing_result_leaves_no_partial_file(self, start, tmp_path):
        message = self.failing(start, FakeComfyUI(outputs={"4": {"images": [file("gone.mp4")]}}), out=tmp_path)
        assert "gone.mp4" in message
        assert list(tmp_path.iterdir()) == []

    def test_a_server_that_dies_in_the_work_is_said_to(self, start):
        events = [
            {"type": "executing", "data": {"node": "2", "prompt_id": "p"}},
            {"type": "progress", "data": {"node": "2", "prompt_id": "p", "value": 3, "max": 10}},
        ]
        message = self.failing(start, FakeComfyUI(finishes=False, dies=True, events=events), timeout=20)
        assert "is gone: it stopped answering while node 2 (Clean) was running, at 3 of 10" in message
        assert "memory" in message and "queue the workflow again" in message

    def test_a_server_that_was_started_again_has_forgotten_the_workflow(self, start, monkeypatch):
        monkeypatch.setattr("vldm_core.cli.queue_client._CLOSED_INTERVAL_S", 0.01)
        events = [{"type": "executing", "data": {"node": "3", "prompt_id": "p"}}]
        message = self.failing(start, FakeComfyUI(forgets=True, events=events), timeout=20)
        assert "no longer knows the workflow" in message and "while node 3 (Work) was running" in message

    def test_nobody_there(self):
        with pytest.raises(HostError, match=r"no ComfyUI answers at http://127.0.0.1:1"):
            run_workflow(PROMPT, server="127.0.0.1:1")

    def test_no_address(self):
        with pytest.raises(SettingsError, match="not a server address"):
            run_workflow(PROMPT, server="ftp://x")
