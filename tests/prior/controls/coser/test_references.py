"""Which frame of its own shot a frame looks at."""

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.prior.controls.coser.references import reference_frames
from vldm_core.video.shots import Shot

SHOTS = (Shot(0, 5), Shot(5, 8))


def test_the_least_damaged_frame_of_each_shot_serves():
    damage = torch.zeros(8, 6, 6)
    damage[0:5, :3] = 1
    damage[3, :2] = 0
    damage[5:7] = 1
    assert reference_frames(8, shots=SHOTS, damage=damage) == (3,) * 5 + (7,) * 3


def test_among_equals_it_is_the_middle_one():
    assert reference_frames(8, shots=SHOTS) == (2,) * 5 + (6,) * 3
    assert reference_frames(8) == (3,) * 8


def test_what_is_not_of_this_clip_is_refused():
    with pytest.raises(SettingsError, match="damage of 3 frames"):
        reference_frames(8, damage=torch.zeros(3, 6, 6))
