"""Repair persistent line scratches by subtracting what they add, where the mask says they are.

A faint scratch hides nothing: it adds its cross-profile to a picture that is still there. Inpainting would throw that
picture away. So what every line in the mask adds is measured against its surroundings (`cross_profile`), pulled back by
as much as the scene may mislead, so that a mask without a line changes next to nothing. Only where a line leaves no
picture behind, clipped or opaque, its pixels are filled: from neighbouring frames, or from both sides.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....arrays import FloatArray
from ....errors import SettingsError
from ....progress import Progress, silent
from ....video.buffers.keyed_cache import Once
from ....video.buffers.pictures import Clip, Made, Picture, copied
from ...fill.holes import fill
from ...fill.repair import LONGEST_REACH
from ...fill.repair import RADIUS as FILL_RADIUS
from ...fill.window import HoleWindow
from .cross_profile import LEVEL, Strip, measure_profile, other_view, straightened

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

_MOST_HELD = 128 << 20
"""Bytes of frames that are held as numbers."""

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
    masks = (scratch_mask > 0.5).cpu().numpy()
    wanted = [t for t in range(len(frames))[keep or slice(None)] if masks[t].any()]
    if not wanted and isinstance(frames, Tensor):
        return frames
    result = copied(frames, range(len(frames))[keep or slice(None)])
    shot = _Shot(frames, masks, settings)
    lost = []
    for number, t in enumerate(wanted, 1):
        if shot.lost_count(t) >= _RULES.fewest_lost:
            lost.append(t)
        progress("repair scratches", number, len(wanted))
    refilled = shot.refilled(lost, progress)
    for number, t in enumerate(wanted, 1):
        progress("repair scratches", number, len(wanted))
        values = shot.repaired(t)
        if t in refilled:
            place, filled = refilled[t]
            values[place] = filled
        inside = torch.as_tensor(masks[t], device=frames.device)
        changed = torch.as_tensor(values, device=frames.device, dtype=result.dtype).permute(2, 0, 1)
        result[t] = torch.where(inside, changed, frames[t])
    return result


@dataclass(frozen=True, kw_only=True, eq=False)
class _Repaired:
    """What taking its lines out changes of a frame.

    Attributes:
        place: Rows and columns of the pixels that change.
        values: (N, 3), what they become.
        lost: (H, W), the pixels in which the lines have left no picture, a bit a pixel along the rows.
        lost_count: How many they are.
    """

    place: Place
    values: FloatArray
    lost: NDArray[np.uint8]
    lost_count: int


class _Shot:
    """Frames of a shot with their lines taken out; everything is computed when first asked for."""

    def __init__(self, frames: Tensor | Clip, masks: NDArray[np.bool_], settings: ScratchRepairSettings) -> None:
        self._frames, self._masks, self._settings = frames, masks, settings
        self._strips: dict[int, list[Strip]] = {}
        self._repaired: dict[int, _Repaired] = {}
        self._images = Once(_MOST_HELD)

    def image(self, t: int) -> FloatArray:
        """A frame as it came, (H, W, 3)."""

        def compute() -> FloatArray:
            return np.ascontiguousarray(self._frames[t].detach().float().cpu().permute(1, 2, 0).numpy())

        return self._images.get((t,), compute)

    def strips(self, t: int) -> list[Strip]:
        """The lines of a frame."""
        if t not in self._strips:
            self._strips[t] = straightened(self.image(t), self._masks[t]) if self._masks[t].any() else []
        return self._strips[t]

    def lost_count(self, t: int) -> int:
        """How many pixels of a frame the lines have left no picture in."""
        return self._changes(t).lost_count

    def lost(self, t: int) -> NDArray[np.bool_]:
        """The pixels (H, W) of a frame in which the lines have left no picture."""
        width = self._masks.shape[2]
        return np.unpackbits(self._changes(t).lost, axis=1, count=width).view(bool)

    def repaired(self, t: int) -> FloatArray:
        """A frame (H, W, 3) without its lines."""
        changes, repaired = self._changes(t), self.image(t).copy()
        repaired[changes.place] = changes.values
        return repaired

    def _changes(self, t: int) -> _Repaired:
        if t not in self._repaired:
            image = self.image(t)
            repaired, lost = image.copy(), np.zeros(self._masks[t].shape, bool)
            for strip in self.strips(t):
                near = range(max(0, t - _VIEWS), min(len(self._masks), t + _VIEWS + 1))
                views = [strip if k == t else other_view(strip, self.strips(k)) for k in near]
                _repair_segment(repaired, lost, strip, [view for view in views if view is not None], self._settings)
            lost &= self._masks[t]
            place = np.nonzero((repaired != image).any(axis=2))
            self._repaired[t] = _Repaired(
                place=(place[0], place[1]),
                values=repaired[place],
                lost=np.packbits(lost, axis=1),
                lost_count=int(lost.sum()),
            )
        return self._repaired[t]

    def refilled(self, wanted: list[int], progress: Progress = silent) -> dict[int, tuple[Place, FloatArray]]:
        """The lost pixels of frames and what neighbours show there, (N, 3): the line lies elsewhere in the scene."""
        if not wanted:
            return {}
        first, last = max(0, wanted[0] - FILL_RADIUS), min(len(self._masks), wanted[-1] + FILL_RADIUS + 1)
        near = {t for w in wanted for t in range(w - FILL_RADIUS, w + FILL_RADIUS + 1)}
        blank = np.zeros(self._masks.shape[1:], bool)

        def picture(t: int) -> Picture:
            return Made(lambda: torch.from_numpy(self.repaired(t) if t in near else self.image(t)).permute(2, 0, 1))

        window = HoleWindow(
            Clip([picture(t) for t in range(first, last)]),
            torch.from_numpy(np.stack([self.lost(t) if t in near else blank for t in range(first, last)])),
        )
        result: dict[int, tuple[Place, FloatArray]] = {}
        for number, t in enumerate(wanted):
            progress("fill scratches", number, len(wanted))
            place = window.atlas(t - first).place
            fallback = self.repaired(t)[place] * np.float32(255)
            values = fill(window, t - first, reach=LONGEST_REACH, grain=self._settings.grain, fallback=fallback)
            if values is not None:
                result[t] = place, (values / np.float32(255)).astype(np.float32)
            window.forget(t - first + 1 - FILL_RADIUS)
        return result


def _repair_segment(
    repaired: FloatArray,
    lost: NDArray[np.bool_],
    strip: Strip,
    views: list[Strip],
    settings: ScratchRepairSettings,
) -> None:
    """Take one line out of one frame; note the pixels in which it has left no picture."""
    own = next(number for number, view in enumerate(views) if view is strip)
    found = measure_profile(views, own, settings.rows)
    if found is None:
        return
    core = strip.core
    rows = strip.segment.rows
    columns = np.arange(int(strip.segment.start.min()), int(strip.segment.stop.max()))
    middle = np.round(strip.segment.centre)
    u = columns[None] - (middle + found.phase)[:, None]
    profile = found.strength[:, None] * found.shape(u)
    area = np.ix_(rows, columns)
    before = repaired[area]
    after = before - profile[..., None].astype(np.float32) * found.tint
    # Neighbouring segments share columns: each row changes only between its own ends.
    inside = (columns >= strip.segment.start[:, None]) & (columns < strip.segment.stop[:, None])
    gone = _lost(before, found.luma, found.known, profile, settings.rows, core) & inside
    if gone.any():
        # Whatever fills them later is measured on this frame, and best on one without the line.
        after = np.where(gone[..., None], _from_both_sides(strip, columns[None] - middle[:, None], core), after)
        # A faint line over black or white is as well bridged.
        lost[area] |= gone & (np.abs(profile) > _RULES.deep)
    repaired[area] = np.where(inside[..., None], np.clip(after, 0.0, 1.0), before)


def _lost(
    before: FloatArray, luma: FloatArray, known: NDArray[np.bool_], profile: FloatArray, rows: int, core: int
) -> NDArray[np.bool_]:
    """Pixels in which the line has left no picture: clipped, or opaque over a window of rows."""
    dark = profile.sum() < 0
    limit = before.max(axis=-1) <= 0.5 * LEVEL if dark else before.min(axis=-1) >= 1 - 0.5 * LEVEL
    lost = limit & (np.abs(profile) > 2 * LEVEL)
    peak = np.abs(profile).max(axis=1, keepdims=True)
    if peak.max() < _RULES.opaque_depth or luma.shape[1] < 2:
        return lost
    # A transparent line lets the grain and texture of the scene through, an opaque one does not.
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
