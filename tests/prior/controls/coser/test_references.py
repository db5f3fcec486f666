"""Which frame of its own shot a frame looks at."""

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.prior.controls.coser.references import reference_frames
from vldm_core.video.shots import Shot

SHOTS = (Shot(0, 5), Shot(5, 8))


def test_the_nearest_key_frame_of_the_shot_serves():
    assert reference_frames(8, shots=SHOTS, key_frames=(0, 4, 6)) == (0, 0, 0, 4, 4, 6, 6, 6)


def test_a_key_frame_never_serves_across_a_cut():
    # Frame 5 is nearer to frame 4, which belongs to another shot.
    assert reference_frames(8, shots=SHOTS, key_frames=(4, 7))[5:] == (7, 7, 7)


def test_a_shot_without_one_is_represented_by_its_least_damaged_frame():
    damage = torch.zeros(8, 6, 6)
    damage[0:5, :3] = 1
    damage[3, :2] = 0
    damage[5:7] = 1
    assert reference_frames(8, shots=SHOTS, damage=damage) == (3,) * 5 + (7,) * 3


def test_among_equals_it_is_the_middle_one():
    assert reference_frames(8, shots=SHOTS) == (2,) * 5 + (6,) * 3
    assert reference_frames(8) == (3,) * 8


def test_what_is_not_of_this_clip_is_refused():
    with pytest.raises(SettingsError, match="key frame 8 is not in the clip of 8"):
        reference_frames(8, key_frames=(8,))
    with pytest.raises(SettingsError, match="damage of 3 frames"):
        reference_frames(8, damage=torch.zeros(3, 6, 6))
