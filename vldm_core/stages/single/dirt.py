"""Transient dirt: marked where a frame shows what its neighbours do not, then filled from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from ...arrays import FloatArray
from ...containment import Watch
from ...film.dirt import detection
from ...film.dirt.detection import DirtSettings, detect_dirt
from ...film.fill import regions, repair
from ...film.fill.regions import complete_marks
from ...film.fill.repair import DirtRepairSettings, repair_dirt
from ...film.spared.settings import SparingSettings
from .. import judgement
from ..judgement import judged
from ..settings import GivenUse, StageSettings
from ..stage import Frames, Room, Scope, ShotContext, Stage, StageCost, StageModels
from ..stage_frame import MarkCertainty, Origin, StageFrame
from ..streams import images, marks_taken, masks, over_windows


@dataclass(frozen=True, kw_only=True)
class MarkDirt(Stage):
    """Sets ``dirt`` of every frame, and ``dirt_probability`` where it is asked for.

    Attributes:
        settings: How dirt is found.
        given: What becomes of dirt that the frames bring along as marked.
        spare: What is left alone though it looks like dirt.
        motion: How well the motion of the shot has to be known.
        probability: Whether to tell how sure it is.
    """

    name: ClassVar[str] = "dirt marking"
    switch: ClassVar[str] = "dirt"
    scope: ClassVar[Scope] = Scope.MARKS
    radius: ClassVar[int] = detection.RADIUS + regions.RADIUS + judgement.RADIUS
    cost: ClassVar[StageCost] = StageCost(restore=155.0)

    settings: DirtSettings
    given: GivenUse = "ignored"
    spare: SparingSettings = field(default_factory=SparingSettings)
    motion: Literal["quick", "refined"] = "refined"
    probability: bool = False

    @classmethod
    def of(cls, settings: StageSettings, models: StageModels) -> Self | None:  # noqa: D102
        if settings.dirt is None:
            return None
        return cls(settings=settings.dirt, given=settings.given_dirt, spare=settings.spare, motion=settings.motion)

    @property
    def needs(self) -> Mapping[str, Any]:  # noqa: D102
        return {"graphics": True} if self.spare.graphics and self.given != "alone" else {}

    def with_probability(self) -> "MarkDirt":  # noqa: D102
        return replace(self, probability=True)

    def room_after(self, room: Room) -> int:
        """Finding and filling take about the same time: side by side they keep two cores busy."""
        return room.beside_repair

    def run(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:  # noqa: D102
        if self.given == "alone":
            yield from self._taken(frames, shot)
            return
        watch = shot.watch(self.name)
        wanted = shot.repaired is not None
        sure: dict[int, MarkCertainty] = {}

        def find(window: Sequence[StageFrame[Any]], core: slice) -> Tensor:
            def tell(index: int, reason: str) -> None:
                shot.faults.notices.add(self.name, reason, frame=window[index].number)

            certainties: list[Tensor] = []

            def keep(index: int, certainty: FloatArray) -> None:
                if self.probability:
                    certainties.append(torch.from_numpy(certainty).to(torch.float32))
                if wanted:
                    sure[window[index].origin[0]] = self._certainty(certainty)

            found = detect_dirt(
                images(window),
                self.settings,
                keep=core,
                motion=shot.motion,
                first=window[0].position,
                progress=watch.beat,
                tell=tell,
                judged=keep if self.probability or wanted else None,
            )[core]
            return torch.stack([found, torch.stack(certainties).to(found)], dim=1) if self.probability else found

        def put(frame: StageFrame[Any], values: Tensor) -> StageFrame[Any]:
            values = shot.without_spared(values, frame.origin[0], stage=self.name, number=frame.number)
            certainty = sure.pop(frame.origin[0], None)
            if not self.probability:
                return frame.having(dirt=values, certainty=certainty)
            return frame.having(dirt=values[0], dirt_probability=values[1], certainty=certainty)

        placed = (
            frame.having(origin=(index, frame.origin, frame.dirt if self.given == "added" else None))
            for index, frame in enumerate(frames, shot.first)
        )
        marked = over_windows(placed, find, watch=watch, size=shot.size, radius=detection.RADIUS, put=put)
        completed = self._completed(marked, shot, watch)
        for frame in judged(completed, self.spare, shot, stage=self.name, watch=watch):
            index, origin, brought = frame.origin
            yield self._with_brought(frame, brought, shot.spared(index)).having(origin=origin)
            # What judges marks asks for no motion.
            shot.motion.release(self.name, frame.position + 1 - detection.RADIUS)

    def _certainty(self, certainty: FloatArray) -> MarkCertainty:
        """How sure it is where it marks, in little room."""
        flat = certainty.ravel()
        place = np.flatnonzero((flat >= np.float32(self.settings.certainty)) & (flat > 0))
        return MarkCertainty(place=place.astype(np.uint32), value=flat[place].astype(np.float16))

    def _completed(self, frames: Frames[Any], shot: ShotContext, watch: Watch) -> Frames[Any]:
        """Complete the marks, which takes those of the neighbours."""

        def complete(window: Sequence[StageFrame[Any]], core: slice) -> Tensor:
            watch.beat()
            where = masks(window, "dirt")
            return complete_marks(images(window), where, keep=core, motion=shot.motion, first=window[0].position)[core]

        def put(frame: StageFrame[Any], values: Tensor) -> StageFrame[Any]:
            if frame.dirt is None:
                return frame
            return frame.having(
                dirt=shot.without_spared(values.to(frame.dirt), frame.origin[0], stage=self.name, number=frame.number)
            )

        return over_windows(
            frames,
            complete,
            watch=watch,
            size=shot.size,
            radius=regions.RADIUS,
            put=put,
            concerns=lambda frame: frame.is_marked("dirt"),
        )

    def _with_brought(
        self, frame: StageFrame[Origin], brought: Tensor | None, spared: Tensor | None
    ) -> StageFrame[Origin]:
        """Add marks that the frame has brought along, which are trusted and not judged."""
        if brought is None:
            return frame
        fields = ("dirt", "dirt_probability") if self.probability else ("dirt",)
        joined = {
            name: brought if (own := getattr(frame, name)) is None else torch.maximum(own, brought.to(own))
            for name in fields
        }
        if spared is not None:
            joined = {name: values.masked_fill(spared, 0) for name, values in joined.items()}
        return frame.having(**joined)

    def _taken(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:
        """Take what the frames bring along, and look for nothing."""
        for index, frame in enumerate(frames, shot.first):
            marked = marks_taken(frame, "dirt", shot.spared(index), probability=self.probability)
            yield frame.having(**marked)
            shot.motion.release(self.name, frame.position + 1)


@dataclass(frozen=True, kw_only=True)
class RepairDirt(Stage):
    """Fills what ``dirt`` marks from the neighbours in time.

    Attributes:
        settings: How.
        trusted: Whether the marks are those that the user gave, and no others.
        motion: How well the motion of the shot has to be known.
    """

    name: ClassVar[str] = "dirt repair"
    switch: ClassVar[str] = "dirt"
    scope: ClassVar[Scope] = Scope.MARKED_PIXELS
    radius: ClassVar[int] = repair.RADIUS
    cost: ClassVar[StageCost] = StageCost(restore=45.0)

    settings: DirtRepairSettings
    trusted: bool = False
    motion: Literal["quick", "refined"] = "refined"

    @classmethod
    def of(cls, settings: StageSettings, models: StageModels) -> Self | None:  # noqa: D102
        if settings.dirt is None and settings.standing is None:
            return None
        repair, average = settings.dirt_repair, settings.average
        if average is not None:
            # What averaging takes off the frame is not given to a fill: it would only be noise in the average.
            kept = 1 - average.strength * (1 - average.keep_grain)
            repair = replace(repair, grain=repair.grain * kept)
        return cls(settings=repair, trusted=settings.given_dirt == "alone", motion=settings.motion)

    def run(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:  # noqa: D102
        watch = shot.watch(self.name)

        def named(frame: StageFrame[Origin]) -> Tensor | None:
            """What a person wants to be filled, (H, W) bool."""
            if frame.forced is None:
                return None
            spared = shot.spared(shot.first + frame.position)
            return frame.forced > 0.5 if spared is None else (frame.forced > 0.5) & ~spared

        def change(window: Sequence[StageFrame[Origin]], core: slice) -> Tensor:
            where = masks(window, "dirt")
            repaired = fill(window, core, where)
            asked = [named(frame) for frame in window]
            if all(mask is None for mask in asked[core]):
                return repaired
            forced = torch.stack([torch.zeros_like(where[0]) if mask is None else mask for mask in asked])
            # By themselves: what the marks of the search are filled with does not depend on what is named.
            by_hand = fill(window, core, where | forced, forced=forced, alone=masks(window, "around"))
            return torch.where(forced[core][:, None], by_hand, repaired)

        def fill(window: Sequence[StageFrame[Origin]], core: slice, where: Tensor, **how: Tensor) -> Tensor:
            for frame, mask in zip(window[core], where[core], strict=True):
                if float(mask.float().mean()) > repair.LARGE_SHARE:
                    shot.faults.notices.add(self.name, repair.MUCH_FILLED, frame=frame.number)

            def tell(index: int, reason: str) -> None:
                shot.faults.notices.add(self.name, reason, frame=window[index].number)

            return repair_dirt(
                images(window),
                where,
                self.settings,
                keep=core,
                motion=shot.motion,
                first=window[0].position,
                trusted=self.trusted,
                **how,
                progress=watch.beat,
                tell=tell,
            )[core]

        def put(frame: StageFrame[Origin], values: Tensor) -> StageFrame[Origin]:
            by_hand = named(frame)
            if by_hand is None:
                return frame.having(image=values)
            marks = by_hand.to(torch.float32)
            return frame.having(image=values, dirt=marks if frame.dirt is None else torch.maximum(frame.dirt, marks))

        repaired = over_windows(
            frames,
            change,
            watch=watch,
            size=shot.size,
            radius=self.radius,
            put=put,
            concerns=lambda frame: frame.is_marked("dirt") or frame.is_marked("forced"),
        )
        for frame in repaired:
            yield frame
            shot.motion.release(self.name, frame.position + 1 - self.radius)
