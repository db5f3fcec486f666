"""Averaging along the motion: grain, compression and what is left of damage go, and detail stays."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from ...arrays import BoolArray
from ...film.temporal import neighbours
from ...film.temporal.averaging import AveragingSettings, averaged, neighbour_settings
from ...film.temporal.growing import GrowingWindow
from ...film.temporal.neighbours import Neighbours
from ...film.temporal.noise import grain_by_brightness
from ..settings import StageSettings
from ..stage import Frames, Room, Scope, ShotContext, Stage, StageCost, StageModels
from ..stage_frame import Origin, StageFrame

_MS_A_NEIGHBOUR = 6.0
"""Time for one neighbour of a frame, see `StageCost`."""
_ASKED_BEFORE = neighbours.REACH + 1
"""Frames before one whose motion is still asked for: whether its farthest neighbour stands apart."""


@dataclass(frozen=True, kw_only=True)
class Average(Stage):
    """Averages every frame with its neighbours, inside the picture; what is marked as damage is not carried along.

    Attributes:
        settings: How.
        motion: How well the motion of the shot has to be known.
    """

    name: ClassVar[str] = "averaging"
    switch: ClassVar[str] = "average"
    scope: ClassVar[Scope] = Scope.PICTURE
    radius: ClassVar[int] = neighbours.RADIUS

    settings: AveragingSettings
    motion: Literal["quick", "refined"] = "refined"

    @classmethod
    def of(cls, settings: StageSettings, models: StageModels) -> Self | None:  # noqa: D102
        return None if settings.average is None else cls(settings=settings.average, motion=settings.motion)

    @property
    def cost(self) -> StageCost:  # type: ignore[override]
        """By the neighbours that are looked at."""
        return StageCost(restore=_MS_A_NEIGHBOUR * 2 * self.settings.reach)

    def room_before(self, room: Room) -> int:
        """The repair of the next frames goes on beside it."""
        return room.beside_repair

    def run(self, frames: Frames[Origin], shot: ShotContext) -> Frames[Origin]:  # noqa: D102
        if not self.settings.strength or not self.settings.reach:
            for frame in frames:
                yield frame
                shot.motion.release(self.name, frame.position + 1)
            return
        work = _Work(self.settings, shot)
        watch = shot.watch(self.name)

        def done() -> StageFrame[Origin]:
            watch.beat()
            frame = work.waiting[0]
            made = watch.frame(frame.number, work.next_image)
            work.step()
            return frame if made is None else frame.having(image=made)

        for frame in watch.drawn(frames):
            work.take(frame)
            if len(work.waiting) > self.radius:
                yield done()
        while work.waiting:
            yield done()


class _Work:
    """The frames of a shot that are waiting for those after them, and what is known of those before them."""

    def __init__(self, settings: AveragingSettings, shot: ShotContext) -> None:
        self.waiting: deque[StageFrame] = deque()
        self._settings, self._shot = settings, shot
        self._position = 0
        self._marks: dict[int, StageFrame] = {}
        self._window: GrowingWindow | None = None
        self._neighbours: Neighbours | None = None

    def take(self, frame: StageFrame) -> None:
        """Take the next frame of the shot."""
        if self._window is None:
            self._window = GrowingWindow(frame.picture, self._shot.motion)
            self._neighbours = Neighbours(
                self._window, neighbour_settings(self._settings), holes=partial(_holes, self._marks)
            )
        else:
            self._window.add(frame.picture)
        self._marks[self._position + len(self.waiting)] = frame
        self.waiting.append(frame)

    def next_image(self) -> Tensor:
        """Average the first frame that is waiting, (3, H, W)."""
        assert self._window is not None and self._neighbours is not None
        came = self.waiting[0].image
        grain = grain_by_brightness(self._window, self._neighbours, self._position)
        if grain is None:
            return came
        monochrome = bool(torch.equal(came[0], came[1])) and bool(torch.equal(came[0], came[2]))
        chroma = None if monochrome else self._window.chroma(self._position)
        change = torch.from_numpy(averaged(self._neighbours, self._position, grain, self._settings, chroma=chroma))
        # The change and not the result, so that what does not change stays bit-equal.
        change /= 255
        changed = came + (change if monochrome else change.permute(2, 0, 1))
        kept = self.waiting[0].kept
        if kept is not None:
            # Averaging takes off what single frames show, too.
            changed = torch.where(kept > 0.5, came, changed)
        return self._shot.analysis.picture.restricted(changed.clamp_(0, 1), came)

    def step(self) -> None:
        """Go on to the next frame."""
        assert self._window is not None and self._neighbours is not None
        self.waiting.popleft()
        self._position += 1
        asked = max(0, self._position - _ASKED_BEFORE)
        self._window.forget(asked)
        self._neighbours.forget(asked)
        for index in [index for index in self._marks if index < asked]:
            del self._marks[index]
        self._shot.motion.release("averaging", asked)


def _holes(frames: Mapping[int, StageFrame], index: int) -> BoolArray | None:
    """Where a frame is damaged. No method: who asks is held by the work, which would be held by it in turn."""
    marks = frames[index].damage()
    return None if marks is None else np.asarray(marks.numpy() > 0)
