"""Candidates for scratches that a network judges: everything long and nearly upright, fixed to the film or not.

Three searches. What the motion of the scene does not explain is searched for lines that may drift, as the weight-free
detector does, but for fainter ones. The plain ridge response is searched for what stands still, because in a
locked-off shot the scene explains every scratch that does not drift. And where the scene is nearly at rest, what
differs from the median over time is searched for lines that pass, because these leave a trace in a mean. Standing
lines need no dynamic programming over positions: the best stretch of frames at every position and tilt is a maximum
subarray (J. Bentley, "Programming Pearls", Comm. ACM 27(9), 1984), found for all at once.
"""

from dataclasses import dataclass, replace

import numpy as np

from ....arrays import FloatArray
from ..tracks import EDGE_SHARE
from .layers import BandLayout, Explained
from .motion_test import straightened
from .paths import (
    PATH_RULES,
    BoolArray,
    Path,
    find_paths,
    line_sums,
    normalised_evidence,
    presence,
    refined_positions,
    sample_along,
    scaled_sums,
)


@dataclass(frozen=True, kw_only=True)
class CandidateRules:
    """Which lines are put before the network.

    Attributes:
        most_standing: Lines of one polarity that are looked for among what stands still.
        most_tested: Lines, the plainest first, that are looked at closely.
        same: Median distance of two paths, working pixels, below which they follow one line.
        at_rest: Displacement of the scene within a window, working pixels, below which lines are looked for in what
            passes, too: the scene layer has taken the standing ones.
        fewest_frames: Frames of a path that a part of a window has to hold, or half of the path where that is
            shorter.
    """

    most_standing: int = 20
    most_tested: int = 40
    same: float = 2.5
    at_rest: float = 3.0
    fewest_frames: int = 8


