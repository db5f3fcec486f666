"""Repair persistent line scratches by subtracting what they add, where the mask says they are.

A faint scratch hides nothing: it adds its cross-profile to a picture that is still there. Inpainting would throw that
picture away. So what every line in the mask adds is measured against its surroundings (`cross_profile`), pulled back by
as much as the scene may mislead, so that a mask without a line changes next to nothing. Only where a line leaves no
picture behind, clipped or opaque, its pixels are filled: from neighbouring frames, or from both sides.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....arrays import FloatArray
from ....errors import SettingsError
from ....progress import Progress, silent
from ....video.buffers.pictures import Clip, Made, Picture, copied
from ...fill.holes import fill
from ...fill.repair import LONGEST_REACH
from ...fill.repair import RADIUS as FILL_RADIUS
from ...fill.window import HoleWindow
from ...motion.shot import ShotMotion
from .cross_profile import LEVEL, Strip, StripView, measure_profile, other_view, own_view, straightened

_VIEWS = 4
"""Frames before and after one in which its line is measured too: the scene behind it differs, the line does not."""

RADIUS = _VIEWS + FILL_RADIUS
"""A repaired frame depends on so many frames on each side: lines are measured over a few, and filled from others."""


@dataclass(frozen=True, kw_only=True)
class OpaqueRules:
    """When a line has left no picture under it.

    Attributes:
        opaque_depth: Depth from which on a line may be opaque: 30 grey levels, in [0, 1].
        opaque_activity: Change from frame to frame under a line, over that beside it, below which it hides the
            scene.
        deep: Depth from which on what is lost is filled from other frames and not bridged: 24 grey levels, in [0,
            1].
        fewest_lost: Lost pixels of a frame below which no motion is measured for them.
    """

    opaque_depth: float = 30 * LEVEL
    opaque_activity: float = 0.15
    deep: float = 24 * LEVEL
    fewest_lost: int = 20


_RULES = OpaqueRules()

_ALWAYS_ASKED = 3
"""Frames on each side that a fill looks at in any case."""

Place = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Rows and columns of some pixels."""


@dataclass(frozen=True, kw_only=True)
class ScratchRepairSettings:
    """How to repair line scratches.

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
            raise SettingsError(f"scratch repair grain must be 0 to 1, got {self.grain}; 1 is as around the scratch")
        if not 8 <= self.rows <= 400:
            raise SettingsError(f"scratch repair rows must be 8 to 400, got {self.rows}; 40 suits most films")


def repair_scratches(
    frames: Tensor | Clip,
    scratch_mask: Tensor,
    settings: ScratchRepairSettings | None = None,
    *,
    keep: slice | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Repair line scratches.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1], consecutive frames of one shot: a tensor, or a `Clip` that makes its frames
            when they are needed.
        scratch_mask: (T, H, W), > 0.5 = scratch. It alone says where to work, so it may be edited by hand.
        settings: How to.
        keep: The frames wanted repaired; the others only serve as neighbours and return as they came. None is all.
        progress: Called at least twice per frame that holds a scratch.

    Returns:
        (T, 3, H, W). Pixels outside the mask are bit-equal to the input; of a `Clip`, frames outside `keep` are left
        blank.

    Raises:
        SettingsError: The shapes do not match.
    """
    settings = settings or ScratchRepairSettings()
    if frames.ndim != 4 or frames.shape[1] != 3 or scratch_mask.shape != (frames.shape[0], *frames.shape[-2:]):
        raise SettingsError(
            f"scratch repair needs frames (T, 3, H, W) and a mask (T, H, W), got {tuple(frames.shape)} and "
            f"{tuple(scratch_mask.shape)}"
        )
    # Compared by NumPy, piece by piece: torch would make numbers of all the marks first.
    masks = scratch_mask.cpu().numpy() > 0.5
    wanted = [t for t in range(len(frames))[keep or slice(None)] if masks[t].any()]
    if not wanted and isinstance(frames, Tensor):
        return frames
    result = copied(frames, range(len(frames))[keep or slice(None)])
    shot = _Shot(frames, masks, settings)
    lost = []
    for number, t in enumerate(wanted, 1):
        if int(shot.changes(t).lost.sum()) >= _RULES.fewest_lost:
            lost.append(t)
        progress("repair scratches", number, len(wanted))
    refilled = shot.refilled(lost, progress)
    for number, t in enumerate(wanted, 1):
        progress("repair scratches", number, len(wanted))
        for place, values in ((shot.changes(t).place, shot.changes(t).values), *refilled.get(t, ())):
            _put(result[t], place, values)
    return result


