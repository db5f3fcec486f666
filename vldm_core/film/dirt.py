"""Find transient dirt, dust, hair and blotches: what one frame shows and its neighbours do not.

The evidence is that of `dirt_evidence`. A place is taken for dirt where a strong, spatially novel spike seeds it; it
then grows over the connected weaker spikes of the same sign. Both thresholds rise with the local temporal activity
(how far the neighbours disagree with each other, which contains the grain) and with the inconsistency of the flow.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import SettingsError
from ..progress import Progress, silent
from ..video.flow import to_luma
from .dirt_evidence import FIRST_LOOK_RADIUS, REACH, Evidence, Window

RADIUS = REACH + FIRST_LOOK_RADIUS
"""The mask of a frame depends on this many frames on each side."""

BoolArray = NDArray[np.bool_]

_ACTIVITY_WINDOW = (15, 15)
_FLOW_WINDOW = (9, 9)
_LEVELS_PER_PIXEL = 0.5


@dataclass(frozen=True, kw_only=True)
class DirtSettings:
    """What counts as dirt.

    Attributes:
        threshold: Grey levels (0 … 255) by which dirt must stand out from everything its neighbours show around the
            place, in a calm region. Lower finds fainter dirt and more false alarms. 2 … 128.
        motion_guard: How strongly local temporal activity (motion, grain) raises the threshold. 0 trusts the motion
            compensation blindly; higher spares fast motion and misses dirt on it. 0 … 10.
        min_size: Defects of fewer pixels are left alone. 1 or more.
        grow: Pixels by which the mask is widened, to cover the soft edge of a defect. 0 … 16.
        polarity: "dark" or "bright" restricts the search to one kind.
    """

    threshold: float = 8.0
    motion_guard: float = 2.5
    min_size: int = 4
    grow: int = 1
    polarity: Literal["both", "dark", "bright"] = "both"

    def __post_init__(self) -> None:
        if not 2 <= self.threshold <= 128:
            raise SettingsError(f"dirt threshold is {self.threshold}; use 2 … 128 grey levels")
        if not 0 <= self.motion_guard <= 10:
            raise SettingsError(f"dirt motion_guard is {self.motion_guard}; use 0 … 10")
        if self.min_size < 1:
            raise SettingsError(f"dirt min_size is {self.min_size}; use 1 pixel or more")
        if not 0 <= self.grow <= 16:
            raise SettingsError(f"dirt grow is {self.grow}; use 0 … 16 pixels")
        if self.polarity not in ("both", "dark", "bright"):
            raise SettingsError(f"dirt polarity is {self.polarity!r}; use 'both', 'dark' or 'bright'")


def detect_dirt(
    frames: Tensor,
    settings: DirtSettings | None = None,
    *,
    protect: Tensor | None = None,
    keep: slice | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Find transient defects in a window of frames.

    Args:
        frames: (T, 3, H, W) RGB or (T, 1, H, W), [0, 1], all of one shot.
        settings: Defaults to `DirtSettings()`.
        protect: (T, H, W); non-zero pixels are never marked.
        keep: The frames whose masks are wanted; the others only serve as neighbours and cost less. None is all.
        progress: Called once per frame.

    Returns:
        (T, H, W) float32, 1 = dirt, 0 elsewhere and in frames outside `keep`. A shot of fewer than three distinct
        frames gives no references to judge by, and so an empty mask.

    Raises:
        SettingsError: `frames` or `protect` has the wrong shape.
    """
    settings = settings or DirtSettings()
    if frames.ndim != 4 or frames.shape[1] not in (1, 3) or 0 in frames.shape:
        raise SettingsError(f"dirt detection needs frames (T, 3, H, W) with T ≥ 1; got {tuple(frames.shape)}")
    count, _, height, width = frames.shape
    if protect is not None and tuple(protect.shape) != (count, height, width):
        raise SettingsError(
            f"the protect mask is {tuple(protect.shape)}, the frames need {(count, height, width)}; "
            "make it from these frames"
        )
    window = Window(to_luma(frames))
    masks = torch.zeros(count, height, width)
    for index in range(count)[keep or slice(None)]:
        evidence = window.evidence(index)
        if evidence is not None:
            found = find_dirt(evidence, settings)
            if protect is not None:
                found &= ~(protect[index].cpu().numpy() > 0)
            masks[index] = torch.from_numpy(found.astype(np.float32))
        progress("detect dirt", index + 1, count)
    return masks.to(frames.device)


def find_dirt(evidence: Evidence, settings: DirtSettings) -> BoolArray:
    """Turn the evidence of one frame into a mask (H, W)."""
    activity = settings.motion_guard * cv2.blur(evidence.disagreement, _ACTIVITY_WINDOW)
    activity += _LEVELS_PER_PIXEL * cv2.blur(evidence.inconsistency, _FLOW_WINDOW)
    found = np.zeros(activity.shape, bool)
    for sign in (1, -1):
        if settings.polarity == ("dark" if sign > 0 else "bright"):
            continue
        seeds = evidence.novelty * sign > settings.threshold + activity
        weak = (evidence.spike * sign > 0.75 * settings.threshold + 0.5 * activity) | seeds
        _, labels, statistics, _ = cv2.connectedComponentsWithStats(weak.astype(np.uint8), connectivity=8)
        wanted = np.zeros(len(statistics), bool)
        wanted[labels[seeds]] = True
        wanted &= statistics[:, cv2.CC_STAT_AREA] >= settings.min_size
        wanted[0] = False
        found |= wanted[labels]
    if settings.grow:
        size = 2 * settings.grow + 1
        found = cv2.dilate(found.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))) > 0
    return found
