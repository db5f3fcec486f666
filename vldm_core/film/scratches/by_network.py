"""Scratches by what they look like: a small network judges every candidate, also where nothing moves.

Motion still counts. How well it separates film and scene, and what of the line it leaves unexplained, is part of what
the network is shown (`appearance.py`); what surely stays with the film by the tests of `by_motion.py` is a
scratch whatever it looks like; and what surely moves with the scene is none.
"""

from dataclasses import dataclass

import numpy as np

from ...arrays import FloatArray
from .by_motion import MOTION_RULES, belongs_to, grade, line_beside, moves_alone, runs_beside, without_flanks
from .network import ScratchNetwork, shared_network
from .search.appearance import appearance
from .search.candidates import Candidate, Window, find_candidates
from .search.layers import BandLayout
from .search.line_presence import MeasuredLine
from .search.line_shape import line_shape
from .search.motion_test import Verdict, judge
from .settings import ScratchSettings
from .tracks import ScratchTrack, make_track


@dataclass(frozen=True, kw_only=True)
class LookRules:
    """How the verdict of the network is joined with what motion tells. Slopes as in `MotionRules`.

    Attributes:
        fainter: Share of the sensitivity from which on a line is a candidate: the network judges fainter ones as
            well.
        longest: Frames above which a window is judged in halves: the network was trained on short shots.
        doubtful: Certainty from which on a line is kept as doubtful; a neighbouring shot may confirm it.
        surely_following: Slope above which a line moves with the scene, whatever it looks like; lower than by
            motion alone, because the film has to have no part in it, too.
        no_film_share: Share of the film layer below which the film has no part in a line.
        leaning: Slope, less its error, above which an uncertain measurement leans to the scene.
        leaning_certainty: Certainty that looks alone may give such a line.
        alike: Standard deviation of the slope of things that move alike, besides the error of its measurement.
        most_spoken: Log odds that a slope may add to what a line looks like at most.
    """

    fainter: float = 0.5
    longest: int = 32
    doubtful: float = 0.1
    surely_following: float = 0.75
    no_film_share: float = 0.1
    leaning: float = 0.5
    leaning_certainty: float = 0.2
    alike: float = 0.15
    most_spoken: float = 3.0


_RULES = LookRules()


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
        window, tilts, layout, min_score=_RULES.fainter * settings.sensitivity, min_frames=settings.min_frames
    )
    certainties = _certainties(network, window, candidates)
    displacements = (window.explained.overall, window.explained.local)
    tracks: list[ScratchTrack] = []
    doubtful: list[ScratchTrack] = []
    accepted: list[MeasuredLine] = []
    least_certainty = min(_RULES.doubtful, settings.certainty)
    # The plainest come first: what they add to their flanks is no line of its own.
    shapes = [line_shape(window.mean, one.path, one.present, []) for one in candidates]
    plain = [shape.explained * one.path.score for shape, one in zip(shapes, candidates, strict=True)]
    for _, candidate, looks in sorted(zip(plain, candidates, certainties, strict=True), key=lambda one: -one[0]):
        path, present, certainty = candidate.path, candidate.present, looks
        # Where motion tells film from scene, a line needs not look like one that the network knows.
        moving = not candidate.standing and path.score >= settings.sensitivity
        if not moving and _raised(certainty, _RULES.most_spoken) < least_certainty:
            continue
        beside = [other for other in accepted if runs_beside(path, other.path, MOTION_RULES.flank_reach)]
        verdict = judge(window.ridge, displacements, path, present)
        alone = moves_alone(path, window.explained)
        if not alone and _moves_with_scene(verdict):
            continue
        if moving and belongs_to(path, present, verdict, window.explained, settings) == "film":
            certainty = max(certainty, grade(path, verdict, settings, sure=True))
        elif not alone and _leans_to_scene(verdict):
            certainty = min(certainty, _RULES.leaning_certainty)
        elif path.score >= settings.sensitivity:
            certainty = _raised(certainty, _spoken_for(verdict))
        if certainty < least_certainty:
            continue
        line = line_beside(window.mean, window.explained, path, present, beside, settings)
        if line is None:
            continue
        if line.shape.broadest:
            # What may be broader still than all that lines are is none on the word of its motion alone.
            certainty = min(certainty, max(looks, least_certainty))
        track = make_track(line, certainty, layout, first)
        if certainty < settings.certainty:
            doubtful.append(track)
        else:
            tracks.append(track)
            accepted.append(line)
    return without_flanks(tracks, accepted), doubtful


def _certainties(network: ScratchNetwork, window: Window, candidates: list[Candidate]) -> list[float]:
    """Probability of every candidate being a scratch.

    The network was trained on short shots, so a long window is judged in halves; the verdicts are joined as the mean of
    their log odds, by the number of frames.
    """
    frames = len(window.ridge)
    parts = 2 if frames > _RULES.longest else 1
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


def _spoken_for(verdict: Verdict) -> float:
    """What the motion of a line says for the film, log odds: the likelihood of its slope if that is 0, against 1.

    What speaks for the scene is not counted, because where a line lies on an edge its place is measured on both.
    """
    variance = verdict.following_error**2 + _RULES.alike**2
    return float(np.clip((1 - 2 * verdict.following) / (2 * variance), 0, _RULES.most_spoken))


def _raised(certainty: float, said: float) -> float:
    """Raise a certainty by log odds."""
    looks = float(np.clip(certainty, 1e-6, 1 - 1e-6))
    return float(1 / (1 + np.exp(-said) * (1 - looks) / looks))


def _moves_with_scene(verdict: Verdict) -> bool:
    """Does a line take part in the motion of the scene, and has the film no part in it? Looks do not matter then."""
    return (
        verdict.following > _RULES.surely_following
        and verdict.following_error <= MOTION_RULES.fair_error
        and verdict.film_share < _RULES.no_film_share
    )


def _leans_to_scene(verdict: Verdict) -> bool:
    """Does a line rather go with the scene, as far as an uncertain measurement tells? Looks alone do not do then."""
    return (
        verdict.following_error > MOTION_RULES.fair_error
        and verdict.following - verdict.following_error > _RULES.leaning
    )
