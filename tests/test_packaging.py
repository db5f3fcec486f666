"""The checkout works as a node pack, as an installed package, and from any folder."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

import vldm_core

from .conftest import ROOT

SOURCES = sorted([*(ROOT / "vldm_core").rglob("*.py"), *(ROOT / "nodes").rglob("*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_of_the_package_are_relative(path):
    # Inside ComfyUI the pack has a name made from its path, and vldm_core need not be installed.
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif node.level == 0:
            names = [node.module or ""]
        assert not [name for name in names if name.split(".")[0] == "vldm_core"], f"line {node.lineno}"


def test_an_editable_install_does_not_put_the_checkout_on_the_path(tmp_path):
    # With the checkout on sys.path, ComfyUI's own `nodes` module would be hidden by ours.
    code = "import sys, importlib.util; print(sys.path); print(importlib.util.find_spec('vldm_core').origin)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    path, origin = done.stdout.splitlines()
    assert str(ROOT) not in ast.literal_eval(path)
    assert origin == vldm_core.__file__


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == vldm_core.__version__
    assert f"[{vldm_core.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert project["tool"]["comfy"]["requires-comfyui"] == ">=0.3.64"


def test_all_files_that_the_package_reads_are_installed_with_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["vldm_core"]
    installed = {path for pattern in patterns for path in (ROOT / "vldm_core").glob(pattern)}
    data = {
        path
        for path in (ROOT / "vldm_core").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
    }
    assert data <= installed, f"not installed: {sorted(str(path.relative_to(ROOT)) for path in data - installed)}"
    assert any(path.name == "clip_merges.txt.gz" for path in installed)


def test_requirements_pin_nothing_the_host_owns():
    names = {
        re.split(r"[<>=!~\[; ]", line)[0].lower()
        for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    }
    assert not names & {"torch", "torchvision", "torchaudio", "numpy", "transformers", "diffusers"}
    assert "opencv-python" in names


def test_a_checkout_of_the_usual_name_passes_the_linter(tmp_path):
    checkout = tmp_path / "ComfyUI-VLDM"
    (checkout / "nodes").mkdir(parents=True)
    for name in ("pyproject.toml", "__init__.py", "nodes/__init__.py"):
        shutil.copy(ROOT / name, checkout / name)
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "."]
    result = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
