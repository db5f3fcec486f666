"""Scratches by motion alone: what stays with the film while the scene moves.

Lines are tracked through what the motion of the scene does not explain (`layers.py`, `scene_motion.py`), and every
track has to pass the tests of `motion_test.py`. What film and scene cannot be told apart by, because the shot is
locked off and does not weave, is left to the scene.
"""

from typing import Literal

import numpy as np

from ...arrays import BoolArray, FloatArray
from .search.layers import BandLayout, Explained
from .search.motion_test import Verdict, drifts_alike, judge, separability, straightened
from .search.paths import Path, find_paths, line_sums, normalised_evidence, presence, sample_along
from .settings import ScratchSettings
from .tracks import EDGE_SHARE, ScratchTrack, make_track

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
_THROUGH_SHARE = 0.9
_EVEN_SPREAD = 0.4
_FLOOR = 0.25
_FLANK_REACH = 12.0
_RIM_REACH = 7.0
_FLANK_DEPTH = 0.5
_FLANK_SCORE = 0.9


def find_by_motion(
    ridge: FloatArray,
    mean: FloatArray,
    explained: Explained,
    still: bool,
    tilts: FloatArray,
    layout: BandLayout,
    settings: ScratchSettings,
    first: int,
) -> tuple[list[ScratchTrack], list[ScratchTrack]]:
    """Find the scratches of one window, and the lines that may be scratches or scene.

    Args:
        ridge: (T, bands, W) ridge responses.
        mean: (T, bands, W) mean luma.
        explained: What is known of the scene.
        still: Whether the scene hardly moves.
        tilts: Tilts to try.
        layout: Of the bands.
        settings: What to look for.
        first: First frame of the window, counted from the start of the shot.
    """
    evidence = explained.evidence
    if settings.locked_shots != "off" and still:
        # Whatever stands still has been given to the scene; here it is wanted.
        evidence = ridge
    normalised = normalised_evidence(evidence, ridge, floor=_FLOOR)
    sums = line_sums(normalised, tilts)
    found = find_paths(sums, tilts, min_score=settings.sensitivity, min_frames=settings.min_frames)
    margin = max(2.0, EDGE_SHARE * layout.work_width)
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
    tracks: list[ScratchTrack] = []
    doubtful: list[ScratchTrack] = []
    accepted: list[tuple[Path, float]] = []
    for path, present in candidates:
        beside = [(other, depth) for other, depth in accepted if runs_beside(path, other, _FLANK_REACH)]
        if any(path.score < _FLANK_SCORE * other.score for other, _ in beside):
            continue
        verdict = judge(ridge, mean, (explained.overall, explained.local), path, present)
        profile = verdict.profile
        least = max([settings.min_depth, *(_FLANK_DEPTH * depth for _, depth in beside)])
        if profile.depth * path.polarity < least:
            continue
        owner = belongs_to(path, verdict, explained, settings)
        if owner == "either" and _taken_when_locked(path, present, ridge, settings):
            owner = "film"
        certainty = grade(path, verdict, settings, sure=owner == "film")
        if owner == "either":
            doubtful.append(make_track(path, present, profile, certainty, layout, first))
        if owner != "film":
            continue
        accepted.append((path, abs(profile.depth)))
        tracks.append(make_track(path, present, profile, certainty, layout, first))
    # A groove has rims and a line has flanks of opposite sign: the deepest stands for all.
    lines = [
        track
        for (path, depth), track in zip(accepted, tracks, strict=True)
        if not any(depth < other_depth and runs_beside(path, other, _RIM_REACH) for other, other_depth in accepted)
    ]
    return lines, doubtful


def runs_beside(path: Path, other: Path, reach: float) -> bool:
    """Do two paths run side by side within a reach, for most of their common time?"""
    start, end = max(path.first, other.first), min(path.frames.stop, other.frames.stop)
    if end <= start:
        return False
    apart = path.x[start - path.first : end - path.first] - other.x[start - other.first : end - other.first]
    return float(np.median(np.abs(apart))) < reach


def belongs_to(
    path: Path, verdict: Verdict, explained: Explained, settings: ScratchSettings
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
    sure = fair or (plain and 1 - slope >= _MANY_ERRORS * error)
    return "film" if sure else "either"


def grade(path: Path, verdict: Verdict, settings: ScratchSettings, *, sure: bool) -> float:
    """Grade a verdict: 0.5 … 1 for a scratch, below 0.5 for a doubtful line.

    It grows with the evidence and the film's share in it, and falls with the part of the scene's motion that the line
    takes, or may take within the error of its measurement.
    """
    seen = 1 - float(np.exp(-path.score / (2 * settings.sensitivity)))
    apart = 1 / (1 + np.square(max(verdict.following, 0.0) / _MAX_FOLLOWING))
    exact = 1 / (1 + verdict.following_error / _MAX_ERROR) if np.isfinite(verdict.following_error) else 0.0
    grade = seen * float(np.clip(verdict.film_share, 0, 1)) * apart * exact
    return float(0.5 + 0.5 * grade if sure else 0.49 * grade)


def _taken_when_locked(path: Path, present: BoolArray, ridge: FloatArray, settings: ScratchSettings) -> bool:
    """Accept a line that motion does not tell from the scene, as far as the settings allow."""
    if settings.locked_shots == "on":
        return True
    if settings.locked_shots == "off" or present.mean() < _THROUGH_SHARE:
        return False
    strength = path.polarity * sample_along(ridge, path).mean(axis=0)
    return bool(strength.std() < _EVEN_SPREAD * strength.mean())
