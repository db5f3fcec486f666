"""Fixtures shared by all tests."""

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process a core: threads of their own would only wait for each other. Child processes inherit it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


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


@pytest.fixture(autouse=True)
def _fixed_seeds():
    """Make tests that forget a local generator repeatable."""
    torch.manual_seed(0)
    np.random.seed(0)
