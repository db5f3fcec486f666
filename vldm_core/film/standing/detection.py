"""Marks that stay and are no lines: hairs in the gate and dirt on the lens or the gate glass.

The detector of dirt looks for what one frame shows and its neighbours do not, the tracker of scratches for lines. A
hair in the gate is neither. It is found as scratches are: it stands in the gate while the scene moves under it. Every
frame is compared with an earlier and a later one in which the scene has moved on by more than a mark is wide. Along the
motion the scene is the same in all three, and a mark makes a difference of one sign to both, again and again in the
same place. Where the scene stands still nothing can be told, and nothing is marked.

The statistics are taken in the first pass at a reduced size, over blocks of a dozen frames, so that a hair that comes
or goes is marked about where it is seen.
"""

from collections import deque
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, FloatArray
from ...errors import SettingsError
from ...video.warping import inside_array, warp_array
from ..motion.scene import FrameMotion
from ..robust import robust_sigma
from .shapes import graphics_among, marks_among


@dataclass(frozen=True, kw_only=True)
class StandingSettings:
    """How marks that stay are found.

    Attributes:
        certainty: Share of the frames of a block, of those in which the scene has moved on, that must show a mark,
            0.4 … 1. Lower finds hairs that swing or come and go, and more of what is none.
        depth: Grey levels by which a mark is darker or brighter than the scene at least, 2 … 100.

    Raises:
        SettingsError: A value is out of its range.
    """

    certainty: float = 0.7
    depth: float = 8.0

    def __post_init__(self) -> None:
        if not 0.4 <= self.certainty <= 1:
            raise SettingsError(f"standing certainty must lie in 0.4..1, got {self.certainty}; 0.7 suits most films")
        if not 2 <= self.depth <= 100:
            raise SettingsError(f"standing depth must lie in 2..100 grey levels, got {self.depth}; 8 suits most films")


@dataclass(frozen=True, kw_only=True)
class StandingEvidence:
    """What counts as a scene that has moved on, and as a mark that has not.

    Attributes:
        working_width: Pixels to which wider frames are reduced: a hair is two of them wide or more.
        block: Frames that are judged together, of those that could be compared. More frames tell fainter marks, fewer
            follow a hair that comes and goes.
        fewest: Frames of a block in which the scene must have moved on under a place.
        separation: Pixels at the working width by which the scene must have moved: more than a hair is wide.
        farthest: Frames to the farthest one that a frame is compared with: farther, the scene has changed by itself.
        least_motion: Confidence (0 … 1) of the motion of a frame below which it tells nothing.
        surround: Pixels on each side of the square whose mean is taken off a difference: what is left of flicker. Odd.
        largest_rest: Grey levels up to which a difference counts in that mean.
        deviations: Deviations of the grain that a difference must exceed to be more than grain.
        least_deviation: Grey levels that are taken for grain at least.
        spot_depth: Times of the depth set that a spot away from the edge must have on the average: a moving body leaves
            shallow ones.
        sway: Pixels on each side of the square within which a mark may stand in one frame and the next: a hair swings
            a little. Odd.
    """

    working_width: int = 480
    block: int = 12
    fewest: int = 5
    separation: float = 5.0
    farthest: int = 8
    least_motion: float = 0.3
    surround: int = 31
    largest_rest: float = 6.0
    deviations: float = 3.0
    least_deviation: float = 1.5
    spot_depth: float = 1.5
    sway: int = 3


_EVIDENCE = StandingEvidence()


@dataclass(frozen=True, kw_only=True, eq=False)
class StandingBlock:
    """Marks that stay over some frames of a shot.

    Attributes:
        first: The first frame, counted from the start of the shot.
        last: The one after the last.
        bits: The mask at the working size, a bit a pixel.
    """

    first: int
    last: int
    bits: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class StandingMap:
    """Marks that stay, of a shot.

    Attributes:
        size: (H, W) of the frames.
        working_size: (h, w) at which marks were found.
        blocks: Those with marks, in order.
    """

    size: tuple[int, int]
    working_size: tuple[int, int]
    blocks: tuple[StandingBlock, ...] = ()


