"""Key → shape lists of published checkpoints."""

import json
import os
from pathlib import Path

import pytest

MANIFESTS = Path(__file__).resolve().parents[2] / "shared" / "manifests"


def manifest(name: str) -> dict[str, tuple[int, ...]]:
    """Load one; skip where the set is absent, fail in CI, which is promised to have it."""
    path = MANIFESTS / f"{name}.json"
    if not path.exists():
        message = f"manifest not found: ../shared/manifests/{name}.json"
        if os.environ.get("CI") == "true" and MANIFESTS.parent.exists():
            pytest.fail(f"{message}; CI is expected to have it")
        pytest.skip(message)
    return {key: tuple(shape) for key, shape in json.loads(path.read_text(encoding="utf-8"))["keys"].items()}
