"""Find transient dirt, dust, hair and blotches: what a frame shows and its neighbours do not.

`dirt_evidence` measures what stands out from the motion-compensated neighbours, for defects of one frame and for those
that stay in place, in film coordinates, for a few. Whether it is dirt or something that moves is judged spot by spot
(`dirt_spots`) or by a small network pixel by pixel (`dirt_features`, `dirt_network`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...arrays import Plane
from ...errors import SettingsError
from ...progress import Progress, silent
from ...video.buffers.bands import bands
from ...video.buffers.pictures import Clip
from ..motion.shot import ShotMotion
from ..motion.window import FrameWindow
from .comparisons import RADIUS as COMPARISON_RADIUS
from .comparisons import Comparisons
from .courses import Courses
from .evidence import Comparison, combine, same_sign
from .features import DirtFeatures
from .moving_objects import moving_spots
from .network import GRANULARITY, shared_network
from .spots import certainty_of, find_spots

LONGEST_LIFE = 3
"""Frames a defect may stay in place and still count as transient."""

RADIUS = COMPARISON_RADIUS + LONGEST_LIFE - 1
"""The mask of a frame depends on this many frames on each side."""

FAINTEST_THRESHOLD = 2.0
"""The lowest threshold of the settings, in grey levels."""

LARGEST_SHARE = 0.25
"""Share of a frame that dirt covers at most; what stands out over more is another picture: a flash or an insert."""

DIFFERS = "differs from both neighbours as a whole; no dirt was looked for in it"
"""Why a frame is left unmarked."""

MARKED_ALL_OVER = f"more than {LARGEST_SHARE:.0%} of it would be taken for dirt; nothing was marked in it"
"""Why a frame is left unmarked."""

Detector = Literal["weight-free", "learned"]
"""How dirt is told from what moves."""


@dataclass(frozen=True, kw_only=True)
class DirtJudgement:
    """What is decided about spots besides what the user sets.

    Attributes:
        least_certainty: Certainty (0 … 1) below which the costly search for a spot elsewhere is left out where
            probabilities are asked for: it is as good as sure that it is no dirt.
        doubtful: Probability (0 … 1) above which the network's pixels are joined to spots that are looked for in the
            neighbours. Lower joins neighbouring spots to one that has no twin.
        planes_in_work: Planes of single precision that the network and what it looks at take at their peak.
        greater_part: Share of a spot that decides about all of it; the rim of a letter looks like neither side of it.
        rim: Pixels on each side of the ellipse that a defect's soft rim may reach beyond what stands out: one wide.
        rim_level: Grey levels by which a rim differs visibly, and so belongs to the mask.
    """

    least_certainty: float = 0.02
    doubtful: float = 0.3
    planes_in_work: int = 100
    greater_part: float = 0.4
    rim: int = 3
    rim_level: float = 3.0


_JUDGE = DirtJudgement()
_RIM = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_JUDGE.rim, _JUDGE.rim))


@dataclass(frozen=True, kw_only=True)
class DirtSettings:
    """What counts as dirt.

    Attributes:
        threshold: Grey levels (0 … 255) by which dirt must stand out from everything its neighbours show around the
            place, in a calm region; grain and motion raise it. Lower looks at fainter dirt. 2 … 128. The learned
            detector judges that by itself and does without.
        certainty: How sure it must be that a spot is dirt and not something that moves, 0 … 1. Lower finds more dirt
            and takes more things that move for it.
        min_size: Defects of fewer pixels are left alone. 1 or more.
        grow: Pixels by which the mask is widened beyond what can be measured. 0 … 16.
        lifetime: A defect that stays in place for up to this many frames is found. 1 … 3.
        polarity: "dark" or "bright" restricts the search to one kind.
        detector: "weight-free" judges spots by a few measures of each, "learned" pixels by a network.
    """

    threshold: float = 4.0
    certainty: float = 0.5
    min_size: int = 3
    grow: int = 0
    lifetime: int = 3
    polarity: Literal["both", "dark", "bright"] = "both"
    detector: Detector = "learned"

    def __post_init__(self) -> None:
        if not FAINTEST_THRESHOLD <= self.threshold <= 128:
            raise SettingsError(f"dirt threshold is {self.threshold}; use {FAINTEST_THRESHOLD:g} … 128 grey levels")
        if not 0 <= self.certainty < 1:
            raise SettingsError(f"dirt certainty is {self.certainty}; use 0 or more and less than 1")
        if self.min_size < 1:
            raise SettingsError(f"dirt min_size is {self.min_size}; use 1 pixel or more")
        if not 0 <= self.grow <= 16:
            raise SettingsError(f"dirt grow is {self.grow}; use 0 … 16 pixels")
        if not 1 <= self.lifetime <= LONGEST_LIFE:
            raise SettingsError(f"dirt lifetime is {self.lifetime}; use 1 … {LONGEST_LIFE} frames")
        if self.polarity not in ("both", "dark", "bright"):
            raise SettingsError(f"dirt polarity is {self.polarity!r}; use 'both', 'dark' or 'bright'")
        if self.detector not in get_args(Detector):
            raise SettingsError(f"dirt detector is {self.detector!r}; use one of {', '.join(get_args(Detector))}")


def detect_dirt(
    frames: Tensor | Clip,
    settings: DirtSettings | None = None,
    *,
    protect: Tensor | None = None,
    keep: slice | None = None,
    motion: ShotMotion | None = None,
    first: int = 0,
    progress: Progress = silent,
    tell: Callable[[int, str], None] | None = None,
    judged: Callable[[int, Plane], None] | None = None,
) -> Tensor:
    """Find transient defects in a window of frames.

    Args:
        frames: (T, 3, H, W) RGB or (T, 1, H, W), [0, 1], all of one shot: a tensor, or a `Clip` that makes its frames
            when they are needed.
        settings: Defaults to `DirtSettings()`.
        protect: (T, H, W); non-zero pixels are never marked.
        keep: The frames whose masks are wanted; the others only serve as neighbours and cost less. None is all.
        motion: Of the shot that the frames are part of; None measures it on these frames alone.
        first: Position in the shot of the first of the frames, where its motion is given.
        progress: Called once per frame.
        tell: Called with the number of a frame, counted in `frames`, that is left unmarked as a whole, and why.
        judged: Called for every wanted frame with its number and how likely each pixel is dirt, as `dirt_probability`
            has it, (H, W) float32.

    Returns:
        (T, H, W) float32, 1 = dirt, 0 elsewhere and in frames outside `keep`. A shot of fewer than three distinct
        frames gives no references to judge by, and so an empty mask. Nor is anything marked in a frame that differs
        from both its neighbours as a whole, or that would be marked over more than `LARGEST_SHARE`.

    Raises:
        SettingsError: `frames` or `protect` has the wrong shape.
        WeightFileError: The file of the learned detector is missing or damaged.
    """
    settings = settings or DirtSettings()
    _check_frames(frames)
    count, _, height, width = frames.shape
    if protect is not None and tuple(protect.shape) != (count, height, width):
        raise SettingsError(
            f"the protect mask is {tuple(protect.shape)}, the frames need {(count, height, width)}; "
            "make it from these frames"
        )
    wanted = settings.certainty if judged is None else min(settings.certainty, _JUDGE.least_certainty)
    window = FrameWindow(frames, motion=motion, first=first)
    finder = _finder(Comparisons(window), settings, wanted=wanted)
    # Frames that are not asked for stay untouched, and take up no memory.
    masks = torch.from_numpy(np.zeros((count, height, width), np.float32))
    for index in range(count)[keep or slice(None)]:
        certainty = finder.certainty(index)
        if judged is not None:
            judged(index, certainty)
        found = (certainty >= np.float32(settings.certainty)) & (certainty > 0)
        whole = DIFFERS if finder.window.stands_apart(index) else MARKED_ALL_OVER
        if whole == DIFFERS or found.mean() > LARGEST_SHARE:
            found[:] = False
            if tell is not None:
                tell(index, whole)
        if settings.detector == "learned":
            found = _without_small(found, settings.min_size)
        if settings.grow:
            size = 2 * settings.grow + 1
            element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
            found = cv2.dilate(found.astype(np.uint8), element) > 0
        if protect is not None:
            found &= ~(protect[index].detach().cpu().numpy() > 0)
        masks[index] = torch.from_numpy(found.astype(np.float32))
        finder.forget(index + 1)
        progress("detect dirt", index + 1, count)
    return masks.to(frames.device)


def dirt_probability(
    frames: Tensor | Clip,
    settings: DirtSettings | None = None,
    *,
    keep: slice | None = None,
    motion: ShotMotion | None = None,
    first: int = 0,
    progress: Progress = silent,
) -> Tensor:
    """Tell how sure it is of every pixel that it is dirt.

    Where this is at least `DirtSettings.certainty`, `detect_dirt` with the same settings marks dirt, before it grows
    the mask and, after the learned detector, drops spots smaller than `min_size`.

    Args:
        frames: (T, 3, H, W) RGB or (T, 1, H, W), [0, 1], all of one shot.
        settings: What is looked at; `certainty` and `grow` play no part. None looks at the faintest spots too
            (`FAINTEST_THRESHOLD`), so that a precision-recall curve has both ends.
        keep: As for `detect_dirt`.
        motion: As for `detect_dirt`.
        first: As for `detect_dirt`.
        progress: Called once per frame.

    Returns:
        (T, H, W) float32 in 0 … 1, 0 in frames outside `keep`. Weight-free, the certainty of the spot that a pixel
        belongs to, 0 where there is none; learned, the larger of the network's outputs for dirt and for blotches.

    Raises:
        SettingsError: `frames` has the wrong shape.
        WeightFileError: The file of the learned detector is missing or damaged.
    """
    settings = settings or DirtSettings(threshold=FAINTEST_THRESHOLD)
    _check_frames(frames)
    count, _, height, width = frames.shape
    window = FrameWindow(frames, motion=motion, first=first)
    finder = _finder(Comparisons(window), settings, wanted=_JUDGE.least_certainty)
    result = torch.from_numpy(np.zeros((count, height, width), np.float32))
    for index in range(count)[keep or slice(None)]:
        result[index] = torch.from_numpy(finder.certainty(index))
        finder.forget(index + 1)
        progress("detect dirt", index + 1, count)
    return result.to(frames.device)


def _check_frames(frames: Tensor | Clip) -> None:
    if frames.ndim != 4 or frames.shape[1] not in (1, 3) or 0 in frames.shape:
        raise SettingsError(f"dirt detection needs frames (T, 3, H, W) with T ≥ 1; got {tuple(frames.shape)}")


def _finder(window: Comparisons, settings: DirtSettings, *, wanted: float) -> "_SpotFinder | _NetworkFinder":
    """Return what finds the dirt in a window; certainties below `wanted` need not be exact."""
    if settings.detector == "learned":
        return _NetworkFinder(window, settings)
    return _SpotFinder(window, settings, wanted=wanted)


def _without_small(found: NDArray[np.bool_], min_size: int) -> NDArray[np.bool_]:
    """Leave out spots of fewer pixels."""
    if min_size == 1 or not found.any():
        return found
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    kept = statistics[:, cv2.CC_STAT_AREA] >= min_size
    kept[0] = False
    return kept[parts]


def _spots_on(ground: NDArray[np.bool_], spots: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a ground (H, W) and all of the spots that lie on it for the greater part."""
    if not (ground & spots).any():
        return ground
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(spots.astype(np.uint8), connectivity=8)
    on = np.bincount(parts[ground], minlength=len(statistics))
    mostly = on > _JUDGE.greater_part * statistics[:, cv2.CC_STAT_AREA]
    mostly[0] = False
    return ground | mostly[parts]


