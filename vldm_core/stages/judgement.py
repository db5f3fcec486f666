"""Marks of dirt are judged by those of the frames around: what is a part of the scene is taken off again."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from ..containment import Watch
from ..film.spared import marks
from ..film.spared.marks import MarkedFrame, spared_marks
from ..film.spared.settings import SparingSettings
from ..video.luma import luma_array
from .stage import Frames, ShotContext
from .stage_frame import Origin, StageFrame
from .streams import over_windows

RADIUS = marks.RADIUS
"""The verdict on the marks of a frame depends on this many frames on each side."""

MOVING = "marks that move or crowd as rain, sparks or glints do, or change as digits do, were dropped"
"""What is told of a frame some of whose marks are a part of the scene."""


def judged(
    frames: Frames[Origin], settings: SparingSettings, shot: ShotContext, *, stage: str, watch: Watch
) -> Frames[Origin]:
    """Take off ``dirt``, and ``dirt_probability``, what the marks of the frames around show to be no dirt.

    Args:
        frames: The shot, in which dirt has been looked for.
        settings: What is left alone.
        shot: What else has to be known of it.
        stage: The stage that has marked, for notices.
        watch: Of that stage.
    """
    if settings.falling == "dirt":
        return frames

    def judge(window: Sequence[StageFrame[Origin]], core: slice) -> Tensor:
        @cache
        def seen(index: int) -> MarkedFrame | None:
            frame = window[index]
            # A frame in which dirt could not be looked for tells nothing.
            return None if frame.dirt is None else MarkedFrame.of(luma_array(frame.image), frame.dirt.numpy() > 0)

        kept = []
        for index in range(len(window))[core]:
            watch.beat()
            here = seen(index)
            if here is None:
                kept.append(torch.ones(window[index].image.shape[-2:], dtype=torch.bool))
                continue
            first = max(0, index - RADIUS)
            around = [seen(other) for other in range(first, min(len(window), index + RADIUS + 1))]
            spared = spared_marks(index - first, around, falling=settings.falling)
            if spared.any():
                shot.faults.notices.add(stage, MOVING, frame=window[index].number)
            kept.append(torch.from_numpy(here.all_but(spared)))
        return torch.stack(kept)

    def put(frame: StageFrame[Origin], kept: Tensor) -> StageFrame[Origin]:
        if frame.dirt is None:
            return frame
        changed = {"dirt": torch.where(kept, frame.dirt, 0)}
        if frame.dirt_probability is not None:
            # What was no mark keeps its probability.
            changed["dirt_probability"] = frame.dirt_probability.masked_fill((frame.dirt > 0) & ~kept, 0)
        return frame.having(**changed)

    return over_windows(
        frames,
        judge,
        watch=watch,
        size=shot.size,
        radius=RADIUS,
        put=put,
        concerns=lambda frame: frame.is_marked("dirt"),
    )
