"""Prompts of shots in the host's sampling: what arrives at the network for every frame, with and without windows."""

from semantics_common import *

from pack.nodes.host.conditioning import encode_prompts, scheduled
from pack.vldm_core.progress import silent

model, _ = tiny_pair()
clip = Counted(tiny_clip())
negative = scheduled(encode_prompts(clip, ["blurry"] * 2, "x", silent), (Shot(0, 2), Shot(2, 6)))
assert negative[0][0].shape == (1, 77, CONTEXT), "one prompt for all shots costs one item"


def prompts_of(shots, prompts):
    return scheduled(encode_prompts(clip, prompts, "x", silent), shots)


def arriving(patched, conditioning, frames, **more):
    """Return for every frame the different positive prompts that arrived in any call."""
    seen = []
    noise, latent = random(frames, 4, 8, 8), random(frames, 4, 8, 8, seed=6)
    sample(spied(patched, seen), conditioning, negative, noise, latent, steps=2, **more)
    found = {frame: [] for frame in range(frames)}
    for kind, members, tokens, _ in seen:
        if kind == 0:
            for frame, item in zip(members, tokens, strict=True):
                found[frame].append(item)
    return found


def own(text):
    return clip.clip.encode_from_tokens_scheduled(clip.tokenize(text))[0][0][0]


# A static shot: bit-constant over its frames, in every step, whatever was said around it.
found = arriving(model, prompts_of((Shot(0, 3),), ["a street"]), 3)
assert all(torch.equal(item, own("a street")) for items in found.values() for item in items)
assert all(len(items) == 2 for items in found.values())

# Two shots: another prompt exactly at the cut, and the same bits on each side; each prompt is encoded once.
shots = (Shot(0, 2), Shot(2, 6))
clip.texts.clear()
two = prompts_of(shots, ["a street", "a horse in the rain"])
assert clip.texts == ["a street", "a horse in the rain"]
clip.texts.clear()
prompts_of((*shots, Shot(6, 8)), ["a street", "a horse", "a street"])
assert clip.texts == ["a street", "a horse"]
assert two[0][0].shape == (6, 77, CONTEXT) and two[0][1]["vldm_clip_frames"] == 6


def check(found):
    for frame, items in found.items():
        expected = own("a street" if frame < 2 else "a horse in the rain")
        assert items and all(torch.equal(item, expected) for item in items), frame
    assert not torch.equal(found[1][0], found[2][0])


check(arriving(model, two, 6))
# With windows every frame has its own shot's prompt in every window: with shots, where no window crosses the cut, and
# without, where some hold frames of both; moving ones too, and tiles.
windowed = with_regions(model, WindowSettings(length=3, overlap=2), None)
check(arriving(windowed, two, 6))
check(arriving(with_shots(windowed, shots), two, 6))
moving = with_regions(model, WindowSettings(length=3, overlap=1, schedule="uniform", stride=2, move=True), None)
found = arriving(moving, two, 6)
check(found)
assert max(len(items) for items in found.values()) > 2, "frames are in several windows"

# A long prompt beside a short one: more tokens for both, and for the network the same as before.
long = "a street with many houses " * 20
mixed = prompts_of(shots, [long, "a horse"])
assert mixed[0][0].shape[1] % 77 == 0 and mixed[0][0].shape[1] > 77
noise, latent = random(6, 4, 8, 8), random(6, 4, 8, 8, seed=6)
joined = sample(model, mixed, negative, noise, latent, steps=2)
for shot, text in zip(shots, [long, "a horse"], strict=True):
    alone = sample(model, prompts_of((shots[0],), [text]), negative, noise, latent, steps=2)
    difference = (joined - alone)[shot.first : shot.last].abs().max() / alone.abs().max()
    assert difference < 1e-5, float(difference)
    outside = [frame for frame in range(6) if not shot.first <= frame < shot.last]
    assert (joined - alone)[outside].abs().max() > 1e-3

# Prompts of another clip are refused, not shifted.
refused(
    lambda: sample(windowed, two, negative, random(4, 4, 8, 8), random(4, 4, 8, 8)),
    "the conditioning is for 6 frames, the latent has 4",
)
