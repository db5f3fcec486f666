"""Which reference a frame looks at: the user's, or a key frame of its own shot."""

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.prior.controls.coser.references import NO_REFERENCE, References
from vldm_core.video.shots import Shot

LATENTS = torch.arange(8.0)[:, None, None, None].expand(8, 4, 2, 2)
SHOTS = (Shot(0, 5), Shot(5, 8))


def frames_of(references):
    """Which frame each frame looks at; `LATENTS` hold their own number."""
    return [int(references.latents[number, 0, 0, 0]) for number in references.of_frame]


class TestGiven:
    def test_one_serves_all_frames(self):
        assert References.given(LATENTS[3:4], 8).of_frame == (0,) * 8

    def test_one_for_each(self):
        assert frames_of(References.given(LATENTS, 8)) == list(range(8))

    def test_another_number_is_refused(self):
        with pytest.raises(SettingsError, match="2 references for 8 frames"):
            References.given(LATENTS[:2], 8)


class TestKeyFrames:
    def test_the_nearest_key_frame_of_the_shot_serves(self):
        found = References.from_key_frames(LATENTS, shots=SHOTS, key_frames=(0, 4, 6))
        assert frames_of(found) == [0, 0, 0, 4, 4, 6, 6, 6]
        assert len(found.latents) == 3

    def test_a_key_frame_never_serves_across_a_cut(self):
        # Frame 5 is nearer to frame 4, which belongs to another shot.
        assert frames_of(References.from_key_frames(LATENTS, shots=SHOTS, key_frames=(4, 7)))[5:] == [7, 7, 7]

    def test_a_shot_without_one_is_represented_by_its_least_damaged_frame(self):
        damage = torch.zeros(8, 6, 6)
        damage[0:5, :3] = 1
        damage[3, :2] = 0
        damage[5:7] = 1
        found = References.from_key_frames(LATENTS, shots=SHOTS, damage=damage)
        assert frames_of(found) == [3] * 5 + [7] * 3

    def test_among_equals_it_is_the_middle_one(self):
        assert frames_of(References.from_key_frames(LATENTS, shots=SHOTS)) == [2] * 5 + [6] * 3
        assert frames_of(References.from_key_frames(LATENTS)) == [3] * 8

    def test_what_is_not_of_this_clip_is_refused(self):
        with pytest.raises(SettingsError, match="key frame 8 is not in the clip of 8"):
            References.from_key_frames(LATENTS, key_frames=(8,))
        with pytest.raises(SettingsError, match="damage of 3 frames"):
            References.from_key_frames(LATENTS, damage=torch.zeros(3, 6, 6))


def test_a_frame_may_have_none_but_no_other_number():
    assert References(latents=LATENTS[:1], of_frame=(0, NO_REFERENCE)).of_frame[1] == NO_REFERENCE
    with pytest.raises(SettingsError, match="asks for number 1"):
        References(latents=LATENTS[:1], of_frame=(0, 1))
