"""What the dirt network sees of a frame: planes of how it differs from what its neighbours show, in units of its grain.

Beside the order of the neighbours' values at each place there is what stands out after averaging, along steep lines and
over large patches; what the frames around show unmoved, for what stands still and for dirt that stays for some frames;
and what stands out in the frames before and after: something that moves, and that no motion explained, stands out there
as well, a little further on.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...arrays import FloatArray, Plane
from ..motion.cleaning import outside
from ..motion.field import enlarged_plane
from ..robust import MAD_TO_SIGMA
from ..sparse_planes import SparsePlane
from .lines import line_sums
from .looks import RADIUS as LOOKS_RADIUS
from .looks import FrameLooks, NeighbourLooks, reduced

FINE_PLANES = (
    "over middle", "over before", "over after", "beyond nearest", "beyond most", "beyond surroundings", "line",
    "contrast",
)  # fmt: skip
"""Planes of the frame's size; they change their sign when the picture is turned into its negative."""

_SIGNED_COARSE_PLANES = (
    "beyond all", "patch", "wide patch", "line around", "earlier beyond", "later beyond", "structure", "brightness",
)  # fmt: skip
_UNSIGNED_COARSE_PLANES = ("spread", "disagreement", "held", "moves on", "inconsistency", "grain", "one-sided")

COARSE_PLANES = _SIGNED_COARSE_PLANES + _UNSIGNED_COARSE_PLANES
"""Planes of half its size."""

SIGNED_COARSE = len(_SIGNED_COARSE_PLANES)
"""So many of these, the first ones, change their sign with the picture, too."""

PLANES = FINE_PLANES + COARSE_PLANES

GRANULARITY = 8
"""Planes are made for whole squares of this many pixels on each side; a frame is continued beyond its border."""

REACH = 1
"""Planes of a frame depend on what stands out in this many frames on each side."""

HELD = 2
"""What stands out in frames is held for this many frames more, for who looks at them besides."""

LONGEST_LIFE = 3
"""Frames a defect may stay in place and still count as transient."""

RADIUS = REACH + max(LOOKS_RADIUS, LONGEST_LIFE)
"""Planes of a frame depend on this many frames on each side."""


@dataclass(frozen=True, kw_only=True)
class FeatureScale:
    """How the planes are scaled. The shipped network was trained on them so: another value needs a new training.

    Attributes:
        bend: Deviations of the grain where the logarithm of what stands out begins to bend.
        line_bend: Deviations where that of the sum along a line does.
        bend_pixels: Pixels where that of the inconsistency of the motion does.
        grain: Least and largest deviation of the grain that counts, grey levels.
        tones: Steps of brightness of which each has its own deviation of the grain.
        tone_samples: Samples of a step from which on it has.
        tone_window: Pixels on each side of the square whose mean brightness counts.
        grain_step: Rows and columns from one sample of its median to the next.
        usual_grain: Deviation of the grain that is 0 in its plane, grey levels.
        mid_grey: Grey level from which brightness counts.
        brightness_unit: Grey levels that are 1 in the plane of brightness.
        surroundings: Pixels of the blur that a place is held against.
        square: Pixels on each side of the square around a place, any of which may explain what a frame shows there:
            motion is off by a pixel at an edge.
        patch: Quarter pixels of the blur that finds patches under grain.
        patch_clip: Deviations of the grain at which what stands out is cut off before: specks are no patch.
        patch_gain: By how much of the grain's deviation that of a blurred patch counts: blurring takes grain away.
        gains: Least and largest ratio of the brightness of two frames that is evened out where they are held against
            each other unmoved.
        excess: Pixels of the blur of what is held of the frames beside.
        step: Steps of a unit to which planes are rounded, as the examples of the training are.
        most: Steps that a plane has on each side of 0.
    """

    bend: float = 0.8
    line_bend: float = 2.0
    bend_pixels: float = 0.3
    grain: tuple[float, float] = (1.0, 10.0)
    tones: int = 8
    tone_samples: int = 300
    tone_window: int = 7
    grain_step: int = 3
    usual_grain: float = 2.5
    mid_grey: float = 127.5
    brightness_unit: float = 64.0
    surroundings: float = 2.5
    square: int = 3
    patch: float = 1.0
    patch_clip: float = 6.0
    patch_gain: float = 5.0
    gains: tuple[float, float] = (0.5, 2.0)
    excess: float = 1.0
    step: float = 26.0
    most: int = 127


