"""Windows over the frames of a shot: what a denoiser that knows a limited number of frames sees at a time.

Temporal layers are trained on clips of one length (AnimateDiff: 16 frames) and fail on others, so a longer shot is
denoised in overlapping windows whose predictions are averaged at every step. Two schedules are offered. *static*: the
same windows in every step. *uniform*: the context scheduling of AnimateDiff's command-line forks and of
AnimateDiff-Evolved, written from its description: windows of frames 1, 2, 4 … apart, so that far frames meet, on a grid
that moves from step to step, so that no seam stays in one place. Unlike there, a window never wraps from the end of a
shot to its beginning.

The planner knows integers only. A shot is planned by itself; :mod:`.regions` puts the shots of a clip together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...errors import SettingsError

SCHEDULES = ("static", "uniform")
FUSES = ("pyramid", "flat", "linear")


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """How a shot is cut into windows.

    Attributes:
        length: Frames of a window. A shorter shot is one window of its own length.
        overlap: Frames that a window shares with the next, 0 … length - 1.
        stride: Largest distance of neighbouring frames in a window, a power of two: with 4, windows of every frame,
            every second and every fourth frame are laid. Windows with gaps cost 1/2, 1/4 … of those without. Only the
            uniform schedule uses it.
        schedule: "static" or "uniform".
        fuse: How a frame counts in the mean over the windows that hold it. "pyramid": most in the middle of a window;
            "flat": the same everywhere; "linear": less only in the overlaps.
        move: Shift static windows from step to step. Uniform windows always move.
    """

    length: int = 16
    overlap: int = 4
    stride: int = 1
    schedule: Literal["static", "uniform"] = "static"
    fuse: Literal["pyramid", "flat", "linear"] = "pyramid"
    move: bool = False

    def __post_init__(self) -> None:
        if self.length < 1:
            raise SettingsError(f"window length is {self.length}; use 1 frame or more")
        if not 0 <= self.overlap < self.length:
            raise SettingsError(
                f"window overlap is {self.overlap}; with length {self.length} use 0 … {self.length - 1}"
            )
        if self.stride < 1 or self.stride & (self.stride - 1):
            raise SettingsError(f"window stride is {self.stride}; use a power of two: 1, 2, 4 …")
        if self.schedule not in SCHEDULES:
            raise SettingsError(f"window schedule is {self.schedule!r}; use one of {', '.join(SCHEDULES)}")
        if self.fuse not in FUSES:
            raise SettingsError(f"window fuse is {self.fuse!r}; use one of {', '.join(FUSES)}")


def plan_windows(frames: int, settings: WindowSettings, step: int = 0) -> tuple[tuple[int, ...], ...]:
    """Lay windows over one shot.

    Every frame is in at least one window without gaps, and such windows overlap their neighbours by at least
    `settings.overlap` frames. The last window is moved back to end with the shot, so that it is full.

    Args:
        frames: Frames of the shot.
        settings: How to lay them.
        step: 0-based index of the sampling step; decides where a moving grid begins.

    Returns:
        Frame indices of each window, ascending; windows without gaps first, each kind in order of their first frame.

    Raises:
        SettingsError: `frames` is below 1 or `step` below 0.
    """
    if frames < 1:
        raise SettingsError(f"cannot lay windows over {frames} frames; a shot has 1 or more")
    if frames <= settings.length:
        return (tuple(range(frames)),)
    moving = settings.move or settings.schedule == "uniform"
    share = radical_inverse(step) if moving else 0.0
    largest = settings.stride if settings.schedule == "uniform" and settings.length > 1 else 1
    windows: list[tuple[int, ...]] = []
    stride = 1
    while stride <= largest:
        span = (settings.length - 1) * stride + 1
        if span > frames:
            break
        hop = (settings.length - settings.overlap) * stride
        for start in flush_starts(frames, span, hop, int(share * hop)):
            windows.append(tuple(range(start, start + span, stride)))
        stride *= 2
    return tuple(windows)


def flush_starts(extent: int, size: int, hop: int, offset: int = 0) -> tuple[int, ...]:
    """Lay intervals of one size over 0 … extent - 1 so that everything is covered and nothing sticks out.

    The grid is offset, offset + hop, …; what would begin before 0 or end behind `extent` is moved inside, so all
    intervals have full size.

    Args:
        extent: What to cover.
        size: Length of an interval, 1 … extent.
        hop: Distance of neighbouring starts, 1 … size.
        offset: Where the grid begins, 0 … hop - 1.

    Returns:
        Starts, strictly ascending; the first is 0, the last `extent` - `size`.
    """
    last = extent - size
    grid = range(offset - hop, last + hop, hop)
    return tuple(sorted({min(max(start, 0), last) for start in grid}))


def radical_inverse(index: int, base: int = 2) -> float:
    """Mirror the digits of a number at the point: 0, 1/2, 1/4, 3/4, 1/8, … for base 2.

    Any stretch of neighbouring indices is spread evenly over [0, 1) (van der Corput's sequence). In base 2 it is the
    ordered halving by which AnimateDiff's context scheduler moves its windows.

    Args:
        index: 0 or more.
        base: 2 or more; sequences of coprime bases move independently.

    Returns:
        A number in [0, 1).

    Raises:
        SettingsError: `index` is negative.
    """
    if index < 0:
        raise SettingsError(f"step is {index}; steps count from 0")
    value, digit = 0.0, 1.0 / base
    while index:
        index, rest = divmod(index, base)
        value += rest * digit
        digit /= base
    return value


def fuse_weights(window: Sequence[int], settings: WindowSettings) -> Tensor:
    """Say how much each frame of a window counts in the mean over windows.

    Args:
        window: Frame indices of the window; only their number matters.
        settings: `fuse` and, for "linear", `overlap`.

    Returns:
        (F,) float32, above 0, not normalised. "pyramid" is 1, 2, … , 2, 1, the weights of FreeNoise
        (arXiv:2310.15169).
    """
    count = len(window)
    rising = torch.arange(1, count + 1, dtype=torch.float32)
    to_edge = torch.minimum(rising, rising.flip(0))
    if settings.fuse == "flat":
        return torch.ones(count)
    if settings.fuse == "linear":
        return (to_edge / (settings.overlap + 1)).clamp(max=1.0)
    return to_edge
