"""Fixtures shared by all tests."""

import importlib.util
import os
import sys
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process a core: threads of their own would only wait for each other. Child processes inherit it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if sys.dont_write_bytecode:
    # Tests start some hundred processes: where none may keep its bytecode, each compiles every module anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False

import numpy as np
import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
# The benchmarks are not installed. At the end of the path: a host has a `nodes` of its own.
sys.path.append(str(ROOT))
SHARED_DATA = ROOT.parent / "shared" / "data"

# The same examples in every run, and none fails because the machine had something else to do.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared_data():
    """Return a function that resolves a path below the shared test data, or skips where there is none.

    In CI the material is promised, so a missing file is a failure there.
    """

    def resolve(relative: str) -> Path:
        path = SHARED_DATA / relative
        if not path.exists():
            message = f"test data not found: ../shared/data/{relative}"
            if os.environ.get("CI") == "true" and SHARED_DATA.parent.exists():
                pytest.fail(f"{message}; CI is expected to have it")
            pytest.skip(message)
        return path

    return resolve


@pytest.fixture(scope="session")
def clean_cases():
    """Return a function that makes a case of clean content, frames (H, W, 3) uint8 and masks, or skips without it."""
    path = SHARED_DATA.parent / "cases" / "clean_content.py"
    if not path.exists():
        message = "test cases not found: ../shared/cases/clean_content.py"
        if os.environ.get("CI") == "true" and SHARED_DATA.parent.exists():
            pytest.fail(f"{message}; CI is expected to have it")
        pytest.skip(message)
    spec = importlib.util.spec_from_file_location("clean_content", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return lambda name: module.MAKERS[name]()


@pytest.fixture(autouse=True)
def _fixed_seeds():
    """Make tests that forget a local generator repeatable."""
    torch.manual_seed(0)
    np.random.seed(0)
