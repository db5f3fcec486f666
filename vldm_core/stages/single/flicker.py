"""Flicker: brightness that changes from frame to frame is evened out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor

from ...film.flicker.removal import FlickerSettings, apply_flicker
from ...video.buffers.pictures import Made, Picture, Whole
from ..settings import StageSettings
from ..stage import Frames, Scope, ShotContext, Stage, StageCost, StageModels
from ..stage_frame import Origin
from ..streams import plane_bytes


@dataclass(frozen=True, kw_only=True)
class RemoveFlicker(Stage):
    """Evens the brightness out, inside the picture.

    Attributes:
        settings: How it is measured in the first pass, and how much of it is taken out.
    """

    name: ClassVar[str] = "flicker"
    switch: ClassVar[str] = "flicker"
    scope: ClassVar[Scope] = Scope.PICTURE
    cost: ClassVar[StageCost] = StageCost(analyse=25.0, restore=5.0)

    settings: FlickerSettings

    @classmethod
    def of(cls, settings: StageSettings, models: StageModels) -> Self | None:  # noqa: D102
        return None if settings.flicker is None else cls(settings=settings.flicker)

    @property
    def needs(self) -> Mapping[str, Any]:  # noqa: D102
        return {"flicker": self.settings}

    def run(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:  # noqa: D102
        track, picture = shot.analysis.flicker, shot.analysis.picture
        assert track is not None, "the plan leaves the stage out where flicker could not be measured"
        watch = shot.watch(self.name)
        for index, frame in enumerate(frames, shot.first):
            watch.beat()
            came = frame.picture

            def even(came: Picture = came, index: int = index) -> Tensor:
                image = came.tensor()
                return picture.restricted(apply_flicker(image[None], track, index)[0], image)

            held = Made(even)
            made = watch.frame(frame.number, held.tensor)
            if made is None:
                yield frame
            else:
                yield frame.having(image=held if plane_bytes(made) > shot.room.held else Whole(made))
