"""Stages over windows of a stream: what a window leaves behind goes back to the system."""

import pytest
import torch
from torch import Tensor

from vldm_core.containment import Faults
from vldm_core.stages import streams
from vldm_core.stages.stage_frame import StageFrame


def run(count: int, size: int, side: int) -> None:
    def halved(window, part: slice) -> Tensor:
        return torch.stack([frame.image / 2 for frame in window[part]])

    frames = (StageFrame(image=torch.ones(3, side, side), origin=t, number=t) for t in range(count))
    watch = Faults().watch("halving")
    made = list(streams.over_windows(frames, halved, watch=watch, size=size, radius=1))
    assert [frame.origin for frame in made] == list(range(count))
    assert all(torch.equal(frame.image, torch.full((3, side, side), 0.5)) for frame in made)


@pytest.mark.parametrize(("size", "side", "times"), [(24, 8, 2), (4, 8, 0), (4, 1200, 12)])
def test_it_does_after_windows_of_many_frames_or_of_large_ones(monkeypatch, size, side, times) -> None:
    given = []
    monkeypatch.setattr(streams, "give_blocks_back", lambda: given.append(1))
    run(48, size, side)
    assert len(given) == times
