"""Fill transient defects with what the neighbours in time show at the same place of the scene.

Flow cannot be measured inside a defect, so a neighbour is looked up along several: the dense flow, estimated on frames
whose defects have been filled roughly first; the dense flow carried into the defect from around it; and the motion of
the wider surroundings. Every look is matched to the frame's local brightness and weighted by how well it fits the
frame around the defect, how well it agrees with what the other side in time shows inside, and, where the defect is
translucent, how well it fits what can still be seen. Where a neighbour is damaged too, the next one on that side is
asked; what no neighbour shows is inpainted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import SettingsError
from ..progress import Progress, silent
from ..video.flow import FlowSettings, estimate_pair, fill_masked, inside_array, warp_array
from .dirt_evidence import Plane, apply_gain, local_gain, wide_flow

BoolArray = NDArray[np.bool_]

_LONGEST_REACH = 2
RADIUS = _LONGEST_REACH + 1
"""The repair of a frame depends on this many frames on each side."""

_ROUGH_FLOW = FlowSettings(quality="fast")
_FLOW = FlowSettings(quality="fine", spike_threshold=0.0)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Variances in squared grey levels: what grain alone gives, and what the fit inside a translucent defect may add.
_GRAIN = 4.0
_LARGEST_VEIL_MISFIT = 600.0
_AGREEMENT_SHARE = 0.5
# The foot of a defect is fainter than any mask shows; brightness is matched on pixels farther than this from it.
_FOOT = np.ones((9, 9), np.uint8)
_RIM = np.ones((5, 5), np.uint8)


@dataclass(frozen=True, kw_only=True)
class DirtRepairSettings:
    """How dirt is filled.

    Attributes:
        reach: How many frames away on each side a place may be looked up, when nearer frames are damaged there too.
            1 or 2.
        feather: Width in pixels over which the fill takes over, inside the mask, so that the seam keeps some of the
            grain. Use it with a mask that is wider than the defects. 0 … 8.
    """

    reach: int = 2
    feather: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.reach <= _LONGEST_REACH:
            raise SettingsError(f"dirt repair reach is {self.reach}; use 1 … {_LONGEST_REACH} frames")
        if not 0 <= self.feather <= 8:
            raise SettingsError(f"dirt repair feather is {self.feather}; use 0 … 8 pixels")


def repair_dirt(
    frames: Tensor,
    mask: Tensor,
    settings: DirtRepairSettings | None = None,
    *,
    keep: slice | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Fill masked pixels; every other pixel leaves bit-equal.

    Args:
        frames: (T, 3, H, W) RGB or (T, 1, H, W), [0, 1], all of one shot.
        mask: (T, H, W); above 0.5 is damaged.
        settings: Defaults to `DirtRepairSettings()`.
        keep: The frames wanted repaired; the others only serve as neighbours and return as they came. None is all.
        progress: Called once per frame.

    Returns:
        (T, C, H, W) like `frames`. A frame masked all over returns as it came when no neighbour shows anything of it.

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
    window = _Window(frames, mask, settings.reach)
    result = frames.clone()
    for index in range(count)[keep or slice(None)]:
        hole = window.holes[index]
        if hole.any():
            share = _takeover(hole, settings.feather)
            here = window.colour(index)
            mixed = here + share[..., None] * (window.filled(index) - here)
            values = torch.from_numpy(np.ascontiguousarray(mixed.transpose(2, 0, 1)) / 255.0).to(result)
            where = torch.from_numpy(hole).to(result.device)
            result[index] = torch.where(where, values.clamp(0, 1), result[index])
        window.forget(index - RADIUS)
        progress("repair dirt", index + 1, count)
    return result


def _takeover(hole: BoolArray, feather: float) -> Plane:
    """Share of the fill at each pixel, rising from the rim of the mask to its inside."""
    if feather <= 0:
        return np.ones(hole.shape, np.float32)
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)
    return np.clip(depth / np.float32(feather + 1), 0, 1)


@dataclass(frozen=True)
class _Look:
    """What one neighbour shows along one flow, in the local brightness of the frame.

    Attributes:
        step: -1 for the past, 1 for the future.
        picture: (H, W, C) grey levels.
        grey: (H, W) its luma.
        seen: (H, W) whether the neighbour shows the place undamaged.
        cost: (H, W) expected squared error, grey levels².
    """

    step: int
    picture: Plane
    grey: Plane
    seen: BoolArray
    cost: Plane


class _Window:
    """Frames of one shot, their masks, and the flows between them, computed when first asked for."""

    def __init__(self, frames: Tensor, mask: Tensor, reach: int) -> None:
        self._frames = frames.detach().cpu().float()
        self.holes: BoolArray = mask.detach().cpu().numpy() > 0.5
        self._reach = reach
        self._colour: dict[int, Plane] = {}
        self._smooth: dict[int, Plane] = {}
        self._rough: dict[int, Plane] = {}
        self._rough_flows: dict[tuple[int, int], Plane] = {}
        self._flows: dict[tuple[int, int], Plane] = {}

    def __len__(self) -> int:
        return len(self.holes)

    def forget(self, before: int) -> None:
        """Give the memory back that frames before this one hold; they may still be asked for."""
        for frames in (self._colour, self._smooth, self._rough):
            for index in [index for index in frames if index < before]:
                del frames[index]
        for pairs in (self._rough_flows, self._flows):
            for pair in [pair for pair in pairs if min(pair) < before]:
                del pairs[pair]

    def colour(self, index: int) -> Plane:
        """Frame as it came, (H, W, C) grey levels."""
        if index not in self._colour:
            self._colour[index] = np.ascontiguousarray(self._frames[index].numpy().transpose(1, 2, 0)) * np.float32(255)
        return self._colour[index]

    def smooth(self, index: int) -> Plane:
        """Luma with the holes filled smoothly, (H, W)."""
        if index not in self._smooth:
            self._smooth[index] = fill_masked(_grey(self.colour(index)), self.holes[index])
        return self._smooth[index]

    def rough(self, index: int) -> Plane:
        """Luma with the holes filled from the neighbours along a quick flow: good enough to measure motion on."""
        if index not in self._rough:
            luma = self.smooth(index)
            if self.holes[index].any():
                filled = self._fill(index, rough=True)
                luma = np.where(self.holes[index], filled[..., 0], luma)
            self._rough[index] = luma
        return self._rough[index]

    def filled(self, index: int) -> Plane:
        """Frame with its holes filled, (H, W, C) grey levels."""
        return self._fill(index, rough=False)

    def _picture(self, index: int, rough: bool) -> Plane:
        return _grey(self.colour(index))[..., None] if rough else self.colour(index)

    def _rough_flow(self, here: int, there: int) -> Plane:
        if (here, there) not in self._rough_flows:
            self._rough_flows[here, there] = estimate_pair(self.smooth(here), self.smooth(there), settings=_ROUGH_FLOW)
        return self._rough_flows[here, there]

    def _flow(self, here: int, there: int) -> Plane:
        if (here, there) not in self._flows:
            self._flows[here, there] = estimate_pair(self.rough(here), self.rough(there), settings=_FLOW)
        return self._flows[here, there]

    def _fill(self, index: int, *, rough: bool) -> Plane:
        hole, frame = self.holes[index], self._picture(index, rough)
        looks = self._looks(index, 1, rough)
        for distance in range(2, 1 + (1 if rough else self._reach)):
            # Farther frames drift; they are asked only where nobody nearer shows the place.
            missing = hole & ~np.any([look.seen for look in looks], axis=0) if looks else hole
            if not missing.any():
                break
            looks += [replace(look, seen=look.seen & missing) for look in self._looks(index, distance, rough)]
        total, weights = np.zeros_like(frame), np.zeros(hole.shape, np.float32)
        for look, cost in zip(looks, _joint_costs(looks), strict=True):
            weight = look.seen / np.square(cost + _GRAIN)
            total += weight[..., None] * look.picture
            weights += weight
        filled = np.where(weights[..., None] > 0, total / np.maximum(weights, 1e-12)[..., None], frame)
        return _inpaint(filled, hole, hole & (weights == 0), frame)

    def _looks(self, index: int, distance: int, rough: bool) -> list[_Look]:
        """Look the frame up in the two frames at a distance, along several flows."""
        flow = self._rough_flow if rough else self._flow
        hole, frame = self.holes[index], _grey(self._picture(index, rough))
        around = cv2.dilate(hole.astype(np.uint8), _RIM) > 0
        apart = cv2.dilate(hole.astype(np.uint8), _FOOT) == 0
        looks = []
        for step in (-1, 1):
            other = index + step * distance
            if not 0 <= other < len(self):
                continue
            dense = flow(index, index + step)
            for through in range(index + step, other, step):
                dense = dense + warp_array(flow(through, through + step), dense)
            ways = [dense, wide_flow(dense)]
            if not rough:
                carried = [fill_masked(np.ascontiguousarray(dense[..., axis]), around) for axis in (0, 1)]
                ways.append(np.dstack(carried))
            there, holes = self._picture(other, rough), self.holes[other].astype(np.float32)
            gain = None
            for way in ways:
                seen = inside_array(way)
                if holes.any():
                    seen &= warp_array(holes, way) == 0
                shown = warp_array(there, way).reshape(there.shape)
                if gain is None:
                    gain = local_gain(_grey(shown), frame, seen & apart)
                shown = apply_gain(shown, gain)
                looks.append(_Look(step, shown, _grey(shown), seen, _misfit(frame - _grey(shown), hole | ~seen)))
        return looks


def _misfit(difference: Plane, unknown: BoolArray) -> Plane:
    """Expected squared error of a look, from its difference to the frame."""
    outside = fill_masked(cv2.blur(np.square(difference), (3, 3)), unknown)
    # Inside a translucent defect the fine structure of the scene still shows.
    fine = difference - cv2.GaussianBlur(difference, (0, 0), 2.5)
    return outside + np.minimum(cv2.blur(np.square(fine), (7, 7)), _LARGEST_VEIL_MISFIT)


def _grey(picture: Plane) -> Plane:
    return np.ascontiguousarray(picture[..., 0]) if picture.shape[-1] == 1 else picture @ _LUMA


def _joint_costs(looks: Sequence[_Look]) -> list[Plane]:
    """Add to the cost of each look how far it is from the nearest one of the other side in time."""
    apart: dict[tuple[int, int], Plane] = {}
    for i, past in enumerate(looks):
        for j, future in enumerate(looks):
            if past.step < future.step:
                apart[i, j] = apart[j, i] = cv2.blur(np.square(past.grey - future.grey), (5, 5))
    costs = []
    for i, look in enumerate(looks):
        rivals = [plane for (own, _), plane in apart.items() if own == i]
        nearest = rivals[0] if rivals else np.zeros_like(look.cost)
        for plane in rivals[1:]:
            nearest = cv2.min(nearest, plane)
        costs.append(look.cost + _AGREEMENT_SHARE * nearest)
    return costs


def _inpaint(filled: Plane, hole: BoolArray, rest: BoolArray, frame: Plane) -> Plane:
    """Paint the part of a hole that no neighbour shows from its surroundings (Navier-Stokes, Bertalmio et al. 2001)."""
    if not rest.any() or rest.all():
        return filled
    picture = np.clip(np.rint(np.where(hole[..., None], filled, frame)), 0, 255).astype(np.uint8)
    painted = cv2.inpaint(picture, rest.astype(np.uint8), 3, cv2.INPAINT_NS).reshape(filled.shape)
    return np.where(rest[..., None], painted, filled).astype(np.float32)
