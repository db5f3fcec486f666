"""Small synthetic films: two shots of smooth moving texture with dirt and a scratch that stays."""

from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

HEIGHT, WIDTH = 120, 160
CUT = 14
SCRATCH_X = 61


@cache
def texture(seed: int) -> np.ndarray:
    """A smooth random picture, larger than the frame, 20 … 235."""
    noise = np.random.default_rng(seed).normal(size=(HEIGHT + 60, WIDTH + 200)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    return (127 + 35 * smooth / smooth.std()).clip(20, 235)


def damaged_frame(index: int, *, damaged: bool = True, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return frame (H, W, 3) uint8, and the dirt and scratch masks (H, W) bool; the grain does not depend on damage."""
    base = texture(seed + (0 if index < CUT else 1))
    step = 2 * (index % 50)
    frame = base[10 : 10 + HEIGHT, step : step + WIDTH].copy()
    rng = np.random.default_rng([seed, index])
    dirt = np.zeros((HEIGHT, WIDTH), np.uint8)
    for _ in range(2):
        x, y = int(rng.integers(8, WIDTH - 8)), int(rng.integers(8, HEIGHT - 8))
        cv2.circle(dirt, (x, y), 3, 1, -1)
    scratch = np.zeros((HEIGHT, WIDTH), bool)
    scratch[:, SCRATCH_X : SCRATCH_X + 2] = True
    if damaged:
        frame[dirt > 0] = 250 if index % 2 else 5
        frame[scratch] -= 14
    frame += rng.normal(scale=1.5, size=frame.shape)
    return np.repeat(frame.clip(0, 255).round().astype(np.uint8)[..., None], 3, axis=2), dirt > 0, scratch


def write_film(path: Path, count: int, *, audio: bool = True) -> Path:
    """Write a lossless film of ``count`` frames at 24000/1001 with a tone beside it."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=Fraction(24000, 1001))
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "bgr0"
        if audio:
            sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(damaged_frame(index)[0], format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio:
            tone = (8000 * np.sin(np.arange(count * 334) / 9)).astype(np.int16)[None]
            block = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            block.sample_rate, block.pts = 8000, 0
            container.mux(sound.encode(block))
            container.mux(sound.encode())
    return path


@pytest.fixture(scope="session")
def small_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 frames, two shots, a tone."""
    return write_film(tmp_path_factory.mktemp("film") / "small.mkv", 2 * CUT)