_RULES = CandidateRules()


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """The profiles of a window of frames, and what is known of the scene in them.

    Attributes:
        ridge: (T, bands, W) ridge responses.
        mean: (T, bands, W) mean luma, grey levels.
        explained: The scene, and what it leaves.
        evidence: (T, bands, W) what it leaves, about unit variance where there is no line.
        plain: (T, bands, W) the ridge response, normalised likewise.
    """

    ridge: FloatArray
    mean: FloatArray
    explained: Explained
    evidence: FloatArray
    plain: FloatArray

    @classmethod
    def of(cls, ridge: FloatArray, mean: FloatArray, explained: Explained) -> "Window":
        """Normalise the evidence of a window."""
        return cls(
            ridge=ridge,
            mean=mean,
            explained=explained,
            evidence=normalised_evidence(explained.evidence, ridge, floor=PATH_RULES.noise_share),
            plain=normalised_evidence(ridge, ridge, floor=PATH_RULES.noise_share),
        )

    def within(self, span: slice) -> "Window":
        """Return some frames of the window."""
        explained = self.explained
        part = Explained(
            evidence=explained.evidence[span], overall=explained.overall[span], local=explained.local[span]
        )
        return Window(
            ridge=self.ridge[span],
            mean=self.mean[span],
            explained=part,
            evidence=self.evidence[span],
            plain=self.plain[span],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A line that may be a scratch.

    Attributes:
        path: Where it is.
        present: (n, bands) where it is there.
        standing: Whether it was found among what stands still in the frame, not in what the scene leaves.
    """

    path: Path
    present: BoolArray
    standing: bool

    def within(self, span: slice) -> "Candidate | None":
        """Return what lies in some frames of the window; None where that is less than a few frames."""
        path = self.path
        first, last = max(path.first, span.start), min(path.frames.stop, span.stop)
        # Of any path, one half of the window holds as much.
        if last - first < min(_RULES.fewest_frames, (len(path.x) + 1) // 2):
            return None
        own = slice(first - path.first, last - path.first)
        score = path.score * (last - first) / len(path.x)
        part = replace(path, first=first - span.start, x=path.x[own], score=score)
        return Candidate(path=part, present=self.present[own], standing=self.standing)


def find_candidates(
    window: Window, tilts: FloatArray, layout: BandLayout, *, min_score: float, min_frames: int
) -> list[Candidate]:
    """Find the lines of a window, the plainest first.

    Args:
        window: The profiles.
        tilts: Tilts to try, working pixels per band.
        layout: Of the bands.
        min_score: Least evidence, standard deviations.
        min_frames: Least number of frames.
    """
    ridge, rest = window.ridge, window.explained.evidence
    found: list[tuple[Path, bool, FloatArray, FloatArray]] = []
    searched = [(rest, window.evidence)]
    if float(np.ptp(window.explained.overall)) < _RULES.at_rest:
        passing = (ridge - np.median(ridge, axis=0)).astype(np.float32)
        searched.append((passing, normalised_evidence(passing, ridge, floor=PATH_RULES.noise_share)))
    for raw, normalised in searched:
        paths = find_paths(line_sums(normalised, tilts), tilts, min_score=min_score, min_frames=min_frames)
        found += [(path, False, raw, normalised) for path in paths]
    standing = find_standing(line_sums(window.plain, tilts), tilts, min_score=min_score, min_frames=min_frames)
    found += [(path, True, ridge, window.plain) for path in standing]
    found.sort(key=lambda one: -one[0].score)
    margin = max(2.0, EDGE_SHARE * layout.work_width)
    candidates: list[Candidate] = []
    for path, stands, raw, normalised in found[: _RULES.most_tested]:
        if path.x.min() < margin or path.x.max() > layout.work_width - 1 - margin:
            continue
        path = straightened(raw, path, presence(path.polarity * sample_along(normalised, path)))
        present = presence(path.polarity * sample_along(normalised, path))
        seen = present.any(axis=1)
        if seen.sum() < min_frames or present[seen].mean() < PATH_RULES.least_coverage:
            continue
        if any(_same(path, other.path) for other in candidates):
            continue
        candidates.append(Candidate(path=path, present=present, standing=stands))
    return candidates


def find_standing(sums: FloatArray, tilts: FloatArray, *, min_score: float, min_frames: int) -> list[Path]:
    """Find lines that stand still, strongest first.

    Args:
        sums: (T, n, W) sums of evidence from `line_sums`.
        tilts: (n,) the tilts of those sums.
        min_score: Least score of a line: its evidence above the toll of its best stretch of frames.
        min_frames: Least length of that stretch.
    """
    scaled = scaled_sums(sums)
    frames, _, width = scaled.shape
    found: list[Path] = []
    for polarity in (-1, 1):
        total = np.zeros(scaled.shape[1:], np.float32)
        best = np.zeros_like(total)
        since, first, last = (np.zeros(total.shape, np.int32) for _ in range(3))
        for t in range(frames):
            begins = total <= 0
            since[begins] = t
            total = (
                np.maximum(total, 0)
                + np.clip(polarity * scaled[t], -2.0, PATH_RULES.frame_cap)
                - np.float32(PATH_RULES.toll)
            )
            better = total > best
            best = np.where(better, total, best)
            first = np.where(better, since, first)
            last = np.where(better, t + 1, last)
        for _ in range(_RULES.most_standing):
            tilt, x = (int(place) for place in np.unravel_index(int(np.argmax(best)), best.shape))
            score = float(best[tilt, x])
            if score < min_score:
                break
            start, stop = int(first[tilt, x]), int(last[tilt, x])
            best[:, max(0, x - PATH_RULES.clearance) : min(width, x + PATH_RULES.clearance + 1)] = 0
            if stop - start >= min_frames:
                columns = np.full(stop - start, x)
                position = refined_positions(polarity * scaled[start:stop, tilt], columns)
                found.append(Path(first=start, x=position, tilt=float(tilts[tilt]), polarity=polarity, score=score))
    return sorted(found, key=lambda path: -path.score)


def _same(path: Path, other: Path) -> bool:
    """Do two paths follow one line?"""
    start, end = max(path.first, other.first), min(path.frames.stop, other.frames.stop)
    if path.polarity != other.polarity or end <= start:
        return False
    apart = path.x[start - path.first : end - path.first] - other.x[start - other.first : end - other.first]
    return float(np.median(np.abs(apart))) < _RULES.same
