"""Hairs in the gate are filled from where the scene was seen beside them."""

from dataclasses import replace

import cv2
import numpy as np
import torch

from vldm_core.film.standing.detection import StandingSettings
from vldm_core.progress import Pulse, silent
from vldm_core.stages.batch.shots import Batch
from vldm_core.stages.plan import StagePlan
from vldm_core.stages.settings import StageSettings

HEIGHT, WIDTH, COUNT, SPEED = 96, 160, 16, 4


def pan():
    generator = np.random.default_rng(0)
    wide = WIDTH + SPEED * COUNT
    layers = [s * cv2.GaussianBlur(generator.normal(size=(HEIGHT, wide)), (0, 0), s) for s in (2, 6, 20)]
    scene = np.sum(layers, axis=0)
    scene = (0.45 + 0.12 * scene / scene.std()).clip(0.1, 0.9)
    frames = np.stack([scene[:, SPEED * t : SPEED * t + WIDTH] for t in range(COUNT)])
    frames += generator.normal(0, 0.006, frames.shape)
    return torch.from_numpy(frames.clip(0, 1).astype(np.float32))[:, None].repeat(1, 3, 1, 1)


def hair():
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    points = np.array([[80, 0], [76, 10], [82, 20], [92, 28]], np.int32)
    cv2.polylines(mask, [points], False, 1.0, 2)
    return torch.from_numpy(mask)


def restored(frames, **stages):
    settings = replace(StageSettings.no_stages(), **stages)
    pulse = Pulse(silent, "restore", len(frames))
    made = list(Batch(frames=frames).run(StagePlan.from_settings(settings), pulse))
    return torch.stack([frame.image for frame in made]), made


def test_a_hair_in_the_gate_is_filled_and_nothing_else_changes():
    clean, mark = pan(), hair()
    worn = clean * (1 - 0.9 * mark) + 0.05 * 0.9 * mark
    made, frames = restored(worn, standing=StandingSettings())
    marked = torch.stack([frame.dirt for frame in frames]) > 0.5
    assert torch.equal(made[~marked[:, None].expand_as(made)], worn[~marked[:, None].expand_as(worn)])
    inside = (mark > 0).expand(COUNT, 3, HEIGHT, WIDTH)[3:-3]
    before, after = ((film[3:-3] - clean[3:-3])[inside].square().mean() for film in (worn, made))
    assert after < before / 30


def test_a_clean_pan_leaves_bit_equal():
    clean = pan()
    made, _ = restored(clean, standing=StandingSettings())
    assert torch.equal(made, clean)


def test_who_gives_all_marks_gets_no_others():
    settings = replace(StageSettings.no_stages(), standing=StandingSettings(), given_dirt="alone")
    assert "standing marks" not in [stage.name for stage in StagePlan.from_settings(settings).stages]
