"""Headless ComfyUI: run an API-format workflow on a server and bring its results home.

The client does what the browser does: it uploads files, posts the prompt, listens to the websocket until the prompt is
over, and reads the results from the history. Every failure ends in one message that names the node and the input.
"""

import asyncio
import contextlib
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import aiohttp

from ..errors import HostError, HostLostError, SettingsError
from ..files.suffixes import FILM_SUFFIXES
from ..files.temporary import written_whole
from ..files.text import read_text
from ..progress import Progress, silent

_LOG = logging.getLogger(__name__)

Prompt = dict[str, dict[str, Any]]

LOCAL_SERVER = "http://127.0.0.1:8188"
"""Where ComfyUI listens when nothing else is said."""

# A widget that takes an uploaded file carries one of these flags in the server's node description.
_UPLOAD_FLAGS = ("video_upload", "image_upload", "audio_upload", "file_upload")
# The websocket may lose a message (the browser's does); the history, asked this often, does not.
_HISTORY_INTERVAL_S = 5.0
_CLOSED_INTERVAL_S = 1.0
_CONNECT_TIMEOUT_S = 10.0
# Asked so often whether it knows the prompt, a server that does not has forgotten it and is not just about to file it.
_FORGOTTEN_AFTER = 3
# What nodes give out as a film; some of them write animations.
FILM_OUTPUTS = (*FILM_SUFFIXES, ".gif")


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One input of one node and the value it gets.

    Attributes:
        node: Node id, or a title or class name that only one node of the workflow has.
        input: Name of the input.
        value: JSON value.
    """

    node: str
    input: str
    value: Any


def parse_set(text: str) -> Assignment:
    """Read ``NODE.INPUT=VALUE``.

    The value is JSON where it parses as JSON (``3``, ``0.5``, ``true``, ``"text"``, ``["4", 0]``), else plain text.

    Raises:
        SettingsError: The text has no ``=``, no dot before it, or an empty part.
    """
    target, equals, raw = text.partition("=")
    node, dot, name = target.strip().rpartition(".")
    if not (equals and dot and node and name):
        raise SettingsError(f"cannot read the setting {text!r}; write NODE.INPUT=VALUE, for example 1.file=film.mp4")
    try:
        value = json.loads(raw)
    except json.JSONDecodeError:
        value = raw
    return Assignment(node=node, input=name, value=value)


def load_workflow(path: str | os.PathLike[str]) -> Prompt:
    """Read an API-format workflow.

    Raises:
        SettingsError: The file is no JSON, or a workflow in the editor's format.
    """
    try:
        prompt = json.loads(read_text(path, "the workflow").removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise SettingsError(f"{os.fspath(path)!r} is not a JSON file: {error}") from error
    try:
        check_prompt(prompt)
    except SettingsError as error:
        raise SettingsError(f"{os.fspath(path)!r}: {error}") from error
    return prompt


def check_prompt(prompt: object) -> None:
    """Check that ``prompt`` has the API format: node id → class_type and inputs.

    Raises:
        SettingsError: It has not.
    """
    if isinstance(prompt, dict) and isinstance(prompt.get("nodes"), list):
        raise SettingsError(
            "this is a workflow in the editor's format, which a server cannot run; in ComfyUI use File > Export (API), "
            "or take the file of the same name from workflows/api"
        )
    if not isinstance(prompt, dict) or not prompt:
        raise SettingsError("this is not a workflow in API format: a non-empty JSON object of nodes is expected")
    for key, node in prompt.items():
        fields = node if isinstance(node, dict) else {}
        if not (isinstance(fields.get("class_type"), str) and isinstance(fields.get("inputs"), dict)):
            raise SettingsError(
                f"this is not a workflow in API format: node {key!r} lacks its class_type or its inputs"
            )


def find_node(prompt: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """Return the id of the node that ``name`` means: its id, else its title, else its class.

    Raises:
        SettingsError: No node or several nodes have that name.
    """
    if name in prompt:
        return name
    for found in (
        [key for key, node in prompt.items() if node.get("_meta", {}).get("title") == name],
        [key for key, node in prompt.items() if node["class_type"] == name],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise SettingsError(f"{name!r} is the name of the nodes {', '.join(found)}; use one of these ids")
    known = ", ".join(f"{key} ({node_title(node)})" for key, node in prompt.items())
    raise SettingsError(f"the workflow has no node {name!r}; its nodes are {known}")


def node_title(node: Mapping[str, Any]) -> str:
    """Return the title shown in the editor, or the class name of an untitled node."""
    return str(node.get("_meta", {}).get("title") or node["class_type"])


def run_workflow(
    prompt: Mapping[str, Any],
    *,
    server: str = LOCAL_SERVER,
    sets: Sequence[str | Assignment] = (),
    out: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
    timeout: float | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Run a workflow on a ComfyUI server and fetch what it made.

    When the caller stops it (Ctrl-C, or ``progress`` raising), and when the time is over, the prompt is also taken off
    the server.

    Args:
        prompt: API-format workflow; it is not changed.
        server: Address of the server; ``host:port`` will do.
        sets: ``NODE.INPUT=VALUE`` texts (see `parse_set`). Where the input takes a file and the value names a file on
            this machine, the file is uploaded first.
        out: Folder for every video, picture and sound the workflow shows or saves; made when missing. A film that is
            shown and saved is fetched once, as it was saved. Files that are there stay; a new one of the same name gets
            a number. None fetches nothing.
        progress: Called with the title of the running node and its own progress.
        timeout: Seconds the whole run may take, waiting in the server's queue included; None waits for ever.
        overwrite: Replace files of the same name in `out`.

    Returns:
        Paths of the fetched files, in the order of the nodes in the workflow.

    Raises:
        SettingsError: The prompt, a setting or the server's address cannot be used.
        HostLostError: The server cannot be reached, or dies.
        HostError: It rejects the workflow, fails in it, is interrupted, or takes too long; says what the workflow was
            doing.
    """
    check_prompt(prompt)
    copy: Prompt = json.loads(json.dumps(prompt))
    assignments = [parse_set(item) if isinstance(item, str) else item for item in sets]
    folder = None if out is None else Path(out)
    return asyncio.run(_run(copy, _base_url(server), assignments, folder, progress, timeout, overwrite))


