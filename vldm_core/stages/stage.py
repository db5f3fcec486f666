"""What a stage of the restoration is, and what it is handed of the shot that it works on."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

from torch import Tensor

from ..containment import Faults, Watch
from ..film.motion.shot import ShotMotion
from ..prerestore.network import PreRestorer
from ..progress import Progress, silent
from ..video.buffers.windows import window_size
from .analysis import ShotAnalysis
from .settings import StageSettings
from .stage_frame import Origin, StageFrame

Frames = Iterator[StageFrame[Origin]]
"""The frames of one shot on their way through the stages."""


class Scope(Enum):
    """What a stage may change of a frame. Outside the picture, on bars and borders, no stage changes anything."""

    MARKS = "the marks"
    """Says where the film is damaged, and changes no pixel."""
    MARKED_PIXELS = "pixels that are marked"
    """Repairs: every pixel that is not marked leaves bit-equal."""
    PICTURE = "all of the picture"
    PLACE = "where the picture lies"
    """Moves the picture, and the marks with it."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What large frames may take up, told by the bytes of a plane of single precision.

    Attributes:
        beside_repair: Up to this size the repair has room beside other stages. Finding and filling dirt take up to 170
            planes at once.
        beside_network: Up to this size a network on the processor has room beside the repair; it takes as many planes
            as finding and filling dirt together.
        held: Up to this size frames wait as numbers; larger ones are made anew when they are looked at.
    """

    beside_repair: int = 9_000_000
    beside_network: int = 6_500_000
    held: int = 4_000_000


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """Time that a stage takes for one frame of 480×360 on one processor core, ms; only the relation of times counts.

    The stages' own figures are measured one by one on a street scene of 1906, scratches on the same with two of them.

    Attributes:
        analyse: In the first pass over a shot.
        restore: In the second.
        on_card: In the second where its network runs on a graphics card; None where it has none.
    """

    analyse: float = 0.0
    restore: float = 0.0
    on_card: float | None = None


ON_GRAPHICS = "marks on what seems to be burned-in text were dropped; the picture stays as it is there"
"""What is told of a frame in which something was found on graphics."""


@dataclass(frozen=True, kw_only=True)
class WorthTelling:
    """When a user is told of marks on graphics.

    Attributes:
        marked: Marks and probabilities above this are damage, 0 … 1.
        fewest: Marked pixels up to which nothing is told.
    """

    marked: float = 0.5
    fewest: int = 3


_TOLD = WorthTelling()


@dataclass(frozen=True, kw_only=True)
class StageModels:
    """Networks on their device, in the place of those that the settings name; None takes those of the settings.

    Attributes:
        prerestorer: For the pre-restoration.
    """

    prerestorer: PreRestorer | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ShotContext:
    """What every stage is handed beside the frames of a shot.

    Attributes:
        analysis: The first pass over the shot.
        protect: (H, W) or (T, H, W) bool, where nothing is to be marked; None protects nothing.
        window: Frames that a stage keeps at a time; None is as many as suit their size. It does not show in the result.
        beat: Called between two frames of a window; may raise to interrupt.
        faults: What is done about frames that a stage cannot do.
        room: How large frames may be for stages to run side by side.
        motion: Of the shot, the same for all stages of a run; the plan makes it.
        first: Place in the shot of the first frame that the stages are given: a part of a shot is done with as many
            frames on each side as `StagePlan.reach` says, and comes out as in the whole.
        repaired: Called with every frame after the last stage that marks or repairs, its place in the shot and the
            analysis, in whatever thread that stage runs; what it gives goes on with the frame as ``repairs``. None
            notes nothing.
    """

    analysis: ShotAnalysis
    protect: Tensor | None = None
    window: int | None = None
    beat: Progress = silent
    faults: Faults = field(default_factory=Faults)
    room: Room = field(default_factory=Room)
    motion: ShotMotion = field(default_factory=ShotMotion)
    first: int = 0
    repaired: Callable[[StageFrame[Any], int, ShotAnalysis], Any] | None = None

    @property
    def size(self) -> int:
        """Frames that a stage keeps at a time."""
        return self.window or window_size(self.analysis.picture.height, self.analysis.picture.width)

    def watch(self, stage: str) -> Watch:
        """Watch a stage over the shot; see `Faults.watch`."""
        return self.faults.watch(stage, self.beat)

    def spared(self, index: int) -> Tensor | None:
        """Where nothing is to be marked in a frame, whoever says that it is damaged.

        Args:
            index: The frame, counted from the start of the shot.

        Returns:
            (H, W) bool: what is protected, and what lies outside the picture; None where both are nothing.
        """
        if self.protect is None or self.protect.ndim == 2:
            return self._spared_in_all
        outside = self._outside
        return self.protect[index] if outside is None else self.protect[index] | outside

    def without_spared(self, marks: Tensor, index: int, *, stage: str, number: int | None) -> Tensor:
        """Take what a stage has found off all that is spared, burned-in graphics included.

        Args:
            marks: (..., H, W), 0 where nothing was found.
            index: The frame, counted from the start of the shot.
            stage: Its name, for the notice that tells of marks on graphics.
            number: The frame in the film, likewise.
        """
        if (graphics := self.analysis.graphics.mask(index)) is not None:
            if int(((marks > _TOLD.marked) & graphics).sum()) > _TOLD.fewest:
                self.faults.notices.add(stage, ON_GRAPHICS, frame=number)
            marks = marks.masked_fill(graphics, 0)
        spared = self.spared(index)
        return marks if spared is None else marks.masked_fill(spared, 0)

    @cached_property
    def _outside(self) -> Tensor | None:
        return self.analysis.picture.outside()

    @cached_property
    def _spared_in_all(self) -> Tensor | None:
        if self.protect is None or self._outside is None:
            return self._outside if self.protect is None else self.protect
        return self.protect | self._outside


class Stage(ABC):
    """One stage of the restoration: made from the settings, run over the frames of a shot.

    Attributes:
        name: What a user is told of it, in notices.
        switch: The field of `StageSettings` whose None leaves it out.
        scope: What it may change.
        radius: Neighbours on each side that what it makes of a frame depends on; None where it carries what it has seen
            along the shot.
        cost: Time that it takes.
        motion: How well it has to know the motion of the shot: not at all, by the quick estimate, or refined. A stage
            that asks for motion lets go of it by its name, see `ShotMotion.release`.
    """

    name: ClassVar[str]
    switch: ClassVar[str]
    scope: ClassVar[Scope]
    radius: ClassVar[int | None] = 0
    cost: ClassVar[StageCost] = StageCost()
    motion: Literal["quick", "refined"] | None = None

    @classmethod
    @abstractmethod
    def of(cls, settings: StageSettings, models: StageModels) -> Self | None:
        """Make the stage as the settings have it; None where they leave it out."""

    @property
    def needs(self) -> Mapping[str, Any]:
        """What it needs of the first pass: fields of `AnalysisSettings`, and how to measure them.

        A shot of which one of them could not be measured goes on without the stage.
        """
        return {}

    def with_probability(self) -> "Stage":
        """Return a stage that also tells how sure it is of what it marks, where it marks at all."""
        return self

    def load(self) -> None:  # noqa: B027 - most stages need nothing
        """Read what the stage needs from files, so that a file that cannot be used is known before the work."""

    def room_before(self, room: Room) -> int:
        """Bytes of a plane up to which the stages before run beside this one, in a thread of their own; 0 never."""
        return 0

    def room_after(self, room: Room) -> int:
        """Bytes of a plane up to which this stage runs beside the next, in a thread of its own; 0 never."""
        return 0

    @abstractmethod
    def run(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:
        """Work on a shot.

        Args:
            frames: The shot, in order.
            shot: Whatever else the stage has to know of it.

        Yields:
            Every frame, in order. One that the stage cannot do goes on as it came, and a notice says so.
        """
