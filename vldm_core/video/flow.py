"""Optical flow between neighbouring frames of one shot, made robust to what old film does to a picture.

The estimator is OpenCV's dense inverse search (DIS): T. Kroeger, R. Timofte, D. Dai, L. Van Gool, "Fast Optical Flow
using Dense Inverse Search", ECCV 2016. It assumes that a pixel keeps its brightness, which dirt and flicker break, so
every frame is first cleaned of spikes (`prefill_dirt`) and matched in brightness to its partner
(`normalise_brightness`). A spike that the partner shows at the same place is no dirt but a letter or a thin line that
stands still, and is kept. Neither changes the frames of the caller. What a flow is, and what can be done with it, is in
`warping`. Flow must never be asked for across a cut; hand over windows of one shot.

Results do not depend on the number of OpenCV threads: DIS cuts a picture into a fixed number of stripes.
"""

from dataclasses import dataclass
from typing import Literal, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import BoolArray, FloatArray
from ..errors import SettingsError
from ..progress import Progress, silent

RADIUS = 1
"""A flow depends on the frame it lives on and on the neighbour it looks up, and on nothing else."""


@dataclass(frozen=True)
class PreparedLuma:
    """A frame ready for the estimation, at most as large as the working size.

    Attributes:
        plain: (h, w) float32, grey levels 0 … 255, with its spikes.
        spikes: (N,) places of the spikes in the flattened frame.
        below: (N,) float32, grey levels, what the frame would show there without them.
    """

    plain: FloatArray
    spikes: NDArray[np.intp]
    below: FloatArray

    def without_spikes(self, standing: BoolArray) -> FloatArray:
        """Return the frame (h, w) clean of spikes, except of those (N,) that stand still."""
        if standing.all():
            return self.plain
        clean = self.plain.copy()
        clean.flat[self.spikes[~standing]] = self.below[~standing]
        return clean


LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""Factors of R, G and B in luma (Rec. ITU-R BT.601-7, section 2.5.1)."""

_STANDING_SHARE = 0.5
"""A spike stands still where the partner differs by no more than this share of the level that makes it a spike: codecs
and grain change a letter by less, and dirt on one frame differs by more than the whole level."""


@dataclass(frozen=True, kw_only=True)
class DisNeeds:
    """What OpenCV's DIS needs of its pictures.

    Attributes:
        smallest_side: Pixels below which pictures get padding: it reads out of bounds on those of a few pixels.
        largest_aspect: Ratio of the sides above which they do: it returns NaN on long thin ones.
        white: Grey level to which dark pictures are stretched, for it works on 8 bits.
        largest_stretch: Factor of that stretch at most: beyond, it brings up grain.
    """

    smallest_side: int = 64
    largest_aspect: int = 8
    white: float = 235.0
    largest_stretch: float = 4.0


@dataclass(frozen=True, kw_only=True)
class LocalBrightness:
    """How the brightness of a frame is brought to that of another.

    Attributes:
        block: Pixels on each side of the blocks to which frames are shrunk.
        window: Share of the frame over which the statistics of the blocks are averaged: smooth, as flicker is, and not
            pulled by what moves.
        largest_ratio: Ratio of contrasts at most; more is another picture.
    """

    block: int = 16
    window: float = 0.3
    largest_ratio: float = 1.35


@dataclass(frozen=True, kw_only=True)
class DisEffort:
    """How hard OpenCV's DIS tries.

    Attributes:
        finest_scale: Times that the picture is halved at the finest of the scales, a number: it decides most.
        stride: Pixels from one patch of 8 to the next; closer ones find little more.
        descents: Steps of gradient descent of a patch.
        refinements: Variational steps after that, at every scale, which smooth the flow over edges that it has not.
    """

    finest_scale: int
    stride: int
    descents: int
    refinements: int


_DIS = DisNeeds()
_BRIGHTNESS = LocalBrightness()
_EFFORT = {
    "fast": DisEffort(finest_scale=2, stride=4, descents=16, refinements=5),
    "fine": DisEffort(finest_scale=1, stride=5, descents=16, refinements=3),
}


@dataclass(frozen=True, kw_only=True)
class FlowSettings:
    """How optical flow is estimated.

    Attributes:
        quality: "fine" for repair, "fast" for analysis, which takes a third of the time and places things half as well.
        working_side: The longer side of a frame is reduced to at most this many pixels for the estimation; the flow
            is then enlarged to the frame. Time grows with its square. 64 or more.
        spike_threshold: A pixel that differs by more than this (grey levels, 0 … 255) from the median of its 5×5
            neighbourhood is taken for dirt and replaced before estimation, unless the other frame shows it at the same
            place. 0 switches the replacement off.
        match_brightness: Match local mean and contrast of the pair first, so that flicker does not become motion.
        halved: Estimate on frames of half that size, one scale of the estimator further down. The estimator refines a
            flow no further than to every second pixel anyway, so this finds the same motion in less time.
    """

    quality: Literal["fine", "fast"] = "fine"
    working_side: int = 960
    spike_threshold: float = 24.0
    match_brightness: bool = True
    halved: bool = False

    def __post_init__(self) -> None:
        if self.quality not in ("fine", "fast"):
            raise SettingsError(f"flow quality is {self.quality!r}; use 'fine' or 'fast'")
        if self.working_side < _DIS.smallest_side:
            raise SettingsError(f"flow working_side is {self.working_side}; use {_DIS.smallest_side} or more")
        if not 0 <= self.spike_threshold <= 255:
            raise SettingsError(f"flow spike_threshold is {self.spike_threshold}; use 0 (off) … 255 grey levels")


def to_luma(frames: Tensor) -> FloatArray:
    """Return Rec. 601 luma in grey levels.

    Args:
        frames: (…, C, H, W) in [0, 1]; C = 3 (RGB) or 1.

    Returns:
        (…, H, W) float32 in 0 … 255.

    Raises:
        SettingsError: C is neither 1 nor 3.
    """
    channels = frames.shape[-3]
    pixels = frames.detach().to("cpu", torch.float32)
    if channels == 1:
        grey = pixels[..., 0, :, :]
    elif channels == 3:
        red, green, blue = pixels.unbind(-3)
        grey = red * LUMA_WEIGHTS[0] + green * LUMA_WEIGHTS[1] + blue * LUMA_WEIGHTS[2]
    else:
        raise SettingsError(f"frames have {channels} channels; luma needs 3 (RGB) or 1")
    return cast(FloatArray, (grey * 255.0).contiguous().numpy())


def fill_masked(luma: FloatArray, mask: BoolArray) -> FloatArray:
    """Fill masked pixels smoothly from their surroundings.

    Push-pull interpolation over a pyramid of weighted means (S. J. Gortler et al., "The Lumigraph", SIGGRAPH 1996,
    section 3.4): much faster than inpainting, and all a motion estimator needs.

    Args:
        luma: (H, W) float32.
        mask: (H, W), True where the pixel is to be replaced.

    Returns:
        (H, W) float32; a copy, equal to `luma` outside the mask. A fully masked picture is returned unchanged.
    """
    if not mask.any() or mask.all():
        return luma.copy()
    weight = 1.0 - mask.astype(np.float32)
    pyramid: list[tuple[NDArray, NDArray]] = [(luma * weight, weight)]
    while pyramid[-1][1].min() <= 1e-3 and max(pyramid[-1][1].shape) > 1:
        pyramid.append((cv2.pyrDown(pyramid[-1][0]), cv2.pyrDown(pyramid[-1][1])))
    values, weight = pyramid.pop()
    filled = values / np.maximum(weight, 1e-6)
    while pyramid:
        values, weight = pyramid.pop()
        coarse = cv2.resize(filled, (weight.shape[1], weight.shape[0]), interpolation=cv2.INTER_LINEAR)
        if not pyramid:
            # In the picture itself a pixel is either known or not.
            filled = coarse
            break
        # A pixel of the pyramid with weight 1 is known; with less, the coarser level supplies the rest.
        trust = np.minimum(weight, 1.0)
        filled = values / np.maximum(weight, 1e-6) * trust + coarse * (1.0 - trust)
    return np.where(mask, filled, luma).astype(np.float32)


def prefill_dirt(luma: FloatArray, mask: NDArray | None = None, *, spike_threshold: float = 24.0) -> FloatArray:
    """Replace what looks like dirt, so that it neither moves nor holds motion back.

    Known damage is filled from its surroundings; elsewhere a pixel far from the median of its 5×5 neighbourhood is
    replaced by that median. Only for estimation: it also removes scene detail of one or two pixels.

    Args:
        luma: (H, W) float32, grey levels 0 … 255.
        mask: (H, W), non-zero where damage is known; None where nothing is known.
        spike_threshold: Grey levels; 0 leaves the unmasked pixels alone.

    Returns:
        (H, W) float32 copy.
    """
    filled = luma.astype(np.float32, copy=True) if mask is None else fill_masked(luma, np.asarray(mask) > 0)
    if spike_threshold > 0 and min(filled.shape) >= 5:
        median = cv2.medianBlur(np.ascontiguousarray(filled), 5)
        np.copyto(filled, median, where=cv2.absdiff(filled, median) > spike_threshold)
    return filled


def normalise_brightness(luma: FloatArray, reference: FloatArray) -> FloatArray:
    """Match the local mean and contrast of a frame to those of its neighbour.

    Statistics are taken over windows of about a third of the frame, so a global gain, an offset and a smooth flicker
    field are undone, while the movement of things through the picture changes them little.

    Args:
        luma: (H, W) float32, the frame to change.
        reference: (H, W) float32, the frame to match.

    Returns:
        (H, W) float32, `luma` with the local mean and contrast of `reference`; not clipped.
    """
    height, width = luma.shape
    coarse = (max(1, round(width / _BRIGHTNESS.block)), max(1, round(height / _BRIGHTNESS.block)))
    window = tuple(max(1, round(_BRIGHTNESS.window * side)) | 1 for side in coarse)

    def moments(picture: NDArray) -> tuple[NDArray, NDArray]:
        # Contrast is measured between blocks and not between pixels, so grain and dirt do not count.
        blocks = cv2.resize(picture, coarse, interpolation=cv2.INTER_AREA)
        mean = cv2.blur(blocks, window, borderType=cv2.BORDER_REFLECT)
        square = cv2.blur(blocks * blocks, window, borderType=cv2.BORDER_REFLECT)
        return mean, np.maximum(square - mean * mean, 0.0)

    mean, variance = moments(luma)
    target_mean, target_variance = moments(reference)
    # The constant keeps flat regions, where the ratio is noise, at the ratio of the means' neighbourhood: no change.
    ratio = np.sqrt((target_variance + 9.0) / (variance + 9.0))
    ratio = np.clip(ratio, 1.0 / _BRIGHTNESS.largest_ratio, _BRIGHTNESS.largest_ratio).astype(np.float32)
    offset = target_mean - mean * ratio
    scale = cv2.resize(ratio, (width, height), interpolation=cv2.INTER_LINEAR)
    shift = cv2.resize(offset, (width, height), interpolation=cv2.INTER_LINEAR)
    return cast(FloatArray, luma * scale + shift)


def estimate_pair(
    luma_from: FloatArray,
    luma_to: FloatArray,
    *,
    mask_from: NDArray | None = None,
    mask_to: NDArray | None = None,
    settings: FlowSettings | None = None,
) -> FloatArray:
    """Estimate the flow from one frame to another.

    Args:
        luma_from: (H, W) float32, grey levels 0 … 255. The flow lives on this frame.
        luma_to: (H, W) float32, the frame that is looked up.
        mask_from: (H, W), non-zero where `luma_from` is known to be damaged.
        mask_to: (H, W), the same for `luma_to`.
        settings: Defaults to `FlowSettings()`.

    Returns:
        (H, W, 2) float32, pixels: `luma_to` sampled at p + flow(p) looks like `luma_from`. Content at p in
        `luma_from` is at p + flow(p) in `luma_to`.

    Raises:
        SettingsError: The frames differ in size or are not two-dimensional.
    """
    settings = settings or FlowSettings()
    if luma_from.ndim != 2 or luma_from.shape != luma_to.shape:
        raise SettingsError(f"flow needs two (H, W) frames of one size; got {luma_from.shape} and {luma_to.shape}")
    pair = _prepare(luma_from, mask_from, settings), _prepare(luma_to, mask_to, settings)
    return enlarged(_flow_between(*pair, settings), (luma_from.shape[0], luma_from.shape[1]))


def prepare_luma(
    luma: FloatArray, *, mask: NDArray | None = None, settings: FlowSettings | None = None
) -> PreparedLuma:
    """Prepare a frame for `estimate_reduced`, once for all the flows it takes part in.

    Args:
        luma: (H, W) float32, grey levels 0 … 255.
        mask: (H, W), non-zero where the frame is known to be damaged.
        settings: Defaults to `FlowSettings()`.

    Returns:
        The frame with and without its spikes: which of them stand still shows only beside another frame.
    """
    return _prepare(luma, mask, settings or FlowSettings())


def prepared_as(plain: FloatArray) -> PreparedLuma:
    """Take a picture (h, w) of the working size as a prepared frame without spikes."""
    return PreparedLuma(plain, np.zeros(0, np.intp), np.zeros(0, np.float32))


def estimate_reduced(here: PreparedLuma, there: PreparedLuma, *, settings: FlowSettings | None = None) -> FloatArray:
    """Estimate the flow between two frames from `prepare_luma` at their working size.

    Of a large frame this is a fraction of the flow: what is kept for later is kept so, and `enlarged` when it is used.

    Args:
        here: The frame that the flow lives on, prepared.
        there: The frame that is looked up, prepared with the same settings.
        settings: Defaults to `FlowSettings()`.

    Returns:
        (h, w, 2) float32, pixels of the working size. `enlarged` makes of it what `estimate_pair` gives.

    Raises:
        SettingsError: The frames differ in size.
    """
    if here.plain.ndim != 2 or here.plain.shape != there.plain.shape:
        raise SettingsError(f"flow needs two (H, W) frames of one size; got {here.plain.shape} and {there.plain.shape}")
    return _flow_between(here, there, settings or FlowSettings())


def enlarged(flow: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Bring a flow (h, w, 2) of the working size to frames of `size` = (H, W): (H, W, 2) float32, pixels."""
    height, width = flow.shape[:2]
    if (height, width) == tuple(size):
        return flow
    result = cv2.resize(flow, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    result *= np.array([size[1] / width, size[0] / height], np.float32)
    return np.ascontiguousarray(result, dtype=np.float32)


def estimate_flow(
    frames: Tensor,
    *,
    masks: Tensor | None = None,
    settings: FlowSettings | None = None,
    direction: Literal["backward", "forward"] = "backward",
    progress: Progress = silent,
) -> Tensor:
    """Estimate the flow between consecutive frames of one shot.

    Args:
        frames: (T, C, H, W) in [0, 1], C = 3 or 1, all of one shot.
        masks: (T, H, W), non-zero where damage is known; filled before estimation.
        settings: Defaults to `FlowSettings()`.
        direction: "backward": entry t lives on frame t+1 and looks up frame t, so `warp(frames[t], flow[t])` looks
            like frame t+1. "forward": entry t lives on frame t and looks up frame t+1.
        progress: Called once per pair.

    Returns:
        (T-1, 2, H, W) float32 on the device of `frames`, pixels, channel 0 = x. Empty for a single frame.

    Raises:
        SettingsError: Wrong shapes.
    """
    settings = settings or FlowSettings()
    if frames.ndim != 4 or frames.shape[0] < 1:
        raise SettingsError(f"flow needs frames (T, C, H, W) with T ≥ 1; got {tuple(frames.shape)}")
    count, _, height, width = frames.shape
    if masks is not None and tuple(masks.shape) != (count, height, width):
        raise SettingsError(f"masks are {tuple(masks.shape)}; for these frames they must be {(count, height, width)}")
    flow = np.zeros((count - 1, 2, height, width), np.float32)
    before: PreparedLuma | None = None
    for t in range(count):
        mask = None if masks is None else masks[t].detach().cpu().numpy()
        now = _prepare(to_luma(frames[t]), mask, settings)
        if before is not None:
            here, there = (now, before) if direction == "backward" else (before, now)
            flow[t - 1] = enlarged(_flow_between(here, there, settings), (height, width)).transpose(2, 0, 1)
            progress("optical flow", t, count - 1)
        before = now
    return torch.from_numpy(flow).to(frames.device)


def _prepare(luma: FloatArray, mask: NDArray | None, settings: FlowSettings) -> PreparedLuma:
    """Fill the known damage of a frame, look for its spikes, and reduce it to the working size."""
    plain = luma.astype(np.float32, copy=False) if mask is None else prefill_dirt(luma, mask, spike_threshold=0.0)
    clean = prefill_dirt(plain, spike_threshold=settings.spike_threshold) if settings.spike_threshold > 0 else plain
    height, width = plain.shape
    scale = min(1.0, settings.working_side / max(height, width)) / (2 if settings.halved else 1)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pair = (cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in (plain, clean))
        plain, clean = (cast(FloatArray, frame) for frame in pair)
    spikes = np.flatnonzero(plain != clean)
    return PreparedLuma(plain, spikes, clean.ravel()[spikes])


def _without_passing_spikes(
    here: PreparedLuma, there: PreparedLuma, settings: FlowSettings
) -> tuple[FloatArray, FloatArray]:
    """Return both frames clean of spikes, except of those that both show at the same place."""
    if not len(here.spikes) and not len(there.spikes):
        return here.plain, there.plain
    partner = normalise_brightness(there.plain, here.plain) if settings.match_brightness else there.plain
    same = (cv2.absdiff(here.plain, partner) <= _STANDING_SHARE * settings.spike_threshold).ravel()
    return here.without_spikes(same[here.spikes]), there.without_spikes(same[there.spikes])


def _flow_between(first: PreparedLuma, second: PreparedLuma, settings: FlowSettings) -> FloatArray:
    """Run DIS on two prepared frames."""
    here, there = _without_passing_spikes(first, second, settings)
    if settings.match_brightness:
        there = normalise_brightness(there, here)
    # Dark material would leave DIS, which works on 8 bits, with a handful of levels; both frames get the same gain.
    peak = float(np.percentile(here[::4, ::4], 99.5))
    gain = min(max(_DIS.white / max(peak, 1.0), 1.0), _DIS.largest_stretch)
    # The conversion rounds to nearest, ties to even, and saturates.
    pair = [cv2.add(picture * np.float32(gain), np.zeros(1), dtype=cv2.CV_8U) for picture in (here, there)]

    height, width = here.shape
    least = max(_DIS.smallest_side, -(-max(height, width) // _DIS.largest_aspect))
    bottom, right = max(0, least - height), max(0, least - width)
    if bottom or right:
        pair = [cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_REPLICATE) for picture in pair]

    effort = _EFFORT[settings.quality]
    # A new estimator for every pair: it holds buffers and must not be shared between threads.
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    estimator.setFinestScale(effort.finest_scale - (1 if settings.halved else 0))
    estimator.setPatchStride(effort.stride)
    estimator.setGradientDescentIterations(effort.descents)
    estimator.setVariationalRefinementIterations(effort.refinements)
    flow: NDArray = estimator.calc(pair[0], pair[1], cast(NDArray, None))[:height, :width]
    return np.ascontiguousarray(flow, dtype=np.float32)