def _base_url(server: str) -> str:
    address = server if "://" in server else f"http://{server}"
    if not address.startswith(("http://", "https://")) or not address.partition("://")[2]:
        raise SettingsError(f"{server!r} is not a server address; write for example http://127.0.0.1:8188")
    return address.rstrip("/")


async def _run(
    prompt: Prompt,
    url: str,
    sets: Sequence[Assignment],
    out: Path | None,
    progress: Progress,
    timeout: float | None,
    overwrite: bool,
) -> list[Path]:
    limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=limits) as session:
        client = _Client(session, url, prompt, progress)
        try:
            async with asyncio.timeout(timeout):
                await client.apply(sets)
                outputs = await client.execute()
                return [] if out is None else await client.fetch(outputs, out, overwrite=overwrite)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise HostLostError(client.lost(error)) from error
        except TimeoutError as error:
            if isinstance(error, aiohttp.ServerTimeoutError):
                raise HostLostError(client.lost(error)) from error
            raise HostError(
                f"the workflow did not finish on {url} within {timeout} s, {client.doing}; give it more time"
            ) from None
        finally:
            # After success, failure on the server or interruption nothing is left to cancel.
            await client.cancel()


class _Client:
    """One prompt's way through one server."""

    def __init__(self, session: aiohttp.ClientSession, url: str, prompt: Prompt, progress: Progress) -> None:
        self._session = session
        self._url = url
        self._prompt = prompt
        self._progress = progress
        self._client_id = uuid.uuid4().hex
        self._prompt_id: str | None = None
        self._answered = False
        self.doing = "before it was queued"
        """What the workflow is doing, in words."""

    def lost(self, error: Exception) -> str:
        """Return a message about a server that does not answer any more, or never did."""
        reason = str(error) or type(error).__name__
        if not self._answered:
            return f"no ComfyUI answers at {self._url} ({reason}); start it or correct the address"
        return (
            f"the server at {self._url} is gone: it stopped answering {self.doing} ({reason}). Its log says why; a "
            "server that is killed without a word often ran out of memory. Start it and queue the workflow again"
        )

    # Before the run

    async def apply(self, sets: Sequence[Assignment]) -> None:
        """Write the assignments into the prompt, uploading the local files they name."""
        for item in sets:
            node = self._prompt[find_node(self._prompt, item.node)]
            specification = await self._input_specification(node, item.input)
            value = item.value
            if isinstance(value, str) and any(specification.get(flag) for flag in _UPLOAD_FLAGS):
                value = await self._upload(value)
            node["inputs"][item.input] = value

    async def _input_specification(self, node: Mapping[str, Any], name: str) -> dict[str, Any]:
        kind = node["class_type"]
        described = (await self._get_json(f"/object_info/{kind}")).get(kind)
        if described is None:
            raise HostError(f"the server has no node {kind}; install the pack it comes from and restart the server")
        inputs = {**described["input"].get("required", {}), **described["input"].get("optional", {})}
        if name not in inputs:
            raise SettingsError(f"node {node_title(node)!r} has no input {name!r}; its inputs are {', '.join(inputs)}")
        entry = inputs[name]
        return entry[1] if len(entry) > 1 else {}

    async def _upload(self, value: str) -> str:
        path = Path(value).expanduser()
        if not path.is_file():
            _LOG.info("%s is not a file on this machine; taken as a file in the server's input folder", value)
            return value
        _LOG.info("uploading %s", path)
        with path.open("rb") as stream:
            form = aiohttp.FormData(quote_fields=False)
            form.add_field("image", stream, filename=path.name, content_type="application/octet-stream")
            self.doing = f"while {path} was sent to it"
            async with self._session.post(f"{self._url}/upload/image", data=form) as answer:
                self._answered = True
                if answer.status == 413:
                    raise HostError(
                        f"{path} ({path.stat().st_size / 1e6:.0f} MB) is larger than the server accepts; start it with "
                        "a larger --max-upload-size, or copy the file into its input folder and give its name"
                    )
                if answer.status != 200:
                    raise HostError(f"the server did not take {path}: HTTP {answer.status}")
                stored = await answer.json()
        return str(PurePosixPath(stored.get("subfolder") or "", stored["name"]))

    # The run

    async def execute(self) -> dict[str, dict[str, Any]]:
        """Queue the prompt, wait for its end, and return the outputs of its nodes."""
        # Listening starts before queueing, or a short prompt could be over unheard.
        socket_url = f"ws{self._url.removeprefix('http')}/ws?clientId={self._client_id}"
        async with self._session.ws_connect(socket_url, max_msg_size=0) as socket:
            self._answered = True
            await self._post_prompt()
            self.doing = "while the workflow waited in its queue"
            entry = await self._follow(socket)
        self._prompt_id = None
        self._raise_for_failure(entry)
        return {key: output for key, output in entry.get("outputs", {}).items() if key.split(".")[0] in self._prompt}

    async def _post_prompt(self) -> None:
        body = {"prompt": self._prompt, "client_id": self._client_id}
        async with self._session.post(f"{self._url}/prompt", json=body) as answer:
            try:
                content = await answer.json()
            except (aiohttp.ContentTypeError, json.JSONDecodeError):
                raise HostError(f"{self._url}/prompt answered HTTP {answer.status}; is it a ComfyUI?") from None
        self._prompt_id = content.get("prompt_id")
        # With several ends the server runs the sound ones and only mentions the others; half a result is a failure.
        if answer.status != 200 or content.get("node_errors"):
            raise HostError(self._rejection(content))

    def _rejection(self, content: Mapping[str, Any]) -> str:
        lines = list(self._node_errors(content.get("node_errors") or {}))
        if not lines:
            error = content.get("error") or {}
            if not isinstance(error, dict):
                error = {"message": str(error)}
            lines = [": ".join(str(part) for part in (error.get("message"), error.get("details")) if part)]
        return "the server rejects the workflow:\n  " + "\n  ".join(dict.fromkeys(lines))

    def _node_errors(self, errors: Mapping[str, Any]) -> Iterator[str]:
        for key, entry in errors.items():
            for error in entry.get("errors", ()):
                name = error.get("extra_info", {}).get("input_name")
                if str(error.get("type", "")).startswith("exception_during"):
                    # A node's own words; the input named is the one that another node takes its output by.
                    yield f"{self._where(key)}: {error.get('details') or error.get('message')}"
                    continue
                where = self._where(key) + (f", input {name!r}" if name else "")
                details = str(error.get("details") or "").removeprefix(str(name)).removeprefix(" - ")
                yield f"{where}: {error.get('message')}" + (f": {details}" if details else "")

    async def _follow(self, socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        """Report progress until the prompt is in the history, and return its entry there."""
        asked = time.monotonic()
        missed = 0
        while True:
            try:
                message = await socket.receive(timeout=_HISTORY_INTERVAL_S)
            except TimeoutError:
                message = None
            over = False
            if message is not None and message.type is aiohttp.WSMsgType.TEXT:
                over = self._report(json.loads(message.data))
            closed = message is not None and message.type in (
                aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR
            )  # fmt: skip
            if over or closed or time.monotonic() - asked >= _HISTORY_INTERVAL_S:
                asked = time.monotonic()
                # The queue first: a prompt goes from there to the history.
                waiting = await self._is_queued()
                history = await self._get_json(f"/history/{self._prompt_id}")
                if self._prompt_id in history:
                    return history[self._prompt_id]
                missed = 0 if waiting else missed + 1
                if missed == _FORGOTTEN_AFTER:
                    self._prompt_id = None
                    raise HostError(
                        f"the server at {self._url} no longer knows the workflow: it was started again, or its queue "
                        f"and history were emptied, {self.doing}; queue the workflow again"
                    )
            if closed:
                # From here on the history alone tells; a server that is gone as well has failed the request above.
                await asyncio.sleep(_CLOSED_INTERVAL_S)

    async def _is_queued(self) -> bool:
        """Tell whether the prompt waits or runs; where the server does not say, that it does."""
        try:
            found = await self._get_json("/queue")
            return any(
                entry[1] == self._prompt_id for name in ("queue_running", "queue_pending") for entry in found[name]
            )
        except (HostError, KeyError, IndexError, TypeError):
            return True

    def _report(self, message: Mapping[str, Any]) -> bool:
        """Pass one message on; return True when it says that the prompt is over."""
        kind, data = message.get("type"), message.get("data") or {}
        if data.get("prompt_id") != self._prompt_id:
            return False
        key = data.get("node")
        if kind == "executing":
            if key is None:
                return True
            self.doing = f"while {self._where(key)} was running"
            self._progress(self._title(key), 0, None)
        elif kind == "progress" and key is not None:
            done, total = int(data["value"]), int(data["max"])
            self.doing = f"while {self._where(key)} was running, at {done} of {total}"
            self._progress(self._title(key), done, total)
        return False

    def _raise_for_failure(self, entry: Mapping[str, Any]) -> None:
        for kind, data in (entry.get("status") or {}).get("messages", ()):
            if kind == "execution_interrupted":
                raise HostError(f"the workflow was interrupted in {self._where(data['node_id'])}")
            if kind == "execution_error":
                error = str(data.get("exception_message", "")).strip()
                raise HostError(f"{self._where(data['node_id'])} failed: {error} [{data.get('exception_type')}]")

    async def cancel(self) -> None:
        """Take an unfinished prompt off the server."""
        prompt_id, self._prompt_id = self._prompt_id, None
        if prompt_id is None:
            return
        # The reason for cancelling is what the caller should hear of, not that the server is gone as well.
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await self._post("/queue", {"delete": [prompt_id]})
                await self._post("/interrupt", {"prompt_id": prompt_id})

    # After the run

    async def fetch(
        self, outputs: Mapping[str, Mapping[str, Any]], folder: Path, *, overwrite: bool = False
    ) -> list[Path]:
        """Download every file the nodes name in their outputs, a film that is shown and saved as it was saved."""
        folder.mkdir(parents=True, exist_ok=True)
        order = {key: position for position, key in enumerate(self._prompt)}
        again = await self._shown_again(outputs)
        fetched: dict[tuple[str, str, str], Path] = {}
        for key in sorted(outputs, key=lambda item: order.get(item.split(".")[0], len(order))):
            for name, subfolder, kind in _files(outputs[key]):
                if (name, subfolder, kind) in fetched:
                    continue
                if key in again and kind == "temp" and _is_film(name):
                    _LOG.info("%s, which %s shows, is fetched as %s saved it", name, self._where(key), again[key])
                    continue
                # The server names the file; only the last part of that name may decide where it goes here.
                target = folder / PurePosixPath(name).name
                if target in fetched.values():
                    target = folder / f"{key}_{target.name}"
                if not overwrite:
                    target = _free(target)
                self.doing = f"while {name} was fetched from it"
                await self._download({"filename": name, "subfolder": subfolder, "type": kind}, target)
                fetched[name, subfolder, kind] = target
        return list(fetched.values())

    async def _shown_again(self, outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Return the nodes whose temporary film is what a node after or beside them saved, and which node that is.

        Only a node that gives nothing on is sure to have saved what it was given.
        """
        films = {key: {kind for name, _, kind in _files(output) if _is_film(name)} for key, output in outputs.items()}
        shown = [key for key, kinds in films.items() if "temp" in kinds]
        saved = [key for key, kinds in films.items() if "output" in kinds]
        found: dict[str, str] = {}
        for saver in saved if shown else ():
            if not await self._ends_there(saver):
                continue
            sources = self._sources(saver)
            for key in shown:
                is_source = any(source == key for source, _ in sources)
                is_twin = key != saver and bool(sources & self._sources(key)) and await self._ends_there(key)
                if is_source or is_twin:
                    found[key] = self._where(saver)
        return found

    async def _ends_there(self, key: str) -> bool:
        """Tell whether a node has no outputs."""
        node = self._prompt.get(key)
        if node is None:
            return False
        described = (await self._get_json(f"/object_info/{node['class_type']}")).get(node["class_type"], {})
        return described.get("output") == []

    def _sources(self, key: str) -> set[tuple[str, int]]:
        """Return the outputs that a node's inputs are connected to."""
        values = self._prompt[key]["inputs"].values() if key in self._prompt else ()
        return {(str(value[0]), value[1]) for value in values if isinstance(value, list) and len(value) == 2}

    async def _download(self, query: Mapping[str, str], target: Path) -> None:
        with written_whole(target) as partial:
            async with self._session.get(f"{self._url}/view", params=query) as answer:
                if answer.status != 200:
                    name = query["filename"]
                    raise HostError(f"the server does not hand out its result {name}: HTTP {answer.status}")
                with partial.open("wb") as stream:
                    async for block in answer.content.iter_chunked(1 << 20):
                        stream.write(block)
        _LOG.info("fetched %s", target)

    # Helpers

    def _where(self, key: str) -> str:
        return f"node {key} ({self._title(key)})"

    def _title(self, key: str) -> str:
        # Nodes made while a graph runs are called PARENT.CHILD.
        node = self._prompt.get(str(key)) or self._prompt.get(str(key).split(".")[0])
        return node_title(node) if node else str(key)

    async def _get_json(self, path: str) -> dict[str, Any]:
        async with self._session.get(self._url + path) as answer:
            self._answered = True
            if answer.status != 200:
                raise HostError(f"{self._url}{path} answered HTTP {answer.status}; is it a ComfyUI?")
            return await answer.json()

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        async with self._session.post(self._url + path, json=body) as answer:
            await answer.read()


def _files(output: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (file name, subfolder, folder type) of every file in one node's output."""
    for entries in output.values():
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("filename"), str):
                yield entry["filename"], str(entry.get("subfolder") or ""), str(entry.get("type") or "output")


def _is_film(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in FILM_OUTPUTS


def _free(path: Path) -> Path:
    """Return the path, or with a number behind its name where there is a file already."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return free
