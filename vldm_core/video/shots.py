"""Shots: where one take ends and the next begins, in film that flickers, flashes and is dirty.

Built on PySceneDetect. Its detectors compare neighbouring frames, and old film gives them every reason to cut where
nothing was cut: brightness flickers, single frames are white, black or burnt, dirt comes in bursts, the gate jumps.
So detection has two steps:

1. *Suspicion.* PySceneDetect's content and hash detectors run, at low thresholds, on small copies of the frames whose
   brightness and contrast are normalised; a jump in tone is suspicious too. Few cuts escape; most suspicions are wrong.
2. *Confirmation.* A cut before frame t is confirmed when **no** frame among the last few before t looks like **any**
   frame among the next few. A flash, a burn or a dirt burst passes and the scene comes back, so some pair matches; a
   cut is for good. What comes and goes sooner is a shot only where it shows a picture of its own for two frames or
   more: full of structure, like itself, and unlike everything on either side. Two frames are alike when their blocks
   find each other within a search range under normalised correlation, which ignores gain, offset, gate jumps and the
   motion of camera and subjects.

Dissolves change no two neighbouring frames much and are not cut: both shots stay one. So do fades, unless the picture
is gone completely in between. The same scene in another tint is the same shot.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scenedetect import FrameTimecode
from scenedetect.detector import SceneDetector
from scenedetect.detectors import ContentDetector, HashDetector
from torch import Tensor

from ..errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class SmallComparison:
    """How two frames are compared, made small so that grain, dirt and weave hardly count.

    Attributes:
        width: Pixels of the small frame.
        height: Least and largest height in pixels of it, for frames of unusual shape.
        rows: Blocks from top to bottom that are looked for in the other frame.
        columns: Blocks from left to right.
        search: Share of the small width by which content may move between two frames.
        half_weight_variance: Grey levels² of the small frame, variance at which a block counts half: grain leaves about
            0.1 there.
        detail_sigma: Share of the small width: what is smoother than a Gaussian of this deviation may be a flicker
            field and is taken out.
        flat_deviation: Grey levels, deviation of a block up to which it shows nothing that could be found.
        tone_weight: Blocks that the comparison of brightness and colour counts for, which decides between frames
            without structure.
    """

    width: int = 80
    height: tuple[int, int] = (32, 128)
    rows: int = 4
    columns: int = 5
    search: float = 0.1
    half_weight_variance: float = 3.0
    detail_sigma: float = 0.075
    flat_deviation: float = 0.3
    tone_weight: float = 1.5


@dataclass(frozen=True, kw_only=True)
class CutSuspicion:
    """When a cut is suspected at all, and looked at closely; low, for what is missed here is missed.

    Attributes:
        content: Threshold of PySceneDetect's content detector, in its units, mean change of hue, saturation and
            brightness in levels; its own default is 27.
        hash: Share of the bits of a perceptual hash that differ; the default is 0.395.
        tone: Change of brightness and colour beyond what flicker does, 0 … 1.
    """

    content: float = 12.0
    hash: float = 0.2
    tone: float = 0.3


@dataclass(frozen=True, kw_only=True)
class BriefShots:
    """What tells a shot of a few frames from a flash.

    Attributes:
        blank: Share of the structure usual around it below which a frame is a flash or black.
        shortest_end: Frames of a first or last shot at least: it may be shorter than the minimum, but not as short as a
            flash.
        shortest: Frames of a shot that is as short as a flash, but shows a picture of its own. One frame alone may be
            anything.
        coherent: Share of the threshold of a cut by which its frames differ from each other at most.
        least_structure: Blocks of the 20 that show something in it, at least: a flash or a burn has fewer.
    """

    blank: float = 0.2
    shortest_end: int = 3
    shortest: int = 2
    coherent: float = 0.6
    least_structure: float = 5.0


_SMALL = SmallComparison()
_SUSPICION = CutSuspicion()
_BRIEF = BriefShots()


@dataclass(frozen=True, order=True)
class Shot:
    """Frames `first` … `last` - 1 of a film, counted from 0."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.last:
            raise SettingsError(f"a shot needs 0 ≤ first < last; got first {self.first}, last {self.last}")

    def __len__(self) -> int:
        return self.last - self.first


