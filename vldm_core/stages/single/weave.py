"""Gate weave: every frame is moved back to where it belongs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ...film.active_picture import ActivePicture
from ...film.weave import stabilise
from ...film.weave.stabilise import StabiliseSettings, WeaveTrack, apply_stabilise, warp_masks
from ..settings import StageSettings
from ..stage import Frames, Scope, ShotContext, Stage, StageCost, StageModels
from ..stage_frame import Origin, StageFrame
from ..streams import images, over_windows

_LEAST_SHARE = 0.25
"""Share of a pixel by which a moved mask still marks it: a mask of one pixel, moved by parts of a pixel both ways, has
a quarter or more of itself in one of those that it then lies on."""


@dataclass(frozen=True, kw_only=True)
class Stabilise(Stage):
    """Takes the gate weave out, of the marks too; bars stay, and are not moved into the picture.

    Attributes:
        settings: How it is measured in the first pass, and how much of it is taken out.
    """

    name: ClassVar[str] = "stabilise"
    switch: ClassVar[str] = "stabilise"
    scope: ClassVar[Scope] = Scope.PLACE
    radius: ClassVar[int] = stabilise.RADIUS
    cost: ClassVar[StageCost] = StageCost(analyse=15.0, restore=15.0)

    settings: StabiliseSettings

    @classmethod
    def of(cls, settings: StageSettings, models: StageModels) -> Self | None:  # noqa: D102
        return None if settings.stabilise is None else cls(settings=settings.stabilise)

    @property
    def needs(self) -> Mapping[str, Any]:  # noqa: D102
        return {"weave": self.settings}

    def run(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:  # noqa: D102
        track, picture = shot.analysis.weave, shot.analysis.picture
        assert track is not None, "the plan leaves the stage out where weave could not be measured"
        watch = shot.watch(self.name)
        box = None if picture.whole else picture.box

        def change(window: Sequence[StageFrame[tuple[int, Origin]]], core: slice) -> Tensor:
            came = images(window)
            moved = apply_stabilise(came, track, window[0].origin[0], box=box, keep=core, progress=watch.beat)[core]
            if picture.whole:
                return moved
            return torch.stack(
                [picture.restricted(image, came[core.start + index]) for index, image in enumerate(moved)]
            )

        # A part of a window, too, has to know where in the shot it lies.
        placed = (frame.having(origin=(index, frame.origin)) for index, frame in enumerate(frames, shot.first))
        for frame in over_windows(placed, change, watch=watch, size=shot.size, radius=self.radius):
            index, origin = frame.origin
            marks = {
                kind: watch.frame(frame.number, lambda: _moved(mask, track, index, picture))  # noqa: B023 - called at once
                for kind in ("dirt", "scratch")
                if (mask := getattr(frame, kind)) is not None
            }
            yield frame.having(origin=origin, latent=None, **marks)


def _moved(mask: Tensor, track: WeaveTrack, index: int, picture: ActivePicture) -> Tensor:
    """The marks of a frame where the picture has been moved to; none beyond its edge, where nothing was moved."""
    moved = (warp_masks(mask[None], track, index)[0] >= _LEAST_SHARE).to(mask)
    return picture.restricted(moved, torch.zeros_like(moved))
