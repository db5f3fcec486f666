"""What comes and goes in a scene and is no damage: titles that appear, flashes, rain and snow, things that fly past.

A detector that has only seen scenes go on evenly takes all of these for dirt.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ...ageing.units import line_scale
from ...ageing.validation import require_ranges

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .,!"


@dataclass(frozen=True, kw_only=True)
class DistractorSettings:
    """Share of shots that have each; lengths are px at 480 lines.

    Attributes:
        title_share: Shots with letters, which appear or leave within the shot or stay through it.
        flash_share: Shots with a frame or two that are lit up, or a lamp that is switched.
        fall_share: Shots with rain, snow or confetti that goes an even way.
        most_falling: Most flakes or drops.
        falling_speed: Slowest and fastest, px per frame.
        falling_size: Smallest and largest.
    """

    title_share: float = 0.12
    flash_share: float = 0.06
    fall_share: float = 0.08
    most_falling: int = 120
    falling_speed: tuple[float, float] = (3.0, 60.0)
    falling_size: tuple[float, float] = (1.5, 8.0)

    def __post_init__(self) -> None:
        require_ranges("distractors'", self, 1000, logarithmic=("falling_speed", "falling_size"))


def distracted(clean: Tensor, stream: np.random.Generator, settings: DistractorSettings) -> Tensor:
    """Return a clean shot (T, 3, H, W) with what is drawn of these in it."""
    frames = clean.permute(0, 2, 3, 1).numpy().copy()
    if stream.random() < settings.fall_share:
        _fall(frames, stream, settings)
    if stream.random() < settings.flash_share:
        start, length = int(stream.integers(len(frames))), int(stream.choice([1, 2, len(frames)]))
        gain = float(np.exp(stream.uniform(-0.7, 0.9)))
        frames[start : start + length] = np.clip(frames[start : start + length] * gain, 0, 1)
    if stream.random() < settings.title_share:
        _title(frames, stream)
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))


def _title(frames: np.ndarray, stream: np.random.Generator) -> None:
    count, height, width, _ = frames.shape
    drawn = np.zeros((height, width), np.uint8)
    for _ in range(int(stream.integers(1, 4))):
        text = "".join(stream.choice(list(_LETTERS), int(stream.integers(4, 20))))
        place = int(stream.uniform(-0.1, 0.6) * width), int(stream.uniform(0.1, 1.0) * height)
        size, thickness = float(stream.uniform(0.4, 1.6)), int(stream.integers(1, 4))
        cv2.putText(drawn, text, place, int(stream.integers(0, 8)), size, 255, thickness, cv2.LINE_AA)
    letters = drawn.astype(np.float32) / np.float32(255)
    shade = np.float32(stream.choice([0.02, 0.1, 0.9, 0.98]))
    first, last = sorted(int(number) for number in stream.integers(-count, 2 * count, 2))
    if last - first < count // 2:
        first, last = (0, first % count) if stream.random() < 0.5 else (first % count, count)
    shown = frames[max(first, 0) : max(last, 0)]
    shown += letters[None, :, :, None] * (shade - shown)


def _fall(frames: np.ndarray, stream: np.random.Generator, settings: DistractorSettings) -> None:
    count, height, width, _ = frames.shape
    unit = line_scale(height)
    low, high = settings.falling_speed
    pace = low * (high / low) ** stream.random() * unit
    heading = stream.normal(np.pi / 2, 0.5) if stream.random() < 0.7 else stream.uniform(0, 2 * np.pi)
    number = int(stream.integers(1, settings.most_falling + 1))
    start = stream.uniform(-0.5, 1.5, (number, 2)) * (width, height)
    speed = pace * np.exp(stream.normal(0, 0.15, (number, 1)))
    turn = heading + stream.normal(0, 0.1, (number, 1))
    velocity = np.concatenate([speed * np.cos(turn), speed * np.sin(turn)], axis=1)
    size = stream.uniform(*settings.falling_size, number) * unit
    smear = stream.uniform(0, 0.7)
    shade, cover = float(stream.choice([0.05, 0.9, 1.0])), float(stream.uniform(0.2, 0.9))
    for index, frame in enumerate(frames):
        drawn = np.zeros((height, width), np.float32)
        places = start + velocity * (index - count / 2)
        for (x, y), (u, v), diameter in zip(places, velocity, size, strict=True):
            start_at, end_at = ((int(16 * (x + share * u)), int(16 * (y + share * v))) for share in (0.0, smear))
            cv2.line(drawn, start_at, end_at, 1.0, max(1, round(diameter)), cv2.LINE_AA, 4)
        drawn = cv2.GaussianBlur(drawn, (0, 0), 0.7)[..., None] * np.float32(cover)
        frame += drawn * (np.float32(shade) - frame)
