"""Where a marked line is interrupted, its repair leaves the picture alone."""

import cv2
import numpy as np
import torch

from vldm_core.film.scratches.repair.repair import repair_scratches

HEIGHT, WIDTH, COUNT, X = 160, 128, 7, 60
GAP = slice(70, 92)


def test_the_gap_of_one_frame_is_not_painted():
    rng = np.random.default_rng(8)
    wide = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH + 60)).astype(np.float32), (0, 0), 9)
    wide = 110 + 25 * wide / wide.std()
    clean = np.stack([wide[:, 4 * t : 4 * t + WIDTH] for t in range(COUNT)])
    clean = clean + rng.normal(scale=2, size=clean.shape)
    damaged = clean.copy()
    damaged[:, :, X : X + 2] += 30
    damaged[3, GAP, X : X + 2] -= 30
    frames, truth = (
        torch.from_numpy(film.astype(np.float32))[:, None].expand(-1, 3, -1, -1) / 255 for film in (damaged, clean)
    )
    mask = torch.zeros(COUNT, HEIGHT, WIDTH)
    mask[:, :, X - 1 : X + 3] = 1
    error = ((repair_scratches(frames, mask) - truth) * 255)[:, 0, :, X : X + 2]
    # A repair that follows the other frames would leave the gap 30 levels too dark.
    assert abs(float(error[3, 74:88].mean())) < 12
    assert abs(float(error[3, :60].mean())) < 6
    assert float(error[[1, 2, 4, 5]].square().mean().sqrt()) < 8
