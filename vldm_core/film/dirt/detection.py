"""Find transient damage: dirt, dust, hair, scratches of one frame, and blotches: what a frame shows and no other does.

What its neighbours show is brought to the frame along the motion (`looks`); a small network tells, from how the frame
differs from them (`features`), pixel by pixel what is damage. Spots that are seen to go their way are left.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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
from ..fill.atlas import Atlas
from ..motion.prediction import much_better
from ..motion.shot import ShotMotion
from ..motion.window import FrameWindow
from .courses import Courses
from .features import GRANULARITY, LONGEST_LIFE, DirtFeatures
from .features import RADIUS as FEATURES_RADIUS
from .looks import NeighbourLooks
from .moving_objects import moving_spots
from .network import KINDS, shared_network
from .parts import Parts
from .standing import arriving_or_leaving, staying

RADIUS = FEATURES_RADIUS + 1
"""The mask of a frame depends on this many frames on each side."""

LARGEST_SHARE = 0.25
"""Share of a frame that dirt covers at most; what stands out over more is another picture: a flash or an insert."""

DIFFERS = "differs from both neighbours as a whole; no dirt was looked for in it"
"""Why a frame is left unmarked."""

MARKED_ALL_OVER = f"more than {LARGEST_SHARE:.0%} of it would be taken for dirt; nothing was marked in it"
"""Why a frame is left unmarked."""


@dataclass(frozen=True, kw_only=True)
class DirtJudgement:
    """What is decided about spots besides what the user sets.

    Attributes:
        doubtful: Probability (0 … 1) above which pixels are joined to spots that are looked for in the neighbours.
            Lower joins neighbouring spots to one that has no twin.
        doubtful_at_ends: The same where `ends` is added, which makes spots wider.
        shortest_scratch: Pixels that a scratch is long at least, along rows or columns; shorter ones are found as dirt.
        least_evidence: By how many deviations of the grain a spot of dirt or a blotch stands out on the average, times
            the negative logarithm of the mean probability that it is none, at least: what grain of a scan or a codec
            clumps to looks like a blotch, and is hardly more than the rest of it. Scratches are fainter.
        ends: Logits added to the network's for dirt, scratches and blotches where all neighbours lie on one side: it
            saw few such frames, and is too careful there.
        greater_part: Share of a spot that decides about all of it; the rim of a letter looks like neither side of it.
        planes_in_work: Planes of single precision that the network and what it looks at take at their peak.
    """

    planes_in_work: int = 70
    doubtful: float = 0.3
    doubtful_at_ends: float = 0.5
    shortest_scratch: int = 20
    least_evidence: float = 3.0
    ends: tuple[float, float, float] = (1.5, 0.5, 0.0)
    greater_part: float = 0.4


_JUDGE = DirtJudgement()


@dataclass(frozen=True, kw_only=True)
class DirtSettings:
    """What counts as dirt.

    Attributes:
        certainty: How sure it must be that a pixel is damaged and shows nothing that moves, 0 … 1. Lower finds more
            and takes more things that move for dirt.
        min_size: Defects of fewer pixels are left alone. 1 or more.
        max_size: Defects of more pixels are left alone, and so is what they are joined to; None is no limit.
        grow: Pixels by which the mask is widened beyond what can be measured. 0 … 16.
        lifetime: A defect that stays in place for up to this many frames is found. 1 … 3.
        polarity: "dark" or "bright" restricts the search to one kind.
    """

    certainty: float = 0.5
    min_size: int = 3
    max_size: int | None = None
    grow: int = 0
    lifetime: int = 3
    polarity: Literal["both", "dark", "bright"] = "both"

    def __post_init__(self) -> None:
        if not 0 <= self.certainty < 1:
            raise SettingsError(f"dirt certainty is {self.certainty}; use 0 or more and less than 1")
        if self.min_size < 1:
            raise SettingsError(f"dirt min_size is {self.min_size}; use 1 pixel or more")
        if self.max_size is not None and self.max_size < self.min_size:
            raise SettingsError(
                f"dirt max_size is {self.max_size}; use no less than min_size, which is {self.min_size}, or no limit"
            )
        if not 0 <= self.grow <= 16:
            raise SettingsError(f"dirt grow is {self.grow}; use 0 … 16 pixels")
        if not 1 <= self.lifetime <= LONGEST_LIFE:
            raise SettingsError(f"dirt lifetime is {self.lifetime}; use 1 … {LONGEST_LIFE} frames")
        if self.polarity not in ("both", "dark", "bright"):
            raise SettingsError(f"dirt polarity is {self.polarity!r}; use 'both', 'dark' or 'bright'")


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
        WeightFileError: The file of the network is missing or damaged.
    """
    settings = settings or DirtSettings()
    _check_frames(frames)
    count, _, height, width = frames.shape
    if protect is not None and tuple(protect.shape) != (count, height, width):
        raise SettingsError(
            f"the protect mask is {tuple(protect.shape)}, the frames need {(count, height, width)}; "
            "make it from these frames"
        )
    finder = _Finder(NeighbourLooks(FrameWindow(frames, motion=motion, first=first)), settings)
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
        found = _of_size(found, settings)
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

    Where this is at least `DirtSettings.certainty`, `detect_dirt` with the same settings marks dirt, before it drops
    spots by their size and grows the mask.

    Args:
        frames: (T, 3, H, W) RGB or (T, 1, H, W), [0, 1], all of one shot.
        settings: What is looked at; `certainty`, the sizes and `grow` play no part.
        keep: As for `detect_dirt`.
        motion: As for `detect_dirt`.
        first: As for `detect_dirt`.
        progress: Called once per frame.

    Returns:
        (T, H, W) float32 in 0 … 1, 0 in frames outside `keep`: the largest of the network's outputs for dirt, for
        scratches of one frame and for blotches.

    Raises:
        SettingsError: `frames` has the wrong shape.
        WeightFileError: The file of the network is missing or damaged.
    """
    _check_frames(frames)
    count, _, height, width = frames.shape
    finder = _Finder(NeighbourLooks(FrameWindow(frames, motion=motion, first=first)), settings or DirtSettings())
    result = torch.from_numpy(np.zeros((count, height, width), np.float32))
    for index in range(count)[keep or slice(None)]:
        result[index] = torch.from_numpy(finder.certainty(index))
        finder.forget(index + 1)
        progress("detect dirt", index + 1, count)
    return result.to(frames.device)


def _check_frames(frames: Tensor | Clip) -> None:
    if frames.ndim != 4 or frames.shape[1] not in (1, 3) or 0 in frames.shape:
        raise SettingsError(f"dirt detection needs frames (T, 3, H, W) with T ≥ 1; got {tuple(frames.shape)}")


def _of_size(found: NDArray[np.bool_], settings: DirtSettings) -> NDArray[np.bool_]:
    """Leave out spots of fewer or more pixels than are wanted."""
    if (settings.min_size == 1 and settings.max_size is None) or not found.any():
        return found
    parts = Parts(found)
    kept = parts.areas >= settings.min_size
    if settings.max_size is not None:
        kept &= parts.areas <= settings.max_size
    return parts.spread(kept)


def _drop_short(scratch: Plane) -> None:
    """Take what is too short for a scratch out of its probability (H, W): grain forms short lines everywhere."""
    parts = Parts(scratch >= _JUDGE.doubtful)
    short = parts.boxes[:, 2:].max(axis=1) < _JUDGE.shortest_scratch
    scratch.ravel()[parts.places[short[parts.numbers]]] = 0.0


def _drop_weak(probability: Plane, over: Plane) -> None:
    """Take spots that stand out of the grain too little out of their probability (H, W); `over` in its deviations."""
    parts = Parts(probability >= _JUDGE.doubtful)
    sureness = -np.log(np.maximum(1 - parts.means(probability.ravel()[parts.places]), np.finfo(np.float32).eps))
    weak = sureness * np.abs(parts.means(over.ravel()[parts.places])) < _JUDGE.least_evidence
    probability.ravel()[parts.places[weak[parts.numbers]]] = 0.0


def _with_logits(probability: Plane, added: float) -> Plane:
    """Return probabilities with something added to their logits."""
    odds = probability * np.float32(np.exp(added))
    return odds / (odds + (1 - probability))


class _Finder:
    """What the network says of each pixel, without what is seen to move."""

    def __init__(self, window: NeighbourLooks, settings: DirtSettings) -> None:
        self.window, self._settings = window, settings
        self._features = DirtFeatures(window, lifetime=settings.lifetime)
        self._courses = Courses(self._features)
        self._network = shared_network()

    def certainty(self, index: int) -> Plane:
        """Return the probability of damage at each pixel of a frame, (H, W) float32."""
        height, width = self.window.luma.shape[1:]
        kinds = np.zeros((len(KINDS), height, width), np.float32)
        if not self.window.can_be_judged(index):
            return kinds[0]
        for band in bands(height, width, self._network.reach, granularity=GRANULARITY, planes=_JUDGE.planes_in_work):
            planes = self._features.planes(index, band.around)
            if planes is None:
                return kinds[0]
            kinds[:, band.rows] = self._network.probability(planes).numpy()[:, band.within(1), :width]
        if self._features.one_sided(index):
            for plane, added in zip(kinds, _JUDGE.ends, strict=True):
                plane[:] = _with_logits(plane, added)
        _drop_short(kinds[KINDS.index("scratch")])
        over = self._features.over_grain(index)
        for kind in ("dirt", "blotch"):
            _drop_weak(kinds[KINDS.index(kind)], over)
        if self._settings.polarity != "both":
            bright = self._features.bright(index)
            kinds[~bright if self._settings.polarity == "bright" else bright] = 0.0
        found: Plane = kinds.max(axis=0)
        joined = _JUDGE.doubtful_at_ends if self._features.one_sided(index) else _JUDGE.doubtful
        if (found >= _JUDGE.doubtful).any():
            found[self._standing(index, found)] = 0.0
            found[self._moving(index, found, joined)] = 0.0
            found[self._courses.moving(index, found >= joined)] = 0.0
        return found

    def _standing(self, index: int, certainty: Plane) -> NDArray[np.bool_]:
        """Tell what stands still for long, moves as the picture does as a whole, or comes or goes and stays, (H, W).

        Only what may be dirt is looked at.
        """
        pair, residuals = self.window.nearest(index), self._features.residuals(index)
        standing = np.zeros(certainty.shape, bool)
        if pair is None or residuals is None:
            return standing
        atlas = Atlas.of(certainty >= min(_JUDGE.doubtful, self._settings.certainty))
        spots = self.window.spots(atlas)
        frame, grain = spots.luma(index), self.window.frames.grain(index)
        before, after = (atlas.cut(residual) for residual in residuals)
        still = np.zeros(frame.shape, bool)
        for other, residual in zip(pair, (before, after), strict=True):
            unmoved = spots.unmoved(index, other)
            still |= spots.same_place(index, other) & much_better(frame, unmoved, frame - residual, grain)
        stays = staying(index, len(self.window.luma), lambda other: spots.same_place(index, other))
        still &= stays
        # Dirt does not stay as long as to show in these, however the picture moves as a whole.
        for step, residual in zip((-LONGEST_LIFE, LONGEST_LIFE), (before, after), strict=True):
            if 0 <= index + step < len(self.window.luma):
                still |= much_better(frame, spots.carried(index, index + step), frame - residual, grain)
        standing[atlas.place] = (stays & arriving_or_leaving(before, after))[atlas.own]
        parts = Parts(certainty >= _JUDGE.doubtful)
        whole = parts.shares(standing.ravel()[parts.places]) > _JUDGE.greater_part
        standing[atlas.place] |= still[atlas.own]
        return standing | parts.spread(whole)

    def _moving(self, index: int, certainty: Plane, joined: float) -> NDArray[np.bool_]:
        """Tell which spots are seen elsewhere in a neighbour, (H, W)."""
        pair, alone = self.window.nearest(index), self._features.standing_out(index)
        if pair is None or alone is None:
            return np.zeros(certainty.shape, bool)
        luma, (first, second) = self.window.luma, pair
        ratio = (second - index) / (first - index)
        excess = alone.excess.astype(np.float32)
        return moving_spots(certainty, joined, luma[index], (luma[first], luma[second]), excess, ratio=ratio)

    def forget(self, before: int) -> None:
        """Give back the memory of what frames from `before` on do not need."""
        self._features.forget(before)
        self._courses.forget(before)
        self.window.forget(before)
