"""Fill transient defects with what the neighbours in time show at the same place of the scene.

Motion cannot be measured inside a defect, so a neighbour is looked up along several (`ways`). Every look is matched to
the frame's local brightness and judged by how well it fits the frame around the defect, how well it agrees with what
the other side in time shows inside, and, where the defect is translucent, how well it fits what can still be seen
(`neighbours`). The looks that agree are averaged over three frames each way (`combination`); where all are damaged, the
next ones are asked in turn. What shows through a translucent defect is used (`translucent`); what no neighbour shows is
inpainted (`seam`); and the grain that all this has taken off is given back (`grain`). Where the expected error of a
fill is as large as the damage, the place stays as it came (`DoubtTest`). See `holes` for the order.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...arrays import BoolArray, Plane
from ...errors import SettingsError
from ...progress import Progress, silent
from ...video.buffers.pictures import Clip, copied
from ..motion import shot
from ..motion.shot import ShotMotion
from .holes import FoundFill, fill_or_doubt
from .window import HoleWindow

LONGEST_REACH = 5
"""Frames away on each side that a place may be looked up in: beyond, a chain of motions has drifted."""

RADIUS = LONGEST_REACH + shot.RADIUS
"""The repair of a frame depends on this many frames on each side."""

LARGE_SHARE = 0.05
"""Share of a frame that is filled without asking to look at it: heavy dirt covers less."""

MUCH_FILLED = f"more than {LARGE_SHARE:.0%} of it was marked and filled; compare it with the original"
"""What a user is told of a frame that more was filled of."""

LEFT_ALONE = "its neighbours do not tell what belongs into {count} of the larger marks; these were left as they came"
"""What a user is told of a frame in which fills were in doubt."""

_MOST_THREADS = 4
"""Threads that fill side by side: OpenCV's calls on small boxes are too short for more to pay."""

_MOST_AT_WORK = 20 << 20
"""Bytes of planes that may be filled at a time: each frame that is filled takes as much again as is held of it."""


@dataclass(frozen=True, kw_only=True)
class DoubtTest:
    """When a fill is in doubt.

    Attributes:
        largest_error: Error of a fill, as a share of its squared distance to what is there, above which the place is
            left alone. A fill that is right to within its error is nearer to the scene than the damage up to one half;
            grain counts twice in the error and once in the distance.
        fewest_pixels: Pixels of a connected mark below which it is filled in any case: too few to tell.
        worth_telling: Pixels of a mark from which on a user is told.
    """

    largest_error: float = 0.6
    fewest_pixels: int = 12
    worth_telling: int = 64


_DOUBT = DoubtTest()


@dataclass(frozen=True, kw_only=True)
class DirtRepairSettings:
    """How dirt is filled.

    Attributes:
        reach: How many frames away on each side a place may be looked up, when nearer frames are damaged there too.
            1 … 5.
        feather: Width in pixels over which the fill takes over, inside the mask, so that the seam keeps some of the
            grain. Use it with a mask that is wider than the defects. 0 … 8.
        grain: How much of the grain that averaging and inpainting take off is given back, measured around each hole.
            1 makes repaired places as grainy as their surroundings; 0 is the cleanest estimate. 0 … 1.
    """

    reach: int = 5
    feather: float = 0.0
    grain: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.reach <= LONGEST_REACH:
            raise SettingsError(f"dirt repair reach is {self.reach}; use 1 … {LONGEST_REACH} frames")
        if not 0 <= self.feather <= 8:
            raise SettingsError(f"dirt repair feather is {self.feather}; use 0 … 8 pixels")
        if not 0 <= self.grain <= 1:
            raise SettingsError(f"dirt repair grain is {self.grain}; use 0 (none) … 1 (as around the hole)")


