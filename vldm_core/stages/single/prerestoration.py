"""Pre-restoration: a network takes blur, noise and compression off."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, Self

from torch import Tensor

from ...prerestore.contained import GivenFrame, contained_stream
from ...prerestore.network import PreRestorer
from ...prerestore.run import PreRestoreSettings
from ...prerestore.shipped import PreRestoration, load_prerestorer
from ...video.buffers.pictures import Whole
from ..settings import StageSettings
from ..stage import Frames, Room, Scope, ShotContext, Stage, StageCost, StageModels
from ..stage_frame import Origin, StageFrame

_CARD_SPEED = 15.0
"""How many times faster the network is on a graphics card than on a processor core or two."""
_MS = 250.0
"""Time for a frame on one processor core, see `StageCost`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PreRestore(Stage):
    """Restores the picture, inside its borders; what is marked as damage is not carried to other frames.

    Sets ``latent``, too, where the network has a head for it.

    Attributes:
        settings: How, and which network.
        given: A network on its device in the place of that; None reads that one.
    """

    name: ClassVar[str] = "pre-restoration"
    switch: ClassVar[str] = "prerestore"
    scope: ClassVar[Scope] = Scope.PICTURE
    radius: ClassVar[None] = None
    cost: ClassVar[StageCost] = StageCost(restore=_MS, on_card=_MS / _CARD_SPEED)
    motion: Literal["quick", "refined"] = "quick"

    settings: PreRestoreSettings
    given: PreRestorer | None = None

    @classmethod
    def of(cls, settings: StageSettings, models: StageModels) -> Self | None:  # noqa: D102
        if settings.prerestore is None:
            return None
        return cls(settings=settings.prerestore, given=models.prerestorer)

    @cached_property
    def network(self) -> PreRestorer:
        """The network on its device, read when it is first asked for."""
        if self.given is not None:
            return self.given
        return load_prerestorer(self.settings if isinstance(self.settings, PreRestoration) else None)

    def load(self) -> None:  # noqa: D102
        _ = self.network

    def room_before(self, room: Room) -> int:
        """The repair of the next frames goes on beside the network, most of all where that runs on a GPU."""
        on_processor = next(self.network.parameters()).device.type == "cpu"
        return room.beside_network if on_processor else room.beside_repair

    def run(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:  # noqa: D102
        waiting: deque[StageFrame[Origin]] = deque()

        def given() -> Iterator[GivenFrame]:
            for frame in frames:
                waiting.append(frame)
                yield GivenFrame(frame.picture, _held_small(frame.damage()), frame.number)

        watch, picture = shot.watch(self.name), shot.analysis.picture
        for made in contained_stream(given(), self.network, self.settings, watch=watch, motion=shot.motion):
            frame = waiting.popleft()
            if made is None:
                yield frame
            else:
                yield frame.having(image=Whole(picture.restricted(made.image, frame.image)), latent=made.latent)
            shot.motion.release(self.name, frame.position)


def _held_small(marks: Tensor | None) -> Tensor | None:
    """Return marks of zeros and ones as bool, and soft ones as they are."""
    if marks is None:
        return None
    binary = bool(((marks == 0) | (marks == 1)).all())
    return marks > 0 if binary else marks
