"""The clean content of ../shared/cases, what is no damage and must stay, for the tests of the film stages."""

import importlib.util
import os
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "clean_content.py"


def clean_case(name: str, first: int, last: int, crop: tuple[slice, slice] | None = None) -> tuple[Tensor, Tensor]:
    """Return frames first … last - 1 of a case, (T, 3, h, w), and the content at risk, (T, h, w) bool.

    Skips where the cases are not there; in CI they are promised, so a missing file is a failure there.
    """
    if not CASES.exists():
        message = "test data not found: ../shared/cases/clean_content.py"
        if os.environ.get("CI") == "true" and CASES.parents[1].exists():
            pytest.fail(f"{message}; CI is expected to have it")
        pytest.skip(message)
    frames, interest = _made(name)
    rows, columns = crop or (slice(None), slice(None))
    picture = torch.from_numpy(frames[first:last, rows, columns].transpose(0, 3, 1, 2).copy()).float() / 255
    return picture, torch.from_numpy(interest[first:last, rows, columns].copy())


@cache
def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("clean_content", CASES)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _made(name: str) -> tuple[np.ndarray, np.ndarray]:
    frames, interest = _module().MAKERS[name]()
    return np.stack(frames), np.stack(interest)


def psnr_inside(before: Tensor, after: Tensor, where: Tensor) -> float:
    """Return the PSNR of the luma inside a region in dB, at most 99."""
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    error = (((after * 255).round() / 255 - before) * weights).sum(1)[where]
    return min(99.0, float(-10 * torch.log10(error.square().mean() + 1e-12)))


def share_moved(before: Tensor, after: Tensor, where: Tensor) -> float:
    """Return the share of the pixels of a region that were moved by more than 32 grey levels."""
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    return float((((after - before) * weights).sum(1)[where].abs() > 32 / 255).float().mean())