SCALE = FeatureScale()
_SQUARE = np.ones((SCALE.square, SCALE.square), np.uint8)


@dataclass(frozen=True, eq=False)
class DirtPlanes:
    """The planes of a frame or some of its rows, rounded to steps of 1 / `FeatureScale.step`.

    Attributes:
        fine: (len(FINE_PLANES), h, w) float32; sides are multiples of `GRANULARITY`.
        coarse: (len(COARSE_PLANES), h / 2, w / 2).
    """

    fine: Tensor
    coarse: Tensor


@dataclass(frozen=True, eq=False)
class DirtTraces:
    """What stands out in one frame by itself, which the frames beside it look at too.

    Attributes:
        beyond: (H, W), signed, grey levels, beyond most of its neighbours.
        excess: (H, W) int8, by how many grey levels it differs from its nearest neighbours, blurred a little.
        line: (H / 4, W), see `line_sums`.
        grain: Deviation of the grain in what it has over its neighbours, grey levels.
        unit: (H, W), that over the deviation at the brightness of each place.
    """

    beyond: SparsePlane
    excess: NDArray[np.int8]
    line: FloatArray
    grain: float
    unit: FloatArray


class DirtFeatures:
    """The planes of the frames of a window; what several frames need is computed once."""

    def __init__(self, window: NeighbourLooks, *, lifetime: int = LONGEST_LIFE) -> None:
        """Look at a window.

        Args:
            window: Frames of one shot.
            lifetime: Frames that a defect may stay in place, 1 … 3.
        """
        self.window, self._lifetime = window, lifetime
        self._alone: dict[int, DirtTraces | None] = {}
        self._raw: tuple[int, dict[str, Plane]] | None = None

    def planes(self, index: int, rows: slice | None = None) -> DirtPlanes | None:
        """Return the planes of a frame, or of some rows of it; None where there is nothing to compare with.

        Args:
            index: The frame.
            rows: They begin at a multiple of `GRANULARITY`.
        """
        raw = self._planes(index)
        if raw is None:
            return None
        alone = self.standing_out(index)
        assert alone is not None
        height, width = self.window.luma.shape[1:]
        start, stop, _ = (rows or slice(None)).indices(height)
        below, right = -(stop - start) % GRANULARITY, -width % GRANULARITY
        bends = _bends(alone.grain)
        units = alone.unit, _halved(alone.unit)
        parts: list[Tensor] = []
        for number, names in ((1, FINE_PLANES), (2, COARSE_PLANES)):
            unit = units[number - 1][start // number : -(-stop // number)]
            size = (stop - start + below) // number, (width + right) // number
            made = np.empty((len(names), *size), np.float32)
            for name, out in zip(names, made, strict=True):
                plane = raw[name][start // number : -(-stop // number)]
                if name not in _OWN_UNIT:
                    plane = cv2.multiply(plane, unit)
                edges = size[0] - plane.shape[0], size[1] - plane.shape[1]
                if any(edges):
                    plane = cv2.copyMakeBorder(plane, 0, edges[0], 0, edges[1], cv2.BORDER_REPLICATE)
                _compress(plane, bends[name], out=out)
            parts.append(torch.from_numpy(made))
        return DirtPlanes(*parts)

    def _planes(self, index: int) -> dict[str, Plane] | None:
        """The planes of a whole frame before they are compressed; held until those of another frame are made."""
        if self._raw is not None and self._raw[0] == index:
            return self._raw[1]
        self._raw = None
        # One by one: the looks of a frame are large, and what others need of them is not.
        earlier = self.standing_out(index - 1)
        looks = self.window.looks(index)
        if looks is None:
            return None
        alone = self.standing_out(index)
        assert alone is not None
        frame = self.window.luma[index]
        size = frame.shape[0], frame.shape[1]
        half = -(-size[0] // 2), -(-size[1] // 2)
        middle = looks.middle
        over = frame - middle
        low, high = looks.order[1], looks.order[4]
        patch, wide = self._patches(looks, over, alone, half)
        held, moves_on = self._unmoved(index, frame)
        blank = np.zeros(half, np.float32)
        raw = {
            "over middle": over,
            "over before": frame - looks.before,
            "over after": frame - looks.after,
            "beyond nearest": outside(frame, cv2.min(*looks.nearest), cv2.max(*looks.nearest)),
            "beyond most": alone.beyond.plane(),
            "beyond surroundings": _beyond_surroundings(
                outside(frame, cv2.erode(low, _SQUARE), cv2.dilate(high, _SQUARE)), frame, looks
            ),
            "line": enlarged_plane(alone.line, size),
            "contrast": frame - cv2.GaussianBlur(frame, (0, 0), SCALE.surroundings),
            "beyond all": _halved(outside(frame, looks.order[0], looks.order[5])),
            "patch": patch,
            "wide patch": wide,
            "structure": _halved(middle - cv2.GaussianBlur(middle, (0, 0), SCALE.surroundings)),
            "brightness": (_halved(frame) - np.float32(SCALE.mid_grey)) / np.float32(SCALE.brightness_unit),
            "spread": _halved(high - low),
            "disagreement": _halved(cv2.absdiff(looks.before, looks.after)),
            "held": _halved(held),
            "moves on": _halved(moves_on),
            "inconsistency": enlarged_plane(looks.inconsistency, half),
            "grain": np.log(np.float32(alone.grain / SCALE.usual_grain) / _halved(alone.unit)),
            "one-sided": np.full_like(blank, looks.one_sided),
        }
        self.window.forget_looks(index)
        later = self.standing_out(index + 1)
        lines = [enlarged_plane(other.line, half) for other in (earlier, later) if other is not None]
        raw |= {
            "line around": blank if not lines else lines[0] if len(lines) == 1 else _stronger(*lines),
            "earlier beyond": blank if earlier is None else _halved(earlier.beyond.plane()),
            "later beyond": blank if later is None else _halved(later.beyond.plane()),
        }
        self._raw = index, raw
        return raw

    def residuals(self, index: int) -> tuple[Plane, Plane] | None:
        """What a frame has over the middle of the earlier ones and over that of the later ones, (H, W) grey levels."""
        raw = self._planes(index)
        alone = self.standing_out(index)
        return (
            None if raw is None or alone is None else (raw["over before"] * alone.unit, raw["over after"] * alone.unit)
        )

    def over_grain(self, index: int) -> Plane:
        """What a frame has over its neighbours, (H, W), in deviations of the grain at the brightness of each place.

        Raises:
            ValueError: There are no neighbours.
        """
        raw, alone = self._planes(index), self.standing_out(index)
        if raw is None or alone is None:
            raise ValueError(f"frame {index} has no neighbours to be compared with; ask `planes` first")
        over: Plane = raw["over middle"] * (alone.unit / np.float32(alone.grain))
        return over

    def one_sided(self, index: int) -> bool:
        """Tell whether all neighbours of a frame lie on one side."""
        raw = self._planes(index)
        return raw is not None and bool(raw["one-sided"].any())

    def bright(self, index: int) -> NDArray[np.bool_]:
        """Tell where a frame is brighter than its neighbours, (3, H, W): around a pixel, the same, and in a patch.

        So the three are for the kinds of damage that the network tells apart.
        """
        raw = self._planes(index)
        height, width = self.window.luma.shape[1:]
        if raw is None:
            return np.zeros((3, height, width), bool)
        near = cv2.GaussianBlur(raw["over middle"], (0, 0), SCALE.surroundings / 2) >= 0
        return np.stack([near, near, enlarged_plane(raw["wide patch"], (height, width)) >= 0])

    def forget(self, before: int) -> None:
        """Give the memory back that only frames before this one need."""
        for index in [index for index in self._alone if index < before - HELD]:
            del self._alone[index]

    def standing_out(self, index: int) -> DirtTraces | None:
        """What stands out in a frame by itself; None beyond the ends of the window and where there is no neighbour."""
        if not 0 <= index < len(self.window.luma):
            return None
        if index not in self._alone:
            looks = self.window.looks(index)
            self._alone[index] = None if looks is None else self._alone_of(self.window.luma[index], looks)
        return self._alone[index]

    @staticmethod
    def _alone_of(frame: Plane, looks: FrameLooks) -> DirtTraces:
        middle = looks.middle
        over = frame - middle
        grain, unit = _grain_of(over, middle)
        beyond = outside(frame, looks.order[1], looks.order[4])
        nearest = outside(frame, cv2.min(*looks.nearest), cv2.max(*looks.nearest))
        excess = np.rint(cv2.GaussianBlur(nearest, (0, 0), SCALE.excess))
        excess = np.clip(excess, -SCALE.most, SCALE.most).astype(np.int8)
        return DirtTraces(SparsePlane(beyond), excess, line_sums(over * unit, grain), grain, unit)

    @staticmethod
    def _patches(looks: FrameLooks, over: Plane, alone: DirtTraces, size: tuple[int, int]) -> tuple[Plane, Plane]:
        """What stands out of the local and of the slowly changing brightness on the average over some pixels."""
        limit = np.float32(SCALE.patch_clip * alone.grain)
        small = cv2.resize(
            np.clip(over * alone.unit, -limit, limit), looks.small.shape[::-1], interpolation=cv2.INTER_AREA
        )
        wide = np.clip((looks.small - looks.soft) * reduced(alone.unit), -limit, limit)
        near, far = (
            enlarged_plane(cv2.GaussianBlur(plane, (0, 0), SCALE.patch) * np.float32(SCALE.patch_gain), size)
            for plane in (small, wide)
        )
        return near, far

    def _unmoved(self, index: int, frame: Plane) -> tuple[Plane, Plane]:
        """How little the place changes to one of the next frames, and how much it does within a defect's longest life.

        Both are taken in the frame's own overall brightness. Dirt that stays changes little to a frame that shows it,
        and much on both sides in the end; what stands still changes little on one side at least.
        """
        held: Plane | None = None
        sides: list[Plane] = []
        level = self.window.level(index)
        for direction in (-1, 1):
            change: Plane | None = None
            for step in range(1, LONGEST_LIFE + 1):
                other = index + direction * step
                if not 0 <= other < len(self.window.luma):
                    break
                shown = self.window.luma[other]
                gain = np.float32(np.clip((level + 1) / (self.window.level(other) + 1), *SCALE.gains))
                apart = cv2.absdiff(frame, shown * gain)
                change = apart if change is None else cv2.max(change, apart)
                if step == 1 and self._lifetime > 1:
                    held = apart if held is None else cv2.min(held, apart)
            if change is not None:
                sides.append(change)
        moves_on = sides[0] if len(sides) == 1 else cv2.min(*sides)
        # A defect that may not stay is held against frames that never show it.
        return moves_on if held is None else held, moves_on


_OWN_UNIT = ("line", "line around", "patch", "wide patch", "inconsistency", "brightness", "grain", "one-sided")
"""Planes that are not in grey levels, or in the unit of the grain already."""


def _beyond_surroundings(beyond: Plane, frame: Plane, looks: FrameLooks) -> Plane:
    """What of that by which a frame stands out, (H, W) grey levels, the motion around does not explain either."""
    places = np.flatnonzero(beyond)
    rows, columns = np.divmod(places, frame.shape[1])
    result = np.zeros_like(beyond)
    left, own = beyond.ravel()[places], frame.ravel()[places]
    for shown in looks.around(rows, columns):
        apart = own - shown
        # On the same side, and the smaller of the two; what lies on the other side of it is explained.
        left = np.where(apart * left > 0, np.copysign(np.minimum(np.abs(apart), np.abs(left)), left), np.float32(0))
    result.ravel()[places] = left
    return result


def _grain_of(over: Plane, middle: Plane) -> tuple[float, FloatArray]:
    """Return the deviation of a frame's grain, and that over the deviation at the brightness of each place, (H, W).

    Grain is stronger in some tones than in others: in mid-grey on a negative, where it is bright in what is copied.

    Args:
        over: (H, W), what the frame has over its neighbours, grey levels.
        middle: (H, W), what belongs at each place.
    """
    step = SCALE.grain_step
    size, tone = np.abs(over[::step, ::step]).ravel(), middle[::step, ::step].ravel()
    grain = float(np.clip(np.median(size) * MAD_TO_SIGMA, *SCALE.grain))
    which = np.clip(tone * np.float32(SCALE.tones / 256), 0, SCALE.tones - 1).astype(np.intp)
    tones = np.full(SCALE.tones, grain)
    for number in range(SCALE.tones):
        own = size[which == number]
        if len(own) >= SCALE.tone_samples:
            tones[number] = np.clip(np.median(own) * MAD_TO_SIGMA, *SCALE.grain)
    smooth = np.convolve(np.pad(tones, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    places = (np.arange(SCALE.tones) + 0.5) * 256 / SCALE.tones
    table = (grain / np.interp(np.arange(256), places, smooth)).astype(np.float32)
    tone_around = np.clip(cv2.blur(middle, (SCALE.tone_window,) * 2), 0, 255).astype(np.uint8)
    return grain, np.asarray(cv2.LUT(tone_around, table), np.float32)


def _bends(grain: float) -> dict[str, float | None]:
    """Where the logarithm of each plane bends, in its own unit; None for planes that are not compressed."""
    own: dict[str, float | None] = {
        "line": SCALE.line_bend, "line around": SCALE.line_bend, "inconsistency": SCALE.bend_pixels,
        "brightness": None, "grain": None, "one-sided": None,
    }  # fmt: skip
    return {name: own.get(name, SCALE.bend * grain) for name in PLANES}


def _halved(plane: Plane) -> FloatArray:
    """Average a plane (H, W) to half its size, rounded up."""
    height, width = plane.shape
    if height % 2 or width % 2:
        plane = cv2.copyMakeBorder(plane, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    size = plane.shape[1] // 2, plane.shape[0] // 2
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


def _stronger(first: Plane, second: Plane) -> Plane:
    """Return the value of larger magnitude, pixel by pixel."""
    return np.where(np.abs(first) >= np.abs(second), first, second)


def _compress(plane: Plane, bend: float | None, *, out: Plane) -> None:
    """Write sign(x) log(1 + |x| / bend) of a plane, or the plane itself, rounded to the steps of the examples."""
    if bend is None:
        np.multiply(plane, np.float32(SCALE.step), out=out)
    else:
        np.abs(plane, out=out)
        out *= np.float32(1 / bend)
        out += np.float32(1)
        cv2.log(out, out)
        out *= np.float32(SCALE.step)
        np.copysign(out, plane, out=out)
    np.rint(out, out=out)
    np.clip(out, -SCALE.most, SCALE.most, out=out)
    out *= np.float32(1 / SCALE.step)
