"""Persistent line scratches: marked where the first pass has found them, then repaired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ...film.scratches.detection import ScratchMap, scratch_mask, scratch_probability
from ...film.scratches.repair import repair
from ...film.scratches.repair.repair import ScratchRepairSettings, repair_scratches
from ...film.scratches.settings import ScratchSettings
from ...video.luma import luma_array
from ..settings import GivenUse, StageSettings
from ..stage import Frames, Room, Scope, ShotContext, Stage, StageCost, StageModels
from ..stage_frame import Origin, StageFrame
from ..streams import images, marks_taken, masks, over_windows


@dataclass(frozen=True, kw_only=True)
class MarkScratches(Stage):
    """Sets ``scratch`` of every frame, and ``scratch_probability`` where it is asked for.

    Attributes:
        settings: How scratches are found in the first pass.
        given: What becomes of scratches that the frames bring along as marked.
        probability: Whether to tell how sure it is.
    """

    name: ClassVar[str] = "scratch marking"
    switch: ClassVar[str] = "lines"
    scope: ClassVar[Scope] = Scope.MARKS
    cost: ClassVar[StageCost] = StageCost(analyse=30.0, restore=2.0)

    settings: ScratchSettings
    given: GivenUse = "ignored"
    probability: bool = False

    @classmethod
    def of(cls, settings: StageSettings, models: StageModels) -> Self | None:  # noqa: D102
        return None if settings.lines is None else cls(settings=settings.lines, given=settings.given_scratch)

    @property
    def needs(self) -> Mapping[str, Any]:  # noqa: D102
        return {} if self.given == "alone" else {"scratches": self.settings}

    def with_probability(self) -> "MarkScratches":  # noqa: D102
        return replace(self, probability=True)

    def run(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:  # noqa: D102
        if self.given == "alone":
            for index, frame in enumerate(frames, shot.first):
                yield frame.having(**marks_taken(frame, "scratch", shot.spared(index), probability=self.probability))
            return
        tracks = shot.analysis.scratches
        assert tracks is not None, "the plan leaves the stage out where scratches could not be looked for"
        watch = shot.watch(self.name)
        for index, frame in enumerate(frames, shot.first):
            watch.beat()
            place = _Place(frame, tracks, index)
            marked = {"scratch": watch.frame(frame.number, place.mask)}
            if self.probability:
                marked["scratch_probability"] = watch.frame(frame.number, place.probability)
            if self.given == "added" and (brought := frame.scratch) is not None:
                marked = {
                    kind: brought if mask is None else torch.maximum(mask, brought) for kind, mask in marked.items()
                }
            if (spared := shot.spared(index)) is not None:
                marked = {kind: None if mask is None else mask.masked_fill(spared, 0) for kind, mask in marked.items()}
            yield frame.having(**marked)


@dataclass(frozen=True)
class _Place:
    """Where a frame lies in the tracks of its shot."""

    frame: StageFrame[Any]
    tracks: ScratchMap
    index: int

    def mask(self) -> Tensor:
        """Where there is a scratch, (H, W), 0 or 1."""
        return scratch_mask(self.tracks, self.index, *self._size, luma_array(self.frame.image))

    def probability(self) -> Tensor:
        """How likely a scratch is there, (H, W), 0 … 1."""
        return scratch_probability(self.tracks, self.index, *self._size, luma_array(self.frame.image))

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.frame.image.shape[-2:]
        return height, width


@dataclass(frozen=True, kw_only=True)
class RepairScratches(Stage):
    """Takes off what the scratches that ``scratch`` marks add to the picture.

    Attributes:
        settings: How.
    """

    name: ClassVar[str] = "scratch repair"
    switch: ClassVar[str] = "lines"
    scope: ClassVar[Scope] = Scope.MARKED_PIXELS
    radius: ClassVar[int] = repair.RADIUS
    cost: ClassVar[StageCost] = StageCost(restore=100.0)

    settings: ScratchRepairSettings

    @classmethod
    def of(cls, settings: StageSettings, models: StageModels) -> Self | None:  # noqa: D102
        return None if settings.lines is None else cls(settings=settings.line_repair)

    def room_after(self, room: Room) -> int:  # noqa: D102
        return room.beside_repair

    def run(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:  # noqa: D102
        watch = shot.watch(self.name)

        def change(window: Sequence[StageFrame[Origin]], core: slice) -> Tensor:
            where = masks(window, "scratch")
            return repair_scratches(images(window), where, self.settings, keep=core, progress=watch.beat)[core]

        return over_windows(
            frames,
            change,
            watch=watch,
            size=shot.size,
            radius=self.radius,
            concerns=lambda frame: frame.is_marked("scratch"),
        )
