"""A montage of very short shots comes out as it went in: nothing mixes across its cuts."""

import cv2
import numpy as np
import pytest
import torch

from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.scratches.detection import ScratchSettings
from vldm_core.stages import batch as pipeline
from vldm_core.video.shots import Shot

HEIGHT, WIDTH = 120, 160
LENGTHS = [7, 2, 3, 2, 7]


def montage():
    generator = np.random.default_rng(2)
    frames = []
    for number, length in enumerate(LENGTHS):
        layers = [s * cv2.GaussianBlur(generator.normal(size=(HEIGHT, WIDTH + 40)), (0, 0), s) for s in (2, 6, 18)]
        scene = np.sum(layers, axis=0)
        scene = 60 + 25 * number + (30 + 4 * number) * scene / scene.std()
        for t in range(length):
            frames.append(scene[:, 2 * t : 2 * t + WIDTH] + generator.normal(0, 1.0, (HEIGHT, WIDTH)))
    grey = np.stack(frames).clip(0, 255).astype(np.float32) / 255
    return torch.from_numpy(np.repeat(grey[:, None], 3, axis=1))


@pytest.fixture(scope="module")
def film():
    frames = montage()
    return frames, pipeline.detect_shots_in(frames)


def test_every_shot_is_found(film):
    ends = np.cumsum(LENGTHS).tolist()
    assert film[1] == tuple(Shot(last - length, last) for last, length in zip(ends, LENGTHS, strict=True))


def test_nothing_is_marked_or_mixed(film):
    frames, shots = film
    found = pipeline.detect_damage(frames, shots=shots, dirt=DirtSettings(), lines=ScratchSettings())
    assert found.scratch.max() == 0 and found.dirt.mean() < 2e-4
    even = pipeline.remove_flicker(frames, shots=shots)
    assert (even - frames).abs().mean((1, 2, 3)).max() < 1 / 255


def test_what_a_neighbouring_shot_shows_does_not_matter(film):
    frames, shots = film
    other = frames.clone()
    other[9:12] = 1 - other[9:12]
    for change in (pipeline.remove_flicker, pipeline.stabilise):
        one, two = change(frames, shots=shots), change(other, shots=shots)
        kept = [t for t in range(len(frames)) if not 9 <= t < 12]
        assert torch.equal(one[kept], two[kept])


def test_inserted_black_frames_stay_and_so_does_what_is_around_them(film):
    frames, _ = film
    one = frames[:7]
    with_black = torch.cat([one[:5], torch.zeros_like(one[:1]), one[5:], torch.zeros_like(one[:2]), one.flip(0)])
    shots = pipeline.detect_shots_in(with_black)
    even = pipeline.remove_flicker(with_black, shots=shots)
    black = with_black.amax((1, 2, 3)) == 0
    assert black.sum() == 3 and torch.equal(even[black], with_black[black])
    assert (even - with_black).abs().mean((1, 2, 3)).max() < 1 / 255
