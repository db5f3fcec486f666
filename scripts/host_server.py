"""Start a local ComfyUI that has this pack and nothing else, and tell its URL.

Used by ``make demo``, by the host tests, and by hand:

    python scripts/host_server.py                start, print the URL, run until Ctrl-C
    python scripts/host_server.py --find         only say where the host is; exit code 1 when there is none
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
# The name of a usual checkout. The hyphen matters: a pack that works only under an identifier breaks in the field.
PACK_NAME = "ComfyUI-VLDM"
_PACK_FAILURES = re.compile(
    r"IMPORT FAILED.*" + PACK_NAME + r"|Error while calling comfy_entrypoint.*|"
    r"ComfyUI-VLDM could not be loaded|Cannot import .*" + PACK_NAME + ".*"
)


class HostError(RuntimeError):
    """The local ComfyUI does not start or does not load the pack."""


def find_host() -> Path | None:
    """Return the ComfyUI folder: $COMFYUI_PATH, else ~/comfy/ComfyUI, else None."""
    named = os.environ.get("COMFYUI_PATH")
    folder = Path(named).expanduser() if named else Path.home() / "comfy" / "ComfyUI"
    if (folder / "main.py").is_file() and (folder / "comfy").is_dir():
        return folder.resolve()
    if named:
        raise HostError(f"COMFYUI_PATH is {named!r}, but no ComfyUI (main.py, comfy/) is there; correct or unset it")
    return None


def find_python() -> str:
    """Return the interpreter that runs the host: $COMFYUI_PYTHON, else this one."""
    return os.environ.get("COMFYUI_PYTHON") or sys.executable


def free_port() -> int:
    """Return a TCP port on the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class HostServer:
    """A ComfyUI server on this machine's CPU, as a context manager.

    The server has a base folder of its own (input/, output/, temp/, user/, models/), so it neither sees nor touches the
    user's files, and the pack is linked into its custom_nodes under a hyphenated name.

    Attributes:
        url: Address without a trailing slash, for example ``http://127.0.0.1:40123``.
        base: Base folder.
        log_path: File with everything the server wrote.
    """

    def __init__(
        self,
        host: Path,
        base: Path,
        *,
        arguments: Sequence[str] = (),
        python: str | None = None,
        start_timeout: float = 180,
    ) -> None:
        self.base = base.resolve()
        self.log_path = self.base / "server.log"
        self.url = ""
        self._host = host
        self._python = python or find_python()
        self._arguments = list(arguments)
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def input_folder(self) -> Path:
        """Folder the Load nodes read from."""
        return self.base / "input"

    @property
    def output_folder(self) -> Path:
        """Folder the Save nodes write to."""
        return self.base / "output"

    @property
    def temp_folder(self) -> Path:
        """Folder of previews and intermediate files."""
        return self.base / "temp"

    def __enter__(self) -> Self:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        for folder in ("custom_nodes", "input", "output", "temp", "user", "models"):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        link = self.base / "custom_nodes" / PACK_NAME
        if not link.exists():
            link.symlink_to(ROOT, target_is_directory=True)
        command = [
            self._python, str(ROOT / "scripts" / "host_main.py"), str(self._host), "--cpu", "--port", str(port),
            "--base-directory", str(self.base), "--disable-all-custom-nodes", "--whitelist-custom-nodes", PACK_NAME,
            "--disable-api-nodes", "--disable-auto-launch", "--database-url", "sqlite:///:memory:",
            # In MB. The host's own limit, 100, is less than many a film.
            "--max-upload-size", "1000000", *self._arguments,
        ]  # fmt: skip
        with self.log_path.open("wb") as log:
            # A session of its own keeps Ctrl-C ours: the caller decides when the server ends. The pipe, to which
            # nothing is ever written, ends it as well when the caller is killed.
            self._process = subprocess.Popen(
                command,
                cwd=self._host,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def get(self, path: str) -> Any:
        """Return the JSON answer to GET ``path`` (``/object_info`` and the like)."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def log(self) -> str:
        """Return everything the server wrote so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def pack_failures(self) -> list[str]:
        """Return the log lines that say the pack could not be loaded."""
        return [line for line in self.log().splitlines() if _PACK_FAILURES.search(line)]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise HostError(f"ComfyUI in {self._host} ended while starting; its last lines:\n{self._tail()}")
            try:
                self.get("/system_stats")
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.25)
                continue
            if self.pack_failures():
                raise HostError(f"ComfyUI started, but could not load the pack:\n{self._tail()}")
            return
        raise HostError(f"ComfyUI did not answer within {self._start_timeout:g} s; its last lines:\n{self._tail()}")

    def _tail(self, lines: int = 40) -> str:
        return "\n".join(self.log().splitlines()[-lines:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--find", action="store_true", help="only say where the host is")
    parser.add_argument("--base", type=Path, help="base folder to use and keep (default: a temporary one)")
    parser.add_argument("--input", type=Path, action="append", default=[], help="file to copy into the input folder")
    options = parser.parse_args(arguments)
    try:
        host = find_host()
    except HostError as error:
        print(error, file=sys.stderr)
        return 1
    if host is None:
        print("No ComfyUI found: set COMFYUI_PATH to its folder, or clone it to ~/comfy/ComfyUI", file=sys.stderr)
        return 1
    if options.find:
        print(host)
        return 0
    with contextlib.ExitStack() as stack:
        base = options.base or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vldm-host-")))
        (base / "input").mkdir(parents=True, exist_ok=True)
        for file in options.input:
            shutil.copy2(file, base / "input" / file.name)
        try:
            server = stack.enter_context(HostServer(host, base))
        except HostError as error:
            print(error, file=sys.stderr)
            return 1
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
    return 0


if __name__ == "__main__":
    sys.exit(main())