@dataclass(frozen=True, kw_only=True, eq=False)
class _Changes:
    """What taking its lines out changes of a frame.

    Attributes:
        place: Rows and columns of the marked pixels.
        values: (N, 3), what they become.
        lost: (N,), those in which the lines have left no picture.
    """

    place: Place
    values: FloatArray
    lost: NDArray[np.bool_]


class _Shot:
    """Frames of a shot with their lines taken out; everything is computed when first asked for."""

    def __init__(self, frames: Tensor | Clip, masks: NDArray[np.bool_], settings: ScratchRepairSettings) -> None:
        self._frames, self._masks, self._settings = frames, masks, settings
        self._strips: dict[int, list[Strip]] = {}
        self._changes: dict[int, _Changes] = {}

    def strips(self, t: int) -> list[Strip]:
        """The lines of a frame."""
        if t not in self._strips:
            marked = self._masks[t].any()
            self._strips[t] = straightened(self._planes(t), self._masks[t]) if marked else []
        return self._strips[t]

    def changes(self, t: int) -> _Changes:
        """What becomes of the marked pixels of a frame."""
        if t not in self._changes:
            near = range(max(0, t - _VIEWS), min(len(self._masks), t + _VIEWS + 1))
            parts = []
            for strip in self.strips(t):
                views = [own_view(strip) if k == t else other_view(strip, self.strips(k)) for k in near]
                found = _without_line(strip, [view for view in views if view is not None], self._settings)
                parts += [] if found is None else [found]
            self._changes[t] = _Changes(
                place=(_joined([one.place[0] for one in parts], int), _joined([one.place[1] for one in parts], int)),
                values=_joined([one.values for one in parts], np.float32).reshape(-1, 3),
                lost=_joined([one.lost for one in parts], bool),
            )
            # Frames are asked for in their order, and the next one looks no farther back.
            for past in [k for k in self._strips if k <= t - _VIEWS]:
                del self._strips[past]
        return self._changes[t]

    def repaired(self, t: int) -> Tensor:
        """A frame (3, H, W) without its lines."""
        changes, frame = self.changes(t), self._frames[t].detach().float().cpu().clone()
        _put(frame, changes.place, changes.values)
        return frame

    def lost(self, t: int) -> NDArray[np.bool_]:
        """The pixels (H, W) of a frame in which the lines have left no picture."""
        changes, lost = self.changes(t), np.zeros(self._masks.shape[1:], bool)
        lost[changes.place] = changes.lost
        return lost

    def refilled(self, wanted: list[int], progress: Progress = silent) -> dict[int, list[tuple[Place, FloatArray]]]:
        """The lost pixels of frames and what neighbours show there, (N, 3): the line lies elsewhere in the scene."""
        if not wanted:
            return {}
        first, last = max(0, wanted[0] - FILL_RADIUS), min(len(self._masks), wanted[-1] + FILL_RADIUS + 1)
        near = {t for w in wanted for t in range(w - FILL_RADIUS, w + FILL_RADIUS + 1)}
        blank = np.zeros(self._masks.shape[1:], bool)

        def picture(t: int) -> Picture:
            return Made(lambda: self.repaired(t) if t in near else self._frames[t])

        clip = Clip([picture(t) for t in range(first, last)])
        lost = torch.from_numpy(np.stack([self.lost(t) if t in near else blank for t in range(first, last)]))
        # All changes are known by then.
        self._strips.clear()
        motion = _quick_motion(clip, lost)
        window = HoleWindow(clip, lost, motion=motion)
        result: dict[int, list[tuple[Place, FloatArray]]] = {}
        for number, t in enumerate(wanted):
            progress("fill scratches", number, len(wanted))
            _look_ahead(motion, t - first)
            place = window.atlas(t - first).place
            fallback = window.colour(t - first)[place]
            values = fill(window, t - first, reach=LONGEST_REACH, grain=self._settings.grain, fallback=fallback)
            if values is not None:
                result[t] = [(place, (values / np.float32(255)).astype(np.float32))]
            window.forget(t - first + 1 - FILL_RADIUS)
        return result

    def _planes(self, t: int) -> FloatArray:
        """A frame as it came, (3, H, W)."""
        return self._frames[t].detach().float().cpu().numpy()


def _joined(parts: list[NDArray[Any]], kind: type) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _put(frame: Tensor, place: Place, values: FloatArray) -> None:
    """Write colours (N, 3) into a frame (3, H, W)."""
    down, across = (torch.from_numpy(axis).to(frame.device) for axis in place)
    frame[:, down, across] = torch.from_numpy(np.ascontiguousarray(values.T)).to(frame)


