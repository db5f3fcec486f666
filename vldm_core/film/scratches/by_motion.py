"""Scratches by motion alone: what stays with the film while the scene moves.

Lines are tracked through what the motion of the scene does not explain (`layers.py`, `scene_motion.py`), and every
track has to pass the tests of `motion_test.py`. What film and scene cannot be told apart by, because the shot is
locked off and does not weave, is left to the scene.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...arrays import BoolArray, FloatArray
from .search.layers import BandLayout, Explained
from .search.line_presence import MeasuredLine, measured_line
from .search.line_shape import line_shape
from .search.motion_test import Verdict, drifts_alike, judge, separability, straightened
from .search.paths import PATH_RULES, Path, find_paths, line_sums, normalised_evidence, presence, sample_along
from .settings import ScratchSettings
from .tracks import EDGE_SHARE, ScratchTrack, make_track


@dataclass(frozen=True, kw_only=True)
class MotionRules:
    """When motion tells that a line is of the film.

    Slopes are those of the line's position on the scene's: 0 stays with the film, 1 moves with the scene.

    Attributes:
        least_separability: Share of a ridge's energy that a moving scene cannot explain, below which film and scene
            look alike.
        least_film_share: Share of the ridge response in the film layer below which a line may be of the scene.
        most_following: Slope up to which a line does not follow the scene.
        surely_following: Slope above which it does.
        sure_error: Standard error of the slope up to which nothing else need speak for the film.
        fair_error: Standard error up to which a slope counts as measured.
        most_error: Standard error above which the slope tells nothing.
        many_errors: Standard errors that a plain line must stay away from the slope of the scene.
        plain_score: Multiple of the sensitivity from which on a line is plain to see.
        plain_share: Share of the film layer that a plain line has.
        alone_from: Working pixels that a line moves by over the window at least to be told by moving while the scene
            does not.
        alone_factor: How many times the scene's own range of motion that is at least.
        alone_share: Share of the film layer that such a line has.
        alone_coverage: Share of the bands in which it is there: what crosses a scene is not as tall as the frame.
        through_share: Share of the bands in which a line of a locked shot runs through the picture.
        even_spread: Spread of the ridge response along such a line over its mean: things of the scene are uneven.
        flank_reach: Median distance, working pixels, within which a fainter line may be the flank of another.
        flank_depth: Share of the depth of the line beside that one of its own has at least.
    """

    least_separability: float = 0.02
    least_film_share: float = 0.25
    most_following: float = 0.4
    surely_following: float = 0.8
    sure_error: float = 0.1
    fair_error: float = 0.2
    most_error: float = 0.5
    many_errors: float = 4.0
    plain_score: float = 2.0
    plain_share: float = 0.5
    alone_from: float = 2.5
    alone_factor: float = 2.0
    alone_share: float = 0.5
    alone_coverage: float = 0.6
    through_share: float = 0.9
    even_spread: float = 0.4
    flank_reach: float = 12.0
    flank_depth: float = 0.5


MOTION_RULES = MotionRules()


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
    normalised = normalised_evidence(evidence, ridge, floor=PATH_RULES.noise_share)
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
        if seen.sum() < settings.min_frames or present[seen].mean() < PATH_RULES.least_coverage:
            continue
        candidates.append((path, present))
    # The plainest first: what it adds to its flanks is no line of its own.
    candidates.sort(key=lambda candidate: -line_shape(mean, candidate[0], candidate[1], []).explained)
    tracks: list[ScratchTrack] = []
    doubtful: list[ScratchTrack] = []
    accepted: list[MeasuredLine] = []
    for path, present in candidates:
        beside = [other for other in accepted if runs_beside(path, other.path, MOTION_RULES.flank_reach)]
        verdict = judge(ridge, (explained.overall, explained.local), path, present)
        owner = belongs_to(path, present, verdict, explained, settings)
        if owner == "either" and _taken_when_locked(path, present, ridge, settings):
            owner = "film"
        if owner == "scene":
            continue
        line = line_beside(mean, explained, path, present, beside, settings)
        if line is None:
            continue
        track = make_track(line, grade(path, verdict, settings, sure=owner == "film"), layout, first)
        if owner == "either":
            doubtful.append(track)
        else:
            accepted.append(line)
            tracks.append(track)
    return without_flanks(tracks, accepted), doubtful


def line_beside(
    mean: FloatArray,
    explained: Explained,
    path: Path,
    seen: BoolArray,
    beside: list[MeasuredLine],
    settings: ScratchSettings,
) -> MeasuredLine | None:
    """Measure a line that may lie on the flank of others.

    Args:
        mean: (T, bands, W) mean luma, grey levels.
        explained: What is known of the scene.
        path: The line.
        seen: (n, bands) where the search saw it.
        beside: Lines close to it that were taken before, the plainest first.
        settings: What to look for.

    Returns:
        None where it is too faint, too short, or nothing but what the others show there.
    """
    known = [(other.path, other.shape) for other in beside]
    apart = min(separability(explained.overall, path), separability(explained.local, path))
    moved = np.median(sample_along(explained.local, path), axis=1)
    line = measured_line(mean, path, seen, known, moved, apart)
    if line is None or line.shape.depth * path.polarity < settings.min_depth:
        return None
    for other in beside:
        # What overlaps a deeper line is part of it.
        overlaps = runs_beside(line.path, other.path, line.shape.extent + other.shape.extent)
        if overlaps or abs(line.shape.depth) < MOTION_RULES.flank_depth * abs(other.shape.depth):
            return None
    alive = line.present.any(axis=1)
    if alive.sum() < settings.min_frames or line.present[alive].mean() < PATH_RULES.least_coverage:
        return None
    return line


def without_flanks(tracks: list[ScratchTrack], lines: list[MeasuredLine]) -> list[ScratchTrack]:
    """Take out what a deep line adds to its flanks: its evidence is capped, so they may have come before it.

    Args:
        tracks: Of a window.
        lines: The same lines as they were measured.
    """
    return [
        track
        for track, line in zip(tracks, lines, strict=True)
        if not any(
            abs(line.shape.depth) < MOTION_RULES.flank_depth * abs(other.shape.depth)
            and runs_beside(line.path, other.path, MOTION_RULES.flank_reach)
            for other in lines
        )
    ]


def runs_beside(path: Path, other: Path, reach: float) -> bool:
    """Do two paths run side by side within a reach, for most of their common time?"""
    start, end = max(path.first, other.first), min(path.frames.stop, other.frames.stop)
    if end <= start:
        return False
    apart = path.x[start - path.first : end - path.first] - other.x[start - other.first : end - other.first]
    return float(np.median(np.abs(apart))) < reach


def belongs_to(
    path: Path, present: BoolArray, verdict: Verdict, explained: Explained, settings: ScratchSettings
) -> Literal["film", "scene", "either"]:
    """Tell a scratch from a part of the scene, as far as their motion tells."""
    if moves_alone(path, explained) and path.score >= settings.sensitivity:
        plain = verdict.film_share >= MOTION_RULES.alone_share and present.mean() >= MOTION_RULES.alone_coverage
        return "film" if plain else "either"
    if (
        min(separability(explained.overall, path), separability(explained.local, path))
        < MOTION_RULES.least_separability
    ):
        return "either"
    slope, error = verdict.following, verdict.following_error
    if slope > MOTION_RULES.surely_following:
        return "scene"
    if verdict.film_share < MOTION_RULES.least_film_share or slope > MOTION_RULES.most_following:
        return "either"
    if abs(slope) <= MOTION_RULES.most_following and error <= MOTION_RULES.sure_error:
        return "film"
    if error > MOTION_RULES.most_error or drifts_alike(explained.overall, path):
        return "either"
    # Less certain positions will do for a line that is plain to see, if it cannot be part of the scene.
    plain = (
        path.score >= MOTION_RULES.plain_score * settings.sensitivity and verdict.film_share >= MOTION_RULES.plain_share
    )
    fair = abs(slope) + error <= MOTION_RULES.most_following and error <= MOTION_RULES.fair_error
    sure = fair or (plain and 1 - slope >= MOTION_RULES.many_errors * error)
    return "film" if sure else "either"


def moves_alone(path: Path, explained: Explained) -> bool:
    """Does a line move while the scene stands still? It cannot follow what does not move."""
    own, scene = float(np.ptp(path.x)), float(np.ptp(explained.overall[path.frames]))
    farther = own >= MOTION_RULES.alone_from and own >= MOTION_RULES.alone_factor * scene
    return farther and not drifts_alike(explained.overall, path)


def grade(path: Path, verdict: Verdict, settings: ScratchSettings, *, sure: bool) -> float:
    """Grade a verdict: 0.5 … 1 for a scratch, below 0.5 for a doubtful line.

    It grows with the evidence and the film's share in it, and falls with the part of the scene's motion that the line
    takes, or may take within the error of its measurement.
    """
    seen = 1 - float(np.exp(-path.score / (2 * settings.sensitivity)))
    apart = 1 / (1 + np.square(max(verdict.following, 0.0) / MOTION_RULES.most_following))
    exact = 1 / (1 + verdict.following_error / MOTION_RULES.most_error) if np.isfinite(verdict.following_error) else 0.0
    grade = seen * float(np.clip(verdict.film_share, 0, 1)) * apart * exact
    return float(0.5 + 0.5 * grade if sure else 0.49 * grade)


def _taken_when_locked(path: Path, present: BoolArray, ridge: FloatArray, settings: ScratchSettings) -> bool:
    """Accept a line that motion does not tell from the scene, as far as the settings allow."""
    if settings.locked_shots == "on":
        return True
    if settings.locked_shots == "off" or present.mean() < MOTION_RULES.through_share:
        return False
    strength = path.polarity * sample_along(ridge, path).mean(axis=0)
    return bool(strength.std() < MOTION_RULES.even_spread * strength.mean())
