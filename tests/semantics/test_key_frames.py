"""Key frames follow the content of a shot, keep away from damage and are the same every time."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.semantics.key_frames import KeyFrameSettings, choose_key_frames, sampled_frames
from vldm_core.semantics.recognition.features import encode_frames, look_features
from vldm_core.video.shots import Shot


def states(*lengths: int, noise: float = 0.01, width: int = 16) -> torch.Tensor:
    """Features that stay at one state after the other, with noise."""
    generator = torch.Generator().manual_seed(4)
    rows = torch.cat([torch.eye(width)[index].expand(length, -1) for index, length in enumerate(lengths)])
    return rows + noise * torch.randn(rows.shape, generator=generator)


@pytest.mark.parametrize("lengths", [(40,), (20, 20), (10, 30, 15), (12, 12, 12, 12)])
def test_every_state_of_a_shot_gets_one_key_frame(lengths):
    found = choose_key_frames(states(*lengths))
    assert len(found) == len(lengths)
    borders = [sum(lengths[:index]) for index in range(len(lengths) + 1)]
    assert all(first <= row < last for row, first, last in zip(found, borders[:-1], borders[1:], strict=True))


def test_there_are_never_more_than_asked_for():
    assert len(choose_key_frames(states(8, 8, 8, 8, 8, 8))) == 4
    assert len(choose_key_frames(states(8, 8, 8, 8, 8, 8), settings=KeyFrameSettings(most=6))) == 6
    assert len(choose_key_frames(states(8, 8, 8), settings=KeyFrameSettings(most=1))) == 1


def test_noise_alone_asks_for_no_more_key_frames():
    """Strong noise moves every frame far from the centre, but no farther than from its neighbours."""
    assert len(choose_key_frames(states(60, noise=0.3))) == 1


def test_a_pan_gets_several():
    angle = torch.linspace(0, 1.5, 60)
    pan = torch.stack([angle.cos(), angle.sin(), torch.zeros(60)], 1)
    assert len(choose_key_frames(pan)) >= 3


def test_the_key_frame_is_the_one_nearest_the_centre():
    rows = states(9, noise=0.0)
    rows[:, 1] = torch.tensor([0.3, -0.3, 0.2, -0.2, 0.01, -0.25, 0.25, 0.1, -0.1])
    assert choose_key_frames(rows, settings=KeyFrameSettings(most=1)) == (4,)


def test_equal_frames_give_the_middle_one():
    assert choose_key_frames(states(11, noise=0.0)) == (5,)
    assert choose_key_frames(torch.zeros(4, 3)) in ((1,), (2,))


def test_short_and_empty_shots():
    assert choose_key_frames(torch.zeros(0, 8)) == ()
    assert choose_key_frames(torch.zeros(0, 0), torch.zeros(0)) == ()
    assert choose_key_frames(torch.rand(1, 8), torch.ones(1)) == (0,)
    assert choose_key_frames(states(1, 1)) != ()


def test_planted_damage_is_avoided():
    """Damaged frames look alike and unlike the rest; with their masks they are never chosen."""
    rows = states(20, 20)
    damaged = torch.tensor([3, 9, 10, 11, 12, 25, 29, 30, 31])
    rows[damaged] = torch.eye(16)[7]
    shares = torch.full((40,), 0.002)
    shares[damaged] = 0.4
    found = choose_key_frames(rows, shares)
    assert len(found) == 2 and not set(found) & set(damaged.tolist())


def test_among_frames_that_look_alike_the_less_damaged_are_taken():
    shares = torch.full((40,), 0.05)
    shares[[2, 31]] = 0.01
    settings = KeyFrameSettings(cleanest=0.05)
    assert choose_key_frames(states(20, 20), shares, settings) == (2, 31)


def test_a_flash_nobody_marked_is_left_out():
    rows = states(30)
    rows[17] = torch.eye(16)[9]
    assert len(choose_key_frames(rows)) == 1


def test_where_all_is_damaged_there_is_still_a_key_frame():
    assert len(choose_key_frames(states(12), torch.ones(12))) == 1


def test_real_pictures_without_a_model():
    """The look of a scene changes little by noise and flicker and much from one scene to another."""
    generator = torch.Generator().manual_seed(1)
    scenes = torch.rand(2, 3, 6, 8, generator=generator)
    scenes = torch.nn.functional.interpolate(scenes, size=(48, 64), mode="bicubic").clamp(0, 1)
    frames = []
    for index in range(24):
        gain = 0.8 + 0.2 * (index % 3) / 2
        noise = 0.03 * torch.randn(3, 48, 64, generator=generator)
        frames.append((scenes[index // 12] * gain + noise).clamp(0, 1))
    rows = encode_frames(frames, look_features, chunk=5)
    assert rows.shape == (24, 320)
    within, across = (rows[0] - rows[11]).norm(), (rows[11] - rows[12]).norm()
    assert across > 4 * within
    found = choose_key_frames(rows)
    assert len(found) == 2 and found[0] < 12 <= found[1]


def test_features_do_not_depend_on_the_chunk():
    frames = torch.rand(7, 3, 40, 60, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(encode_frames(frames, look_features, chunk=3), encode_frames(frames, look_features, chunk=7))


def test_only_a_chunk_of_frames_is_held():
    held: list[int] = []

    def encoder(frames):
        held.append(len(frames))
        return frames.flatten(1)

    encode_frames((torch.rand(3, 2, 2) for _ in range(21)), encoder, chunk=4)
    assert held == [4, 4, 4, 4, 4, 1]


@pytest.mark.parametrize("bad", [torch.zeros(2, 3, 3), torch.zeros(3, 3), torch.full((2, 3), float("nan"))])
def test_an_encoder_that_gives_something_else_is_refused(bad):
    with pytest.raises(SettingsError, match="encoder gave"):
        encode_frames(torch.rand(2, 3, 4, 4), lambda frames: bad)


@pytest.mark.parametrize("damage", [torch.zeros(3), torch.full((4,), 1.5), torch.full((4,), float("nan"))])
def test_damage_that_does_not_fit_is_refused(damage):
    with pytest.raises(SettingsError, match="damage"):
        choose_key_frames(torch.rand(4, 2), damage)


@given(first=st.integers(0, 1000), length=st.integers(1, 5000), most=st.integers(1, 600))
def test_sampled_frames(first: int, length: int, most: int) -> None:
    shot = Shot(first, first + length)
    found = sampled_frames(shot, most)
    assert len(found) == min(length, most) and len(set(found)) == len(found)
    assert list(found) == sorted(found) and shot.first <= found[0] and found[-1] < shot.last
    steps = {after - before for before, after in pairwise(found)}
    assert not steps or max(steps) - min(steps) <= 1


@settings(max_examples=60)
@given(
    count=st.integers(0, 40),
    width=st.integers(1, 6),
    seed=st.integers(0, 10_000),
    levels=st.integers(1, 4),
    most=st.integers(1, 6),
)
def test_the_plan_holds_whatever_the_features(count: int, width: int, seed: int, levels: int, most: int) -> None:
    """Rows with many ties: the plan keeps its bounds, is repeatable and takes no spoilt frame."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, levels, (count, width), generator=generator).float()
    shares = torch.randint(0, 3, (count,), generator=generator) / 4
    how = KeyFrameSettings(most=most)
    found = choose_key_frames(rows, shares, how)
    assert found == choose_key_frames(rows.clone(), shares.clone(), how)
    assert list(found) == sorted(set(found)) and len(found) <= most
    assert bool(found) == bool(count)
    assert all(0 <= row < count for row in found)
    if count:
        usual = shares.sort().values[(count - 1) // 4]
        assert all(shares[row] <= usual + how.spoilt for row in found)
