"""Prepare the project's virtual environment: the package, its test tools and, where one is found, the ComfyUI host.

Usage: python scripts/setup_environment.py .venv
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from host_server import find_host

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "tests" / "constraints.txt"
OPERATORS = ROOT / "vldm_core" / "machine" / "vision_operators.py"
WATCHER = "vldm_vision_operators"
# The host asks for these without versions; a resolver would replace the torch that is already installed.
KEPT_OUT = ("torch", "torchvision", "torchaudio")
# The host imports it, but lists it nowhere; older transformers used to bring it along.
UNLISTED = ("requests",)


def host_requirements(host: Path) -> list[str]:
    """Return the host's requirement lines without the torch family."""
    lines = (host / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = (line.split("#")[0].strip() for line in lines)
    listed = [line for line in wanted if line and re.split(r"[^A-Za-z0-9_-]", line)[0].lower() not in KEPT_OUT]
    return [*listed, *UNLISTED]


def torchvision_for(torch_version: str) -> str:
    """Return the torchvision release made for a torch release (2.N goes with 0.(N + 15))."""
    major, minor, patch = re.match(r"(\d+)\.(\d+)\.(\d+)", torch_version).groups()  # type: ignore[union-attr]
    if major != "2":
        raise SystemExit(f"no torchvision release is known for torch {torch_version}; install it by hand")
    return f"0.{int(minor) + 15}.{patch}"


def mend_torchvision(python: Path) -> None:
    """Let torchvision be imported in the environment where no build of it fits the build of torch.

    PyPI's torchvision cannot load its operators beside a CPU build of torch, and without them not even be imported.
    """
    if _imports_torchvision(python):
        return
    query = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip())
    watch(packages)
    if not _imports_torchvision(python):
        raise SystemExit(f"torchvision cannot be imported; see what is wrong with: {python} -c 'import torchvision'")
    print("torchvision is not made for this build of torch; its missing operators are declared", flush=True)


def watch(packages: Path) -> None:
    """Let every Python that has this folder of packages declare the operators before it imports torchvision."""
    shutil.copyfile(OPERATORS, packages / f"{WATCHER}.py")
    # Python runs the lines of such files that begin with "import" when it starts.
    (packages / f"{WATCHER}.pth").write_text(f"import {WATCHER}; {WATCHER}.watch_for_torchvision()\n", encoding="utf-8")


def _imports_torchvision(python: Path) -> bool:
    return subprocess.run([str(python), "-c", "import torchvision"], capture_output=True).returncode == 0


def install(python: Path, *arguments: str) -> None:
    """Run pip inside the environment."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


def main() -> None:
    """Create or update the environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the virtual environment is made")
    folder = parser.parse_args().folder.resolve()
    if sys.version_info < (3, 11):  # noqa: UP036 - this script runs before any package metadata is checked
        raise SystemExit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; set PYTHON=python3.11")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"making {folder}", flush=True)
        venv.create(folder, with_pip=True)
    print("installing the package and its test tools", flush=True)
    install(python, "--constraint", str(CONSTRAINTS), "--editable", f"{ROOT}[demo,test]")
    host = find_host()
    if host is None:
        print("no ComfyUI found (COMFYUI_PATH or ~/comfy/ComfyUI): host tests will be skipped", flush=True)
    else:
        install_host_requirements(python, host)
    mend_torchvision(python)


def install_host_requirements(python: Path, host: Path) -> None:
    """Install what a ComfyUI needs beside the torch that is there."""
    print(f"installing the requirements of the ComfyUI at {host}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        listing = Path(scratch) / "requirements.txt"
        listing.write_text("\n".join(host_requirements(host)) + "\n", encoding="utf-8")
        install(python, "--constraint", str(CONSTRAINTS), "--requirement", str(listing))
    query = [str(python), "-c", "import importlib.metadata as m; print(m.version('torch'))"]
    torch_version = subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()
    # Without its dependencies: torchvision's own pin would bring another build of torch.
    install(python, "--no-deps", f"torchvision=={torchvision_for(torch_version)}")


if __name__ == "__main__":
    main()
