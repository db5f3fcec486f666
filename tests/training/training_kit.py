"""What the tests of all trainings use: photographs to train on, and a run that is stopped on the way."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn


class StopError(Exception):
    """Somebody stops the training."""


def stop_at(step: int) -> Callable[..., None]:
    """Return a progress callback that stops the training after a step."""

    def progress(phase: str, done: int, total: int | None, preview: Tensor | None = None) -> None:
        if phase == "train" and done == step:
            raise StopError

    return progress


def check_resume_is_exact(train: Callable[..., nn.Module], folder: Path, step: int) -> None:
    """Check that a run that is stopped and resumed writes the same file, byte by byte, as one that is not.

    Args:
        train: Trains into a file, with the options `resume` and `progress`.
        folder: For the files.
        step: After which it is stopped; no step at which a checkpoint is written.
    """
    whole, parted = folder / "whole.safetensors", folder / "parted.safetensors"
    train(whole)
    with pytest.raises(StopError):
        train(parted, progress=stop_at(step))
    assert not parted.exists()
    torch.manual_seed(99)  # whatever the process did before has no say
    train(parted, resume=True)
    assert whole.read_bytes() == parted.read_bytes()


def photographs(folder: Path, count: int = 3, size: tuple[int, int] = (520, 400)) -> Path:
    """Make some photographs of coloured clouds in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    stream = np.random.default_rng(2)
    for number in range(count):
        clouds = cv2.GaussianBlur(stream.normal(size=(size[1], size[0], 3)).astype(np.float32), (0, 0), 6)
        cv2.imwrite(str(folder / f"p{number}.png"), np.clip(120 + 500 * clouds, 0, 255).astype(np.uint8))
    return folder