class _NetworkFinder:
    """What the network says of each pixel."""

    def __init__(self, window: Comparisons, settings: DirtSettings) -> None:
        self.window, self._settings = window, settings
        self._features = DirtFeatures(window, lifetime=settings.lifetime)
        self._courses = Courses(window)
        self._network = shared_network()

    def certainty(self, index: int) -> Plane:
        """Return the probability of dirt at each pixel of a frame, (H, W) float32."""
        height, width = self.window.luma.shape[1:]
        found = np.zeros((height, width), np.float32)
        if not self.window.can_be_judged(index):
            return found
        for band in bands(height, width, self._network.reach, granularity=GRANULARITY, planes=_JUDGE.planes_in_work):
            planes = self._features.planes(index, band.around)
            if planes is None:
                return found
            found[band.rows] = self._network.probability(planes).amax(dim=0).numpy()[band.within(1)]
        found[
            self._moving(index, found) | _spots_on(self.window.arrives_or_leaves(index), found >= _JUDGE.doubtful)
        ] = 0.0
        found[self._courses.moving(index, found >= _JUDGE.doubtful)] = 0.0
        if self._settings.polarity != "both":
            bright = self._features.bright(index)
            found = np.where(bright if self._settings.polarity == "bright" else ~bright, found, np.float32(0))
        return found

    def _moving(self, index: int, certainty: Plane) -> NDArray[np.bool_]:
        """Tell which spots are seen elsewhere in a neighbour, (H, W)."""
        comparison = self.window.comparison(index)
        if comparison is None:
            return np.zeros(certainty.shape, bool)
        luma, (first, second) = self.window.luma, comparison.references
        excess = same_sign(comparison.sides[0].residual, comparison.sides[1].residual)
        ratio = (second - index) / (first - index)
        return moving_spots(certainty, _JUDGE.doubtful, luma[index], (luma[first], luma[second]), excess, ratio=ratio)

    def forget(self, before: int) -> None:
        """Give back the memory of what frames from `before` on do not need."""
        self._features.forget(before)
        self._courses.forget(before)
        self.window.forget(before)


