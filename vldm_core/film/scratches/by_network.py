"""Scratches by what they look like: a small network judges every candidate, also where nothing moves.

Motion still counts. How well it separates film and scene, and what of the line it leaves unexplained, is part of what
the network is shown (`appearance.py`); what surely stays with the film by the tests of `by_motion.py` is a
scratch whatever it looks like; and what surely moves with the scene is none.
"""

from dataclasses import replace

import numpy as np

from ...arrays import FloatArray
from .by_motion import belongs_to, grade, runs_beside
from .network import ScratchNetwork, shared_network
from .search.appearance import appearance
from .search.candidates import Candidate, Window, find_candidates
from .search.layers import BandLayout
from .search.motion_test import Verdict, judge
from .search.paths import Path
from .settings import ScratchSettings
from .tracks import ScratchTrack, make_track

_FAINTER = 0.5
_LONGEST = 32
_DOUBTFUL = 0.1
_SURELY_FOLLOWING = 0.75
_FAIR_ERROR = 0.2
_NO_FILM_SHARE = 0.1
_LEANING = 0.5
_LEANING_CERTAINTY = 0.2
_FAINT = 3.0
_FAINT_EXTENT = 2.5
_FLANK_REACH = 12.0
_FLANK_DEPTH = 0.5
_FLANK_SCORE = 0.9


def find_by_appearance(
    window: Window, tilts: FloatArray, layout: BandLayout, settings: ScratchSettings, first: int
) -> tuple[list[ScratchTrack], list[ScratchTrack]]:
    """Find the scratches of one window, and the lines that may be scratches or scene.

    Args:
        window: The profiles.
        tilts: Tilts to try.
        layout: Of the bands.
        settings: What to look for.
        first: First frame of the window, counted from the start of the shot.

    Raises:
        WeightFileError: The weights cannot be read.
    """
    network = shared_network()
    candidates = find_candidates(
        window, tilts, layout, min_score=_FAINTER * settings.sensitivity, min_frames=settings.min_frames
    )
    certainties = _certainties(network, window, candidates)
    displacements = (window.explained.overall, window.explained.local)
    tracks: list[ScratchTrack] = []
    doubtful: list[ScratchTrack] = []
    accepted: list[tuple[Path, float]] = []
    least_certainty = min(_DOUBTFUL, settings.certainty)
    # The plainest come first: what they add to their flanks is no line of its own.
    for candidate, looks in zip(candidates, certainties, strict=True):
        path, present, certainty = candidate.path, candidate.present, looks
        # Where motion tells film from scene, a line needs not look like one that the network knows.
        moving = not candidate.standing and path.score >= settings.sensitivity
        if not moving and certainty < least_certainty:
            continue
        beside = [(other, depth) for other, depth in accepted if runs_beside(path, other, _FLANK_REACH)]
        if any(path.score < _FLANK_SCORE * other.score for other, _ in beside):
            continue
        verdict = judge(window.ridge, window.mean, displacements, path, present)
        if _moves_with_scene(verdict):
            continue
        if moving and belongs_to(path, verdict, window.explained, settings) == "film":
            certainty = max(certainty, grade(path, verdict, settings, sure=True))
        elif _leans_to_scene(verdict):
            certainty = min(certainty, _LEANING_CERTAINTY)
        if certainty < least_certainty:
            continue
        profile = verdict.profile
        least = max([settings.min_depth, *(_FLANK_DEPTH * depth for _, depth in beside)])
        if profile.depth * path.polarity < least:
            continue
        if abs(profile.depth) < _FAINT:
            # Beside a faint line the scene shows more than the line's own flanks do.
            profile = replace(profile, left=min(profile.left, _FAINT_EXTENT), right=min(profile.right, _FAINT_EXTENT))
        track = make_track(path, present, profile, certainty, layout, first)
        if certainty < settings.certainty:
            doubtful.append(track)
        else:
            tracks.append(track)
            accepted.append((path, abs(profile.depth)))
    return _without_flanks(tracks, accepted), doubtful


def _without_flanks(tracks: list[ScratchTrack], accepted: list[tuple[Path, float]]) -> list[ScratchTrack]:
    """Take out what a deep line adds to its flanks: its evidence is capped, so they may have come before it."""
    return [
        track
        for track, (path, depth) in zip(tracks, accepted, strict=True)
        if not any(
            depth < _FLANK_DEPTH * other_depth and runs_beside(path, other, _FLANK_REACH)
            for other, other_depth in accepted
        )
    ]


def _certainties(network: ScratchNetwork, window: Window, candidates: list[Candidate]) -> list[float]:
    """Probability of every candidate being a scratch.

    The network was trained on short shots, so a long window is judged in halves; the verdicts are joined as the mean of
    their log odds, by the number of frames.
    """
    frames = len(window.ridge)
    parts = 2 if frames > _LONGEST else 1
    odds, weights = np.zeros((2, len(candidates)))
    for part in range(parts):
        span = slice(part * frames // parts, (part + 1) * frames // parts)
        cut = [candidate.within(span) for candidate in candidates]
        there = [number for number, candidate in enumerate(cut) if candidate is not None]
        short = [candidate for candidate in cut if candidate is not None]
        found = network.probability(appearance(window.within(span), short))
        probability = np.clip(found, 1e-6, 1 - 1e-6)
        length = np.array([len(candidate.path.x) for candidate in short], np.float64)
        odds[there] += length * np.log(probability / (1 - probability))
        weights[there] += length
    return [float(value) for value in 1 / (1 + np.exp(-odds / np.maximum(weights, 1)))]


def _moves_with_scene(verdict: Verdict) -> bool:
    """Does a line take part in the motion of the scene, and has the film no part in it? Looks do not matter then."""
    return (
        verdict.following > _SURELY_FOLLOWING
        and verdict.following_error <= _FAIR_ERROR
        and verdict.film_share < _NO_FILM_SHARE
    )


def _leans_to_scene(verdict: Verdict) -> bool:
    """Does a line rather go with the scene, as far as an uncertain measurement tells? Looks alone do not do then."""
    return verdict.following_error > _FAIR_ERROR and verdict.following - verdict.following_error > _LEANING
