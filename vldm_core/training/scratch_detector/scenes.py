"""Scenes that a scratch detector stumbles over: upright things, occluded now and then, and a camera at rest.

What tells a pole from a scratch where nothing moves is that it hides what is behind it, ends somewhere, is lit from one
side, and is hidden by what passes in front of it. So the uprights here are opaque, and things cross the picture.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ...ageing.randomness import log_uniform
from ...ageing.units import REFERENCE_LINES
from ...ageing.validation import require_ranges, require_within
from ...arrays import FloatArray
from ...data.objects import MovingObject, draw_object
from ...data.structure import between, upright
from ...errors import SettingsError

Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """How a still picture is filmed, and what stands in it and crosses it.

    Spans are drawn uniformly unless it says otherwise; lengths are in px of the frame.

    Attributes:
        margin: px around the frame that the camera may move.
        upright_share: Share of scenes with uprights.
        uprights: Most poles, fences, frames or patches of stripes in such a scene.
        kinds: Share of poles, fences, door frames and stripes.
        reach: Length of an upright, share of the height; log-uniform.
        width: Width of a bar; log-uniform.
        slope: Standard deviation of the angle of a bar to the vertical, degrees.
        contrast: Standard deviation of the difference of a bar to the picture, share of the range.
        posts: Fewest and most posts of a fence.
        frame_width: Width of a door frame.
        stripe_pitch: Distance of stripes.
        stripe_contrast: Standard deviation of their strength, share of the range.
        shade: Standard deviation of the light from one side, share of the range.
        light: Standard deviation of the change of the light along a bar, share of the range.
        object_share: Share of scenes that things cross.
        objects: Most of these.
        object_size: Their smallest and largest size, share of the height.
        object_speed: Their slowest and fastest speed, px of a 480-line frame per frame.
        shutter: Share of a frame for which the shutter is open.
        rest_share: Share of scenes with a camera at rest, in which nothing but its looks tells a pole from a scratch.
        hand_share: Share of scenes with a camera in the hand; the rest are pans and slow drifts, and some are both.
        both_share: Share of scenes with both.
        pan: Speed of a pan, px a frame at a width of 480; log-uniform.
        rise: Standard deviation of how much a pan goes up, share of its speed.
        shake: Standard deviation of the shake.
        shake_memory: Correlation of the shake of neighbouring frames.
    """

    margin: int = 48
    upright_share: float = 0.65
    uprights: int = 4
    kinds: tuple[float, float, float, float] = (0.45, 0.2, 0.2, 0.15)
    reach: Span = (0.15, 1.5)
    width: Span = (1.0, 9.0)
    slope: float = 1.2
    contrast: float = 0.2
    posts: tuple[int, int] = (3, 11)
    frame_width: Span = (12.0, 120.0)
    stripe_pitch: Span = (5.0, 40.0)
    stripe_contrast: float = 0.06
    shade: float = 0.08
    light: float = 0.05
    object_share: float = 0.6
    objects: int = 3
    object_size: Span = (0.12, 0.8)
    object_speed: Span = (0.5, 16.0)
    shutter: float = 0.4
    rest_share: float = 0.6
    hand_share: float = 0.2
    both_share: float = 0.08
    pan: Span = (0.03, 3.0)
    rise: float = 0.25
    shake: Span = (0.2, 2.0)
    shake_memory: float = 0.8

    def __post_init__(self) -> None:
        require_ranges("scene", self, 1000, logarithmic=("reach", "width", "object_size", "object_speed", "pan"))
        require_within("scene shake_memory", self.shake_memory, 0, 1)
        require_within("scene uprights", self.uprights, 1, 100)
        require_within("scene objects", self.objects, 1, 100)
        if len(self.kinds) != 4 or min(self.kinds) < 0 or abs(sum(self.kinds) - 1) > 1e-6:
            raise SettingsError(f"scene kinds is {self.kinds}; give four shares that add up to 1")


def draw_scene(
    stream: np.random.Generator,
    still: FloatArray,
    others: FloatArray,
    frames: int,
    height: int,
    width: int,
    settings: SceneSettings | None = None,
) -> Tensor:
    """Film a still picture, with uprights in it and things that cross it.

    Args:
        stream: Random stream.
        still: (H + 2·margin, W + 2·margin) luma in [0, 1].
        others: (h, w) luma in [0, 1], what the things that cross are cut from.
        frames: Length of the shot.
        height: Of its frames, px.
        width: The same.
        settings: How it is filmed.

    Returns:
        (frames, 3, height, width) in [0, 1], grey.
    """
    settings = settings or SceneSettings()
    picture = still.copy()
    if stream.random() < settings.upright_share:
        for _ in range(int(stream.integers(1, settings.uprights + 1))):
            _draw_upright(stream, picture, settings)
    way = _camera_way(stream, frames, width, settings)
    things: list[MovingObject] = []
    if stream.random() < settings.object_share:
        cut = np.repeat((others * 255).astype(np.uint8)[..., None], 3, axis=2)
        things = [
            draw_object(stream, cut, frames, height, width, size=settings.object_size, speed=settings.object_speed)
            for _ in range(int(stream.integers(1, settings.objects + 1)))
        ]
    shot = np.empty((frames, height, width, 3), np.float32)
    for index, (dx, dy) in enumerate(way):
        matrix = np.array([[1, 0, settings.margin + dx], [0, 1, settings.margin + dy]], np.float64)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(picture, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
        shot[index] = np.clip(seen, 0, 1)[..., None]
        for thing in things:
            thing.cover(shot[index], index, settings.shutter)
    return torch.from_numpy(np.ascontiguousarray(np.clip(shot, 0, 1).transpose(0, 3, 1, 2)))


def _camera_way(stream: np.random.Generator, frames: int, width: int, settings: SceneSettings) -> FloatArray:
    """Draw the way of a camera, (T, 2) px: mostly at rest, else a pan, a slow drift or a hand."""
    way = np.zeros((frames, 2), np.float32)
    kind = stream.random()
    if kind < settings.rest_share:
        return way
    time = np.arange(frames) - (frames - 1) / 2
    hand = 1 - settings.hand_share
    if kind < hand + settings.both_share:
        speed = log_uniform(stream, *settings.pan) * width / REFERENCE_LINES
        direction = stream.choice([-1, 1]) * np.array([1.0, stream.normal(0, settings.rise)])
        way += (speed * time[:, None] * direction).astype(np.float32)
    if kind > hand:
        memory = settings.shake_memory
        steps = stream.normal(0, 1, (frames, 2))
        for index in range(1, frames):
            steps[index] = memory * steps[index - 1] + (1 - memory**2) ** 0.5 * steps[index]
        way += (stream.uniform(*settings.shake) * steps).astype(np.float32)
    return np.clip(way, 2 - settings.margin, settings.margin - 2)


def _draw_upright(stream: np.random.Generator, picture: FloatArray, settings: SceneSettings) -> None:
    """Paint a pole, a fence, a door frame or stripes into a picture (h, w), in place."""
    rows, columns = picture.shape
    kind = stream.choice(["pole", "fence", "frame", "stripes"], p=settings.kinds)
    reach = log_uniform(stream, *settings.reach) * rows
    top = stream.uniform(-0.3, 1.0) * rows
    bottom = top + reach
    x = stream.uniform(0.02, 0.98) * columns
    width = log_uniform(stream, *settings.width)
    slope = float(np.tan(np.deg2rad(stream.normal(0, settings.slope))))
    level = float(np.clip(picture[rows // 2, int(x)] + stream.normal(0, settings.contrast), 0, 1))

    def paint(place: float, slope: float) -> None:
        """Paint an opaque bar that is lit from one side, and along which the light changes."""
        y = np.arange(rows, dtype=np.float32)[:, None]
        bar = upright(rows, columns, place, width, slope=slope, top=top, bottom=bottom)
        side = np.clip(2 * bar.aside / max(width, 2.0), -1, 1) * stream.normal(0, settings.shade)
        light = stream.normal(0, settings.light) * np.sin(y / rows * stream.uniform(1, 8) + stream.uniform(0, 6))
        _lay(picture, bar.cover, np.clip(level + side + light, 0, 1))

    if kind == "pole":
        paint(x, slope)
    elif kind == "fence":
        pitch = stream.uniform(width + 4, width + 60)
        for number in range(int(stream.integers(settings.posts[0], settings.posts[1] + 1))):
            paint(x + number * pitch + stream.normal(0, 0.6), slope)
    elif kind == "frame":
        other = x + stream.uniform(*settings.frame_width)
        inside = between(np.arange(columns, dtype=np.float64), x, other)
        # What is seen through the door is not quite of one brightness.
        through = 0.6 * _along(rows, top, bottom) * inside
        _lay(picture, through, float(np.clip(level + stream.normal(0, 0.1), 0, 1)))
        for place in (x, other):
            paint(place, 0.0)
    else:
        pitch = stream.uniform(*settings.stripe_pitch)
        phase = (np.arange(columns) - x) / pitch
        wave = np.clip(6 * (np.abs(phase - np.round(phase)) < width / 2 / pitch), 0, 1).astype(np.float32)
        there = (np.abs(np.arange(columns) - x) < stream.uniform(20, 200)).astype(np.float32)
        smooth = cv2.GaussianBlur((wave * there)[None], (0, 0), 0.6, sigmaY=1e-6)
        strength = np.float32(stream.normal(0, settings.stripe_contrast))
        picture += (_along(rows, top, bottom) * smooth * strength).astype(np.float32)
    np.clip(picture, 0, 1, out=picture)


def _lay(picture: FloatArray, cover: np.ndarray, colour: np.ndarray | float) -> None:
    picture *= (1 - cover).astype(np.float32)
    picture += (cover * colour).astype(np.float32)


def _along(rows: int, top: float, bottom: float) -> np.ndarray:
    return between(np.arange(rows, dtype=np.float64)[:, None], top, bottom)