def covering_shots(shots: Iterable[Shot] | None, count: int) -> tuple[Shot, ...]:
    """Check that shots cover a clip in order; None is one shot.

    Args:
        shots: Shots in frame numbers of the clip.
        count: Frames of the clip, 1 or more.

    Returns:
        The shots.

    Raises:
        SettingsError: There is no frame, a gap or an overlap, or the last shot does not end with the clip.
    """
    if count < 1:
        raise SettingsError(f"the clip has {count} frames; at least one is needed")
    spans = (Shot(0, count),) if shots is None else tuple(shots)
    position = 0
    for shot in spans:
        if shot.first != position:
            raise SettingsError(f"shots must follow each other without gaps; {shot} comes after frame {position}")
        position = shot.last
    if position != count:
        raise SettingsError(
            f"the shots cover {position} frames but there are {count}; detect the shots on the same frames"
        )
    return spans


@dataclass(frozen=True, kw_only=True)
class ShotSettings:
    """How a cut is told from flicker, flashes, dirt and motion.

    Attributes:
        threshold: How unlike, 0 … 1, the frames on both sides must be. Lower finds more cuts between similar pictures
            and risks cutting in very fast motion.
        min_length: What tells a cut from a flash: what is over in fewer than `min_length` - 1 frames, at the ends of
            the film in fewer than 3, is a shot only where it shows a picture of its own, for 2 frames or more.
    """

    threshold: float = 0.275
    min_length: int = 6

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise SettingsError(f"shot threshold is {self.threshold}; use a value between 0 and 1")
        if self.min_length < 2:
            raise SettingsError(f"shot min_length is {self.min_length}; use 2 frames or more")


