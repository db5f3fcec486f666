"""From scratch evidence to tracks: straight, nearly vertical lines that stay or drift slowly from frame to frame.

Within a window of frames the evidence is summed along straight lines of every allowed tilt (a Radon transform over
bands), and the best paths through (time, position) are found by dynamic programming with free start and end, as in
local sequence alignment (T. F. Smith, M. S. Waterman, J. Mol. Biol. 147, 1981): every frame pays a toll, so a path only
grows where the line is seen. Presence is then decided per frame and band.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ....arrays import BoolArray, FloatArray
from ...robust import MAD_TO_SIGMA
from ..sampling import sampled_around
from .courses import likeliest


@dataclass(frozen=True, kw_only=True)
class PathRules:
    """What counts as a path, and where a line is there on it. Evidence is in deviations of what is usual at a place.

    Attributes:
        saturation: Evidence that one band of one frame adds at most: dirt and crossing edges are short.
        toll: What every frame costs a path, deviations of a sum: it ends where the line is gone.
        move_cost: What a step of one working pixel between two frames costs: scratches drift slowly.
        frame_cap: Evidence that one frame adds at most, so that no frame carries a path alone.
        clearance: Working pixels on each side of a path that belong to it: flanks of a line are no lines.
        most_paths: Paths of one polarity that are looked for in a window.
        border: Columns at either side that tell nothing: the ridge filter has no flank there.
        present_share: Share of the usual evidence of a line from which on a band speaks for it.
        from_time: Weight of the frames around for a line that is plain: its gaps lie elsewhere in each.
        from_time_when_faint: The same in addition for one that is faint, by which a band alone tells little.
        long_gap: Weight of frames around that all lack the line: a chance ridge there is not the line.
        from_beside: Weight of the band above and the one below.
        switch: What a beginning or an end of a gap costs, in units of the evidence.
        noise_share: Share of the ridge response nearby that counts as noise: what a scene layer leaves of strong
            verticals grows with them.
        least_coverage: Share of the bands, in the frames that show a line at all, in which it has to be there.
    """

    saturation: float = 3.0
    toll: float = 1.2
    move_cost: float = 0.8
    frame_cap: float = 12.0
    clearance: int = 4
    most_paths: int = 24
    border: int = 4
    present_share: float = 0.4
    from_time: float = 0.1
    from_time_when_faint: float = 2.0
    long_gap: float = 1.0
    from_beside: float = 0.25
    switch: float = 1.5
    noise_share: float = 0.25
    least_coverage: float = 0.35


PATH_RULES = PathRules()


@dataclass(frozen=True, kw_only=True, eq=False)
class Path:
    """One line within a window.

    Attributes:
        first: First frame of the path in the window.
        x: (n,) position in the middle of the frame height, working pixels.
        tilt: Change of x per band.
        polarity: +1 bright, -1 dark.
        score: Sum of the evidence along the path above the toll, standard deviations.
    """

    first: int
    x: FloatArray
    tilt: float
    polarity: int
    score: float

    @property
    def frames(self) -> slice:
        """Frames of the window that the path covers."""
        return slice(self.first, self.first + len(self.x))

    def positions(self, bands: int) -> FloatArray:
        """Position in every frame of the path and band: (n, bands)."""
        return (self.x[:, None] + self.tilt * (np.arange(bands) - (bands - 1) / 2)).astype(np.float32)


def normalised_evidence(evidence: FloatArray, ridge: FloatArray, *, floor: float) -> FloatArray:
    """Match the evidence with a narrow line and divide it by its usual size there.

    Args:
        evidence: (T, bands, W) ridge response without the scene.
        ridge: (T, bands, W) ridge response of the frames.
        floor: Share of the ridge response nearby that counts as noise.

    Returns:
        (T, bands, W), about unit variance where there is no line.
    """
    matched = _matched(evidence)
    usual = _usual_energy(matched)
    # What a scene layer leaves of strong scene verticals grows with them.
    near = cv2.blur(np.square(_matched(ridge)).mean(axis=0), (17, 3), borderType=cv2.BORDER_REFLECT)
    # Running sums of squares come out a little below nothing where there is nothing.
    near = np.maximum(near, 0)
    return (matched / (np.sqrt(usual + floor**2 * near) + 1e-3)).astype(np.float32)


def _matched(evidence: FloatArray) -> FloatArray:
    width = evidence.shape[2]
    flat = evidence.reshape(-1, width)
    narrow = cv2.GaussianBlur(flat, (0, 0), 1.0, sigmaY=1e-6, borderType=cv2.BORDER_REFLECT)
    wide = cv2.blur(flat, (13, 1), borderType=cv2.BORDER_REFLECT)
    return (narrow - wide).reshape(evidence.shape).astype(np.float32)


def _usual_energy(matched: FloatArray) -> FloatArray:
    """Mean square over the window and a neighbourhood of columns, outliers held back: (bands, W)."""
    square = np.square(matched)
    usual = np.full(square.shape[1:], np.inf, np.float32)
    for _ in range(3):
        usual = cv2.blur(np.minimum(square, 6.0 * usual).mean(axis=0), (65, 3), borderType=cv2.BORDER_REFLECT)
    return np.maximum(usual, 0).astype(np.float32)


def line_sums(normalised: FloatArray, tilts: FloatArray) -> FloatArray:
    """Sum the evidence along straight lines.

    Args:
        normalised: (T, bands, W).
        tilts: (n,) change of x per band.

    Returns:
        (T, n, W) sums over bands divided by √bands; x is the position in the middle of the height.
    """
    frames, bands, width = normalised.shape
    reach = int(np.ceil(np.abs(tilts).max() * (bands - 1) / 2)) + 1
    padded = np.zeros((frames, bands, width + 2 * reach), np.float32)
    # No band may decide alone: dirt and crossing edges are short.
    padded[..., reach : reach + width] = np.clip(normalised, -PATH_RULES.saturation, PATH_RULES.saturation)
    sums = np.zeros((frames, len(tilts), width), np.float32)
    for number, tilt in enumerate(tilts):
        shifts = np.round(tilt * (np.arange(bands) - (bands - 1) / 2)).astype(int) + reach
        total = sums[:, number]
        for band, shift in enumerate(shifts):
            total += padded[:, band, shift : shift + width]
    return sums / np.sqrt(np.float32(bands))


def tilt_steps(bands: int, band_rows: float, max_tilt: float) -> FloatArray:
    """Tilts to try, in working pixels per band, so that neighbours differ by half a pixel at the ends."""
    steepest = np.tan(np.deg2rad(max_tilt)) * band_rows
    step = 1.5 / max(bands - 1, 1)
    count = int(np.ceil(steepest / step))
    return (np.arange(-count, count + 1) * (steepest / max(count, 1))).astype(np.float32)


def find_paths(sums: FloatArray, tilts: FloatArray, *, min_score: float, min_frames: int) -> list[Path]:
    """Find the paths of lines, strongest first.

    Args:
        sums: (T, n, W) from :func:`line_sums`.
        tilts: (n,) the tilts of those sums.
        min_score: Least score of a path.
        min_frames: Least length of a path.
    """
    scaled = scaled_sums(sums)
    found: list[Path] = []
    for polarity in (-1, 1):
        rewards = np.clip(polarity * scaled, -2.0, PATH_RULES.frame_cap) - PATH_RULES.toll
        taken = 0
        while taken < PATH_RULES.most_paths:
            round_ = _best_paths(rewards, min_score, PATH_RULES.most_paths - taken)
            if not round_:
                break
            taken += len(round_)
            for first, tilt, columns, score in round_:
                _clear(rewards, first, columns)
                if len(columns) >= min_frames:
                    x = refined_positions(polarity * scaled[first : first + len(columns), tilt], columns)
                    found.append(Path(first=first, x=x, tilt=float(tilts[tilt]), polarity=polarity, score=score))
    return sorted(found, key=lambda path: -path.score)


def scaled_sums(sums: FloatArray) -> FloatArray:
    """Scale (T, n, W) sums to unit spread where there is no line, and blank the border."""
    width = sums.shape[2]
    # The sums of neighbouring bands are correlated, so their spread is measured.
    spread = MAD_TO_SIGMA * float(np.median(np.abs(sums[:, sums.shape[1] // 2])))
    scaled = sums / np.float32(max(spread, 1e-6))
    scaled[..., : PATH_RULES.border] = 0
    scaled[..., width - PATH_RULES.border :] = 0
    return scaled


def _best_paths(rewards: FloatArray, min_score: float, most: int) -> list[tuple[int, int, NDArray[np.int64], float]]:
    """Best paths with free start and end that keep clear of each other, strongest first.

    Returns:
        First frame, tilt index, columns (n,) and score of each.
    """
    frames, count, width = rewards.shape
    origin = np.zeros((frames, count, width), np.int8)  # 0: starts here, 1..3: came from x-1, x, x+1
    total = np.zeros((count, width), np.float32)
    best, end = np.zeros((count, width), np.float32), np.zeros((count, width), np.int32)
    options = np.zeros((4, count, width), np.float32)
    for t in range(frames):
        options[1, :, 1:] = total[:, :-1] - PATH_RULES.move_cost
        options[2] = total
        options[3, :, :-1] = total[:, 1:] - PATH_RULES.move_cost
        # A path that starts beats one that comes in with nothing.
        origin[t] = np.argmax(options, axis=0)
        total = options.max(axis=0) + rewards[t]
        better = total > best
        best[better] = total[better]
        end[better] = t
    tilt_of = best.argmax(axis=0)
    highest = best.max(axis=0)
    free = np.ones((frames, width), bool)
    found: list[tuple[int, int, NDArray[np.int64], float]] = []
    for x in np.argsort(-highest, kind="stable"):
        if highest[x] < max(min_score, 1e-6) or len(found) == most:
            break
        tilt, t = int(tilt_of[x]), int(end[tilt_of[x], x])
        columns = [int(x)]
        while origin[t, tilt, columns[-1]]:
            columns.append(columns[-1] + int(origin[t, tilt, columns[-1]]) - 2)
            t -= 1
        way = np.array(columns[::-1])
        # What touches a stronger path has to be found again without it.
        if not free[np.arange(t, t + len(way)), way].all():
            continue
        for time, place in enumerate(way, start=t):
            free[time, max(0, place - PATH_RULES.clearance) : place + PATH_RULES.clearance + 1] = False
        found.append((t, tilt, way, float(highest[x])))
    return found


def _clear(rewards: FloatArray, first: int, columns: NDArray[np.int64]) -> None:
    """Forbid what lies on a path already found, at every tilt that crosses it closely."""
    width = rewards.shape[2]
    for t, x in enumerate(columns, start=first):
        rewards[
            t, :, max(0, x - PATH_RULES.clearance) : min(width, x + PATH_RULES.clearance + 1)
        ] = -PATH_RULES.frame_cap


def refined_positions(sums: FloatArray, columns: NDArray[np.int64]) -> FloatArray:
    """Refine integer positions by a parabola through the neighbours, smoothed over time by their weight."""
    rows = np.arange(len(columns))
    width = sums.shape[1]
    left, here, right = (sums[rows, np.clip(columns + step, 0, width - 1)] for step in (-1, 0, 1))
    bend = left - 2 * here + right
    offset = np.where(bend < -1e-3, 0.5 * (left - right) / np.minimum(bend, -1e-3), 0.0)
    position = columns + np.clip(offset, -0.5, 0.5)
    weight = np.square(np.clip(here, 0.1, PATH_RULES.frame_cap))
    kernel = np.exp(-np.square(np.arange(-4, 5)) / (2 * 1.5**2))
    size = len(position)
    extended = np.convolve(position * weight, kernel)[4 : 4 + size]
    return (extended / np.convolve(weight, kernel)[4 : 4 + size]).astype(np.float32)


def sample_along(values: FloatArray, path: Path) -> FloatArray:
    """Sample (T, bands, W) along a path with linear interpolation: (n, bands)."""
    window = values[path.frames]
    return sampled_around(window, path.positions(window.shape[1]), 0)[..., 0]


def presence(evidence: FloatArray) -> BoolArray:
    """Decide where a line is present.

    A scratch is cut while the film runs, so its gaps lie elsewhere in every frame: each frame is decided by itself,
    down its bands, as the likeliest course of a two-state chain (A. Viterbi, IEEE Trans. Inf. Theory 13, 1967) that
    pays for every begin and end of a gap. The neighbouring frames only help a little.

    Args:
        evidence: (n, bands) normalised evidence along the path, positive where it has the line's polarity.

    Returns:
        (n, bands) True where the line is there.
    """
    # Lines fade along their length, so a fraction of their usual strength will do, and no more than is plain.
    expected = float(np.clip(np.median(evidence), 0.8, 3.5))
    likelihood = np.clip(expected * (evidence - PATH_RULES.present_share * expected), -3.0, 3.0).astype(np.float32)
    pooled = cv2.boxFilter(likelihood, -1, (1, 7), borderType=cv2.BORDER_REFLECT_101)
    # What is faint needs the frames around it, and where a line is missing for long, a chance ridge is not the line.
    from_time = PATH_RULES.from_time + PATH_RULES.from_time_when_faint * max(0.0, 1 - expected / 2)
    likelihood += from_time * pooled + PATH_RULES.long_gap * np.minimum(pooled, 0)
    beside = np.array([[PATH_RULES.from_beside, 1.0, PATH_RULES.from_beside]], np.float32)
    gain = cv2.filter2D(likelihood, -1, beside, borderType=cv2.BORDER_REFLECT_101) / 2
    # The line there and the line gone say the same with opposite signs.
    return likeliest(np.asarray(2 * gain, np.float32), PATH_RULES.switch)
