"""Frames between stages hold little and show the same image and masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vldm_core.stages.stage_frame import StageFrame
from vldm_core.video.info import FilmFrame


def frame(height: int = 24, width: int = 31) -> StageFrame[str]:
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return StageFrame(image=FilmFrame(index=0, image=image), origin="reel", number=7)


def test_images_and_masks_come_back_as_they_were_given() -> None:
    came = frame()
    generator = torch.Generator().manual_seed(0)
    marks = (torch.rand(24, 31, generator=generator) < 0.1).float()
    soft = torch.rand(24, 31, generator=generator)
    image = torch.where(marks > 0, torch.rand(3, 24, 31, generator=generator), came.image)
    went = came.having(image=image, dirt=marks, scratch=soft)
    assert torch.equal(went.image, image) and torch.equal(went.dirt, marks) and torch.equal(went.scratch, soft)
    assert went.dirt.dtype == torch.float32
    assert (went.origin, went.number) == ("reel", 7) and came.dirt is None and came.scratch is None
    again = replace(went, origin="other")
    assert torch.equal(again.image, image) and torch.equal(again.dirt, marks) and again.origin == "other"
    assert torch.equal(went.having(dirt=marks > 0).dirt, marks > 0)
    with pytest.raises(TypeError):
        came.having(colour=1)
    with pytest.raises(TypeError):
        StageFrame(origin=None)  # type: ignore[call-arg]


def test_a_repaired_frame_holds_its_samples_what_changed_and_a_bit_a_pixel() -> None:
    came = frame(400, 500)
    marks = torch.zeros(400, 500)
    marks[100:120, 50:80] = 1
    image = came.image.clone()
    image[:, 100:120, 50:80] = 0.25
    went = came.having(image=image, dirt=marks, scratch=marks)
    assert _held(went) < 400 * 500 * 3 + 2 * 400 * 500 // 8 + 20 * 600 * 16
    assert torch.equal(went.image, image)


def _held(item: object, seen: set[int] | None = None) -> int:
    """Bytes of arrays and tensors that an object holds, functions included."""
    seen = set() if seen is None else seen
    if id(item) in seen:
        return 0
    seen.add(id(item))
    if isinstance(item, np.ndarray):
        return item.nbytes
    if isinstance(item, torch.Tensor):
        return item.untyped_storage().nbytes()
    parts: list[object] = []
    if isinstance(item, tuple | list):
        parts = list(item)
    elif isinstance(item, dict):
        parts = list(item.values())
    elif callable(item) and getattr(item, "__closure__", None):
        parts = [cell.cell_contents for cell in getattr(item, "__closure__")]  # noqa: B009
    elif hasattr(item, "__dict__") and not isinstance(item, type):
        parts = list(vars(item).values())
    return sum(_held(part, seen) for part in parts)
