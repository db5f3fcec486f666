"""Scenes that a line detector stumbles over: upright things of the scene, occluded now and then, and a camera at rest.

What tells a pole from a scratch where nothing moves is that it hides what is behind it, ends somewhere, is lit from one
side, and is hidden by what passes in front of it. So the uprights here are opaque, and things cross the picture.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from ...arrays import FloatArray
from ...data.objects import MovingObject, draw_object

_MARGIN = 48
"""px around the frame that a camera may move."""


def scene_margin() -> int:
    """Return the px by which the still picture of a scene has to be larger than its frames on every side."""
    return _MARGIN


def draw_scene(
    stream: np.random.Generator, still: FloatArray, others: FloatArray, frames: int, height: int, width: int
) -> Tensor:
    """Film a still picture, with uprights in it and things that cross it.

    Args:
        stream: Random stream.
        still: (H + 96, W + 96) luma in [0, 1].
        others: (h, w) luma in [0, 1], what the things that cross are cut from.
        frames: Length of the shot.
        height: Of its frames, px.
        width: The same.

    Returns:
        (frames, 3, height, width) in [0, 1], grey.
    """
    picture = still.copy()
    if stream.random() < 0.65:
        for _ in range(int(stream.integers(1, 5))):
            _draw_upright(stream, picture)
    way = _camera_way(stream, frames, width)
    things: list[MovingObject] = []
    if stream.random() < 0.6:
        cut = np.repeat((others * 255).astype(np.uint8)[..., None], 3, axis=2)
        things = [
            draw_object(stream, cut, frames, height, width, size=(0.12, 0.8), speed=(0.5, 16.0))
            for _ in range(int(stream.integers(1, 4)))
        ]
    shot = np.empty((frames, height, width, 3), np.float32)
    for index, (dx, dy) in enumerate(way):
        matrix = np.array([[1, 0, _MARGIN + dx], [0, 1, _MARGIN + dy]], np.float64)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(picture, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
        shot[index] = np.clip(seen, 0, 1)[..., None]
        for thing in things:
            thing.cover(shot[index], index, 0.4)
    return torch.from_numpy(np.ascontiguousarray(np.clip(shot, 0, 1).transpose(0, 3, 1, 2)))


def _camera_way(stream: np.random.Generator, frames: int, width: int) -> FloatArray:
    """Draw the way of a camera, (T, 2) px: mostly at rest, else a pan, a slow drift or a hand."""
    way = np.zeros((frames, 2), np.float32)
    kind = stream.random()
    if kind < 0.6:
        return way
    time = np.arange(frames) - (frames - 1) / 2
    if kind < 0.88:
        speed = float(np.exp(stream.uniform(np.log(0.03), np.log(3.0)))) * width / 480
        direction = stream.choice([-1, 1]) * np.array([1.0, stream.normal(0, 0.25)])
        way += (speed * time[:, None] * direction).astype(np.float32)
    if kind > 0.8:
        steps = stream.normal(0, 1, (frames, 2))
        for index in range(1, frames):
            steps[index] = 0.8 * steps[index - 1] + 0.6 * steps[index]
        way += (stream.uniform(0.2, 2.0) * steps).astype(np.float32)
    return np.clip(way, 2 - _MARGIN, _MARGIN - 2)


def _draw_upright(stream: np.random.Generator, picture: FloatArray) -> None:
    """Paint a pole, a fence, a door frame or stripes into a picture (h, w), in place."""
    rows, columns = picture.shape
    kind = stream.choice(["pole", "fence", "frame", "stripes"], p=[0.45, 0.2, 0.2, 0.15])
    reach = float(np.exp(stream.uniform(np.log(0.15), np.log(1.5)))) * rows
    top = stream.uniform(-0.3, 1.0) * rows
    bottom = top + reach
    x = stream.uniform(0.02, 0.98) * columns
    width = float(np.exp(stream.uniform(np.log(1.0), np.log(9.0))))
    slope = float(np.tan(np.deg2rad(stream.normal(0, 1.2))))
    level = float(np.clip(picture[rows // 2, int(x)] + stream.normal(0, 0.2), 0, 1))
    if kind == "pole":
        _paint_bar(stream, picture, x, width, slope, top, bottom, level)
    elif kind == "fence":
        pitch = stream.uniform(width + 4, width + 60)
        for number in range(int(stream.integers(3, 12))):
            jitter = stream.normal(0, 0.6)
            _paint_bar(stream, picture, x + number * pitch + jitter, width, slope, top, bottom, level)
    elif kind == "frame":
        other = x + stream.uniform(12, 120)
        inside = np.clip((np.arange(columns) - x), 0, 1) * np.clip(other - np.arange(columns), 0, 1)
        along = _along(rows, top, bottom)
        picture *= 1 - 0.6 * along * inside
        picture += 0.6 * along * inside * float(np.clip(level + stream.normal(0, 0.1), 0, 1))
        for place in (x, other):
            _paint_bar(stream, picture, place, width, 0.0, top, bottom, level)
    else:
        pitch = stream.uniform(5, 40)
        phase = (np.arange(columns) - x) / pitch
        wave = np.clip(6 * (np.abs(phase - np.round(phase)) < width / 2 / pitch), 0, 1).astype(np.float32)
        there = (np.abs(np.arange(columns) - x) < stream.uniform(20, 200)).astype(np.float32)
        smooth = cv2.GaussianBlur((wave * there)[None], (0, 0), 0.6, sigmaY=1e-6)
        picture += _along(rows, top, bottom) * smooth * np.float32(stream.normal(0, 0.06))
    np.clip(picture, 0, 1, out=picture)


def _along(rows: int, top: float, bottom: float) -> FloatArray:
    y = np.arange(rows, dtype=np.float32)[:, None]
    return np.asarray(np.clip(y - top, 0, 1) * np.clip(bottom - y, 0, 1), np.float32)


def _paint_bar(
    stream: np.random.Generator,
    picture: FloatArray,
    x: float,
    width: float,
    slope: float,
    top: float,
    bottom: float,
    level: float,
) -> None:
    """Paint an opaque bar that is lit from one side, and along which the light changes."""
    rows, columns = picture.shape
    y = np.arange(rows, dtype=np.float32)[:, None]
    distance = np.arange(columns, dtype=np.float32)[None] - (x + slope * (y - rows / 2)).astype(np.float32)
    bar = np.clip(width / 2 + 0.5 - np.abs(distance), 0, 1) * _along(rows, top, bottom)
    side = np.clip(2 * distance / max(width, 2.0), -1, 1) * stream.normal(0, 0.08)
    light = stream.normal(0, 0.05) * np.sin(y / rows * stream.uniform(1, 8) + stream.uniform(0, 6))
    colour = np.clip(level + side + light, 0, 1)
    picture *= 1 - bar
    picture += bar * colour