@dataclass(kw_only=True, eq=False)
class _Seen:
    """A frame that waits for a later one, at the working size."""

    number: int
    luma: FloatArray
    moved: FloatArray | None = None
    """(h, w, 2) motion of the scene from the frame before, pixels; None where it is not known."""
    backward: FloatArray | None = None
    """(h, w) difference to the scene of an earlier frame; NaN where it tells nothing."""
    forward: FloatArray | None = field(default=None)
    """The same to a later frame."""


class StandingAnalyser:
    """Finds the marks that stay in ONE shot as its frames pass by.

    Args:
        settings: How.
        height: Frame height in pixels.
        width: Frame width in pixels.
    """

    def __init__(self, settings: StandingSettings, height: int, width: int) -> None:
        self._settings, self._size = settings, (height, width)
        scale = min(1.0, _EVIDENCE.working_width / width)
        self._small = max(8, round(height * scale)), max(8, round(width * scale))
        self._recent: deque[_Seen] = deque(maxlen=_EVIDENCE.farthest + 1)
        self._count = 0
        self._blocks: list[StandingBlock] = []
        self._first = 0
        self._open()

    def _open(self) -> None:
        """Begin a block."""
        self._last, self._compared = self._first, 0
        self._shown = np.zeros((2, *self._small), np.uint16)
        self._told = np.zeros(self._small, np.uint16)
        self._depth = np.zeros(self._small, np.float32)

    @property
    def count(self) -> int:
        """Frames taken."""
        return self._count

    @property
    def pending(self) -> int:
        """Frames that are judged together."""
        return self._count - self._first

    def skip(self) -> None:
        """Take a frame that could not be measured: nothing is compared across it."""
        self._recent.clear()
        self._taken()

    def update(self, luma: FloatArray, motion: FrameMotion | None) -> None:
        """Take the next frame of the shot.

        Args:
            luma: (H, W) float32, grey levels 0 … 255, bars covered.
            motion: Motion from the frame before to this one; None for the first frame or where it is not known.
        """
        height, width = self._small
        small = luma
        if luma.shape != self._small:
            small = np.asarray(cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        known = motion is not None and motion.confidence >= _EVIDENCE.least_motion and bool(self._recent)
        frame = _Seen(
            number=self._count, luma=small, moved=self._field(motion) if motion is not None and known else None
        )
        if not known:
            self._recent.clear()
        self._recent.append(frame)
        self._compare()
        self._taken()

    def _taken(self) -> None:
        self._count += 1
        if self._compared >= _EVIDENCE.block:
            self._close(self._last)

    def _field(self, motion: FrameMotion) -> FloatArray:
        """The motion of every pixel at the working size, (h, w, 2); cells without texture move with the whole."""
        trust = np.clip(motion.grid_confidence * 4, 0, 1)
        cells = np.dstack(
            [
                trust * motion.grid_dx + (1 - trust) * motion.dx,
                trust * motion.grid_dy + (1 - trust) * motion.dy,
            ]
        )
        height, width = self._small
        cells *= np.array([width / self._size[1], height / self._size[0]])
        return np.asarray(
            cv2.resize(cells.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR), np.float32
        )

    def _compare(self) -> None:
        """Compare the latest frame with an earlier one in which the scene was elsewhere, and that one with it."""
        latest = self._recent[-1]
        travelled = np.zeros((*self._small, 2), np.float32)
        for back in range(1, len(self._recent)):
            moved = self._recent[-back].moved
            if moved is None:
                return
            travelled = travelled + moved
            apart = cv2.magnitude(travelled[..., 0], travelled[..., 1])
            if float(np.median(apart[::8, ::8])) >= _EVIDENCE.separation:
                earlier = self._recent[-back - 1]
                far = apart >= _EVIDENCE.separation
                latest.backward = _difference(latest.luma, earlier.luma, -travelled, far)
                # The motion lives on the later frame; it is smooth enough to be looked up at the earlier place.
                if earlier.forward is None:
                    earlier.forward = _difference(earlier.luma, latest.luma, travelled, far)
                    self._add(earlier)
                return

    def _add(self, frame: _Seen) -> None:
        """Count what stands out of the scene of both an earlier and a later frame."""
        if frame.backward is None or frame.forward is None:
            return
        first, second = frame.backward, frame.forward
        told = np.isfinite(first) & np.isfinite(second)
        if not told.any():
            return
        grain = max(robust_sigma(first[told][::17]), _EVIDENCE.least_deviation)
        with np.errstate(invalid="ignore"):
            least = np.where(told & (first * second > 0), np.minimum(np.abs(first), np.abs(second)), 0)
        depth = (np.sign(np.where(told, first, 0)) * least).astype(np.float32)
        limit = max(_EVIDENCE.deviations * grain, self._settings.depth / 2)
        near = np.ones((_EVIDENCE.sway, _EVIDENCE.sway), np.uint8)
        for shown, strong in zip(self._shown, (depth < -limit, depth > limit), strict=True):
            shown += cv2.dilate(strong.astype(np.uint8), near).astype(np.uint16)
        self._told += told
        self._depth += depth
        self._last, self._compared = max(self._last, frame.number + 1), self._compared + 1

    def _close(self, last: int) -> None:
        """Judge a block that ends before a frame, and begin the next one."""
        told = self._told >= _EVIDENCE.fewest
        if told.any():
            frames = np.maximum(self._told, 1)
            dark, bright = (told & (shown / frames >= self._settings.certainty) for shown in self._shown)
            depth = self._depth / frames
            # The lesser of two differences is what depth is told by; grain alone makes it less than the mark's.
            least, spot = self._settings.depth / 2, _EVIDENCE.spot_depth * self._settings.depth
            plain = self._settings.depth
            free = ~graphics_among(dark & (-depth >= plain), bright & (depth >= plain))
            found = marks_among(dark & free, -depth >= least, -depth >= spot, told)
            found |= marks_among(bright & free, depth >= least, depth >= spot, told)
            if found.any():
                self._blocks.append(StandingBlock(first=self._first, last=last, bits=np.packbits(found)))
        self._first = last
        self._open()

    def finish(self) -> StandingMap:
        """Close the shot and return the marks."""
        if self._compared < _EVIDENCE.fewest and self._blocks and self._blocks[-1].last == self._first:
            # The last frames have no later ones to be compared with: what stood before them goes on.
            self._blocks[-1] = replace(self._blocks[-1], last=self._count)
        elif self._count > self._first:
            self._close(self._count)
        return StandingMap(size=self._size, working_size=self._small, blocks=tuple(self._blocks))


def standing_mask(standing: StandingMap, index: int) -> BoolArray | None:
    """Where marks stand in a frame, (H, W); None where there are none.

    Args:
        standing: The marks of its shot.
        index: The frame, counted from the start of the shot.
    """
    found = [block for block in standing.blocks if block.first <= index < block.last]
    if not found:
        return None
    height, width = standing.working_size
    small = np.zeros((height, width), np.uint8)
    for block in found:
        small |= np.unpackbits(block.bits, count=height * width).reshape(height, width)
    whole = cv2.resize(small.astype(np.float32), standing.size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole > 0)


def _difference(frame: FloatArray, other: FloatArray, way: FloatArray, far: BoolArray) -> FloatArray:
    """Difference (h, w) of a frame to another along a way, flicker taken off; NaN where it tells nothing."""
    difference = frame - warp_array(other, way)
    window = (_EVIDENCE.surround, _EVIDENCE.surround)
    difference -= np.float32(np.median(difference[::8, ::8]))
    # A deep mark must not leave a ghost of the other sign around it.
    difference -= cv2.blur(np.clip(difference, -_EVIDENCE.largest_rest, _EVIDENCE.largest_rest), window)
    difference[~(far & inside_array(way))] = np.nan
    return difference