def repair_dirt(
    frames: Tensor | Clip,
    mask: Tensor,
    settings: DirtRepairSettings | None = None,
    *,
    keep: slice | None = None,
    motion: ShotMotion | None = None,
    first: int = 0,
    trusted: bool = False,
    forced: Tensor | None = None,
    alone: Tensor | None = None,
    progress: Progress = silent,
    tell: Callable[[int, str], None] | None = None,
) -> Tensor:
    """Fill masked pixels; every other pixel leaves bit-equal, and so does a mark in doubt (`DoubtTest`).

    Frames are filled side by side in a few threads; the result does not depend on how many.

    Args:
        frames: (T, 3, H, W) RGB or (T, 1, H, W), [0, 1], all of one shot: a tensor, or a `Clip` that makes its frames
            when they are needed.
        mask: (T, H, W); above 0.5 is damaged.
        settings: Defaults to `DirtRepairSettings()`.
        keep: The frames wanted repaired; the others only serve as neighbours and return as they came. None is all.
        motion: Of the shot that the frames are part of; None measures it on these frames, with the holes filled.
        first: Position in the shot of the first of the frames, where its motion is given.
        trusted: Whether every mark is damage for certain, and is filled though its fill is in doubt.
        forced: (T, H, W), above 0.5 where a mark is damage for certain, likewise; None is nowhere.
        alone: (T, H, W), above 0.5 where a mark is filled from the picture around it and not from neighbours; None is
            nowhere.
        progress: Called once per frame.
        tell: Takes the position of a frame in `frames` in which large marks were left alone, and the reason.

    Returns:
        (T, C, H, W) like `frames`; of a `Clip`, frames outside `keep` are left blank. A frame masked all over returns
        as it came when no neighbour shows anything of it.

    Raises:
        SettingsError: `frames` or `mask` has the wrong shape.
    """
    settings = settings or DirtRepairSettings()
    if frames.ndim != 4 or frames.shape[1] not in (1, 3) or 0 in frames.shape:
        raise SettingsError(f"dirt repair needs frames (T, 3, H, W) with T ≥ 1; got {tuple(frames.shape)}")
    count, _, height, width = frames.shape
    if tuple(mask.shape) != (count, height, width):
        raise SettingsError(
            f"the dirt mask is {tuple(mask.shape)}, the frames need {(count, height, width)}; "
            "use the mask that was made from these frames"
        )
    window = HoleWindow(frames, mask, motion=motion, first=first, alone=alone)
    wanted = range(count)[keep or slice(None)]
    result = copied(frames, wanted)

    def filled(index: int) -> tuple[FoundFill, BoolArray] | None:
        if not window.holes[index].any():
            return None
        found = fill_or_doubt(window, index, reach=settings.reach, grain=settings.grain)
        if found is None:
            return None
        place = window.atlas(index).place
        if trusted:
            return found, np.zeros(len(place[0]), bool)
        doubtful = _in_doubt(window.holes[index], place, window.colour(index)[place], found)
        if forced is not None:
            doubtful &= ~(forced[index].numpy()[place] > 0.5)
        return found, doubtful

    # Each frame that is filled takes as much again as the window holds of it.
    threads = max(1, min(_MOST_THREADS, os.cpu_count() or 1, _MOST_AT_WORK // (4 * height * width)))
    workers = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="vldm-repair")
    try:
        for index, outcome in zip(wanted, workers.map(filled, wanted), strict=True):
            if outcome is not None:
                found, doubtful = outcome
                _put(result[index], window, index, found.colours, ~doubtful, settings.feather)
                left = _worth_telling(window.holes[index], window.atlas(index).place, doubtful)
                if left and tell is not None:
                    tell(index, LEFT_ALONE.format(count=left))
            # Frames that other threads are at come after this one.
            window.forget(index + 1 - RADIUS)
            progress("repair dirt", index + 1, count)
    finally:
        workers.shutdown(cancel_futures=True)
    return result


def _put(frame: Tensor, window: HoleWindow, index: int, values: Plane, certain: BoolArray, feather: float) -> None:
    """Write the fill (N, C) of a frame (C, H, W) into it, where it is certain (N,)."""
    rows, columns = window.atlas(index).place
    place = rows[certain], columns[certain]
    before = window.colour(index)[place]
    mixed = before + _takeover(window.holes[index], feather)[place][:, None] * (values[certain] - before)
    down, across = (torch.from_numpy(axis).to(frame.device) for axis in place)
    frame[:, down, across] = torch.from_numpy(np.ascontiguousarray(mixed.T) / 255.0).to(frame).clamp(0, 1)


def _takeover(hole: BoolArray, feather: float) -> Plane:
    """Share of the fill at each pixel, rising from the rim of the mask to its inside."""
    if feather <= 0:
        return np.ones(hole.shape, np.float32)
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)
    return np.clip(depth / np.float32(feather + 1), 0, 1)


def _in_doubt(hole: BoolArray, place: tuple[NDArray, NDArray], shown: Plane, found: FoundFill) -> BoolArray:
    """Tell which damaged pixels (N,), at rows and columns of the marks (H, W), belong to one whose fill is in doubt.

    Then what was found may well be farther from the scene than what is shown (N, C), grey levels.
    """
    count, labels = cv2.connectedComponents(hole.astype(np.uint8), connectivity=8)
    mark = labels[place]
    pixels = np.bincount(mark, minlength=count)
    change = np.bincount(mark, np.square(found.colours - shown).mean(axis=1), count)
    error = np.bincount(mark, found.error, count)
    return ((error > _DOUBT.largest_error * change) & (pixels >= _DOUBT.fewest_pixels))[mark]


def _worth_telling(hole: BoolArray, place: tuple[NDArray, NDArray], doubtful: BoolArray) -> int:
    """Return how many marks in doubt are large enough to tell a user of."""
    if int(doubtful.sum()) < _DOUBT.worth_telling:
        return 0
    left = np.zeros(hole.shape, np.uint8)
    left[place] = doubtful
    _, _, table, _ = cv2.connectedComponentsWithStats(left, connectivity=8)
    return int((table[1:, cv2.CC_STAT_AREA] >= _DOUBT.worth_telling).sum())
