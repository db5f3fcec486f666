"""Seams of splices and frame lines in sight, marked beside the dirt and filled with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ...film.splices import detection
from ...film.splices.detection import SpliceSettings, splice_mask
from ...film.splices.look import FrameLook
from ...video.luma import luma_array
from ..settings import StageSettings
from ..stage import Frames, Scope, ShotContext, Stage, StageCost, StageModels
from ..stage_frame import Origin, StageFrame, joined_masks
from ..streams import over_windows


@dataclass(frozen=True, kw_only=True)
class MarkSplices(Stage):
    """Adds the seams of splices, and frame lines that a jump brings into sight, to ``dirt`` of their frames.

    Attributes:
        settings: How they are found.
    """

    name: ClassVar[str] = "splices"
    switch: ClassVar[str] = "splices"
    scope: ClassVar[Scope] = Scope.MARKS
    radius: ClassVar[int] = detection.RADIUS
    cost: ClassVar[StageCost] = StageCost(restore=1.5)

    settings: SpliceSettings

    @classmethod
    def of(cls, settings: StageSettings, models: StageModels) -> Self | None:  # noqa: D102
        # Who looks for no dirt, or gives all of the marks, wants no others.
        if settings.splices is None or settings.dirt is None or settings.given_dirt == "alone":
            return None
        return cls(settings=settings.splices)

    @property
    def needs(self) -> Mapping[str, Any]:  # noqa: D102
        return {}

    def run(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:  # noqa: D102
        watch, picture = shot.watch(self.name), shot.analysis.picture
        top, bottom, left, right = picture.box

        def find(window: Sequence[StageFrame[Any]], core: slice) -> Tensor:
            looks = [FrameLook(luma_array(frame.image), picture) for frame in window]
            found = torch.zeros(len(window), *window[0].image.shape[-2:], dtype=torch.bool)
            for index in range(len(window))[core]:
                watch.beat()
                if (mask := splice_mask(looks, index, self.settings)) is not None:
                    found[index, top:bottom, left:right] = torch.from_numpy(mask)
            return found[core]

        def put(frame: StageFrame[Any], found: Tensor) -> StageFrame[Any]:
            if not found.any():
                return frame
            marks = shot.without_spared(found.to(torch.float32), frame.origin[0], stage=self.name, number=frame.number)
            marked = {"dirt": joined_masks(frame.dirt, marks), "seam": marks}
            if frame.dirt_probability is not None:
                marked["dirt_probability"] = torch.maximum(frame.dirt_probability, marks.to(frame.dirt_probability))
            return frame.having(**marked)

        placed = (frame.having(origin=(index, frame.origin)) for index, frame in enumerate(frames))
        for frame in over_windows(placed, find, watch=watch, size=shot.size, radius=self.radius, put=put):
            yield frame.having(origin=frame.origin[1])
