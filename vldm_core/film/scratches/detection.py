"""Persistent line scratches: found over a shot, in film coordinates.

A scratch is fixed to the film (or drifts slowly across it) while the scene moves with camera and gate weave, so it is
searched for where the film stands still: windows of about 48 frames are split into a film layer and a scene layer
(`search/layers.py`, `search/scene_motion.py`). What stays with the film is a scratch (`by_motion.py`); where nothing
tells film from scene by motion, a small network judges what a line looks like (`by_network.py`). A line that stays
doubtful is a scratch if it continues one from across a cut (`across_cuts.py`). What is drawn, upright and level alike,
is not one (`search/drawn_lines.py`).

References: A. Kokaram, "Motion Picture Restoration", Springer 1998, ch. 9 (line scratches recur in the same place);
A. Newson et al., "Robust automatic line scratch detection in films", IEEE TIP 23(3), 2014 (rejection of detections that
follow the scene).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...arrays import FloatArray
from ...errors import SettingsError
from ...progress import Progress, silent
from ...video.luma import luma_array
from ..active_picture import PictureFinder
from ..motion.scene import FrameMotion, measure_motion
from .by_motion import find_by_motion
from .by_network import find_by_appearance
from .search.candidates import Window
from .search.drawn_lines import LevelLines
from .search.layers import BandLayout, BandProfiles, at_working_size, band_profiles, explain_scene
from .search.paths import tilt_steps
from .settings import HOP, WINDOW, ScratchSettings
from .tracks import (
    ScratchMap,
    ScratchTrack,
    clear_of_edges,
    continue_tracks,
    in_order,
    join_track,
    scratch_mask,
    scratch_probability,
)

__all__ = [
    "HOP",
    "WINDOW",
    "ScratchAnalyser",
    "ScratchMap",
    "ScratchSettings",
    "ScratchTrack",
    "detect_scratches",
    "scratch_mask",
    "scratch_probability",
]

_LOCKED_WEAVE = 0.15
"""Pixels, standard deviation of the scene's sideways motion in a window, below which it stands still against the film:
what stays in place then tells nothing."""


class ScratchAnalyser:
    """Finds the scratches of one shot in a stream of frames.

    Holds the band profiles of one window and the tracks found so far, whatever the length of the shot.

    Args:
        settings: What to look for.
        height: Frame height.
        width: Frame width.
        first: Number of the first frame of the shot in the film, by which the user's columns count.
    """

    def __init__(self, settings: ScratchSettings, height: int, width: int, *, first: int = 0) -> None:
        self._settings, self._first = settings, first
        self._layout = BandLayout.of(height, width)
        self._tilts = tilt_steps(self._layout.bands, self._layout.band_rows, settings.max_tilt)
        self._profiles: list[BandProfiles] = []
        self._level = LevelLines(WINDOW)
        self._steps: list[tuple[float, float]] = []
        self._count = 0
        self._judged = 0
        self._tracks: list[ScratchTrack] = []
        self._doubtful: list[ScratchTrack] = []

    def update(self, luma: FloatArray, motion: FrameMotion | None) -> None:
        """Take the next frame of the shot.

        Args:
            luma: (H, W) float32, grey levels 0 … 255.
            motion: Motion of the scene since the previous frame; None for the first frame, or where it is not known.

        Raises:
            SettingsError: The frame has another size.
            ArithmeticError: What was measured is not finite; the frame was not taken.
        """
        if luma.shape != (self._layout.height, self._layout.width):
            raise SettingsError(
                f"scratch analysis was made for {(self._layout.height, self._layout.width)} frames, got {luma.shape}; "
                "use one analyser per shot and size"
            )
        layout = self._layout
        luma = at_working_size(luma, layout)
        profiles = band_profiles(luma, layout)
        if not (np.isfinite(profiles.ridge).all() and np.isfinite(profiles.mean).all()):
            raise ArithmeticError("the profiles of the frame are not finite")
        self._level.update(luma)
        to_bands = layout.bands / layout.height
        self._take(profiles, (0.0, 0.0) if motion is None else (motion.dx / layout.scale, motion.dy * to_bands))

    @property
    def count(self) -> int:
        """Frames taken."""
        return self._count

    @property
    def pending(self) -> int:
        """Last frames taken that are judged together."""
        return len(self._profiles)

    def skip(self) -> None:
        """Take a frame that could not be measured, as one like the frame before."""
        nothing = np.zeros((self._layout.bands, self._layout.work_width), np.float32)
        self._take(self._profiles[-1] if self._profiles else BandProfiles(ridge=nothing, mean=nothing), (0.0, 0.0))

    def _take(self, profiles: BandProfiles, step: tuple[float, float]) -> None:
        if len(self._profiles) == WINDOW:
            del self._profiles[:HOP], self._steps[:HOP]
        self._profiles.append(profiles)
        self._steps.append(step)
        self._count += 1
        if len(self._profiles) == WINDOW:
            self._judge_window()

    def finish(self) -> ScratchMap:
        """Close the shot and return its scratches."""
        if self._judged < self._count:
            self._judge_window()
        self._profiles.clear()
        self._steps.clear()
        if self._settings.detector == "learned":
            continue_tracks(self._tracks, self._doubtful)
        return ScratchMap(
            height=self._layout.height,
            width=self._layout.width,
            frame_count=self._count,
            grow=self._settings.grow,
            tracks=in_order(self._tracks),
            doubtful=in_order(self._doubtful),
            forced=self._settings.forced,
            excluded=self._settings.excluded,
            first=self._first,
        )

    def _judge_window(self) -> None:
        """Find the scratches in the profiles at hand and join them to those of earlier windows."""
        first = self._count - len(self._profiles)
        self._judged = self._count
        if len(self._profiles) < self._settings.min_frames:
            return
        ridge = np.stack([profile.ridge for profile in self._profiles])
        mean = np.stack([profile.mean for profile in self._profiles])
        steps = np.array(self._steps, np.float32)
        steps[0] = 0.0
        moved = np.cumsum(steps, axis=0, dtype=np.float32)
        explained = explain_scene(ridge, moved[:, 0], moved[:, 1])
        found: tuple[list[ScratchTrack], list[ScratchTrack]]
        if self._settings.detector == "learned":
            window = Window.of(ridge, mean, explained)
            found = find_by_appearance(window, self._tilts, self._layout, self._settings, first)
        else:
            still = float(np.std(moved[:, 0])) < _LOCKED_WEAVE
            found = find_by_motion(ridge, mean, explained, still, self._tilts, self._layout, self._settings, first)
        # Lines of the other polarity are looked for as well, or their flanks would be taken for lines of this one.
        wrong = {"both": 0, "dark": 1, "bright": -1}[self._settings.polarity]
        for tracks, known in zip(found, (self._tracks, self._doubtful), strict=True):
            for track, is_drawn in zip(tracks, self._level.drawn(tracks, self._layout.scale), strict=True):
                if not is_drawn and np.sign(track.depth) != wrong:
                    join_track(known, track)


def detect_scratches(
    frames: Tensor | Sequence[Tensor], settings: ScratchSettings | None = None, progress: Progress = silent
) -> Tensor:
    """Find the persistent scratches of one shot.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        settings: What to look for.
        progress: Called once per frame.

    Returns:
        (T, H, W) float32, 1 on a scratch, else 0.
    """
    if len(frames) == 0:
        raise SettingsError("scratch detection needs at least one frame, got none")
    height, width = frames[0].shape[-2:]
    analyser, finder = ScratchAnalyser(settings or ScratchSettings(), height, width), PictureFinder(height, width)
    previous: FloatArray | None = None
    for number, frame in enumerate(frames):
        luma = luma_array(frame)
        luma = finder.update(luma).extended(luma)
        analyser.update(luma, None if previous is None else measure_motion(previous, luma))
        previous = luma
        progress("detect scratches", number + 1, len(frames))
    picture = finder.finish()
    lines = clear_of_edges(analyser.finish(), picture)
    masks = torch.stack(
        [scratch_mask(lines, number, height, width, luma_array(frame)) for number, frame in enumerate(frames)]
    )
    outside = picture.outside()
    return masks if outside is None else masks.masked_fill_(outside, 0)
