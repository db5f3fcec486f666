"""What happens to lines of a locked-off shot, where motion cannot tell film from scene."""

import cv2
import numpy as np
import pytest
import torch

from vldm_core.film.scratches.detection import ScratchSettings, detect_scratches

HEIGHT, WIDTH, COUNT = 192, 256, 24
SCRATCH, POST = 90, 170


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(4)
    scene = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)).astype(np.float32), (0, 0), 9)
    scene = 120 + 25 * scene / scene.std()
    # A post of the scene: as dark as the scratch, but it ends.
    scene[60:150, POST : POST + 2] -= 12
    scene[:, SCRATCH : SCRATCH + 2] -= 12
    film = scene[None] + rng.normal(scale=2.5, size=(COUNT, HEIGHT, WIDTH))
    return torch.from_numpy(film.clip(0, 255).astype(np.float32))[:, None].expand(-1, 3, -1, -1) / 255


def share(mask, x):
    return float(mask[:, :, x : x + 2].mean())


@pytest.mark.parametrize(
    ("locked_shots", "scratch", "post"), [("off", False, False), ("cautious", True, False), ("on", True, True)]
)
def test_locked_shots(frames, locked_shots, scratch, post):
    mask = detect_scratches(frames, ScratchSettings(detector="weight-free", locked_shots=locked_shots))
    assert (share(mask, SCRATCH) > 0.8) == scratch
    assert (share(mask[:, 70:140], POST) > 0.8) == post
