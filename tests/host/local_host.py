"""Where this machine's ComfyUI is."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script(name: str) -> Any:
    """Load a module from scripts/, which is not a package."""
    spec = importlib.util.spec_from_file_location(f"vldm_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


host_server = script("host_server")


class HostMissingWarning(UserWarning):
    """The tests on the real host did not run."""


def require_host() -> Path:
    """Return the host's folder, or skip in a way that the test summary shows."""
    folder = host_server.find_host()
    if folder is None:
        message = "no ComfyUI found ($COMFYUI_PATH, ~/comfy/ComfyUI): the tests on the real host did NOT run"
        warnings.warn(message, HostMissingWarning, stacklevel=2)
        pytest.skip(message)
    return folder
