"""Prompts of shots in the host's sampling: what arrives at the network for every frame, with and without windows."""

import pytest
import torch
from inside.models import CONTEXT, tiny_clip
from inside.sampling import assert_same, random, sample
from inside.semantics.prompts import Counted, spied
from pack.nodes.host.prior.attachments import with_shots
from pack.nodes.host.prior.conditioning import encode_prompts, scheduled
from pack.nodes.host.prior.regions import with_regions
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.progress import silent
from pack.vldm_core.sampling.regions.windows import WindowSettings
from pack.vldm_core.video.shots import Shot

FRAMES, CUT, STEPS = 6, 2, 2
SHOTS = (Shot(0, CUT), Shot(CUT, FRAMES))
BEFORE, AFTER = "a street", "a horse in the rain"


@pytest.fixture(scope="module")
def clip():
    return Counted(tiny_clip())


@pytest.fixture(scope="module")
def prompts_of(clip):
    """Encode a prompt for every shot."""
    return lambda shots, prompts: scheduled(encode_prompts(clip, prompts, "x", silent), shots)


@pytest.fixture(scope="module")
def negative(prompts_of):
    return prompts_of(SHOTS, ["blurry"] * 2)


@pytest.fixture(scope="module")
def two(prompts_of):
    """Another prompt on either side of the cut."""
    return prompts_of(SHOTS, [BEFORE, AFTER])


@pytest.fixture
def arriving(negative):
    """Return for every frame the positive prompts that arrived, in the order of the calls."""

    def arriving(patched, conditioning, frames=FRAMES):
        seen = []
        noise, latent = random(frames, 4, 8, 8), random(frames, 4, 8, 8, seed=6)
        sample(spied(patched, seen), conditioning, negative, noise, latent, steps=STEPS)
        found = {frame: [] for frame in range(frames)}
        for kind, members, tokens, _ in seen:
            if kind == 0:
                for frame, item in zip(members, tokens, strict=True):
                    found[frame].append(item)
        return found

    return arriving


@pytest.fixture
def own(clip):
    """What the host itself encodes for a text."""
    return lambda text: clip.clip.encode_from_tokens_scheduled(clip.tokenize(text))[0][0][0]


def test_one_prompt_for_all_shots_costs_one_item(negative):
    assert negative[0][0].shape == (1, 77, CONTEXT)


def test_a_still_shot_has_the_same_bits_in_every_frame_and_step(model, prompts_of, arriving, own):
    found = arriving(model, prompts_of((Shot(0, 3),), [BEFORE]), 3)
    assert all(torch.equal(item, own(BEFORE)) for items in found.values() for item in items)
    assert all(len(items) == STEPS for items in found.values())


@pytest.mark.parametrize(
    ("shots", "prompts", "encoded"),
    [
        (SHOTS, [BEFORE, AFTER], [BEFORE, AFTER]),
        ((*SHOTS, Shot(FRAMES, 8)), [BEFORE, AFTER, BEFORE], [BEFORE, AFTER]),
    ],
)
def test_each_prompt_is_encoded_once(clip, prompts_of, shots, prompts, encoded):
    clip.texts.clear()
    prompts_of(shots, prompts)
    assert clip.texts == encoded


def test_prompts_of_shots_are_one_item_a_frame(two):
    assert two[0][0].shape == (FRAMES, 77, CONTEXT) and two[0][1]["vldm_clip_frames"] == FRAMES


MOVING = WindowSettings(length=3, overlap=1, schedule="uniform", stride=2, move=True)


@pytest.mark.parametrize(
    "patch",
    [
        lambda model: model,
        # Some windows hold frames of both shots.
        lambda model: with_regions(model, WindowSettings(length=3, overlap=2), None),
        lambda model: with_shots(with_regions(model, WindowSettings(length=3, overlap=2), None), SHOTS),
        lambda model: with_regions(model, MOVING, None),
    ],
    ids=["whole", "windows across the cut", "windows of a shot", "moving windows"],
)
def test_the_prompt_changes_exactly_at_the_cut(model, two, arriving, own, patch):
    found = arriving(patch(model), two)
    for frame, items in found.items():
        expected = own(BEFORE if frame < CUT else AFTER)
        assert items and all(torch.equal(item, expected) for item in items), frame
    assert not torch.equal(found[CUT - 1][0], found[CUT][0])


def test_frames_are_in_several_windows(model, two, arriving):
    found = arriving(with_regions(model, MOVING, None), two)
    assert max(len(items) for items in found.values()) > STEPS


def test_a_long_prompt_beside_a_short_one_means_the_same_to_the_network(model, prompts_of, negative):
    long, short = "a street with many houses " * 20, "a horse"
    mixed = prompts_of(SHOTS, [long, short])
    assert mixed[0][0].shape[1] % 77 == 0 and mixed[0][0].shape[1] > 77
    noise, latent = random(FRAMES, 4, 8, 8), random(FRAMES, 4, 8, 8, seed=6)
    joined = sample(model, mixed, negative, noise, latent, steps=STEPS)
    for shot, text in zip(SHOTS, [long, short], strict=True):
        alone = sample(model, prompts_of(SHOTS[:1], [text]), negative, noise, latent, steps=STEPS)
        inside = slice(shot.first, shot.last)
        assert_same(joined[inside], alone[inside], 1e-5)
        outside = [frame for frame in range(FRAMES) if not shot.first <= frame < shot.last]
        assert (joined - alone)[outside].abs().max() > 1e-3


def test_prompts_of_another_clip_are_refused_not_shifted(model, two, negative):
    windowed = with_regions(model, WindowSettings(length=3, overlap=2), None)
    with pytest.raises(SettingsError, match="the conditioning is for 6 frames, the latent has 4"):
        sample(windowed, two, negative, random(4, 4, 8, 8), random(4, 4, 8, 8))
