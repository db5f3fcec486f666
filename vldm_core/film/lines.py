"""Persistent line scratches: found over a shot, in film coordinates.

A scratch is fixed to the film (or drifts slowly across it) while the scene moves with camera and gate weave, so it is
searched for where the film stands still: windows of about 48 frames are split into a film layer and a scene layer
(`line_evidence.py`, `line_scene.py`), lines are tracked through what the scene does not explain (`line_tracks.py`) and
every track has to pass the tests of `line_verdict.py`. What film and scene cannot be told apart by, because the shot is
locked off and does not weave, is left to the scene, unless the line continues a scratch from across a cut
(`line_cuts.py`).

References: A. Kokaram, "Motion Picture Restoration", Springer 1998, ch. 9 (line scratches recur in the same place);
A. Newson et al., "Robust automatic line scratch detection in films", IEEE TIP 23(3), 2014 (rejection of detections that
follow the scene).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import SettingsError
from ..progress import Progress, silent
from .line_evidence import BandLayout, BandProfiles, Explained, band_profiles, explain_scene
from .line_map import LineMap, LineTrack, in_order, join_track, line_mask, line_probability
from .line_tracks import (
    BoolArray,
    FloatArray,
    Path,
    find_paths,
    line_sums,
    normalised_evidence,
    presence,
    sample_along,
    tilt_steps,
)
from .line_verdict import (
    CrossProfile,
    Verdict,
    drifts_alike,
    judge,
    separability,
    straightened,
)
from .luma import luma_array
from .motion import FrameMotion, measure_motion

__all__ = [
    "HOP",
    "WINDOW",
    "LineAnalyser",
    "LineMap",
    "LineSettings",
    "LineTrack",
    "detect_lines",
    "line_mask",
    "line_probability",
]

WINDOW = 48
"""Frames that are judged together."""

HOP = 24
"""Frames from one window to the next."""

_EDGE_SHARE = 0.025
_MIN_SEPARABILITY = 0.02
_MIN_FILM_SHARE = 0.25
_MAX_FOLLOWING = 0.4
_SURELY_FOLLOWING = 0.8
_SURE_ERROR = 0.1
_FAIR_ERROR = 0.2
_MAX_ERROR = 0.5
_MANY_ERRORS = 4.0
_PLAIN_SCORE = 2.0
_PLAIN_SHARE = 0.5
_MIN_COVERAGE = 0.35
_LOCKED_WEAVE = 0.15
_THROUGH_SHARE = 0.9
_EVEN_SPREAD = 0.4
_FLOOR = 0.25
_FLANK_REACH = 12.0
_RIM_REACH = 7.0
_FLANK_DEPTH = 0.5
_FLANK_SCORE = 0.9


@dataclass(frozen=True, kw_only=True)
class LineSettings:
    """How to find persistent line scratches.

    Attributes:
        sensitivity: Evidence a line must gather over a window, standard deviations. Lower finds fainter lines and
            raises more false alarms; 10 … 200.
        min_depth: Least deviation of a line from its surroundings, grey levels (0 … 255).
        max_tilt: Steepest tilt from the vertical, degrees, 0 … 10.
        min_frames: Shortest life of a line. Shorter ones are dirt.
        locked_shots: What to do where the scene does not move against the film, so that a scratch cannot be told from a
            scene vertical: "off" leaves everything to the scene; "cautious" accepts lines that run through the full
            height with constant strength; "on" accepts every line.
        grow: Pixels added to the visible width of a line on each side.
        detector: "weight-free" tells scratch from scene by motion alone; "learned" lets a small network judge what a
            line looks like besides (`line_network.py`), also where nothing moves.
        certainty: Certainty that the learned detector asks of a scratch, 0 … 1. Lower finds more and marks more of the
            scene.
    """

    sensitivity: float = 45.0
    min_depth: float = 1.5
    max_tilt: float = 5.0
    min_frames: int = 8
    locked_shots: Literal["off", "cautious", "on"] = "off"
    grow: float = 1.0
    detector: Literal["weight-free", "learned"] = "weight-free"
    certainty: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low, high in (
            ("sensitivity", 10.0, 200.0),
            ("min_depth", 0.0, 255.0),
            ("max_tilt", 0.0, 10.0),
            ("min_frames", 2, WINDOW),
            ("grow", 0.0, 20.0),
            ("certainty", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"line setting {name} must be {low} to {high}, got {value}; choose one between")
        if self.locked_shots not in ("off", "cautious", "on"):
            raise SettingsError(f"locked_shots must be off, cautious or on, got {self.locked_shots!r}")
        if self.detector not in ("weight-free", "learned"):
            raise SettingsError(
                f"line setting detector must be 'weight-free' or 'learned', got {self.detector!r}; choose one of them"
            )


class LineAnalyser:
    """Finds the scratches of one shot in a stream of frames.

    Holds the band profiles of one window and the tracks found so far, whatever the length of the shot.

    Args:
        settings: What to look for.
        height: Frame height.
        width: Frame width.
    """

    def __init__(self, settings: LineSettings, height: int, width: int) -> None:
        self._settings = settings
        self._layout = BandLayout.of(height, width)
        self._tilts = tilt_steps(self._layout.bands, self._layout.band_rows, settings.max_tilt)
        self._profiles: list[BandProfiles] = []
        self._steps: list[tuple[float, float]] = []
        self._count = 0
        self._judged = 0
        self._tracks: list[LineTrack] = []
        self._doubtful: list[LineTrack] = []

    def update(self, luma: FloatArray, motion: FrameMotion | None) -> None:
        """Take the next frame of the shot.

        Args:
            luma: (H, W) float32, grey levels 0 … 255.
            motion: Motion of the scene since the previous frame; None for the first frame.
        """
        if luma.shape != (self._layout.height, self._layout.width):
            raise SettingsError(
                f"line analysis was made for {(self._layout.height, self._layout.width)} frames, got {luma.shape}; "
                "use one analyser per shot and size"
            )
        if len(self._profiles) == WINDOW:
            del self._profiles[:HOP], self._steps[:HOP]
        self._profiles.append(band_profiles(luma, self._layout))
        layout = self._layout
        to_bands = layout.bands / layout.height
        self._steps.append((0.0, 0.0) if motion is None else (motion.dx / layout.scale, motion.dy * to_bands))
        self._count += 1
        if len(self._profiles) == WINDOW:
            self._judge_window()

    def finish(self) -> LineMap:
        """Close the shot and return its scratches."""
        if self._judged < self._count:
            self._judge_window()
        self._profiles.clear()
        self._steps.clear()
        return LineMap(
            height=self._layout.height,
            width=self._layout.width,
            frame_count=self._count,
            grow=self._settings.grow,
            tracks=in_order(self._tracks),
            doubtful=in_order(self._doubtful),
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
        found = _scratches(ridge, mean, steps, self._tilts, self._layout, self._settings, first)
        for tracks, known in zip(found, (self._tracks, self._doubtful), strict=True):
            for track in tracks:
                join_track(known, track)


def _scratches(
    ridge: FloatArray,
    mean: FloatArray,
    steps: FloatArray,
    tilts: FloatArray,
    layout: BandLayout,
    settings: LineSettings,
    first: int,
) -> tuple[list[LineTrack], list[LineTrack]]:
    """Find the scratches of one window, and the lines that may be scratches or scene.

    Args:
        ridge: (T, bands, W) ridge responses.
        mean: (T, bands, W) mean luma.
        steps: (T, 2) motion of the scene since the previous frame: working pixels to the right, bands downwards.
        tilts: Tilts to try.
        layout: Of the bands.
        settings: What to look for.
        first: First frame of the window, counted from the start of the shot.
    """
    moved = np.cumsum(steps, axis=0, dtype=np.float32)
    explained = explain_scene(ridge, moved[:, 0], moved[:, 1])
    evidence = explained.evidence
    if settings.locked_shots != "off" and float(np.std(moved[:, 0])) < _LOCKED_WEAVE:
        # Whatever stands still has been given to the scene; here it is wanted.
        evidence = ridge
    normalised = normalised_evidence(evidence, ridge, floor=_FLOOR)
    sums = line_sums(normalised, tilts)
    found = find_paths(sums, tilts, min_score=settings.sensitivity, min_frames=settings.min_frames)
    margin = max(2.0, _EDGE_SHARE * layout.work_width)
    candidates: list[tuple[Path, BoolArray]] = []
    for path in found:
        if path.x.min() < margin or path.x.max() > layout.work_width - 1 - margin:
            continue
        path = straightened(evidence, path, presence(path.polarity * sample_along(normalised, path)))
        present = presence(path.polarity * sample_along(normalised, path))
        seen = present.any(axis=1)
        if seen.sum() < settings.min_frames or present[seen].mean() < _MIN_COVERAGE:
            continue
        candidates.append((path, present))
    # The plainest first: what it adds to its flanks is no line of its own.
    candidates.sort(key=lambda candidate: -candidate[0].score)
    tracks: list[LineTrack] = []
    doubtful: list[LineTrack] = []
    accepted: list[tuple[Path, float]] = []
    for path, present in candidates:
        beside = [(other, depth) for other, depth in accepted if _near(path, other, _FLANK_REACH)]
        if any(path.score < _FLANK_SCORE * other.score for other, _ in beside):
            continue
        verdict = judge(ridge, mean, (explained.overall, explained.local), path, present)
        profile = verdict.profile
        least = max([settings.min_depth, *(_FLANK_DEPTH * depth for _, depth in beside)])
        if profile.depth * path.polarity < least:
            continue
        owner = _belongs_to(path, verdict, explained, settings)
        if owner == "either" and _taken_when_locked(path, present, ridge, settings):
            owner = "film"
        certainty = _certainty(path, verdict, settings, sure=owner == "film")
        if owner == "either":
            doubtful.append(_track(path, present, profile, certainty, layout, first))
        if owner != "film":
            continue
        accepted.append((path, abs(profile.depth)))
        tracks.append(_track(path, present, profile, certainty, layout, first))
    # A groove has rims and a line has flanks of opposite sign: the deepest stands for all.
    lines = [
        track
        for (path, depth), track in zip(accepted, tracks, strict=True)
        if not any(depth < other_depth and _near(path, other, _RIM_REACH) for other, other_depth in accepted)
    ]
    return lines, doubtful


def _near(path: Path, other: Path, reach: float) -> bool:
    """Do two paths run side by side within a reach, for most of their common time?"""
    start, end = max(path.first, other.first), min(path.frames.stop, other.frames.stop)
    if end <= start:
        return False
    apart = path.x[start - path.first : end - path.first] - other.x[start - other.first : end - other.first]
    return float(np.median(np.abs(apart))) < reach


def _belongs_to(
    path: Path, verdict: Verdict, explained: Explained, settings: LineSettings
) -> Literal["film", "scene", "either"]:
    """Tell a scratch from a part of the scene, as far as their motion tells."""
    if min(separability(explained.overall, path), separability(explained.local, path)) < _MIN_SEPARABILITY:
        return "either"
    slope, error = verdict.following, verdict.following_error
    if slope > _SURELY_FOLLOWING:
        return "scene"
    if verdict.film_share < _MIN_FILM_SHARE or slope > _MAX_FOLLOWING:
        return "either"
    if abs(slope) <= _MAX_FOLLOWING and error <= _SURE_ERROR:
        return "film"
    if error > _MAX_ERROR or drifts_alike(explained.overall, path):
        return "either"
    # Less certain positions will do for a line that is plain to see, if it cannot be part of the scene.
    plain = path.score >= _PLAIN_SCORE * settings.sensitivity and verdict.film_share >= _PLAIN_SHARE
    fair = abs(slope) + error <= _MAX_FOLLOWING and error <= _FAIR_ERROR
    sure = fair or plain and 1 - slope >= _MANY_ERRORS * error
    return "film" if sure else "either"


def _certainty(path: Path, verdict: Verdict, settings: LineSettings, *, sure: bool) -> float:
    """Grade a verdict: 0.5 … 1 for a scratch, below 0.5 for a doubtful line.

    It grows with the evidence and the film's share in it, and falls with the part of the scene's motion that the line
    takes, or may take within the error of its measurement.
    """
    seen = 1 - float(np.exp(-path.score / (2 * settings.sensitivity)))
    apart = 1 / (1 + np.square(max(verdict.following, 0.0) / _MAX_FOLLOWING))
    exact = 1 / (1 + verdict.following_error / _MAX_ERROR) if np.isfinite(verdict.following_error) else 0.0
    grade = seen * float(np.clip(verdict.film_share, 0, 1)) * apart * exact
    return 0.5 + 0.5 * grade if sure else 0.49 * grade


def _taken_when_locked(path: Path, present: BoolArray, ridge: FloatArray, settings: LineSettings) -> bool:
    """Accept a line that motion does not tell from the scene, as far as the settings allow."""
    if settings.locked_shots == "on":
        return True
    if settings.locked_shots == "off" or present.mean() < _THROUGH_SHARE:
        return False
    strength = path.polarity * sample_along(ridge, path).mean(axis=0)
    return bool(strength.std() < _EVEN_SPREAD * strength.mean())


def _track(
    path: Path, present: BoolArray, profile: CrossProfile, certainty: float, layout: BandLayout, first: int
) -> LineTrack:
    """Turn a path into a track of the full frame, from its first to its last sighting."""
    alive = np.flatnonzero(present.any(axis=1))
    keep = slice(int(alive[0]), int(alive[-1]) + 1)
    scale = layout.scale
    return LineTrack(
        first=first + path.first + keep.start,
        x=((path.x[keep] + 0.5) * scale - 0.5).astype(np.float32),
        tilt=np.full(keep.stop - keep.start, path.tilt * scale * layout.bands / layout.height, np.float32),
        left=profile.left * scale,
        right=profile.right * scale,
        depth=profile.depth,
        score=path.score,
        present=present[keep],
        certainty=certainty,
    )


def detect_lines(
    frames: Tensor | Sequence[Tensor], settings: LineSettings | None = None, progress: Progress = silent
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
        raise SettingsError("line detection needs at least one frame, got none")
    height, width = frames[0].shape[-2:]
    analyser = LineAnalyser(settings or LineSettings(), height, width)
    previous: FloatArray | None = None
    for number, frame in enumerate(frames):
        luma = luma_array(frame)
        analyser.update(luma, None if previous is None else measure_motion(previous, luma))
        previous = luma
        progress("detect lines", number + 1, len(frames))
    lines = analyser.finish()
    return torch.stack([line_mask(lines, number, height, width) for number in range(len(frames))])