class _SpotFinder:
    """Spots of every stretch of frames that a defect may live for, found once per stretch."""

    def __init__(self, window: Comparisons, settings: DirtSettings, *, wanted: float) -> None:
        self.window, self._settings, self._wanted = window, settings, wanted
        self._courses = Courses(window)
        self._found: dict[tuple[int, int], Plane] = {}

    def certainty(self, index: int) -> Plane:
        """Return the certainty of the spot at each pixel of a frame, (H, W) float32, 0 where there is none."""
        found: Plane = np.zeros(self.window.luma.shape[1:], np.float32)
        if not self.window.can_be_judged(index):
            return found
        for life in range(1, self._settings.lifetime + 1):
            for first in range(index - life + 1, index + 1):
                last = first + life - 1
                if first >= 0 and last < len(self.window.luma):
                    found = cv2.max(found, self._stretch(first, last))
        # Single pixels of a defect that happen to look right would stand as pepper in the fill.
        found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, _RIM)
        found[self._courses.moving(index, found >= _JUDGE.doubtful)] = 0.0
        return found

    def forget(self, before: int) -> None:
        """Give back the memory of what frames from `before` on do not need."""
        self._courses.forget(before)
        self.window.forget(before - LONGEST_LIFE + 1)
        for stretch in [stretch for stretch in self._found if stretch[1] < before]:
            del self._found[stretch]

    def _stretch(self, first: int, last: int) -> Plane:
        """What stands out in all frames first … last against the frame before and the frame after."""
        if (first, last) not in self._found:
            start, end = self.window.comparison(first), self.window.comparison(last)
            found = np.zeros(self.window.luma.shape[1:], np.float32)
            if start is not None and end is not None:
                adjoining = start.references[0] == first - 1 and end.references[1] == last + 1
                if first == last or adjoining:
                    found = self._judge(start, end, range(first, last + 1))
            self._found[first, last] = found
        return self._found[first, last]

    def _judge(self, start: Comparison, end: Comparison, stretch: range) -> Plane:
        evidence = combine(start.sides[0], end.sides[1])
        signs = {"both": (1, -1), "bright": (1,), "dark": (-1,)}[self._settings.polarity]
        spots = find_spots(evidence, threshold=self._settings.threshold, min_size=self._settings.min_size, signs=signs)
        references = start.references[0], end.references[1]
        luma = self.window.luma
        certainty = certainty_of(
            spots,
            [luma[index] for index in stretch],
            [luma[index] for index in references],
            wanted=self._wanted,
            one_sided=not references[0] < stretch[0] < references[1],
        )
        found = np.concatenate([[0.0], certainty]).astype(np.float32)[spots.labels]
        rim = cv2.dilate(found, _RIM)
        return np.where(np.abs(evidence.soft) > _JUDGE.rim_level, rim, found)
