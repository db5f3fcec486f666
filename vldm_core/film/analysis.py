"""First pass over a shot: the small statistics that the restoring pass needs and one frame cannot give."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .active_picture import ActivePicture, PictureFinder
from .flicker import FlickerAnalyser, FlickerSettings, FlickerTrack
from .line_cuts import confirm_across_cuts
from .line_map import clear_of_edges
from .lines import LineAnalyser, LineMap, LineSettings
from .luma import luma_array
from .motion import measure_motion
from .stabilise import StabiliseSettings, WeaveAnalyser, WeaveTrack


@dataclass(frozen=True, kw_only=True)
class AnalysisSettings:
    """What to measure; None leaves a measurement out.

    Attributes:
        lines: Persistent line scratches.
        flicker: Brightness flicker.
        stabilise: Gate weave.
    """

    lines: LineSettings | None = field(default_factory=LineSettings)
    flicker: FlickerSettings | None = field(default_factory=FlickerSettings)
    stabilise: StabiliseSettings | None = None


@dataclass(frozen=True, kw_only=True)
class ShotAnalysis:
    """What the first pass learnt of one shot. Frames are counted from the start of the shot.

    Attributes:
        frame_count: Frames seen.
        lines: Tracks of persistent line scratches, or None when not measured.
        flicker: Brightness correction per frame, or None when not measured.
        weave: Geometric correction per frame, or None when not measured.
        picture: Where the picture is; what is outside is left as it is by every stage.
    """

    frame_count: int
    lines: LineMap | None
    flicker: FlickerTrack | None
    weave: WeaveTrack | None
    picture: ActivePicture


class ShotAnalyser:
    """Feeds every measurement from one decode and one motion estimate per frame.

    Args:
        settings: What to measure.
        height: Frame height in pixels.
        width: Frame width in pixels.
    """

    def __init__(self, settings: AnalysisSettings, height: int, width: int) -> None:
        self._lines = LineAnalyser(settings.lines, height, width) if settings.lines else None
        self._flicker = FlickerAnalyser(settings.flicker) if settings.flicker else None
        self._weave = WeaveAnalyser(settings.stabilise) if settings.stabilise else None
        self._finder = PictureFinder(height, width)
        self._needs_motion = any(part is not None for part in (self._lines, self._flicker, self._weave))
        self._previous: NDArray[np.float32] | None = None
        self._count = 0

    def update(self, frame: Tensor) -> None:
        """Take the next frame of the shot.

        Args:
            frame: (3, H, W), RGB, [0, 1].
        """
        self._count += 1
        luma = luma_array(frame)
        picture = self._finder.update(luma)
        if not self._needs_motion:
            return
        # Bars stand still and end in a step: neither motion nor lines nor brightness are to be measured on them.
        luma = picture.extended(luma)
        motion = None if self._previous is None else measure_motion(self._previous, luma)
        self._previous = luma
        if self._lines is not None:
            self._lines.update(luma, motion)
        if self._flicker is not None:
            self._flicker.update_luma(luma, motion)
        if self._weave is not None:
            self._weave.update(motion)

    def finish(self) -> ShotAnalysis:
        """Close the shot and return what was learnt."""
        picture = self._finder.finish()
        lines = self._lines.finish() if self._lines is not None else None
        return ShotAnalysis(
            frame_count=self._count,
            lines=None if lines is None else clear_of_edges(lines, picture),
            flicker=self._flicker.finish() if self._flicker is not None else None,
            weave=self._weave.finish() if self._weave is not None else None,
            picture=picture,
        )


def link_shots(analyses: Sequence[ShotAnalysis]) -> tuple[ShotAnalysis, ...]:
    """Let consecutive shots of one film settle each other's doubts.

    Args:
        analyses: The first pass of every shot, in order.
    """
    maps = [analysis.lines for analysis in analyses]
    if any(lines is None for lines in maps):
        return tuple(analyses)
    settled = confirm_across_cuts(lines for lines in maps if lines is not None)
    return tuple(replace(analysis, lines=lines) for analysis, lines in zip(analyses, settled, strict=True))