class _Look:
    """A small copy of a frame, and what is compared of it."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        height, width = image.shape[:2]
        factor = max(1, width // _SMALL.width)
        small_height, small_width = height // factor, width // factor
        if small_height < _SMALL.height[0] or small_height > _SMALL.height[1] or small_width < _SMALL.width // 2:
            small_height = min(max(round(height * _SMALL.width / width), _SMALL.height[0]), _SMALL.height[1])
            reduced = cv2.resize(image, (_SMALL.width, small_height), interpolation=cv2.INTER_AREA)
        else:
            # A whole factor is reduced several times faster than an arbitrary one.
            top, left = (height - small_height * factor) // 2, (width - small_width * factor) // 2
            part = image[top : top + small_height * factor, left : left + small_width * factor]
            reduced = cv2.resize(part, (small_width, small_height), interpolation=cv2.INTER_AREA)
        self.colour = cv2.medianBlur(reduced, 3)
        self.luma = cv2.cvtColor(self.colour, cv2.COLOR_RGB2GRAY).astype(np.float32)
        self.detail = self.luma - cv2.GaussianBlur(self.luma, (0, 0), _SMALL.detail_sigma * self.luma.shape[1])

    def normalised(self) -> NDArray[np.uint8]:
        """BGR picture with the brightness and contrast of the luma made the same for all frames."""
        mean, deviation = cv2.meanStdDev(self.luma)
        gain = 48.0 / max(float(deviation[0, 0]), 2.0)
        scaled = cv2.addWeighted(self.colour, gain, self.colour, 0.0, 128.0 - gain * float(mean[0, 0]))
        return cast(NDArray[np.uint8], cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR))

    @cached_property
    def blocks(self) -> list[tuple[slice, slice]]:
        height, width = self.luma.shape
        rows = np.linspace(0, height, _SMALL.rows + 1).round().astype(int)
        columns = np.linspace(0, width, _SMALL.columns + 1).round().astype(int)
        return [
            np.s_[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
            for i in range(_SMALL.rows)
            for j in range(_SMALL.columns)
        ]

    @cached_property
    def deviations(self) -> NDArray[np.float64]:
        """Contrast of every block, from the mean absolute deviation, in which a few specks of dirt count little."""
        parts = [self.detail[block] for block in self.blocks]
        return np.array([1.2533 * np.abs(part - np.median(part)).mean() for part in parts])

    @cached_property
    def structure(self) -> float:
        """How many blocks show something."""
        return float((np.square(self.deviations) / (np.square(self.deviations) + _SMALL.half_weight_variance)).sum())

    @cached_property
    def tone(self) -> tuple[float, float, float]:
        """Median luma, and red and blue against it."""
        red, _, blue = (float(np.median(self.colour[::2, ::2, i])) for i in range(3))
        luma = float(np.median(self.luma[::2, ::2]))
        return luma, red - luma, blue - luma


def _unlike(before: _Look, after: _Look) -> float:
    """Tell how unlike two frames are, 0 … 1.

    Every block of `before` is searched in `after` by normalised correlation; a block counts by its contrast, or by
    that of the same place in the other frame. Frames without structure are compared by their tone.
    """
    _height, width = before.detail.shape
    reach = max(2, round(_SMALL.search * width))
    around = cv2.copyMakeBorder(after.detail, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    variance = np.square(np.maximum(before.deviations, after.deviations))
    weights = variance / (variance + _SMALL.half_weight_variance)
    loss = 0.0
    for block, deviation, weight in zip(before.blocks, before.deviations, weights, strict=True):
        match = 0.0
        if deviation > _SMALL.flat_deviation and weight > 0:
            rows, columns = block
            field = around[rows.start : rows.stop + 2 * reach, columns.start : columns.stop + 2 * reach]
            match = float(cv2.matchTemplate(field, before.detail[block], cv2.TM_CCOEFF_NORMED).max())
        loss += weight * (1.0 - min(max(match, 0.0), 1.0))
    return (loss + _SMALL.tone_weight * _tone_change(before, after)) / (float(weights.sum()) + _SMALL.tone_weight)


def _tone_change(before: _Look, after: _Look) -> float:
    """Change of brightness and colour beyond what flicker does, 0 … 1."""
    (luma_a, red_a, blue_a), (luma_b, red_b, blue_b) = before.tone, after.tone
    brightness = abs(luma_a - luma_b) / (luma_a + luma_b + 16.0)
    colour = max(abs(red_a - red_b), abs(blue_a - blue_b))
    return min(max((brightness - 0.2) / 0.4, (colour - 8.0) / 24.0, 0.0), 1.0)


def _blank(looks: list[_Look]) -> list[bool]:
    """Tell which frames show far less than most of their neighbours on one side of a suspected cut."""
    usual = float(np.median([look.structure for look in looks]))
    return [look.structure < _BRIEF.blank * usual for look in looks]


class FilmCutDetector(SceneDetector):
    """A PySceneDetect detector for old film; also usable in a `scenedetect.SceneManager`.

    A cut is reported `min_length` - 2 frames after it happened, so memory is bounded by twice that many small frames.
    """

    def __init__(self, settings: ShotSettings | None = None) -> None:
        super().__init__()
        self._settings = settings or ShotSettings()
        self._content = ContentDetector(threshold=_SUSPICION.content, min_scene_len=0)
        self._hash = HashDetector(threshold=_SUSPICION.hash, min_scene_len=0)
        self._reach = self._settings.min_length - 1
        self._looks: deque[_Look] = deque(maxlen=2 * self._reach)
        self._suspects: deque[tuple[int, FrameTimecode]] = deque()
        self._count = 0
        self._last_cut = 0

    @property
    def event_buffer_length(self) -> int:
        """Frames by which a reported cut may lie in the past."""
        return self._reach

    def process_frame(self, timecode: FrameTimecode, frame_img: NDArray[np.uint8]) -> list[FrameTimecode]:
        """Take the next frame.

        Args:
            timecode: Position of the frame.
            frame_img: (H, W, 3) uint8, BGR.

        Returns:
            Positions of cuts that are now certain: the first frames of new shots.
        """
        return self.process_rgb(timecode, np.ascontiguousarray(frame_img[..., ::-1]))

    def process_rgb(self, timecode: FrameTimecode, image: NDArray[np.uint8]) -> list[FrameTimecode]:
        """Take the next frame, (H, W, 3) uint8 RGB; else like `process_frame`."""
        look = _Look(image)
        normalised = look.normalised()
        # Both detectors must see every frame, so no short-circuit.
        suspicions = self._content.process_frame(timecode, normalised) + self._hash.process_frame(timecode, normalised)
        # Frames without structure are all alike once normalised; there only the tone tells.
        if self._looks and (suspicions or _tone_change(self._looks[-1], look) > _SUSPICION.tone):
            self._suspects.append((self._count, timecode))
        self._looks.append(look)
        self._count += 1
        return self._confirm(self._count - self._reach)

    def skip(self, count: int) -> None:
        """Go on after a failure in the last of ``count`` frames, as if it were like the one before."""
        if self._count < count:
            self._looks.extend(list(self._looks)[-1:])
            self._count = count

    def post_process(self, timecode: FrameTimecode) -> list[FrameTimecode]:
        """Decide about the last frames with what there is; see `process_frame`."""
        cuts = self._confirm(self._count - min(_BRIEF.shortest_end, self._settings.min_length))
        while self._suspects:
            index, timecode = self._suspects.popleft()
            if self._is_short_shot(index, self._count) and self._for_good(index):
                cuts.append(self._cut(index, timecode))
        return cuts

    def _confirm(self, newest: int) -> list[FrameTimecode]:
        """Decide about the suspects up to frame `newest`."""
        cuts = []
        while self._suspects and self._suspects[0][0] <= newest:
            index, timecode = self._suspects.popleft()
            least = self._settings.min_length if self._last_cut else min(_BRIEF.shortest_end, self._settings.min_length)
            long_enough = index - self._last_cut >= least or self._is_short_shot(self._last_cut, index)
            if not long_enough:
                continue
            if self._for_good(index):
                # A damaged last frame differs from its own shot enough to be taken for the first of the next.
                while (
                    self._suspects
                    and self._suspects[0][0] == index + 1 <= self._count - _BRIEF.shortest_end
                    and self._belongs_before(index)
                    and self._for_good(index + 1)
                ):
                    index, timecode = self._suspects.popleft()
                cuts.append(self._cut(index, timecode))
            elif any(self._is_insertion(index, end) for end, _ in self._suspects):
                cuts.append(self._cut(index, timecode))
        return cuts

    def _cut(self, index: int, timecode: FrameTimecode) -> FrameTimecode:
        self._last_cut = index
        return timecode

    def _is_insertion(self, index: int, end: int) -> bool:
        """Tell whether the frames from `index` to `end` are a short shot after which the one before it goes on."""
        if not _BRIEF.shortest <= end - index < self._reach + 1 or end >= self._count:
            return False
        before, _ = self._sides(index)
        _, after = self._sides(end)
        inside = self._between(index, end)
        around = [*before, *after]
        return self._is_short_shot(index, end) and all(
            _unlike(look, other) >= self._settings.threshold for look in inside for other in around
        )

    def _is_short_shot(self, index: int, end: int) -> bool:
        """Tell whether the frames from `index` to `end` show a picture of their own, whatever is around them."""
        inside = self._between(index, end)
        if not _BRIEF.shortest <= end - index == len(inside):
            return False
        oldest = self._count - len(self._looks)
        usual = float(np.median([look.structure for look in list(self._looks)[max(0, index - oldest - self._reach) :]]))
        full = all(
            look.structure >= _BRIEF.blank * usual and look.structure >= _BRIEF.least_structure for look in inside
        )
        alike = (_unlike(one, other) for one, other in pairwise(inside))
        return full and max(alike) < _BRIEF.coherent * self._settings.threshold

    def _between(self, index: int, end: int) -> list[_Look]:
        """The frames from `index` to `end` as far as they are held."""
        oldest = self._count - len(self._looks)
        return list(self._looks)[max(0, index - oldest) : max(0, end - oldest)]

    def _for_good(self, index: int) -> bool:
        """Tell whether no frame just before `index` is like any frame from it on."""
        before, after = self._sides(index)
        # A flash before the cut and a flash after it look alike and tell nothing.
        blank_before, blank_after = _blank(before), _blank(after)
        # Nearest pairs first: they are the likeliest to match and end the search.
        pairs = sorted((i + j, i, j) for i in range(len(before)) for j in range(len(after)))
        return all(
            _unlike(before[i], after[j]) >= self._settings.threshold
            for _, i, j in pairs
            if not (blank_before[i] and blank_after[j])
        )

    def _belongs_before(self, index: int) -> bool:
        """Tell whether frame `index` is more like the frames before it than like those after it."""
        before, (look, *after) = self._sides(index)
        return min(_unlike(other, look) for other in before) < min(_unlike(look, other) for other in after)

    def _sides(self, index: int) -> tuple[list[_Look], list[_Look]]:
        """The frames of this shot before `index`, nearest first, and those from it on."""
        oldest = self._count - len(self._looks)
        looks = list(self._looks)
        first = max(index - self._reach, self._last_cut, oldest)
        before = looks[first - oldest : index - oldest][::-1]
        return before, looks[index - oldest : index - oldest + self._reach]


class ShotDetector:
    """Finds the shots of a film frame by frame, at bounded memory.

    >>> detector = ShotDetector()
    >>> for frame in frames:
    ...     detector.update(frame)
    >>> shots = detector.finish()
    """

    def __init__(self, settings: ShotSettings | None = None) -> None:
        self._detector = FilmCutDetector(settings)
        self._cuts: list[int] = []
        self._count = 0

    def update(self, frame: Tensor | NDArray) -> tuple[int, ...]:
        """Take the next frame.

        Args:
            frame: Tensor (3, H, W) in [0, 1]; or array (H, W, 3) RGB, uint8, or uint16 over the full 16 bits.

        Returns:
            Cuts that became certain with this frame: indices of first frames of new shots.

        Raises:
            SettingsError: The frame has another layout.
        """
        cuts = self._detector.process_rgb(FrameTimecode(self._count, fps=24.0), _as_bytes(frame))
        self._count += 1
        return self._take(cuts)

    def finish(self) -> tuple[Shot, ...]:
        """Return the shots of all frames seen: in order, without gaps; empty if there was no frame."""
        if self._count == 0:
            return ()
        self._take(self._detector.post_process(FrameTimecode(self._count - 1, fps=24.0)))
        borders = [0, *self._cuts, self._count]
        return tuple(Shot(first, last) for first, last in pairwise(borders))

    def skip(self) -> None:
        """Take a frame that could not be looked at, as one like the frame before."""
        self._count += 1
        self._detector.skip(self._count)

    def _take(self, cuts: list[FrameTimecode]) -> tuple[int, ...]:
        found = tuple(cut.frame_num for cut in cuts)
        self._cuts.extend(found)
        return found


def _as_bytes(frame: Tensor | NDArray) -> NDArray[np.uint8]:
    """Bring a frame to (H, W, 3) uint8 RGB."""
    if isinstance(frame, Tensor):
        if frame.ndim != 3 or frame.shape[0] != 3:
            raise SettingsError(f"shot detection needs tensors (3, H, W); got {tuple(frame.shape)}")
        pixels = (frame.detach() * 255.0).round().clamp(0, 255).to("cpu", torch.uint8)
        return cast(NDArray[np.uint8], pixels.permute(1, 2, 0).contiguous().numpy())
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype not in (np.uint8, np.uint16):
        raise SettingsError(
            f"shot detection needs arrays (H, W, 3) of uint8 or uint16; got {frame.shape} of {frame.dtype}"
        )
    return cast(NDArray[np.uint8], frame if frame.dtype == np.uint8 else (frame >> 8).astype(np.uint8))
