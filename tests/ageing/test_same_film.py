"""The same seed gives the same film in every version: who has aged films to compare with keeps them."""

import cv2
import numpy as np
import pytest
import torch

from vldm_core.ageing import PRESETS, simulate

FILMS = {
    # Mean and deviation of the frames, mean difference of neighbours, and visible damage in thousandths of the picture.
    "light": (0.52914, 0.24689, 0.06021, 1.0120),
    "worn": (0.54239, 0.23462, 0.06291, 0.9736),
    "heavy": (0.54522, 0.21906, 0.07035, 3.9985),
    "1890s": (0.50271, 0.22779, 0.05881, 2.7892),
    "1900s": (0.50189, 0.22665, 0.05403, 2.7405),
    "1910s": (0.47698, 0.22779, 0.04090, 2.9323),
    "1920s": (0.50518, 0.23510, 0.04740, 2.0589),
    "1930s": (0.53746, 0.18826, 0.04419, 1.2845),
    "1940s": (0.53599, 0.18751, 0.04229, 0.8800),
    "1950s": (0.49392, 0.26481, 0.05996, 1.0319),
    "1960s": (0.54177, 0.25733, 0.05421, 0.9650),
    "1970s": (0.52518, 0.24942, 0.05798, 0.9961),
    "1980s": (0.50399, 0.25547, 0.06047, 1.0679),
    "1990s": (0.49379, 0.25851, 0.05980, 0.4751),
    "8mm amateur": (0.43938, 0.28661, 0.05790, 2.5406),
    "newsreel": (0.54962, 0.20985, 0.05214, 2.8536),
}


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    noise = np.random.default_rng(0).random((12, 16, 3), dtype=np.float32)
    scene = cv2.resize(noise, (200, 140), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    return torch.from_numpy(np.stack([scene[i : i + 120, 2 * i : 2 * i + 160].transpose(2, 0, 1) for i in range(4)]))


def figures(clip: torch.Tensor, preset: str, seed: int) -> tuple[float, float, float, float]:
    aged = simulate(clip, PRESETS[preset], seed=seed, first=96)
    # No preset has scratches of one frame.
    frames = aged.frames
    masks = torch.stack([mask for kind, mask in aged.masks.items() if kind != "cinches" or mask.any()])
    return float(frames.mean()), float(frames.std()), float(frames.diff(dim=0).abs().mean()), 1000 * float(masks.mean())


@pytest.mark.parametrize("preset", PRESETS)
def test_the_film_of_a_seed_stays_as_it_is(clip, preset):
    # As close as versions of OpenCV and FFmpeg allow.
    *frames, damage = figures(clip, preset, 7)
    assert frames == pytest.approx(FILMS[preset][:3], abs=3e-4)
    assert damage == pytest.approx(FILMS[preset][3], rel=0.01)
    assert figures(clip, preset, 8)[3] != pytest.approx(FILMS[preset][3], rel=0.01)
