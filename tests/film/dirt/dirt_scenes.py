"""Small moving scenes with known specks, for the tests of dirt detection and repair."""

import cv2
import numpy as np
import torch
from torch import Tensor


def scene(count: int = 8, height: int = 144, width: int = 192, *, pan: float = 1.6, seed: int = 1) -> Tensor:
    """A textured background under a panning camera, with grain; (T, 3, H, W)."""
    stream = np.random.default_rng(seed)
    wide = np.zeros((height + 40, width + 120), np.float32)
    for sigma, depth in ((20.0, 45.0), (6.0, 25.0), (2.0, 9.0)):
        layer = cv2.GaussianBlur(stream.standard_normal(wide.shape).astype(np.float32), (0, 0), sigma)
        wide += layer / layer.std() * depth
    wide += 120.0
    cv2.rectangle(wide, (60, 30), (110, 90), 40.0, -1)
    cv2.line(wide, (0, 120), (300, 60), 215.0, 2)
    frames = []
    for index in range(count):
        shift = np.array([[1, 0, 4 + pan * index], [0, 1, 4 + 0.3 * pan * index]], np.float64)
        view = cv2.warpAffine(wide, shift, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        grain = np.asarray(stream.standard_normal(view.shape))
        frames.append(view + 2.0 * cv2.GaussianBlur(grain, (0, 0), 0.6))
    grey = np.clip(np.rint(np.stack(frames)), 0, 255).astype(np.float32) / 255
    return torch.from_numpy(grey)[:, None].repeat(1, 3, 1, 1)


def speckled(
    frames: Tensor, *, per_frame: int = 5, seed: int = 2, first: int = 0, last: int | None = None
) -> tuple[Tensor, Tensor]:
    """Put opaque specks, dark and bright, on frames first … last - 1; return the frames and the truth (T, H, W)."""
    stream = np.random.default_rng(seed)
    count, _, height, width = frames.shape
    dirty, truth = frames.clone(), torch.zeros(count, height, width, dtype=torch.bool)
    for index in range(first, count if last is None else last):
        for number in range(per_frame):
            alpha = np.zeros((height, width), np.float32)
            centre = (int(stream.integers(8, width - 8)), int(stream.integers(8, height - 8)))
            axes = (int(stream.integers(2, 6)), int(stream.integers(1, 4)))
            cv2.ellipse(alpha, centre, axes, float(stream.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
            shade = 0.04 if number % 2 else 0.97
            cover = torch.from_numpy(cv2.GaussianBlur(alpha, (0, 0), 0.6))
            dirty[index] = dirty[index] * (1 - cover) + shade * cover
    dirty = (dirty * 255).round() / 255
    truth = (dirty - frames).abs().amax(1) >= 8 / 255
    return dirty, truth


def with_runner(frames: Tensor, *, speed: float = 9.0, size: int = 14) -> Tensor:
    """Let a bright square run through the picture."""
    result = frames.clone()
    for index in range(len(frames)):
        x = int(10 + speed * index)
        result[index, :, 50 : 50 + size, x : x + size] = 0.9
        result[index, :, 54 : 54 + size - 8, x + 4 : x + size - 4] = 0.2
    return result
