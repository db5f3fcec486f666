"""THE order of the stages. It is stated here, once, and nowhere else: whoever works on a film runs a plan.

Scratches go first: they persist, so they would otherwise be taken for dirt, and be copied into its fills. What stays
and is no line, and the seams of splices, are marked beside the dirt and filled with it. Brightness follows the repairs,
which compare neighbours with their own gain; averaging and pre-restoration follow it, so that they carry along only
what is repaired and of one brightness. The picture is moved last, because scratches and gate are fixed in film
coordinates.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch

from ..film.motion.shot import ShotMotion
from ..video.buffers.pictures import Picture
from .analysis import AnalysisSettings, ShotAnalysis
from .settings import StageSettings
from .single.averaging import Average
from .single.dirt import MarkDirt, RepairDirt
from .single.flicker import RemoveFlicker
from .single.prerestoration import PreRestore
from .single.scratches import MarkScratches, RepairScratches
from .single.splices import MarkSplices
from .single.standing import MarkStanding
from .single.weave import Stabilise
from .stage import Frames, Scope, ShotContext, Stage, StageModels
from .stage_frame import Origin
from .streams import beside

ORDER: tuple[type[Stage], ...] = (
    MarkScratches,
    RepairScratches,
    MarkDirt,
    MarkStanding,
    MarkSplices,
    RepairDirt,
    RemoveFlicker,
    Average,
    PreRestore,
    Stabilise,
)
"""Every stage, in the order in which they undo what has happened to the film."""


@dataclass(frozen=True)
class StagePlan:
    """Stages in their order, to be run over the shots of a film.

    A plan is made from settings, and narrowed to what its user is after. All users run the same stages, so that a
    batch, a reel, a film of masks and a look for key frames agree.

    Attributes:
        stages: The stages.
    """

    stages: tuple[Stage, ...]

    @classmethod
    def from_settings(cls, settings: StageSettings, models: StageModels | None = None) -> Self:
        """List the stages that the settings ask for.

        Args:
            settings: Which stages, and how each works.
            models: Networks on their device, in the place of those that the settings name.
        """
        made = (kind.of(settings, models or StageModels()) for kind in ORDER)
        return cls(tuple(stage for stage in made if stage is not None))

    def to_marks(self, *, probability: bool = False) -> "StagePlan":
        """Narrow to what finds damage: all stages up to the last one that marks.

        Args:
            probability: Whether these also tell how sure they are.
        """
        marking = [number for number, stage in enumerate(self.stages, 1) if stage.scope is Scope.MARKS]
        kept = self.stages[: max(marking, default=0)]
        return StagePlan(tuple(stage.with_probability() for stage in kept) if probability else kept)

    def to_repair(self) -> "StagePlan":
        """Narrow to what finds and repairs damage, and leave the rest of the picture alone."""
        return self._of(Scope.MARKS, Scope.MARKED_PIXELS)

    def on_given_marks(self) -> "StagePlan":
        """Narrow to the repairs, for frames that bring their marks along."""
        return self._of(Scope.MARKED_PIXELS)

    def _of(self, *scopes: Scope) -> "StagePlan":
        return StagePlan(tuple(stage for stage in self.stages if stage.scope in scopes))

    @property
    def switches(self) -> tuple[str, ...]:
        """The fields of `StageSettings` that have switched the stages on, in order."""
        return tuple(dict.fromkeys(stage.switch for stage in self.stages))

    @property
    def marks(self) -> bool:
        """Whether damage is looked for."""
        return any(stage.scope is Scope.MARKS for stage in self.stages)

    @property
    def moves(self) -> bool:
        """Whether the picture does not stay where it lies."""
        return any(stage.scope is Scope.PLACE for stage in self.stages)

    @property
    def needs_first_pass(self) -> bool:
        """Whether a shot has to be analysed first; repairs on given marks need nothing of it."""
        return any(stage.scope is not Scope.MARKED_PIXELS for stage in self.stages)

    @property
    def analysis(self) -> AnalysisSettings:
        """What the first pass over a shot has to measure."""
        needs = {name: how for stage in self.stages for name, how in stage.needs.items()}
        return AnalysisSettings(**needs)

    @property
    def reach(self) -> int | None:
        """Frames on each side that a restored frame depends on; None where a stage carries what it saw along the shot.

        Frames of a shot can be restored apart from the others with so many neighbours, as far as the shot has them.
        """
        radii = [stage.radius for stage in self.stages]
        return None if None in radii else sum(radius for radius in radii if radius is not None)

    def load(self) -> None:
        """Read what the stages need from files, so that a file that cannot be used costs no time.

        Raises:
            WeightFileError: The weights of a network cannot be used.
            SettingsError: There is no such device here.
        """
        for stage in self.stages:
            stage.load()

    def of_shot(self, analysis: ShotAnalysis) -> tuple[Stage, ...]:
        """Return the stages that run over a shot: those of which everything they need could be measured."""
        return tuple(stage for stage in self.stages if all(getattr(analysis, name) is not None for name in stage.needs))

    def run(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:
        """Run the stages over one shot.

        Args:
            frames: The shot, in order.
            shot: Its analysis, and what else stages have to know of it.

        Returns:
            Every frame, in order.
        """
        stages = self.of_shot(shot.analysis)
        asking = [stage for stage in stages if stage.motion is not None]
        shot = replace(shot, motion=ShotMotion())
        for stage in asking:
            shot.motion.expect(stage.name, refined=stage.motion == "refined")
        came: dict[int, Picture] = {}
        frames = _remembered(frames, came)
        repairing = [stage for stage in stages if stage.scope in (Scope.MARKS, Scope.MARKED_PIXELS)]
        for stage in stages:
            if asking and stage is asking[0]:
                frames = _measured(frames, shot.motion, stage.scope)
            frames = _with_room(frames, shot, stage.room_before(shot.room))
            frames = stage.run(frames, shot)
            if repairing and stage is repairing[-1]:
                frames = _as_they_came(frames, came)
            if shot.repaired is not None and repairing and stage is repairing[-1]:
                frames = _noted(frames, shot)
            frames = _with_room(frames, shot, stage.room_after(shot.room))
        return frames


def _measured(frames: Frames[Origin], motion: ShotMotion, scope: Scope) -> Frames[Origin]:
    """Show the frames of a shot to its motion, before the first stage that asks for it.

    What is marked by then is damage, or repaired damage, and tells nothing of how the scene moves.
    """
    for position, frame in enumerate(frames):
        holes = None if scope is Scope.MARKS else frame.dirt if scope is Scope.MARKED_PIXELS else frame.damage()
        motion.take(frame.picture, None if holes is None else holes > 0)
        yield frame.having(position=position)
    motion.end()


def _remembered(frames: Frames[Origin], came: dict[int, Picture]) -> Frames[Origin]:
    """Keep the pictures of which a person wants something left alone, by their place in the stream."""
    for place, frame in enumerate(frames):
        if frame.kept is not None:
            came[place] = frame.picture
        yield frame


def _as_they_came(frames: Frames[Origin], came: dict[int, Picture]) -> Frames[Origin]:
    """Undo the repairs where a person wants so.

    It is done behind all repairs, and not by taking marks off before: whatever else they do then stays bit-equal.
    """
    for place, frame in enumerate(frames):
        before, kept = came.pop(place, None), frame.kept
        if before is None or kept is None:
            yield frame
            continue
        here = kept > 0.5
        marks = {kind: getattr(frame, kind) for kind in ("dirt", "scratch", "seam")}
        found = {kind: mask.masked_fill(here, 0) for kind, mask in marks.items() if mask is not None}
        yield frame.having(image=torch.where(here, before.tensor(), frame.image), **found)


def _noted(frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:
    """Let the caller note what was repaired."""
    assert shot.repaired is not None
    for index, frame in enumerate(frames, shot.first):
        yield frame.having(repairs=shot.repaired(frame, index, shot.analysis), certainty=None)


def _with_room(frames: Frames[Origin], shot: ShotContext, largest: int) -> Frames[Origin]:
    # A window's results come at once. Half of one in between lets the stage before begin its next window as soon as the
    # stage behind has drawn its own.
    return beside(frames, max(1, shot.size // 2), largest) if largest else frames
