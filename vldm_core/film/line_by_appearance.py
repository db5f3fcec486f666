"""Scratches by what they look like: a small network judges every candidate, also where nothing moves.

Motion still counts: how well it separates film and scene, and what of the line it leaves unexplained, is part of what
the network is shown (`line_appearance.py`).
"""

from .line_appearance import appearance
from .line_by_motion import runs_beside
from .line_candidates import Window, find_candidates
from .line_evidence import BandLayout
from .line_map import LineTrack, make_track
from .line_network import load_network
from .line_settings import LineSettings
from .line_tracks import FloatArray, Path
from .line_verdict import judge

_FAINTER = 0.5
_DOUBTFUL = 0.1
_FLANK_REACH = 12.0
_FLANK_DEPTH = 0.5
_FLANK_SCORE = 0.9


def find_by_appearance(
    window: Window, tilts: FloatArray, layout: BandLayout, settings: LineSettings, first: int
) -> tuple[list[LineTrack], list[LineTrack]]:
    """Find the scratches of one window, and the lines that may be scratches or scene.

    Args:
        window: The profiles.
        tilts: Tilts to try.
        layout: Of the bands.
        settings: What to look for.
        first: First frame of the window, counted from the start of the shot.

    Raises:
        VLDMError: The weights cannot be read.
    """
    network = load_network()
    candidates = find_candidates(
        window, tilts, layout, min_score=_FAINTER * settings.sensitivity, min_frames=settings.min_frames
    )
    certainties = network.probability(appearance(window, candidates))
    displacements = (window.explained.overall, window.explained.local)
    tracks: list[LineTrack] = []
    doubtful: list[LineTrack] = []
    accepted: list[tuple[Path, float]] = []
    # The plainest come first: what they add to their flanks is no line of its own.
    for candidate, certainty in zip(candidates, certainties, strict=True):
        path, present = candidate.path, candidate.present
        if certainty < min(_DOUBTFUL, settings.certainty):
            continue
        beside = [(other, depth) for other, depth in accepted if runs_beside(path, other, _FLANK_REACH)]
        if any(path.score < _FLANK_SCORE * other.score for other, _ in beside):
            continue
        profile = judge(window.ridge, window.mean, displacements, path, present).profile
        least = max([settings.min_depth, *(_FLANK_DEPTH * depth for _, depth in beside)])
        if profile.depth * path.polarity < least:
            continue
        track = make_track(path, present, profile, certainty, layout, first)
        if certainty < settings.certainty:
            doubtful.append(track)
        else:
            tracks.append(track)
            accepted.append((path, abs(profile.depth)))
    return tracks, doubtful
