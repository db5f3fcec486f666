"""Brightness flicker: measured over a shot, then taken out frame by frame.

Every frame is compared with the frame before and the one before that, each moved to where the scene is now
(:mod:`.brightness`), so that a pan over a bright wall or an object that enters is not taken for flicker, and a light
that explains the difference is fitted (:mod:`.model`). The changes are summed up to a path of gain, contrast and
spatial field; its slow part (:mod:`.path`) is the film's own and stays, as do events of the story (:mod:`.events`), and
of the rest is taken out what stands out of its error and brings the frames closer together (:mod:`.check`). In stages:
what differs across the frame goes only where that helps beyond what holds for all of it, and that only where it helps
beyond nothing. The tracks describe frames as they lie on the film, so flicker is removed before the picture is moved
by :mod:`.stabilise`.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...arrays import DoubleArray, FloatArray
from ...errors import SettingsError
from ...video.luma import luma_array
from ..motion.scene import FrameMotion
from .brightness import PIVOT, CellChange, compare, displacement, reduce
from .check import permitted
from .events import find_events, with_dying_light
from .model import BrightnessModel, field_strength, spline_basis
from .path import believed, bridged_over, fast_part, summed_path

RADIUS = 0
"""A frame is corrected by the track alone."""


@dataclass(frozen=True, kw_only=True)
class FlickerLimits:
    """What is measured of the flicker of a shot, and how much of it may be taken out.

    Attributes:
        rows: Control points of the field from top to bottom. More follow finer patches of light, and objects too.
        columns: Control points from left to right.
        largest_log_gain: Natural logarithm of the largest gain taken out, a factor of 4: what is larger is an error of
            measurement, or would bring up nothing but noise.
        largest_contrast: Largest change of the exponent of the gamma curve, a share of 1.
        event_rounds: Times that events are looked for in what the slow part without those known leaves. A round
            finds what a stronger event hid; the search ends before where a round finds nothing.
        parts: Parts of the frame, down and across, whose light is judged for events: small enough for a lamp in one.
        part_samples: Points of a part of the frame, in a row, over which the mean of a smooth spline is taken.
    """

    rows: int = 8
    columns: int = 8
    largest_log_gain: float = 1.4
    largest_contrast: float = 0.3
    event_rounds: int = 4
    parts: int = 4
    part_samples: int = 16


@dataclass(frozen=True, kw_only=True)
class WhiteAndBlack:
    """Where the model of the light ends: in black, and in whites that were cut off.

    Attributes:
        darkest: Of [0, 1], luma below which the contrast term gives no more gain: it would bring up noise without end.
        clipped: Of [0, 1]; a frame whose whites reach this level may have lost what was brighter. Lower spares
            more of bright picture the correction, higher turns clipped whites grey that coding took a level off.
        share: Share of a frame's pixels that exceed its white: more than specks of dust, less than a small lamp.
        span: Frames on each side among which an unclipped white is looked for.
        blur: Pixels over which the mask of clipped whites is softened, so that it has no edge of its own. Odd.
    """

    darkest: float = 0.02
    clipped: float = 0.985
    share: float = 0.001
    span: int = 12
    blur: int = 5


_LIMITS = FlickerLimits()
_WHITES = WhiteAndBlack()


@dataclass(frozen=True, kw_only=True)
class FlickerSettings:
    """How flicker is taken out.

    Attributes:
        strength: Share of the measured flicker that is taken out, 0..1; 0 leaves the frames bit-identical.
        spatial: Whether flicker that differs between parts of the frame is measured, or that of the whole frame only.
        period: Brightness changes that take longer than this many frames are the film's own and stay, 4..1000.
        flash: A change of light by more than this factor that comes and goes, in the whole frame or a part of it, is an
            event of the story and stays, such as lightning; 1.1..10. Flicker of old film stays below 1.2 as a rule;
            10 takes any flash out.

    Raises:
        SettingsError: A value is out of its range.
    """

    strength: float = 1.0
    spatial: bool = True
    period: float = 24.0
    flash: float = 1.4

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise SettingsError(f"flicker strength must lie in 0..1, got {self.strength}; 1 removes all of it")
        if not 4 <= self.period <= 1000:
            raise SettingsError(f"flicker period must lie in 4..1000 frames, got {self.period}; 24 suits most films")
        if not 1.1 <= self.flash <= 10:
            raise SettingsError(f"flicker flash must lie in 1.1..10, got {self.flash}; 1.4 suits most films")


@dataclass(frozen=True, kw_only=True, eq=False)
class FlickerTrack:
    """What to take out of every frame of a shot: log Y' = log Y + gain + contrast · log(Y / pivot) + field.

    Attributes:
        gain: (T,) float32, natural logarithm of the gain of the whole frame.
        contrast: (T,) float32, exponent of the gamma curve, less 1.
        field: (T, rows, columns) float32, control points of the cubic B-spline surface of log gain; rows and columns
            are 0 when only the whole frame was measured.
        white: (T,) float32, 0..1: what white ought to be after the correction; a clipped pixel is not made darker.
        brightness: (T,) float32, measured log brightness of the scene relative to the first frame, flicker included;
            for plots.
    """

    gain: FloatArray
    contrast: FloatArray
    field: FloatArray
    white: FloatArray
    brightness: npt.NDArray[np.float32]

    @property
    def frame_count(self) -> int:
        """Frames in the shot."""
        return len(self.gain)


class FlickerAnalyser:
    """Measures the flicker of ONE shot as its frames pass by; keeps a few numbers per frame.

    Args:
        settings: How flicker is taken out.
    """

    def __init__(self, settings: FlickerSettings | None = None) -> None:
        self._settings = settings or FlickerSettings()
        self._shape = (_LIMITS.rows, _LIMITS.columns) if self._settings.spatial else (0, 0)
        self._model = BrightnessModel(*self._shape)
        # The two frames before, reduced, with how they moved; None for one that could not be measured.
        self._previous: list[tuple[FloatArray, FloatArray] | None] = []
        self._count = 0
        self._single: list[CellChange] = []
        self._double: list[CellChange] = []
        self._whites: list[float] = []

    def update(self, frame: Tensor, motion: FrameMotion | None) -> None:
        """Take the next frame of the shot.

        Args:
            frame: (3, H, W), RGB, [0, 1].
            motion: Motion from the frame before to this one; None for the first frame or a scene that stands still.

        Raises:
            ArithmeticError: What was measured is not finite; the frame was not taken.
        """
        self.update_luma(luma_array(frame), motion)

    def update_luma(self, luma: FloatArray, motion: FrameMotion | None) -> None:
        """Take the next frame of the shot as its luma, in which bars may be covered; else like `update`.

        Args:
            luma: (H, W) float32, grey levels 0 … 255.
            motion: Motion from the frame before to this one.

        Raises:
            ArithmeticError: What was measured is not finite; the frame was not taken.
        """
        if self._settings.strength == 0:
            self._count += 1
            return
        white = _white(luma)
        reduced = reduce(luma)
        if not np.isfinite(reduced).all():
            raise ArithmeticError("the brightness of the frame is not finite")
        moved = displacement(motion, *luma.shape)
        single = double = CellChange.unknown()
        if self._previous and (before := self._previous[-1]) is not None:
            single = _change(before[0], reduced, moved)
            if len(self._previous) == 2 and (earlier := self._previous[0]) is not None:
                double = _change(earlier[0], reduced, moved + before[1])
        self._take(white, (reduced, moved), single, double)

    @property
    def count(self) -> int:
        """Frames taken."""
        return self._count

    @property
    def pending(self) -> int:
        """Frames that are judged together: all of the shot."""
        return self._count

    def skip(self) -> None:
        """Take a frame that could not be measured: it gets what lies between its neighbours."""
        if self._settings.strength == 0:
            self._count += 1
            return
        self._take(1.0, None, CellChange.unknown(), CellChange.unknown())

    def _take(
        self,
        white: float,
        frame: tuple[FloatArray, FloatArray] | None,
        single: CellChange,
        double: CellChange,
    ) -> None:
        self._count += 1
        self._whites.append(white)
        if self._previous:
            self._single.append(single)
        if len(self._previous) == 2:
            self._double.append(double)
        self._previous = [*self._previous[-1:], frame]

    def finish(self) -> FlickerTrack:
        """Close the shot and return what to take out of every frame."""
        count, strength = self._count, self._settings.strength
        correction = np.zeros((count, self._model.size))
        brightness = np.zeros(count)
        white = np.ones(count)
        if strength > 0 and count > 1:
            uneven = field_strength(self._single)
            single, double = (
                [self._model.fit(cells, uneven) for cells in part] for part in (self._single, self._double)
            )
            path, starts = summed_path(single, double)
            brightness = path[:, 0]
            events = np.zeros(count, bool)
            for first, last in zip(starts, [*starts[1:], count], strict=True):
                piece = slice(first, last)
                fast, events[piece] = self._flicker_and_events(path[piece])
                correction[piece] = believed(fast, single[first : last - 1])
            correction[:, 0] = np.clip(correction[:, 0], -_LIMITS.largest_log_gain, _LIMITS.largest_log_gain)
            correction[:, 1] = np.clip(correction[:, 1], -_LIMITS.largest_contrast, _LIMITS.largest_contrast)
            share = permitted(self._single, events, correction, self._model)
            correction[:, :2] *= strength * share[:, :1]
            correction[:, 2:] *= strength * share[:, 1:]
            white = _true_white(np.array(self._whites), correction[:, 0])
        return FlickerTrack(
            gain=correction[:, 0].astype(np.float32),
            contrast=correction[:, 1].astype(np.float32),
            field=correction[:, 2:].reshape(count, *self._shape).astype(np.float32),
            white=white.astype(np.float32),
            brightness=brightness.astype(np.float32),
        )

    def _flicker_and_events(self, path: DoubleArray) -> tuple[DoubleArray, npt.NDArray[np.bool_]]:
        """Part a piece of the path (T, values) into flicker and frames that belong to events, (T,)."""
        fast = fast_part(path, self._settings.period)
        events = np.zeros(len(path), bool)
        for _ in range(_LIMITS.event_rounds):
            found = find_events(self._parts(fast), self._settings.flash) & ~events
            if not found.any():
                break
            events = with_dying_light(events | found, self._parts(path), self._settings.flash)
            # An event pulls at the slow part; without it, the frames around it are judged by their own light.
            fast = fast_part(bridged_over(path, events), self._settings.period)
        return fast, events | find_events(self._parts(fast), self._settings.flash)

    def _parts(self, correction: DoubleArray) -> DoubleArray:
        """Log gain of every part of the frame, (T, 16), contrast aside."""
        rows, columns = self._shape
        gain = np.repeat(correction[:, :1], _LIMITS.parts**2, axis=1)
        if rows:
            across, down = (_part_basis(count) for count in (columns, rows))
            surface = np.einsum("yr,trc,xc->tyx", down, correction[:, 2:].reshape(-1, rows, columns), across)
            gain += surface.reshape(len(gain), -1)
            gain -= surface.mean(axis=(1, 2))[:, None]
        return gain


def _change(before: FloatArray, after: FloatArray, moved: FloatArray) -> CellChange:
    change = compare(before, after, moved)
    if not change.is_finite():
        raise ArithmeticError("the change of brightness is not finite")
    return change


def _part_basis(count: int) -> DoubleArray:
    """Mean of every spline over every part of a row, (4, count)."""
    whole = spline_basis(count, _LIMITS.parts * _LIMITS.part_samples).astype(np.float64)
    return np.asarray(whole.reshape(_LIMITS.parts, _LIMITS.part_samples, count).mean(axis=1))


def _white(luma: FloatArray) -> float:
    """Return the level 0..1 that only the brightest pixels of a frame exceed."""
    histogram = cv2.calcHist([luma], [0], None, [256], [0.0, 256.0]).ravel()
    above = np.cumsum(histogram[::-1])
    return 1.0 - float(np.searchsorted(above, _WHITES.share * luma.size)) / 255


def _true_white(whites: DoubleArray, gain: DoubleArray) -> DoubleArray:
    """Estimate what white is without flicker, from the neighbours in which it is not clipped; 1 where there are none.

    Where the scanner clips the film's whites, they are clipped in every frame and stay white. Where flicker pushed
    them over the edge in one frame, its neighbours tell how bright they were.
    """
    result = np.ones(len(whites))
    free = whites < _WHITES.clipped
    corrected = np.minimum(whites * np.exp(-gain), 1.0)
    for t in range(len(whites)):
        span = slice(max(0, t - _WHITES.span), t + _WHITES.span + 1)
        if free[span].any():
            result[t] = np.median(corrected[span][free[span]])
    return result


def apply_flicker(frames: Tensor, track: FlickerTrack, first: int = 0) -> Tensor:
    """Take the flicker out of some frames of a shot.

    The correction is a gain on RGB from the luma, so hues stay and black stays black. Where a frame is clipped, it is
    not made darker than the white of the shot: less light would only turn white grey.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        track: What to take out, from :meth:`FlickerAnalyser.finish`.
        first: Index in the shot of the first of these frames.

    Returns:
        (T, 3, H, W) in [0, 1]; frames without correction are bit-identical.

    Raises:
        SettingsError: The frames are not (T, 3, H, W) or reach beyond the track.
    """
    if frames.dim() != 4 or frames.shape[1] != 3:
        raise SettingsError(f"flicker removal needs frames (T, 3, H, W), got {tuple(frames.shape)}")
    if first < 0 or first + len(frames) > track.frame_count:
        raise SettingsError(
            f"flicker removal was asked for frames {first}..{first + len(frames) - 1} of a shot, "
            f"but the track has {track.frame_count}; analyse the same shot first"
        )
    height, width = frames.shape[-2:]
    rows, columns = track.field.shape[1:]
    surfaces = (spline_basis(rows, height), spline_basis(columns, width)) if rows else None
    # NumPy throughout: at frame size the threads of torch and BLAS cost more than the sums.
    images = frames.detach().float().cpu().numpy()
    result = images.copy()
    for index, image in enumerate(images):
        t = first + index
        contrast = float(track.contrast[t])
        log_gain = np.full((height, width), track.gain[t], np.float32)
        if surfaces is not None:
            surface = np.einsum("yr,rx->yx", surfaces[0], np.einsum("rc,xc->rx", track.field[t], surfaces[1]))
            log_gain += surface - surface.mean()
        if contrast != 0 or log_gain.any():
            result[index] = _correct(image, log_gain, contrast, float(track.white[t]))
    return torch.from_numpy(result).to(frames)


def _correct(image: FloatArray, log_gain: FloatArray, contrast: float, white: float) -> FloatArray:
    """Invert the model for one image (3, H, W), given log gain (H, W)."""
    exponent = 1 / (1 + contrast)
    log_factor = log_gain * np.float32(-exponent)
    if contrast:
        level = cv2.log(np.maximum(luma_array(image), 255 * _WHITES.darkest)) - np.float32(np.log(PIVOT))
        log_factor += level * np.float32(exponent - 1)
    factor = np.asarray(cv2.exp(log_factor), np.float32)
    brightest = np.maximum(np.maximum(image[0], image[1]), image[2])
    clipped = brightest >= _WHITES.clipped
    if clipped.any():
        # A soft mask rather than a curve: a curve steep enough to end at white would amplify the grain below it.
        soft = cv2.blur(clipped.astype(np.float32), (_WHITES.blur, _WHITES.blur))
        factor += soft * np.maximum(white - factor, 0)
    return np.clip(image * factor, 0, 1)