def _quick_motion(frames: Clip, holes: Tensor) -> ShotMotion:
    """The motion of some frames, as well as the fill of a few columns needs it: lines are thin."""
    motion = ShotMotion()
    motion.expect("scratch repair", refined=False)
    for index in range(len(frames)):
        motion.take(frames.picture(index), holes[index])
    motion.end()
    return motion


def _look_ahead(motion: ShotMotion, index: int) -> None:
    """Measure the motion away from a frame before a fill asks for it and holds pictures meanwhile."""
    for step in (-1, 1):
        for here in range(index, index + _ALWAYS_ASKED * step, step):
            if 0 <= here + step < len(motion):
                motion.quick(here, here + step)


def _without_line(strip: Strip, views: list[StripView], settings: ScratchRepairSettings) -> _Changes | None:
    """Take one line out of one frame; None where it adds nothing that can be told from the scene."""
    own = next(number for number, view in enumerate(views) if view.strip is strip)
    found = measure_profile(views, own, settings.rows)
    if found is None:
        return None
    segment, core = strip.segment, strip.core
    middle = np.round(segment.centre).astype(np.int64)
    reach = int(min(strip.reach, max((middle - segment.start).max(), (segment.stop - 1 - middle).max())))
    u = np.arange(-reach, reach + 1, dtype=np.float32)
    profile = found.strength[:, None] * found.shape(u - found.phase[:, None])
    before = strip.picture[:, strip.reach - reach : strip.reach + reach + 1]
    after = before - profile[..., None].astype(np.float32) * found.tint
    # Neighbouring segments share columns: each row changes only between its own ends.
    columns = middle[:, None] + u.astype(np.int64)
    inside = (columns >= segment.start[:, None]) & (columns < segment.stop[:, None])
    gone = _lost(before, views, profile, settings.rows, core) & inside
    if gone.any():
        # Whatever fills them later is measured on this frame, and best on one without the line.
        after = np.where(gone[..., None], _from_both_sides(strip, u[None], core), after)
        # A faint line over black or white is as well bridged.
        gone &= np.abs(profile) > _RULES.deep
    rows = np.broadcast_to(segment.rows[:, None], columns.shape)
    return _Changes(place=(rows[inside], columns[inside]), values=np.clip(after[inside], 0.0, 1.0), lost=gone[inside])


def _lost(before: FloatArray, views: list[StripView], profile: FloatArray, rows: int, core: int) -> NDArray[np.bool_]:
    """Pixels in which the line has left no picture: clipped, or opaque over a window of rows."""
    dark = profile.sum() < 0
    limit = before.max(axis=-1) <= 0.5 * LEVEL if dark else before.min(axis=-1) >= 1 - 0.5 * LEVEL
    lost = limit & (np.abs(profile) > 2 * LEVEL)
    peak = np.abs(profile).max(axis=1, keepdims=True)
    if peak.max() < _RULES.opaque_depth or len(profile) < 2:
        return lost
    # A transparent line lets the grain and texture of the scene through, an opaque one does not.
    known = np.stack([view.known for view in views])
    luma = np.stack([view.strip.luma[view.at] for view in views]) * known[..., None]
    both = known[:, 1:] & known[:, :-1]
    change = (np.square(np.diff(luma, axis=1)) * both[..., None]).sum(axis=0)
    centre = luma.shape[-1] // 2
    outer = change[:, [centre - core - 3, centre - core - 2, centre + core + 2, centre + core + 3]].mean(axis=1)
    window = (1, 2 * rows + 1)
    pooled = [cv2.blur(side[:, None].astype(np.float32), window) for side in (change[:, centre], outer)]
    opaque = pooled[0] < _RULES.opaque_activity * pooled[1]
    opaque = np.concatenate((opaque, opaque[-1:])) & (peak >= _RULES.opaque_depth)
    return lost | (opaque & (np.abs(profile) > 0.5 * peak))


def _from_both_sides(strip: Strip, u: FloatArray, core: int) -> FloatArray:
    """Fill from the nearest clean pixels of both sides, by distance: (n, columns, 3)."""
    centre = strip.reach
    left = strip.picture[:, centre - core - 2 : centre - core].mean(axis=1)
    right = strip.picture[:, centre + core + 1 : centre + core + 3].mean(axis=1)
    share = np.clip((u + core + 1.5) / (2 * core + 3), 0, 1)[..., None]
    return (left[:, None] * (1 - share) + right[:, None] * share).astype(np.float32)
