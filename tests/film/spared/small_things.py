"""Clean contents that are small and move or flash: sparks, stars, water, leaves, birds, balls, snow."""

import cv2
import numpy as np

from .ground import SIZE, Content, drawn, laid_over, landscape, panned, panning

_SHIFT = 4
"""Bits of the fraction of a pixel in which OpenCV draws."""


def dot(cover: np.ndarray, x: float, y: float, radius: float) -> None:
    """Draw a round dot into a cover."""
    one = 1 << _SHIFT
    cv2.circle(cover, (int(x * one), int(y * one)), max(1, int(radius * one)), 1.0, -1, cv2.LINE_AA, _SHIFT)


def stroke(cover: np.ndarray, start: tuple[float, float], end: tuple[float, float], width: int = 1) -> None:
    """Draw a line into a cover."""
    one = 1 << _SHIFT
    points = [(int(x * one), int(y * one)) for x, y in (start, end)]
    cv2.line(cover, points[0], points[1], 1.0, width, cv2.LINE_AA, _SHIFT)


def _still(seed: int) -> np.ndarray:
    height, width = SIZE
    return panned(landscape(height + 20, width + 20, seed), 7, 9)


def sparks(count: int = 24, seed: int = 21) -> Content:
    """Sparks of a fire that rise, swerve and die within some frames, before a dark ground."""
    stream = np.random.default_rng(seed)
    ground = 0.2 * _still(seed)
    born = stream.integers(-6, count, 130)
    place = np.stack([stream.normal(240, 25, 130), stream.normal(240, 8, 130)], 1)
    speed = np.stack([stream.normal(0, 2.2, 130), stream.uniform(-13, -5, 130)], 1)
    life, size = stream.integers(4, 12, 130), stream.uniform(0.6, 1.5, 130)

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        cover = np.zeros(SIZE, np.float32)
        for index in np.flatnonzero((born <= t) & (t < born + life)):
            age = t - born[index]
            x, y = place[index] + speed[index] * age + (3 * np.sin(age + index), 0.15 * age * age)
            stroke(cover, (x, y), tuple(np.array([x, y]) - 0.4 * speed[index]), 1)
            dot(cover, x, y, size[index])
        return laid_over(ground, cover, 245), cover > 0.4

    return drawn(count, paint, seed=seed)


def stars(count: int = 24, seed: int = 22) -> Content:
    """A night sky under a slow pan; the stars twinkle."""
    stream = np.random.default_rng(seed)
    place = stream.uniform((0, 0), (540, 200), (110, 2))
    bright, phase = stream.uniform(60, 230, 110), stream.uniform(0, 6, 110)

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        plane = np.full(SIZE, 10, np.float32)
        plane[200:] = 4
        risk = np.zeros(SIZE, np.float32)
        for (x, y), level, angle in zip(place, bright, phase, strict=True):
            cover = np.zeros(SIZE, np.float32)
            dot(cover, x - 0.7 * t, y, 0.8)
            plane = laid_over(plane, cover * (0.75 + 0.25 * np.sin(angle + 1.9 * t)), level)
            risk = np.maximum(risk, cover)
        return plane, risk > 0.4

    return drawn(count, paint, grain=2.5, seed=seed)


