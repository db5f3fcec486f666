"""What a persistent line adds to the picture, measured on the straightened line and its surroundings.

The deviation of the line's pixels from both of its sides is collected over the rows and the neighbouring frames, where
the scene averages out, and explained as

    deviation(t, y, u) = strength(y) · shape(u) + scene,

u being the distance from the line's centre. Shape is a robust mean over the whole line and strength a robust mean over
a window of rows; rows with a busy background count less. How far the scene alone may mislead both is measured beside
the line, with the same estimators, and shape and strength are pulled back by as much (empirical Bayes).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ....arrays import FloatArray
from ....video.luma import LUMA_WEIGHTS
from .mask_segments import MaskSegment, counterpart, find_segments

LEVEL = 1.0 / 255.0
"""One grey level."""


@dataclass(frozen=True, kw_only=True)
class ProfileRules:
    """How it is measured what a line adds to a frame.

    Attributes:
        gap: Pixels between what is masked and the sides that tell what lies under it.
        flank: Pixels on each side that do.
        widest: Pixels across a line that is repaired at most: what is wider leaves no sides to tell.
        beside: Pixels farther out, in which it is measured how far the scene alone misleads.
        fewest_rows: Rows that must show a line for it to be measured.
        rounds: Rounds of reweighting of a robust mean.
        fine: Places of the profile to a pixel: lines meet the pixels differently on every row.
        least_modulation: Variance of a line's strength along it that is always allowed for, relative to its usual
            strength.
        brief_rows: Rows over which a plain line's own frame tells its strength: its gaps are that sharp.
        sure_strength: Square error of that strength, relative, at which the frame itself and its neighbours count
            alike.
        most_tint: Change of a line's strength in one channel against luma at most, either way it is stronger.
    """

    gap: int = 0
    flank: int = 3
    widest: int = 24
    beside: int = 22
    fewest_rows: int = 12
    rounds: int = 2
    fine: int = 4
    least_modulation: float = 0.1
    brief_rows: int = 4
    sure_strength: float = 0.04
    most_tint: float = 2.0


_RULES = ProfileRules()


@dataclass(frozen=True, kw_only=True, eq=False)
class Strip:
    """A straightened line with its surroundings.

    Attributes:
        segment: Where it lies.
        core: Half width of what is masked, pixels.
        picture: (n, 2·reach + 1, 3) pixels along the line, as they are in the frame; the middle column is the pixel
            nearest to the line's centre.
        luma: (n, 2·reach + 1) its luma.
        phase: (n,) how far the line's centre lies to the right of the middle column, -0.5 … 0.5.
        free: (n,) True where no other line touches the sides.
        coloured: (3,) whether a channel differs from the luma anywhere.
    """

    segment: MaskSegment
    core: int
    picture: FloatArray
    luma: FloatArray
    phase: FloatArray
    free: NDArray[np.bool_]
    coloured: NDArray[np.bool_]
    _deviations: dict[int, FloatArray] = field(default_factory=dict, repr=False)

    def deviations(self, core: int) -> FloatArray:
        """Deviation of the line and of places beside it from the bridge between their sides.

        Args:
            core: Half width of the line, pixels.

        Returns:
            (1 + places, n, u), the line first. Every frame whose view this is asks for it.
        """
        if core not in self._deviations:
            self._deviations[core] = _deviation(self.luma, core, (0, *_controls(core)))
        return self._deviations[core]

    @property
    def reach(self) -> int:
        """Pixels on each side of the middle of a straightened row."""
        return self.luma.shape[1] // 2


def straightened(frame: FloatArray, mask: NDArray[np.bool_]) -> list[Strip]:
    """Straighten every line of a frame.

    Args:
        frame: (3, H, W) in [0, 1].
        mask: (H, W), True on the lines.
    """
    width = frame.shape[2]
    strips = []
    for segment in find_segments(mask):
        if len(segment.start) < _RULES.fewest_rows or segment.half_width > _RULES.widest / 2:
            continue
        reach = _RULES.widest // 2 + 1 + _RULES.gap + _RULES.flank + _RULES.beside
        middle = np.round(segment.centre).astype(np.int64)
        columns = np.clip(middle[:, None] + np.arange(-reach, reach + 1), 0, width - 1)
        picture = np.stack([plane[segment.rows[:, None], columns] for plane in frame], axis=-1)
        core = int(np.ceil(segment.half_width + 0.5))
        sides = [
            *range(reach - core - _RULES.flank, reach - core),
            *range(reach + core + 1, reach + core + _RULES.flank + 1),
        ]
        taken = mask[segment.rows[:, None], columns[:, sides]] & (np.abs(columns[:, sides] - middle[:, None]) > core)
        luma = (picture @ np.array(LUMA_WEIGHTS, np.float32)).astype(np.float32)
        strips.append(
            Strip(
                segment=segment,
                core=core,
                picture=picture,
                luma=luma,
                coloured=np.abs(picture - luma[..., None]).max(axis=(0, 1)) >= 0.5 * LEVEL,
                phase=(segment.centre - middle).astype(np.float32),
                free=~taken.any(axis=1),
            )
        )
    return strips


@dataclass(frozen=True, kw_only=True, eq=False)
class StripView:
    """A line as some frame shows it, on the rows of a line of another frame.

    Attributes:
        strip: The line in that frame.
        at: (n,) its rows.
        known: (n,) where it is there, and free of other lines.
    """

    strip: Strip
    at: NDArray[np.int64]
    known: NDArray[np.bool_]


def own_view(strip: Strip) -> StripView:
    """Return a line as its own frame shows it."""
    return StripView(strip=strip, at=np.arange(len(strip.luma)), known=strip.free)


def other_view(strip: Strip, others: list[Strip]) -> StripView | None:
    """Return the same line in another frame, on the rows of this one. None if not there.

    Args:
        strip: The line.
        others: The lines of the other frame.
    """
    found = counterpart(strip.segment, [other.segment for other in others])
    if found is None:
        return None
    other = others[found]
    at = strip.segment.rows - other.segment.top
    known = (at >= 0) & (at < len(other.segment.start))
    at = np.clip(at, 0, len(other.segment.start) - 1)
    return StripView(strip=other, at=at, known=known & other.free[at])


@dataclass(frozen=True, kw_only=True, eq=False)
class ScratchProfile:
    """What a line adds to one frame.

    Attributes:
        shape: Across the line.
        strength: (n,) on every row, about 1; 0 where the line is gone.
        phase: (n,) how far its centre lies to the right of the straightened line's middle column.
        tint: (3,) strength in every channel, relative to luma.
    """

    shape: "ScratchShape"
    strength: FloatArray
    phase: FloatArray
    tint: FloatArray


def measure_profile(views: list[StripView], own: int, rows: int) -> ScratchProfile | None:
    """Measure what a line adds to a frame.

    Args:
        views: The line in that frame and in its neighbours, see `other_view`.
        own: Which of them is of that frame.
        rows: Height of the window over which the line may change its strength, pixels.

    Returns:
        None where too little of the line is seen, or nothing stands out from the scene.
    """
    core = views[own].strip.core
    known = np.stack([view.known for view in views])
    if known.sum() < _RULES.fewest_rows:
        return None
    places = np.stack([view.strip.deviations(core)[:, view.at] for view in views], axis=1)
    deviation, beside = places[0], places[1:]
    trust = _trust(beside, known, core)
    phase = np.stack([view.strip.phase[view.at] for view in views])
    shape = ScratchShape.of(deviation, trust, phase)
    phase = phase + _misplaced(deviation, trust, shape, phase)
    shape = ScratchShape.of(deviation, trust, phase)
    scene = np.einsum("kn,pknu->pu", trust / trust.sum(), beside)
    misled = float(np.square(scene).sum(axis=1).mean())
    # Strength and tint are relative to the whole shape: measured against one that is pulled back, they would grow by as
    # much as it has been.
    kept = _kept(shape.energy, misled)
    if kept**2 * shape.energy <= (0.05 * LEVEL) ** 2:
        return None
    template = shape.at(phase, deviation.shape[-1])
    strength, _ = _strength(deviation, beside, trust, template, rows)
    # A plain line shows on few rows of its own frame how strong it is there, so that its gaps are left alone. Where
    # another line lies close by in that frame, only the other frames know.
    if known[own].any():
        alone = slice(own, own + 1)
        brief, misled_by = _strength(
            deviation[alone], beside[:, alone], trust[alone], template[alone], _RULES.brief_rows
        )
        sure = _RULES.sure_strength / (_RULES.sure_strength + misled_by)
        strength = strength + (brief - strength) * sure

    tint = _tint(views, deviation, trust, template, core)
    shape = ScratchShape(values=shape.values * np.float32(kept))
    return ScratchProfile(shape=shape, strength=strength, phase=phase[own], tint=tint)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScratchShape:
    """Cross-profile of a line on a grid finer than the pixels.

    The lines of a mask meet the pixel grid differently on every row. Sorting pixels by their distance from the line's
    centre, instead of interpolating between them, keeps narrow lines sharp.

    Attributes:
        values: Deviation at every 1/4 pixel, the centre in the middle.
    """

    values: FloatArray

    @classmethod
    def of(cls, deviation: FloatArray, trust: FloatArray, phase: FloatArray) -> "ScratchShape":
        """Robust mean over frames and rows, iteratively reweighted with Cauchy weights.

        A row that deviates as a whole counts less as a whole.

        Args:
            deviation: (k, n, u).
            trust: (k, n) weights.
            phase: (k, n) of the line's centre.
        """
        half = deviation.shape[-1] // 2
        offsets = np.arange(-half, half + 1, dtype=np.float32) - phase[..., None]
        place = np.clip(np.round((offsets + half) * _RULES.fine), 0, 2 * half * _RULES.fine).astype(np.int32)
        size = 2 * half * _RULES.fine + 1
        weight = trust
        values = np.zeros(size, np.float32)
        for number in range(_RULES.rounds + 1):
            if number:
                error = np.square(deviation - values[place]).mean(axis=-1)
                usual = float(np.median(error[trust > 0]))
                weight = trust / (1 + error / max(2 * usual, 1e-12))
            spread = np.broadcast_to(weight[..., None], place.shape).ravel()
            counts = np.bincount(place.ravel(), spread, size)
            sums = np.bincount(place.ravel(), spread * deviation.ravel(), size)
            filled = np.flatnonzero(counts > 0.02 * counts.max())
            values = np.interp(np.arange(size), filled, sums[filled] / counts[filled]).astype(np.float32)
        taper = np.clip((half + 1 - np.abs(np.arange(size) / _RULES.fine - half)) / (_RULES.flank + 1), 0, 1)
        return cls(values=(values * taper).astype(np.float32))

    @property
    def half(self) -> int:
        """Whole pixels on each side of the centre."""
        return (len(self.values) - 1) // (2 * _RULES.fine)

    @property
    def energy(self) -> float:
        """Sum of squares over whole pixels."""
        return float(np.square(self.values).sum()) / _RULES.fine

    def __call__(self, offsets: FloatArray) -> FloatArray:
        """Deviation at distances from the centre, 0 beyond the ends."""
        grid = np.arange(len(self.values)) / _RULES.fine - self.half
        return np.interp(offsets, grid, self.values, left=0.0, right=0.0).astype(np.float32)

    def at(self, phase: FloatArray, length: int) -> FloatArray:
        """The shape on the pixels of straightened rows: (k, n, length)."""
        return self(np.arange(length) - length // 2 - phase[..., None])


def _trust(beside: FloatArray, known: NDArray[np.bool_], core: int) -> FloatArray:
    """Weight of every row, (k, n): small where the scene beside the line is busy."""
    half = beside.shape[-1] // 2
    total = known * np.square(beside[..., half - core + 1 : half + core].mean(axis=-1)).mean(axis=0)
    busy = cv2.blur(total.astype(np.float32), (9, 1), borderType=cv2.BORDER_REFLECT)
    return (known / (busy + np.median(busy[known]) + (0.3 * LEVEL) ** 2)).astype(np.float32)


def _misplaced(deviation: FloatArray, trust: FloatArray, shape: ScratchShape, phase: FloatArray) -> FloatArray:
    """How far the line of every frame lies to the right of where its mask says: (k, 1)."""
    length = deviation.shape[-1]
    here = shape.at(phase, length)
    slope = (shape.at(phase - 0.25, length) - shape.at(phase + 0.25, length)) / 0.5
    weight = trust[..., None]
    energy = (weight * np.square(slope)).sum(axis=(1, 2))
    rest = deviation - here
    shift = -(weight * rest * slope).sum(axis=(1, 2)) / (energy + 1e-20)
    # Rows close together share the scene, so count one in eight as independent.
    variance = 8 * (weight * np.square(rest)).sum(axis=(1, 2)) / (trust.sum(axis=1) * length + 1e-20)
    error = variance * trust.sum(axis=1) / (energy * np.maximum((trust > 0).sum(axis=1), 1) + 1e-20)
    return (np.clip(shift, -0.5, 0.5) * 0.05**2 / (0.05**2 + error))[:, None].astype(np.float32)


def _controls(core: int) -> list[int]:
    """Places beside the line where only the scene can mislead the estimators."""
    nearest = 2 * core + 2
    farthest = _RULES.widest // 2 + 1 + _RULES.beside - core
    # Four places on each side do.
    right = np.linspace(min(nearest, farthest), farthest, 4).round().astype(int).tolist()
    return [sign * at for at in right for sign in (-1, 1)]


def _bridge(core: int) -> tuple[int, FloatArray]:
    """Half length of a deviation and the share of the right side at each of its pixels."""
    half = core + _RULES.gap + _RULES.flank
    offsets = np.arange(-half, half + 1)
    middle = core + _RULES.gap + (_RULES.flank + 1) / 2
    return half, np.clip((offsets + middle) / (2 * middle), 0, 1).astype(np.float32)


def _deviation(luma: FloatArray, core: int, at: Sequence[int] = (0,)) -> FloatArray:
    """Deviation of straightened lines from the straight bridge between their sides, at places beside the line.

    Args:
        luma: (..., 2·reach + 1).
        core: Half width of the line.
        at: Where to measure, pixels from the line.

    Returns:
        (places, ..., u).
    """
    half, share = _bridge(core)
    centre = luma.shape[-1] // 2
    pieces = np.stack([luma[..., centre + place - half : centre + place + half + 1] for place in at])
    left = np.einsum("...u->...", pieces[..., : _RULES.flank])[..., None] / np.float32(_RULES.flank)
    right = np.einsum("...u->...", pieces[..., -_RULES.flank :])[..., None] / np.float32(_RULES.flank)
    pieces -= left
    pieces -= (right - left) * share
    return pieces


def _kept(energy: float, misled: float) -> float:
    """Share of a profile to keep, if the scene alone gives profiles of some energy: steep about equality."""
    return energy**2 / (energy**2 + misled**2 + 1e-30)


def _strength(
    deviation: FloatArray, beside: FloatArray, trust: FloatArray, template: FloatArray, rows: int
) -> tuple[FloatArray, FloatArray]:
    """Strength of the line on every row, about 1, and the square error the scene alone would make there: (n,), (n,).

    Some row must be trusted. Where none is near, the strength is 0 and the error infinite.
    """
    energy = np.square(template).sum(axis=-1) + 1e-12
    window = 2 * max(1, rows // 2) + 1
    kernel = np.clip(1 - np.abs(np.arange(-window + 1, window)) / window, 0, 1).astype(np.float32)
    weight = trust * energy

    def smooth(values: FloatArray) -> FloatArray:
        lines = np.einsum("pkn->pn", values)
        return cv2.filter2D(lines, -1, kernel[None], borderType=cv2.BORDER_CONSTANT).reshape(lines.shape)

    def local_means(places: FloatArray, rounds: int = _RULES.rounds) -> FloatArray:
        readings = np.einsum("pknu,knu->pkn", places, template) / energy
        mean = smooth(weight * readings) / (smooth(weight[None]) + np.float32(1e-20))
        for _ in range(rounds):
            error = np.square(readings - mean[:, None])
            usual = np.maximum(2 * np.median(error[:, trust > 0], axis=1), 1e-12).astype(np.float32)
            robust = weight / (1 + error / usual[:, None, None])
            mean = smooth(robust * readings) / (smooth(robust) + np.float32(1e-20))
        return mean

    strength = local_means(deviation[None])[0]
    misled = np.square(local_means(beside, rounds=1)).mean(axis=0)
    # Rows that no known row is near read as no line at all, and as read without doubt.
    seen = smooth(weight[None])[0] > 0
    certain = seen / (misled + _RULES.least_modulation)
    usual_strength = float((certain * strength).sum() / certain.sum())
    modulation = max(_RULES.least_modulation, float(np.mean((np.square(strength - usual_strength) - misled)[seen])))
    kept = modulation / (modulation + misled + 1e-12)
    strength = (usual_strength + (strength - usual_strength) * kept).astype(np.float32)
    return strength, np.where(seen, misled, np.inf).astype(np.float32)


def _tint(
    views: list[StripView], deviation: FloatArray, trust: FloatArray, template: FloatArray, core: int
) -> FloatArray:
    """Strength of the line in every channel, relative to its luma: (3,), ones on a grey film.

    What the scene alone would seem to tint is measured beside the line, and the tint is pulled back by as much: what
    cameras and codecs do to colour would otherwise be taken for a coloured line where the line is faint.
    """
    result = np.ones(3, np.float32)
    error = np.square(deviation - template).mean(axis=-1)
    robust = (trust / (1 + error / max(2 * float(np.median(error[trust > 0])), 1e-12)))[..., None]
    energy = float((robust * np.square(template)).sum()) + 1e-20
    for channel in range(3):
        if any(view.strip.coloured[channel] for view in views):
            difference = np.stack([(view.strip.picture[..., channel] - view.strip.luma)[view.at] for view in views])
            places = _deviation(difference, core, (0, *_controls(core)))
            extra, *beside = np.einsum("pknu,knu->p", places, robust * template) / energy
            misled = float(np.mean(np.square(beside)))
            result[channel] += np.float32(
                np.clip(float(extra) * _kept(float(extra) ** 2, misled), -1, _RULES.most_tint)
            )
    return result
