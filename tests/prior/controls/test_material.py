"""What a control looks at is cut with windows and tiles, and refused where it does not fit."""

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.prior.call import UNetCall, UNetInput
from vldm_core.prior.controls.material import ControlMaterial, for_frames
from vldm_core.video.shots import Shot

FRAMES, HEIGHT, WIDTH = 5, 6, 8


def call(frames, *, corner=(0, 0), size=(HEIGHT, WIDTH), whole=(HEIGHT, WIDTH)):
    x = torch.zeros(len(frames), 4, *size, dtype=torch.float64)
    inputs = UNetInput(x=x, timesteps=torch.zeros(len(frames)), context=torch.zeros(len(frames), 1, 1))
    return UNetCall(frames=frames, chunks=(0,), segments=((0, len(frames)),), corner=corner, size=whole, inputs=inputs)


def numbered(count, *shape):
    return torch.arange(count).reshape(count, *[1] * len(shape)).expand(count, *shape).float()


def places(channels, scale):
    rows = torch.arange(scale * HEIGHT)[:, None].expand(-1, scale * WIDTH)
    return (1000 * rows + torch.arange(scale * WIDTH)).expand(1, channels, -1, -1).float()


def test_everything_follows_the_frames_of_a_window():
    material = ControlMaterial(
        hint=numbered(FRAMES, 4, HEIGHT, WIDTH),
        damage=numbered(FRAMES, HEIGHT, WIDTH),
        tokens=numbered(FRAMES, 3, 2),
        reference=numbered(FRAMES, 4, HEIGHT, WIDTH),
    )
    part = material.of(call((1, 3, 4)))
    for tensor in (part.hint, part.damage, part.tokens, part.reference):
        assert tensor.flatten(1)[:, 0].tolist() == [1, 3, 4]
        assert tensor.dtype == torch.float64


@pytest.mark.parametrize(("channels", "scale"), [(4, 1), (3, 8)])
def test_a_hint_is_cut_with_the_tile(channels, scale):
    part = ControlMaterial(hint=places(channels, scale)).of(call((0, 1), corner=(2, 4), size=(4, 4)))
    assert part.hint.shape == (2, channels, 4 * scale, 4 * scale)
    assert part.hint[0, 0, 0, 0] == 1000 * 2 * scale + 4 * scale
    assert part.hint[1, 0, -1, -1] == 1000 * (6 * scale - 1) + 8 * scale - 1


def test_tokens_are_the_same_for_every_tile():
    material = ControlMaterial(hint=places(4, 1), tokens=numbered(FRAMES, 3, 2))
    assert torch.equal(material.of(call((2,), corner=(2, 4), size=(4, 4))).tokens, material.tokens[[2]].double())


@pytest.mark.parametrize(
    "wrong",
    [
        {"hint": torch.zeros(1, 3, HEIGHT, WIDTH)},
        {"hint": torch.zeros(4, HEIGHT, WIDTH)},
        {"hint": torch.zeros(1, 4, HEIGHT, WIDTH), "damage": torch.zeros(1, HEIGHT, WIDTH + 1)},
        {"hint": torch.zeros(1, 4, HEIGHT, WIDTH), "reference": torch.zeros(1, 4, HEIGHT + 1, WIDTH)},
        {"hint": torch.zeros(1, 4, HEIGHT, WIDTH), "tokens": torch.zeros(3, 2)},
        {"hint": torch.zeros(5, 4, HEIGHT, WIDTH), "damage": torch.zeros(4, HEIGHT, WIDTH)},
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(wrong):
    with pytest.raises(SettingsError):
        ControlMaterial(**wrong).check("latent", "DiffBIR")


@pytest.mark.parametrize("name", ["hint", "damage", "tokens", "reference"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(name, value):
    parts = {"hint": places(4, 1), "damage": numbered(FRAMES, HEIGHT, WIDTH), "tokens": numbered(FRAMES, 3, 2)}
    parts["reference"] = places(4, 1).clone()
    ControlMaterial(**parts).check_numbers("DiffBIR")
    parts[name] = parts[name].contiguous().clone()
    parts[name].view(-1)[-1] = value
    with pytest.raises(SettingsError, match=f"values that are not finite .* in frame {len(parts[name]) - 1}"):
        ControlMaterial(**parts).check_numbers("DiffBIR")


def test_another_size_or_length_is_refused():
    material = ControlMaterial(hint=torch.zeros(2, 4, HEIGHT, WIDTH))
    with pytest.raises(SettingsError, match="the latent is"):
        material.of(call((0,), whole=(HEIGHT, WIDTH + 1)))
    with pytest.raises(SettingsError, match="has 2 hints"):
        material.of(call((0, 2)))


def test_every_frame_has_what_was_given_for_its_shot():
    given, shots = numbered(2, 5, 8), (Shot(0, 3), Shot(3, 7))
    assert torch.equal(for_frames(given, 7, shots, "embeddings"), given[[0, 0, 0, 1, 1, 1, 1]])
    assert torch.equal(for_frames(given[:1], 7, shots, "embeddings"), given[:1])
    frames = numbered(7, 5, 8)
    assert torch.equal(for_frames(frames, 7, shots, "embeddings"), frames)
    with pytest.raises(SettingsError, match="3 embeddings for 7 frames in 2 shots; give one, one for each shot"):
        for_frames(numbered(3, 5, 8), 7, shots, "embeddings")
    with pytest.raises(SettingsError, match="2 pictures for 7 frames in 1 shots"):
        for_frames(given, 7, None, "pictures")
