"""THE motion of a shot: measured once for every pair of frames, asked for by everything that follows.

Between two neighbours motion is measured each way in two steps. A quick estimate (`video.flow`) tells which spots are
plainly damage (`cleaning`); the estimate is then refined on frames without them. Motion over several frames is chained
from neighbour to neighbour. All of this happens on a grid of half the frame's size, or of half of `working_side` for a
large scan, and is enlarged where it is used; see `field`.

Frames are taken in order, as a stream brings them, and their motion is measured when it is first asked for. What was
measured does not depend on who asks, on windows or on chunks: it depends on the frames within `RADIUS` of the pair.
Several threads may ask at a time, and the next pair is measured beside.
"""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...arrays import BoolArray, FloatArray
from ...errors import SettingsError
from ...video.buffers.keyed_cache import Once
from ...video.buffers.pictures import Clip, Picture, picture_of
from ...video.flow import FlowSettings, PreparedLuma, estimate_reduced, fill_masked, prepare_luma, prepared_as, to_luma
from ...video.warping import warp_array
from ..flicker.local_gain import apply_gain, local_gain
from .cleaning import PlainDamage, carried_into, plainly_damaged
from .field import MotionField, scaled
from .prediction import grain_of, much_better, shifted
from .whole_shift import whole_shift

RADIUS = 2
"""The motion between two neighbours depends on the frames up to so many before and after them: those that tell what is
damage, which are farther away where a frame is shown twice."""


@dataclass(frozen=True, kw_only=True)
class MotionSettings:
    """How the motion of a shot is measured.

    Attributes:
        working_side: Pixels of a frame's longer side that are looked at; larger frames are reduced to it first. On the
            grid, which has half of that, detail of two pixels of an ordinary film and of four of a large scan still
            moves by itself. 64 or more.
        copy_levels: Two frames that differ by no more than this on the average, in grey levels, may be copies of one.
        copy_peak: And nowhere by more than this, over 3×3 cells of the grid, for dirt on one of them would show above.
        held_bytes: Bytes of measurements that are held at a time; what was not asked for the longest goes first, and
            is measured again if it is asked for after all.
    """

    working_side: int = 960
    copy_levels: float = 0.6
    copy_peak: float = 9.0
    held_bytes: int = 192 << 20

    def __post_init__(self) -> None:
        if self.working_side < 64:
            raise SettingsError(f"motion working_side is {self.working_side}; use 64 pixels or more")
        if self.held_bytes < 1:
            raise SettingsError(f"motion held_bytes is {self.held_bytes}; use 1 byte or more")