def glitter(count: int = 24, seed: int = 23) -> Content:
    """Sun on water: glints of one to three frames everywhere in the lower half, on waves that move."""
    stream = np.random.default_rng(seed)
    height, width = SIZE
    ground = _still(seed)
    born = stream.integers(-3, count, 1600)
    place = np.stack([stream.uniform(0, width, 1600), stream.uniform(height * 0.5, height, 1600)], 1)
    life, size = stream.integers(1, 4, 1600), stream.uniform(0.6, 2.4, 1600)

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        plane = ground.copy()
        y, x = np.mgrid[height // 2 : height, :width].astype(np.float32)
        plane[height // 2 :] = 90 + 22 * np.sin(0.21 * x + 0.9 * t) * np.sin(0.34 * y - 0.6 * t + 0.05 * x)
        cover = np.zeros(SIZE, np.float32)
        for index in np.flatnonzero((born <= t) & (t < born + life)):
            at = place[index] + (0.8 * (t - born[index]), 0)
            stroke(cover, tuple(at - (size[index], 0)), tuple(at + (size[index], 0)), 1)
        return laid_over(plane, cover, 240), cover > 0.4

    return drawn(count, paint, seed=seed)


def leaves(count: int = 24, seed: int = 24) -> Content:
    """A tree in the wind: many small leaves that swing and turn, bright sky between them."""
    stream = np.random.default_rng(seed)
    place = stream.uniform((60, 20), (420, 250), (900, 2))
    swing, phase, turn = stream.uniform(1, 5, 900), stream.uniform(0, 6, 900), stream.uniform(0.5, 1.6, 900)
    level = stream.uniform(20, 120, 900)

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        plane, risk = np.full(SIZE, 205, np.float32), np.zeros(SIZE, np.uint8)
        for (x, y), wide, angle, fast, tone in zip(place, swing, phase, turn, level, strict=True):
            at = int(16 * (x + wide * np.sin(fast * t + angle))), int(16 * (y + 0.5 * wide * np.cos(fast * t + angle)))
            axes = 16 * 5, int(16 * (0.7 + 2 * abs(np.sin(0.7 * fast * t + angle))))
            cv2.ellipse(plane, at, axes, 57 * angle + 12 * np.sin(t), 0, 360, float(tone), -1, cv2.LINE_AA, 4)
            cv2.ellipse(risk, at, axes, 57 * angle + 12 * np.sin(t), 0, 360, 1, -1, cv2.LINE_8, 4)
        return plane, risk > 0

    return drawn(count, paint, seed=seed)


def birds(count: int = 24, seed: int = 25) -> Content:
    """Some birds that fly over a bright sky, beating their wings."""
    stream = np.random.default_rng(seed)
    place = stream.uniform((-60, 20), (400, 150), (9, 2))
    speed = np.stack([stream.uniform(5, 11, 9), stream.normal(0, 0.8, 9)], 1)
    size, phase = stream.uniform(4, 8, 9), stream.uniform(0, 6, 9)
    ground = _still(seed)
    ground[:180] = 190 + 0.1 * ground[:180]

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        cover = np.zeros(SIZE, np.float32)
        for (x, y), way, wide, angle in zip(place, speed, size, phase, strict=True):
            x, y = x + way[0] * t, y + way[1] * t
            lift = wide * 0.8 * np.sin(1.7 * t + angle)
            for side in (-1, 1):
                stroke(cover, (x, y), (x + side * wide, y - lift), 2)
            dot(cover, x, y, 1.5)
        return laid_over(ground, cover, 30), cover > 0.4

    return drawn(count, paint, seed=seed)


def tennis(count: int = 24, seed: int = 26) -> Content:
    """One small bright ball that flies to and fro, fast, before a scene under a slow pan."""
    scene = panning(count, seed=seed, speed=(0.6, 0.0))

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        cover = np.zeros(SIZE, np.float32)
        part = t % 12
        x = 40 + 36 * (part if (t // 12) % 2 == 0 else 12 - part)
        y = 150 - 5.5 * part * (12 - part) * 0.4
        stroke(cover, (x - 5, y), (x + 5, y), 3)
        return laid_over(scene[t], cover, 240), cover > 0.4

    return drawn(count, paint, seed=seed)


def _falling(count: int, seed: int, *, number: int, speed: float, radius: tuple[float, float], level: float) -> Content:
    stream = np.random.default_rng(seed)
    height, width = SIZE
    ground = _still(seed)
    place = stream.uniform((0, 0), (width, height), (number, 2))
    fall = stream.uniform(0.6, 1.2, number) * speed
    size, phase = stream.uniform(*radius, number), stream.uniform(0, 6, number)

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        cover = np.zeros(SIZE, np.float32)
        for (x, y), down, wide, angle in zip(place, fall, size, phase, strict=True):
            dot(cover, (x + 5 * np.sin(0.5 * t + angle)) % width, (y + down * t) % height, wide)
        return laid_over(ground, cover, level), cover > 0.4

    return drawn(count, paint, seed=seed)


def snow(count: int = 24, seed: int = 27) -> Content:
    """Flakes, near and far, that sway."""
    return _falling(count, seed, number=220, speed=6.0, radius=(0.8, 2.6), level=240)


def blizzard(count: int = 24, seed: int = 28) -> Content:
    """Many fast flakes."""
    return _falling(count, seed, number=700, speed=22.0, radius=(0.7, 1.8), level=235)


def drizzle(count: int = 24, seed: int = 29) -> Content:
    """A few faint streaks of rain before a pan."""
    stream = np.random.default_rng(seed)
    scene = panning(count, seed=seed)
    height, width = SIZE
    place = stream.uniform((0, 0), (width, height), (70, 2))
    fall = stream.uniform(28, 44, 70)

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        cover = np.zeros(SIZE, np.float32)
        for (x, y), down in zip(place, fall, strict=True):
            x, y = (x + 2 * t) % width, (y + down * t) % height
            stroke(cover, (x, y), (x + 1.2, y + 0.5 * down), 1)
        return laid_over(scene[t], 0.4 * cover, 220), cover > 0.4

    return drawn(count, paint, seed=seed)


def shot_from_a_gun(count: int = 24, seed: int = 30) -> Content:
    """A flash at a muzzle for one frame, with smoke after it; twice."""
    ground = _still(seed)

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        cover, risk = np.zeros(SIZE, np.float32), np.zeros(SIZE, bool)
        for first, at in ((7, (180, 130)), (16, (310, 150))):
            age = t - first
            if age == 0:
                points = [(0, -12), (34, -5), (20, 0), (40, 8), (4, 10), (-3, 0)]
                cv2.fillPoly(cover, [np.array(points) + at], 1.0, cv2.LINE_AA)
            elif 0 < age < 8:
                cloud = np.zeros(SIZE, np.float32)
                cv2.circle(cloud, (at[0] + 14 + 5 * age, at[1] - 3 * age), 8 + 3 * age, 1.0, -1)
                cover = np.maximum(cover, cv2.GaussianBlur(cloud, (0, 0), 4) * (0.8 - 0.09 * age))
            if 0 <= age < 3:
                risk |= cover > 0.2
        return laid_over(ground, cover, 245), risk

    return drawn(count, paint, seed=seed)
