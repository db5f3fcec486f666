"""Undo persistent line scratches by subtracting what they add, where the mask says they are.

A faint scratch hides nothing: it adds its cross-profile to a picture that is still there. Inpainting would throw that
picture away. So every line in the mask is straightened, its deviation from both sides is collected over the rows and
the neighbouring frames, where the scene averages out, and explained as

    deviation(t, y, u) = strength(y) · shape(u) + scene,

u being the distance from the line's centre. Shape is a robust mean over the whole line and strength a robust mean over
a window of rows; rows with a busy background count less. How far the scene alone may mislead both is measured beside
the line, with the same estimators, and shape and strength are pulled back by as much (empirical Bayes), so that a mask
without a line changes next to nothing. Only where a line leaves no picture behind, clipped or opaque, its pixels are
filled from both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import SettingsError
from .dirt_repair import RADIUS as FILL_RADIUS
from .line_strands import FloatArray, Strand, counterpart, find_strands
from .luma import LUMA_WEIGHTS
from .repair_fill import fill, fill_roughly
from .repair_window import RepairWindow

_VIEWS = 4
RADIUS = _VIEWS + FILL_RADIUS
"""A repaired frame depends on so many frames on each side: lines are measured over a few, and filled from others."""

_GAP = 0
_FLANK = 3
_WIDEST = 24
_BESIDE = 22
_FEWEST_ROWS = 12
_ROUNDS = 2
_FINE = 4
_LEVEL = 1.0 / 255.0
_LEAST_MODULATION = 0.1
_BRIEF_ROWS = 4
_SURE_STRENGTH = 0.04
_OPAQUE_DEPTH = 30 * _LEVEL
_OPAQUE_ACTIVITY = 0.15
_DEEP = 24 * _LEVEL
_FEWEST_LOST = 20
_REACH = FILL_RADIUS - 1


@dataclass(frozen=True, kw_only=True)
class LineRepairSettings:
    """How to undo line scratches.

    Attributes:
        rows: Height of the window over which a line may change its strength, pixels; 8 … 400. Smaller follows quick
            changes, larger is steadier on faint lines.
        grain: How much of the grain around it a filled place gets back, where a line has left no picture; 0 … 1.
    """

    rows: int = 40
    grain: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.grain <= 1:
            raise SettingsError(f"line repair grain must be 0 to 1, got {self.grain}; 1 is as around the line")
        if not 8 <= self.rows <= 400:
            raise SettingsError(f"line repair rows must be 8 to 400, got {self.rows}; 40 suits most films")


def repair_lines(
    frames: Tensor, scratch_mask: Tensor, settings: LineRepairSettings | None = None, *, keep: slice | None = None
) -> Tensor:
    """Undo line scratches.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1], consecutive frames of one shot.
        scratch_mask: (T, H, W), > 0.5 = scratch. It alone says where to work, so it may be edited by hand.
        settings: How to.
        keep: The frames wanted repaired; the others only serve as neighbours and return as they came. None is all.

    Returns:
        (T, 3, H, W). Pixels outside the mask are bit-equal to the input.

    Raises:
        SettingsError: The shapes do not match.
    """
    settings = settings or LineRepairSettings()
    if frames.dim() != 4 or frames.shape[1] != 3 or scratch_mask.shape != (frames.shape[0], *frames.shape[-2:]):
        raise SettingsError(
            f"line repair needs frames (T, 3, H, W) and a mask (T, H, W), got {tuple(frames.shape)} and "
            f"{tuple(scratch_mask.shape)}"
        )
    masks = (scratch_mask > 0.5).cpu().numpy()
    wanted = [t for t in range(len(frames))[keep or slice(None)] if masks[t].any()]
    if not wanted:
        return frames
    shot = _Shot(frames, masks, settings)
    result = frames.clone()
    refilled = shot.refilled([t for t in wanted if shot.mended(t)[1].sum() >= _FEWEST_LOST])
    for t in wanted:
        repaired = refilled.get(t, shot.mended(t)[0])
        inside = torch.as_tensor(masks[t], device=frames.device)
        mended = torch.as_tensor(repaired, device=frames.device, dtype=frames.dtype).permute(2, 0, 1)
        result[t] = torch.where(inside, mended, frames[t])
    return result


class _Shot:
    """Frames of a shot with their lines taken out; everything is computed when first asked for."""

    def __init__(self, frames: Tensor, masks: NDArray[np.bool_], settings: LineRepairSettings) -> None:
        self._frames, self._masks, self._settings = frames, masks, settings
        self._strips: dict[int, list[_Strip]] = {}
        self._mended: dict[int, tuple[FloatArray, NDArray[np.bool_]]] = {}
        self._images: dict[int, FloatArray] = {}

    def image(self, t: int) -> FloatArray:
        """A frame as it came, (H, W, 3)."""
        if t not in self._images:
            self._images[t] = np.ascontiguousarray(self._frames[t].detach().float().cpu().permute(1, 2, 0).numpy())
        return self._images[t]

    def strips(self, t: int) -> list["_Strip"]:
        """The lines of a frame."""
        if t not in self._strips:
            self._strips[t] = _strips(self.image(t), self._masks[t]) if self._masks[t].any() else []
        return self._strips[t]

    def mended(self, t: int) -> tuple[FloatArray, NDArray[np.bool_]]:
        """A frame (H, W, 3) without its lines, and the pixels (H, W) in which they have left no picture."""
        if t not in self._mended:
            repaired, lost = self.image(t).copy(), np.zeros(self._masks[t].shape, bool)
            for strip in self.strips(t):
                near = range(max(0, t - _VIEWS), min(len(self._masks), t + _VIEWS + 1))
                views = [strip if k == t else _other_view(strip, self.strips(k)) for k in near]
                _mend(repaired, lost, strip, [view for view in views if view is not None], self._settings)
            self._mended[t] = repaired, lost & self._masks[t]
        return self._mended[t]

    def refilled(self, wanted: list[int]) -> dict[int, FloatArray]:
        """Frames (H, W, 3) with the lost pixels as neighbours show them, where the line lies elsewhere in the scene."""
        if not wanted:
            return {}
        first, last = max(0, wanted[0] - FILL_RADIUS), min(len(self._masks), wanted[-1] + FILL_RADIUS + 1)
        near = {t for w in wanted for t in range(w - FILL_RADIUS, w + FILL_RADIUS + 1)}
        blank = np.zeros(self._masks.shape[1:], bool)
        parts = [self.mended(t) if t in near else (self.image(t), blank) for t in range(first, last)]
        window = RepairWindow(
            torch.from_numpy(np.stack([picture for picture, _ in parts])).permute(0, 3, 1, 2),
            torch.from_numpy(np.stack([lost for _, lost in parts])).float(),
            fill_roughly,
        )
        result = {}
        for t in wanted:
            place = window.atlas(t - first).place
            repaired = self.mended(t)[0].copy()
            values = fill(
                window, t - first, reach=_REACH, grain=self._settings.grain, fallback=repaired[place] * np.float32(255)
            )
            if values is not None:
                repaired[place] = values / np.float32(255)
            window.forget(t - first + 1 - FILL_RADIUS)
            result[t] = repaired
        return result


@dataclass(frozen=True, kw_only=True, eq=False)
class _Strip:
    """A straightened line with its surroundings.

    Attributes:
        strand: Where it lies.
        core: Half width of what is masked, pixels.
        picture: (n, 2·reach + 1, 3) pixels along the line, as they are in the frame; the middle column is the pixel
            nearest to the line's centre.
        luma: (n, 2·reach + 1) its luma.
        phase: (n,) how far the line's centre lies to the right of the middle column, -0.5 … 0.5.
        free: (n,) True where no other line touches the sides.
    """

    strand: Strand
    core: int
    picture: FloatArray
    luma: FloatArray
    phase: FloatArray
    free: NDArray[np.bool_]

    @property
    def reach(self) -> int:
        return self.luma.shape[1] // 2


def _strips(image: FloatArray, mask: NDArray[np.bool_]) -> list[_Strip]:
    """Straighten every line of a frame."""
    width = image.shape[1]
    strips = []
    for strand in find_strands(mask):
        if len(strand.start) < _FEWEST_ROWS or strand.half_width > _WIDEST / 2:
            continue
        reach = _WIDEST // 2 + 1 + _GAP + _FLANK + _BESIDE
        middle = np.round(strand.centre).astype(np.int64)
        columns = np.clip(middle[:, None] + np.arange(-reach, reach + 1), 0, width - 1)
        picture = image[strand.rows[:, None], columns]
        core = int(np.ceil(strand.half_width + 0.5))
        sides = [*range(reach - core - _FLANK, reach - core), *range(reach + core + 1, reach + core + _FLANK + 1)]
        taken = mask[strand.rows[:, None], columns[:, sides]] & (np.abs(columns[:, sides] - middle[:, None]) > core)
        strips.append(
            _Strip(
                strand=strand,
                core=core,
                picture=picture,
                luma=(picture @ np.array(LUMA_WEIGHTS, np.float32)).astype(np.float32),
                phase=(strand.centre - middle).astype(np.float32),
                free=~taken.any(axis=1),
            )
        )
    return strips


def _other_view(strip: _Strip, others: list[_Strip]) -> _Strip | None:
    """The same line in another frame, on the rows of this one; rows that it lacks are NaN."""
    found = counterpart(strip.strand, [other.strand for other in others])
    if found is None:
        return None
    other = others[found]
    at = strip.strand.rows - other.strand.top
    known = (at >= 0) & (at < len(other.strand.start))
    known &= other.free[np.clip(at, 0, len(other.free) - 1)]
    at = np.clip(at, 0, len(other.strand.start) - 1)
    luma = np.where(known[:, None], other.luma[at], np.nan).astype(np.float32)
    return _Strip(
        strand=strip.strand, core=strip.core, picture=other.picture[at], luma=luma, phase=other.phase[at], free=known
    )


def _mend(
    repaired: FloatArray,
    lost: NDArray[np.bool_],
    strip: _Strip,
    views: list[_Strip],
    settings: LineRepairSettings,
) -> None:
    """Take one line out of one frame; note the pixels in which it has left no picture."""
    core = strip.core
    luma = np.stack([view.luma for view in views])
    known = ~np.isnan(luma[..., 0]) & np.stack([view.free for view in views])
    if known.sum() < _FEWEST_ROWS:
        return
    luma = np.nan_to_num(luma)
    beside = _deviation(luma, core, _controls(core))
    trust = _trust(beside, known, core)
    deviation = _deviation(luma, core)[0]
    phase = np.stack([view.phase for view in views])
    shape = _Shape.of(deviation, trust, phase)
    phase = phase + _misplaced(deviation, trust, shape, phase)
    shape = _Shape.of(deviation, trust, phase)
    scene = np.einsum("kn,pknu->pu", trust / trust.sum(), beside)
    misled = float(np.square(scene).sum(axis=1).mean())
    shape = _Shape(values=shape.values * np.float32(_kept(shape.energy, misled)))
    if shape.energy <= (0.05 * _LEVEL) ** 2:
        return
    template = shape.at(phase, deviation.shape[-1])
    strength, _ = _strength(deviation, beside, trust, template, settings.rows)
    own = next(number for number, view in enumerate(views) if view is strip)
    # A plain line shows on few rows of its own frame how strong it is there, so that its gaps are left alone.
    alone = slice(own, own + 1)
    brief, misled_by = _strength(deviation[alone], beside[:, alone], trust[alone], template[alone], _BRIEF_ROWS)
    sure = _SURE_STRENGTH / (_SURE_STRENGTH + misled_by)
    strength = strength + (brief - strength) * sure

    tint = _tint(views, deviation, trust, template, core)
    rows = strip.strand.rows
    columns = np.arange(int(strip.strand.start.min()), int(strip.strand.stop.max()))
    middle = np.round(strip.strand.centre)
    u = columns[None] - (middle + phase[own])[:, None]
    profile = strength[:, None] * shape(u)
    area = np.ix_(rows, columns)
    before = repaired[area]
    after = before - profile[..., None].astype(np.float32) * tint
    # Neighbouring strands share columns: each row changes only between its own ends.
    inside = (columns >= strip.strand.start[:, None]) & (columns < strip.strand.stop[:, None])
    gone = _lost(before, luma, known, profile, settings.rows, core) & inside
    if gone.any():
        # Whatever fills them later is measured on this frame, and best on one without the line.
        after = np.where(gone[..., None], _from_both_sides(strip, columns[None] - middle[:, None], core), after)
        # A faint line over black or white is as well bridged.
        lost[area] |= gone & (np.abs(profile) > _DEEP)
    repaired[area] = np.where(inside[..., None], np.clip(after, 0.0, 1.0), before)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shape:
    """Cross-profile of a line on a grid finer than the pixels.

    The lines of a mask meet the pixel grid differently on every row. Sorting pixels by their distance from the line's
    centre, instead of interpolating between them, keeps narrow lines sharp.

    Attributes:
        values: Deviation at every 1/4 pixel, the centre in the middle.
    """

    values: FloatArray

    @classmethod
    def of(cls, deviation: FloatArray, trust: FloatArray, phase: FloatArray) -> "_Shape":
        """Robust mean over frames and rows, iteratively reweighted with Cauchy weights.

        A row that deviates as a whole counts less as a whole.

        Args:
            deviation: (k, n, u).
            trust: (k, n) weights.
            phase: (k, n) of the line's centre.
        """
        half = deviation.shape[-1] // 2
        offsets = np.arange(-half, half + 1, dtype=np.float32) - phase[..., None]
        place = np.clip(np.round((offsets + half) * _FINE), 0, 2 * half * _FINE).astype(np.int32)
        size = 2 * half * _FINE + 1
        weight = trust
        values = np.zeros(size, np.float32)
        for number in range(_ROUNDS + 1):
            if number:
                error = np.square(deviation - values[place]).mean(axis=-1)
                usual = float(np.median(error[trust > 0]))
                weight = trust / (1 + error / max(2 * usual, 1e-12))
            spread = np.broadcast_to(weight[..., None], place.shape).ravel()
            counts = np.bincount(place.ravel(), spread, size)
            sums = np.bincount(place.ravel(), spread * deviation.ravel(), size)
            filled = np.flatnonzero(counts > 0.02 * counts.max())
            values = np.interp(np.arange(size), filled, sums[filled] / counts[filled]).astype(np.float32)
        taper = np.clip((half + 1 - np.abs(np.arange(size) / _FINE - half)) / (_FLANK + 1), 0, 1)
        return cls(values=(values * taper).astype(np.float32))

    @property
    def half(self) -> int:
        return (len(self.values) - 1) // (2 * _FINE)

    @property
    def energy(self) -> float:
        """Sum of squares over whole pixels."""
        return float(np.square(self.values).sum()) / _FINE

    def __call__(self, offsets: FloatArray) -> FloatArray:
        """Deviation at distances from the centre, 0 beyond the ends."""
        grid = np.arange(len(self.values)) / _FINE - self.half
        return np.interp(offsets, grid, self.values, left=0.0, right=0.0).astype(np.float32)

    def at(self, phase: FloatArray, length: int) -> FloatArray:
        """The shape on the pixels of straightened rows: (k, n, length)."""
        return self(np.arange(length) - length // 2 - phase[..., None])


def _trust(beside: FloatArray, known: NDArray[np.bool_], core: int) -> FloatArray:
    """Weight of every row: small where the scene beside the line is busy. (k, n)"""
    half = beside.shape[-1] // 2
    total = np.square(beside[..., half - core + 1 : half + core].mean(axis=-1)).mean(axis=0)
    busy = cv2.blur(total.astype(np.float32), (9, 1), borderType=cv2.BORDER_REFLECT)
    return (known / (busy + np.median(busy[known]) + (0.3 * _LEVEL) ** 2)).astype(np.float32)


def _misplaced(deviation: FloatArray, trust: FloatArray, shape: _Shape, phase: FloatArray) -> FloatArray:
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
    farthest = _WIDEST // 2 + 1 + _BESIDE - core
    # Four places on each side do.
    right = np.linspace(min(nearest, farthest), farthest, 4).round().astype(int).tolist()
    return [sign * at for at in right for sign in (-1, 1)]


def _bridge(core: int) -> tuple[int, FloatArray]:
    """Half length of a deviation and the share of the right side at each of its pixels."""
    half = core + _GAP + _FLANK
    offsets = np.arange(-half, half + 1)
    middle = core + _GAP + (_FLANK + 1) / 2
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
    left = np.einsum("...u->...", pieces[..., :_FLANK])[..., None] / np.float32(_FLANK)
    right = np.einsum("...u->...", pieces[..., -_FLANK:])[..., None] / np.float32(_FLANK)
    pieces -= left
    pieces -= (right - left) * share
    return pieces


def _kept(energy: float, misled: float) -> float:
    """Share of a profile to keep, if the scene alone gives profiles of some energy: steep about equality."""
    return energy**2 / (energy**2 + misled**2 + 1e-30)


def _strength(
    deviation: FloatArray, beside: FloatArray, trust: FloatArray, template: FloatArray, rows: int
) -> tuple[FloatArray, FloatArray]:
    """Strength of the line on every row, about 1, and the square error the scene alone would make there: (n,), (n,)."""
    energy = np.square(template).sum(axis=-1) + 1e-12
    window = 2 * max(1, rows // 2) + 1
    kernel = np.clip(1 - np.abs(np.arange(-window + 1, window)) / window, 0, 1).astype(np.float32)
    weight = trust * energy

    def smooth(values: FloatArray) -> FloatArray:
        lines = np.einsum("pkn->pn", values)
        return cv2.filter2D(lines, -1, kernel[None], borderType=cv2.BORDER_CONSTANT).reshape(lines.shape)

    def local_means(places: FloatArray, rounds: int = _ROUNDS) -> FloatArray:
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
    certain = 1 / (misled + _LEAST_MODULATION)
    usual_strength = float((certain * strength).sum() / certain.sum())
    modulation = max(_LEAST_MODULATION, float(np.mean(np.square(strength - usual_strength) - misled)))
    kept = modulation / (modulation + misled + 1e-12)
    return (usual_strength + (strength - usual_strength) * kept).astype(np.float32), misled.astype(np.float32)


def _tint(views: list[_Strip], deviation: FloatArray, trust: FloatArray, template: FloatArray, core: int) -> FloatArray:
    """Strength of the line in every channel, relative to its luma: (3,), ones on a grey film."""
    result = np.ones(3, np.float32)
    error = np.square(deviation - template).mean(axis=-1)
    robust = (trust / (1 + error / max(2 * float(np.median(error[trust > 0])), 1e-12)))[..., None]
    energy = float((robust * np.square(template)).sum()) + 1e-20
    for channel in range(3):
        difference = np.nan_to_num(np.stack([view.picture[..., channel] - view.luma for view in views]))
        if np.abs(difference).max() >= 0.5 * _LEVEL:
            extra = (robust * _deviation(difference, core)[0] * template).sum()
            result[channel] += np.float32(np.clip(float(extra) / energy, -1, 4))
    return result


def _lost(
    before: FloatArray, luma: FloatArray, known: NDArray[np.bool_], profile: FloatArray, rows: int, core: int
) -> NDArray[np.bool_]:
    """Pixels in which the line has left no picture: clipped, or opaque over a window of rows."""
    dark = profile.sum() < 0
    limit = before.max(axis=-1) <= 0.5 * _LEVEL if dark else before.min(axis=-1) >= 1 - 0.5 * _LEVEL
    lost = limit & (np.abs(profile) > 2 * _LEVEL)
    peak = np.abs(profile).max(axis=1, keepdims=True)
    if peak.max() < _OPAQUE_DEPTH or luma.shape[1] < 2:
        return lost
    # A transparent line lets the grain and texture of the scene through, an opaque one does not.
    both = known[:, 1:] & known[:, :-1]
    change = (np.square(np.diff(luma, axis=1)) * both[..., None]).sum(axis=0)
    centre = luma.shape[-1] // 2
    outer = change[:, [centre - core - 3, centre - core - 2, centre + core + 2, centre + core + 3]].mean(axis=1)
    window = (1, 2 * rows + 1)
    pooled = [cv2.blur(side[:, None].astype(np.float32), window) for side in (change[:, centre], outer)]
    opaque = pooled[0] < _OPAQUE_ACTIVITY * pooled[1]
    opaque = np.concatenate((opaque, opaque[-1:])) & (peak >= _OPAQUE_DEPTH)
    return lost | (opaque & (np.abs(profile) > 0.5 * peak))


def _from_both_sides(strip: _Strip, u: FloatArray, core: int) -> FloatArray:
    """Fill from the nearest clean pixels of both sides, by distance: (n, columns, 3)."""
    centre = strip.reach
    left = strip.picture[:, centre - core - 2 : centre - core].mean(axis=1)
    right = strip.picture[:, centre + core + 1 : centre + core + 3].mean(axis=1)
    share = np.clip((u + core + 1.5) / (2 * core + 3), 0, 1)[..., None]
    return (left[:, None] * (1 - share) + right[:, None] * share).astype(np.float32)