class ShotMotion:
    """The motion of one shot; see the module.

    Args:
        settings: Defaults to `MotionSettings()`.

    Attributes:
        estimates: How often motion was estimated, by kind: "quick" and "refined".
    """

    def __init__(self, settings: MotionSettings | None = None) -> None:
        self._settings = settings or MotionSettings()
        side = self._settings.working_side
        self._quick = FlowSettings(quality="fast", working_side=side, halved=True)
        self._only = FlowSettings(quality="fine", working_side=side, halved=True)
        self._fine = FlowSettings(quality="fine", working_side=side, halved=True, spike_threshold=0.0)
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[Picture, Tensor | None]] = {}
        self._size: tuple[int, int] | None = None
        self._taken, self._ended = 0, False
        self._askers: dict[str, int] = {}
        self._refined = True
        self._lumas = Once()
        self._once = Once(self._settings.held_bytes)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vldm-motion")
        self.estimates: Counter[str] = Counter()

    @classmethod
    def of(
        cls, frames: Tensor | Clip, holes: Tensor | None = None, settings: MotionSettings | None = None
    ) -> "ShotMotion":
        """Return the motion of all of a shot.

        Args:
            frames: (T, C, H, W) in [0, 1].
            holes: (T, H, W), above 0.5 where damage is known.
            settings: Defaults to `MotionSettings()`.
        """
        motion = cls(settings)
        for index in range(len(frames)):
            picture = frames[index] if isinstance(frames, Tensor) else frames.picture(index)
            motion.take(picture, None if holes is None else holes[index])
        motion.end()
        return motion

    def expect(self, name: str, *, refined: bool = True) -> None:
        """Name someone who is going to ask, before the first frame is taken; what they need is held until all let go.

        Args:
            name: Who; see `release`.
            refined: Whether motion has to be better than the quick estimate. One who needs that gets it for all.
        """
        self._refined = refined if not self._askers else self._refined or refined
        self._askers[name] = 0

    def take(self, image: Tensor | Picture, holes: Tensor | None = None) -> None:
        """Take the next frame of the shot.

        Args:
            image: (C, H, W) in [0, 1], RGB or grey, or a picture that makes it when it is looked at.
            holes: (H, W), above 0.5 where damage is known by now: it is filled smoothly, and does not move.
        """
        with self._lock:
            if self._ended:
                raise ValueError("the shot has ended; its motion takes no more frames")
            self._waiting[self._taken] = picture_of(image), holes
            self._taken += 1

    def end(self) -> None:
        """Say that the shot has no more frames."""
        self._ended = True

    def __len__(self) -> int:
        """Frames taken."""
        return self._taken

    def release(self, name: str, before: int) -> None:
        """Say that someone is not going to ask for the motion of frames before a position any more."""
        with self._lock:
            if name not in self._askers:
                raise ValueError(f"{name!r} was not expected to ask for motion; expected are {sorted(self._askers)}")
            self._askers[name] = max(self._askers[name], before)
            useless = min(self._askers.values())
            for position in [position for position in self._waiting if position < useless - RADIUS]:
                del self._waiting[position]
        self._once.forget(lambda key: max(key[1:]) < useless)
        self._lumas.forget(lambda key: key[1] < useless - RADIUS)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames."""
        if self._size is None:
            self._luma(next(iter(self._waiting)))
        assert self._size is not None
        return self._size

    def between(self, here: int, there: int) -> MotionField:
        """The motion from one frame to another, by their positions in the shot.

        Farther than one frame it is chained from neighbour to neighbour, and as good as the worst of them.
        """
        if here == there:
            height, width = self._luma(here).plain.shape
            return MotionField(np.zeros((height, width, 2), np.float32), self.size)
        step = 1 if there > here else -1
        if there - here != step:
            last = there - step
            return self._once.get(
                ("chain", here, there), lambda: self.between(here, last).then(self.between(last, there))
            )
        field = self._neighbours(here, there)
        self._prefetch(here + 1, there + 1)
        return field

    def directly(self, here: int, there: int) -> MotionField:
        """The motion from one frame to another, measured without those in between: they may show something else."""
        if not self._refined:
            return self.quick(here, there)
        return self._once.get(("refined", here, there), lambda: self._refine(here, there))

    def quick(self, here: int, there: int) -> MotionField:
        """The first estimate, on frames with their damage; the only one where nobody needs a better one."""
        return self._once.get(("quick", here, there), lambda: self._estimate(here, there))

    def error(self, here: int, there: int) -> FloatArray:
        """How far from its start one comes out who follows the motion and back again, (h, w) of the grid, pixels."""
        return self.between(here, there).error(self.between(there, here))

    def holds(self, here: int, there: int) -> BoolArray:
        """Where the motion to another frame is confirmed by the opposite one, (h, w) of the grid; see `MotionField`."""
        return self._once.get(
            ("holds", here, there), lambda: self.between(here, there).holds(self.between(there, here))
        )

    def whole(self, here: int, there: int) -> NDArray[np.float32]:
        """How most of the picture moves from one frame to another, (2,) pixels, x and y; see `whole_shift`."""
        if here > there:
            return -self.whole(there, here)

        def compute() -> NDArray[np.float32]:
            quick = self.quick(here, there).in_cells()
            start = np.median(quick[::4, ::4].reshape(-1, 2), axis=0)
            first, second = self._luma(here).plain, self._luma(there).plain
            height, width = first.shape
            cell = np.array([self.size[1] / width, self.size[0] / height], np.float32)
            return (whole_shift(first, second, start) * cell).astype(np.float32)

        return self._once.get(("whole", here, there), compute)

    def _neighbours(self, here: int, there: int) -> MotionField:
        return self.directly(here, there)

    def _prefetch(self, here: int, there: int) -> None:
        """Measure the next pair beside, as soon as all that it depends on is there."""
        last = max(here, there)
        known = last + (RADIUS if self._refined else 0) < self._taken or self._ended
        if known and last < self._taken and min(here, there) >= 0:
            self._worker.submit(self._neighbours, here, there)

    def _luma(self, position: int) -> PreparedLuma:
        """A frame on the grid, with its spikes told apart."""
        return self._reduced(position)[0]

    def _reduced(self, position: int) -> tuple[PreparedLuma, BoolArray | None]:
        """A frame on the grid, its known damage filled smoothly, and where that is."""

        def compute() -> tuple[PreparedLuma, BoolArray | None]:
            with self._lock:
                if position not in self._waiting:
                    raise LookupError(
                        f"the motion of frame {position} of a shot was asked for; frames 0 to {self._taken - 1} were "
                        "taken, and all that asked before have let go of the earlier ones"
                    )
                picture, holes = self._waiting[position]
            luma = to_luma(picture.tensor())
            self._size = (luma.shape[0], luma.shape[1])
            mask = None if holes is None else holes.detach().cpu().numpy() > 0.5
            small, damaged = self._at_working_size(luma, mask)
            prepared = prepare_luma(small if damaged is None else fill_masked(small, damaged), settings=self._quick)
            if damaged is not None:
                height, width = prepared.plain.shape
                damaged = cv2.resize(damaged.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0
            with self._lock:
                # The picture is not looked at any more.
                self._waiting.pop(position, None)
            return prepared, damaged

        return self._lumas.get(("grid", position), compute)

    def _at_working_size(self, luma: FloatArray, mask: BoolArray | None) -> tuple[FloatArray, BoolArray | None]:
        """Bring a frame (H, W) and its damage to the working side, where it is larger."""
        height, width = luma.shape
        scale = self._settings.working_side / max(height, width)
        if scale >= 1:
            return luma, mask
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.float32)
        if mask is None:
            return small, None
        return small, cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0

    def _estimate(self, here: int, there: int) -> MotionField:
        self.estimates["quick"] += 1
        # Where it is all that is measured, it has to be fine.
        settings = self._quick if self._refined else self._only
        return self._field(estimate_reduced(self._luma(here), self._luma(there), settings=settings))

    def _refine(self, here: int, there: int) -> MotionField:
        first, second = self._cleaned(here), self._cleaned(there)
        self.estimates["refined"] += 1
        return self._field(estimate_reduced(first, second, settings=self._fine))

    def _field(self, cells: FloatArray) -> MotionField:
        height, width = cells.shape[:2]
        return MotionField(scaled(cells, self.size[1] / width, self.size[0] / height), self.size)

    def plain_damage(self, position: int) -> PlainDamage:
        """What is plainly damage in a frame, found along the quick motion; see `cleaning`."""
        return self._lumas.get(("damage", position), lambda: self._first_look(position))

    def _cleaned(self, position: int) -> PreparedLuma:
        """A frame on the grid, without what is plainly damage."""

        def compute() -> PreparedLuma:
            return prepared_as(self.plain_damage(position).taken_off(self._luma(position).plain))

        return self._lumas.get(("cleaned", position), compute)

    def _first_look(self, position: int) -> PlainDamage:
        prepared, holes = self._reduced(position)
        frame = prepared.plain
        pair = [self._beside(position, step) for step in (-1, 1)]
        before, after = (None if other is None else self._luma(other).plain for other in pair)
        if before is None or after is None:
            return PlainDamage.of(frame, np.zeros(frame.shape, bool), frame)
        flows = [self.quick(position, other).in_cells() for other in pair if other is not None]
        if holes is not None:
            # In a hole there is nothing to measure: what belongs there lies where the surroundings come from.
            flows = [carried_into(holes, flow) for flow in flows]
        looks = warp_array(before, flows[0]), warp_array(after, flows[1])
        # Grain is the noisier of both: one of them may have been made from the other.
        grain = max(grain_of(frame[::2, ::2] - look[::2, ::2]) for look in looks)
        gains = [local_gain(look, frame) for look in looks]
        first, second = (apply_gain(look, gain) for look, gain in zip(looks, gains, strict=True))
        height, width = frame.shape
        cells = np.array([width / self.size[1], height / self.size[0]], np.float32)
        known = np.zeros(frame.shape, bool)
        for other, luma, look, gain in zip(pair, (before, after), (first, second), gains, strict=True):
            assert other is not None
            whole = apply_gain(shifted(luma, self.whole(position, other) * cells), gain)
            known |= much_better(frame, whole, look, grain)
        found = plainly_damaged(frame, first, second, known)
        if holes is not None:
            found |= holes
        if not found.any():
            return PlainDamage.of(frame, found, frame)
        # What is damaged has pulled at the motion that it was found along.
        flows = [carried_into(found, flow) for flow in flows]
        first, second = (
            apply_gain(warp_array(luma, flow), gain)
            for luma, flow, gain in zip((before, after), flows, gains, strict=True)
        )
        return PlainDamage.of(frame, found, (first + second) * np.float32(0.5))

    def _beside(self, position: int, step: int) -> int | None:
        """The next frame in a direction that is no copy of this one; None at the end of the shot."""
        last = position
        for other in range(position + step, position + step * (RADIUS + 1), step):
            if other < 0 or (self._ended and other >= self._taken):
                return None
            if not self._copies(*sorted((last, other))):
                return other
            last = other
        return None

    def _copies(self, first: int, second: int) -> bool:
        def compute() -> bool:
            difference = cv2.absdiff(self._luma(first).plain, self._luma(second).plain)
            if float(difference.mean()) > self._settings.copy_levels:
                return False
            return float(cv2.blur(difference, (3, 3)).max()) <= self._settings.copy_peak

        return self._once.get(("copies", first, second), compute)
