"""First pass over a shot: the small statistics that the restoring pass needs and one frame cannot give."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..containment import Faults, NotFiniteError, let_through
from ..film.active_picture import ActivePicture, PictureFinder
from ..film.flicker.removal import FlickerAnalyser, FlickerSettings, FlickerTrack
from ..film.motion.scene import FrameMotion, measure_motion
from ..film.scratches.across_cuts import confirm_across_cuts
from ..film.scratches.detection import ScratchAnalyser, ScratchMap, ScratchSettings
from ..film.scratches.tracks import clear_of_edges
from ..film.spared.graphics import Graphics, GraphicsFinder
from ..film.standing.detection import StandingAnalyser, StandingMap, StandingSettings
from ..film.weave.stabilise import StabiliseSettings, WeaveAnalyser, WeaveTrack
from ..video.luma import luma_array


@dataclass(frozen=True, kw_only=True)
class AnalysisSettings:
    """What to measure; None leaves a measurement out.

    Attributes:
        scratches: Persistent line scratches.
        flicker: Brightness flicker.
        weave: Gate weave.
        standing: Marks that stay and are no lines.
        graphics: Whether burned-in graphics are looked for.
    """

    scratches: ScratchSettings | None = None
    flicker: FlickerSettings | None = None
    weave: StabiliseSettings | None = None
    standing: StandingSettings | None = None
    graphics: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ShotAnalysis:
    """What the first pass learnt of one shot. Frames are counted from the start of the shot.

    Attributes:
        frame_count: Frames seen.
        scratches: Tracks of persistent line scratches, or None when not measured.
        flicker: Brightness correction per frame, or None when not measured.
        weave: Geometric correction per frame, or None when not measured.
        picture: Where the picture is; what is outside is left as it is by every stage.
        standing: Marks that stay and are no lines, or None when not measured.
        graphics: Where burned-in graphics are; nowhere when they were not looked for.
    """

    frame_count: int
    scratches: ScratchMap | None
    flicker: FlickerTrack | None
    weave: WeaveTrack | None
    picture: ActivePicture
    standing: StandingMap | None = None
    graphics: Graphics

    @classmethod
    def unmeasured(cls, frame_count: int, height: int, width: int) -> "ShotAnalysis":
        """Make the analysis of a shot that nobody has looked at: the picture fills the frame."""
        picture = ActivePicture.of_frame(height, width)
        return cls(
            frame_count=frame_count,
            scratches=None,
            flicker=None,
            weave=None,
            picture=picture,
            graphics=Graphics.nowhere(height, width),
        )


_LEFT_OUT = "not looked at"
"""What becomes of a frame that the first pass cannot measure: the measurement goes on as if it were the one before."""


class _Analyser(Protocol):
    """What every measurement offers beside its own ``update``."""

    @property
    def count(self) -> int:
        """Frames taken."""

    @property
    def pending(self) -> int:
        """Last frames taken that are judged together; what was found in those before them stands."""

    def skip(self) -> None:
        """Take a frame that could not be measured."""

    def finish(self) -> Any:
        """Close the shot; once more after a failure gives what was found without the last frames."""


@dataclass(frozen=True, eq=False)
class FirstLook:
    """What the measurements are given of a frame.

    Attributes:
        luma: (H, W) float32, grey levels, the bars covered.
        motion: Of the scene since the frame before; None where it is not known.
    """

    luma: NDArray[np.float32]
    motion: FrameMotion | None


class ShotAnalyser:
    """Feeds every measurement from one decode and one motion estimate per frame.

    A frame in which a measurement fails is left out of that measurement alone, and a measurement that cannot be closed
    is left out of the analysis, so that its stage leaves the shot as it came.

    Args:
        settings: What to measure.
        height: Frame height in pixels.
        width: Frame width in pixels.
        faults: What is done about frames that cannot be measured.
        first: Number of the first frame of the shot in the film.
    """

    def __init__(
        self, settings: AnalysisSettings, height: int, width: int, *, faults: Faults | None = None, first: int = 0
    ) -> None:
        self._scratches = (
            ScratchAnalyser(settings.scratches, height, width, first=first) if settings.scratches else None
        )
        self._flicker = FlickerAnalyser(settings.flicker) if settings.flicker else None
        self._weave = WeaveAnalyser(settings.weave) if settings.weave else None
        self._standing = StandingAnalyser(settings.standing, height, width) if settings.standing else None
        self._graphics = GraphicsFinder(height, width) if settings.graphics else None
        self._finder = PictureFinder(height, width)
        parts = (self._scratches, self._flicker, self._weave, self._standing, self._graphics)
        self._needs_motion = any(part is not None for part in parts)
        self._previous: NDArray[np.float32] | None = None
        # Frames looked at, and frames measured.
        self._seen, self._count = 0, 0
        self._faults, self._first, self._size = faults or Faults(), first, (height, width)

    def update(self, frame: Tensor) -> None:
        """Take the next frame of the shot.

        Args:
            frame: (3, H, W), RGB, [0, 1].

        Raises:
            StageError: A measurement failed, and the run is strict.
        """
        self.measure(self.look(frame))

    def look(self, frame: Tensor) -> FirstLook | None:
        """Look at the next frame of the shot, ahead of the measurements: another thread may be at those.

        Args:
            frame: (3, H, W), RGB, [0, 1].

        Returns:
            What `measure` takes.

        Raises:
            StageError: The motion cannot be measured, and the run is strict.
        """
        self._seen += 1
        luma = luma_array(frame)
        picture = self._found_picture(luma)
        if not self._needs_motion:
            return None
        # Bars stand still and end in a step: neither motion nor scratches nor brightness are to be measured on them.
        luma = picture.extended(luma)
        motion = self._motion(luma)
        self._previous = luma
        return FirstLook(luma, motion)

    def measure(self, look: FirstLook | None) -> None:
        """Give the next frame to every measurement.

        Raises:
            StageError: A measurement failed, and the run is strict.
        """
        self._count += 1
        if look is None:
            return
        luma, motion = look.luma, look.motion
        if (scratches := self._scratches) is not None:
            self._measure("scratch analysis", scratches, lambda: scratches.update(luma, motion))
        if (flicker := self._flicker) is not None:
            self._measure("flicker analysis", flicker, lambda: flicker.update_luma(luma, motion))
        if (weave := self._weave) is not None:
            self._measure("weave analysis", weave, lambda: weave.update(motion))
        if (standing := self._standing) is not None:
            self._measure("search for standing marks", standing, lambda: standing.update(luma, motion))
        if (graphics := self._graphics) is not None:
            self._measure("search for graphics", graphics, lambda: graphics.update(luma, motion))

    def _found_picture(self, luma: NDArray[np.float32]) -> ActivePicture:
        """Look for the picture in a frame."""
        return self._picture(lambda: self._finder.update(luma), self._first + self._seen - 1)

    def _picture(self, find: Callable[[], ActivePicture], number: int) -> ActivePicture:
        """What is found as the picture; the whole frame where that fails."""
        try:
            return find()
        except Exception as error:  # noqa: BLE001 - whatever a frame does to a measurement stays with the frame
            let_through(error)
            self._faults.lost("search for the picture", number, error, left=_LEFT_OUT)
            return ActivePicture.of_frame(*self._size)

    def _motion(self, luma: NDArray[np.float32]) -> FrameMotion | None:
        """Measure the motion since the frame before; None where that cannot be told."""
        if self._previous is None:
            return None
        try:
            motion = measure_motion(self._previous, luma)
            _check_arrays(motion)
        except Exception as error:  # noqa: BLE001 - as above
            let_through(error)
            self._faults.lost("motion analysis", self._first + self._seen - 1, error, left=_LEFT_OUT)
            return None
        return motion

    def _measure(self, stage: str, analyser: _Analyser, update: Callable[[], None]) -> None:
        """Give a frame to a measurement."""
        try:
            update()
        except Exception as error:  # noqa: BLE001 - as above
            let_through(error)
            taken = analyser.count == self._count
            last = self._first + self._count
            # What fails once the frame has been taken is the judgement of all that it was the last of.
            first = last - (analyser.pending if taken else 1)
            self._faults.lost(stage, first, error, last=last, left=_LEFT_OUT)
            if not taken:
                self._measure(stage, analyser, analyser.skip)

    def finish(self) -> ShotAnalysis:
        """Close the shot and return what was learnt.

        Raises:
            StageError: A measurement failed, and the run is strict.
        """
        picture = self._picture(self._finder.finish, self._first)
        scratches = self._closed("scratch analysis", self._scratches)
        return ShotAnalysis(
            frame_count=self._count,
            scratches=None if scratches is None else clear_of_edges(scratches, picture),
            flicker=self._closed("flicker analysis", self._flicker),
            weave=self._closed("weave analysis", self._weave),
            picture=picture,
            standing=self._closed("search for standing marks", self._standing),
            graphics=self._closed("search for graphics", self._graphics) or Graphics.nowhere(*self._size),
        )

    def _closed(self, stage: str, analyser: _Analyser | None) -> Any:
        """Close a measurement; None where there is none or it cannot be closed."""
        if analyser is None:
            return None
        last = self._first + self._count
        for frames in (analyser.pending, self._count):
            try:
                track = analyser.finish()
                _check_arrays(*(track.tracks if isinstance(track, ScratchMap) else (track,)))
            except Exception as error:  # noqa: BLE001 - as above
                let_through(error)
                if frames == self._count:
                    self._faults.lost(stage, self._first, error, last=last)
                    return None
                self._faults.lost(stage, last - frames, error, last=last, left=_LEFT_OUT)
            else:
                return track
        return None


def _check_arrays(*holders: object) -> None:
    """Raise unless all numbers that some dataclasses hold are finite.

    Raises:
        NotFiniteError: They are not.
    """
    for holder in holders:
        for value in vars(holder).values():
            if isinstance(value, float | np.ndarray) and not np.isfinite(value).all():
                raise NotFiniteError("it gave values that are not finite")


def analyse_shot(
    frames: Iterable[Tensor],
    settings: AnalysisSettings,
    height: int,
    width: int,
    *,
    faults: Faults | None = None,
    first: int = 0,
) -> ShotAnalysis:
    """Run the first pass over the frames of one shot; see `ShotAnalyser`."""
    analyser = ShotAnalyser(settings, height, width, faults=faults, first=first)
    for frame in frames:
        analyser.update(frame)
    return analyser.finish()


def link_shots(analyses: Sequence[ShotAnalysis]) -> tuple[ShotAnalysis, ...]:
    """Let consecutive shots of one film settle each other's doubts.

    Args:
        analyses: The first pass of every shot, in order.
    """
    settled = settled_scratches([analysis.scratches for analysis in analyses])
    return tuple(replace(analysis, scratches=own) for analysis, own in zip(analyses, settled, strict=True))


def settled_scratches(scratches: Sequence[ScratchMap | None]) -> tuple[ScratchMap | None, ...]:
    """What `link_shots` changes: the scratches of every shot, in order; None where they could not be measured."""
    result = list(scratches)
    # A shot whose scratches could not be measured parts the shots before it from those after it.
    for known, group in groupby(range(len(result)), key=lambda index: result[index] is not None):
        if known:
            indices = list(group)
            settled = confirm_across_cuts(cast(ScratchMap, result[index]) for index in indices)
            for index, own in zip(indices, settled, strict=True):
                result[index] = own
    return tuple(result)
