"""Marks that stay in place and are no lines, marked beside the dirt and filled with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch

from ...film.standing.detection import StandingSettings, standing_mask
from ..settings import StageSettings
from ..stage import Frames, Scope, ShotContext, Stage, StageCost, StageModels
from ..stage_frame import Origin, joined_masks


@dataclass(frozen=True, kw_only=True)
class MarkStanding(Stage):
    """Adds hairs in the gate and dirt on the lens to ``dirt`` of every frame.

    Attributes:
        settings: How they are found in the first pass.
    """

    name: ClassVar[str] = "standing marks"
    switch: ClassVar[str] = "standing"
    scope: ClassVar[Scope] = Scope.MARKS
    cost: ClassVar[StageCost] = StageCost(analyse=12.0, restore=1.0)

    settings: StandingSettings

    @classmethod
    def of(cls, settings: StageSettings, models: StageModels) -> Self | None:  # noqa: D102
        # Who gives all of the marks wants no others.
        if settings.standing is None or settings.given_dirt == "alone":
            return None
        return cls(settings=settings.standing)

    @property
    def needs(self) -> Mapping[str, Any]:  # noqa: D102
        return {"standing": self.settings}

    def run(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:  # noqa: D102
        standing = shot.analysis.standing
        assert standing is not None, "the plan leaves the stage out where standing marks could not be measured"
        watch = shot.watch(self.name)
        for index, frame in enumerate(frames, shot.first):
            watch.beat()
            found = standing_mask(standing, index)
            if found is None:
                yield frame
                continue
            mask = torch.from_numpy(found)
            spared = shot.spared(index)
            if spared is not None:
                mask &= ~spared
            yield frame.having(dirt=joined_masks(frame.dirt, mask.to(torch.float32)))
