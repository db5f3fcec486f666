"""Scenes of the scratch detector."""

from dataclasses import replace

import numpy as np
import torch

from vldm_core.training.scratch_detector.scenes import SceneSettings, draw_scene


def test_a_scene_has_the_size_asked_for_and_moves_or_not():
    margin = SceneSettings().margin
    still = np.random.default_rng(1).random((120 + 2 * margin, 160 + 2 * margin)).astype(np.float32)
    for seed in range(4):
        shot = draw_scene(np.random.default_rng(seed), still, still, 5, 120, 160)
        assert shot.shape == (5, 3, 120, 160)
        assert float(shot.min()) >= 0 and float(shot.max()) <= 1
    again = draw_scene(np.random.default_rng(3), still, still, 5, 120, 160)
    assert torch.equal(shot, again)


def test_a_scene_holds_what_its_settings_say():
    settings = SceneSettings(margin=8, upright_share=0.0, object_share=0.0, rest_share=1.0)
    still = np.full((76, 96), 0.5, np.float32)
    plain = draw_scene(np.random.default_rng(0), still, still, 3, 60, 80, settings)
    assert torch.allclose(plain, torch.tensor(0.5), atol=1e-6)
    posts = replace(settings, upright_share=1.0, kinds=(1.0, 0.0, 0.0, 0.0), contrast=5.0, reach=(9.0, 10.0))
    seen = draw_scene(np.random.default_rng(1), still, still, 3, 60, 80, posts)
    assert torch.equal(seen[0], seen[2]) and float((seen - 0.5).abs().max()) > 0.3
    moving = replace(posts, rest_share=0.0, hand_share=0.0, both_share=0.0, pan=(3.0, 3.0))
    seen = draw_scene(np.random.default_rng(1), still, still, 3, 60, 80, moving)
    assert not torch.equal(seen[0], seen[2])
