"""Control hints follow their frames through every window."""

from regions_common import *

count = 17
hints = torch.rand(count, 64, 64, 3, generator=torch.Generator().manual_seed(4))


def controlled(frames):
    net = tiny_control()
    net.set_cond_hint(hints[frames].movedim(-1, 1), 0.8)
    positive = conditioning(frames=count)
    positive[0][0] = positive[0][0][frames]
    positive[0][1].update(control=net, control_apply_to_uncond=True)
    return positive


every = list(range(count))
noise, latent = random(count, 4, 8, 8), torch.zeros(count, 4, 8, 8)
whole = sample(model, controlled(every), negative, noise, latent, steps=2)
for windows in (
    WindowSettings(length=5, overlap=2),
    WindowSettings(length=4, overlap=1, schedule="uniform", stride=2),
    WindowSettings(length=6, overlap=3, move=True),
):
    equal(sample(with_regions(model, windows, None), controlled(every), negative, noise, latent, steps=2), whole)


# One hint for all frames, chained controls, hints fewer than frames (the host repeats them).
def chained(model):
    first, second = tiny_control(), tiny_control(seed=8)
    first.set_cond_hint(hints[:1].movedim(-1, 1), 0.5)
    second.set_cond_hint(hints[:9].movedim(-1, 1), 0.5).set_previous_controlnet(first)
    positive = conditioning()
    positive[0][1].update(control=second, control_apply_to_uncond=True)
    return sample(model, positive, negative, noise, latent, steps=2)


equal(chained(with_regions(model, WindowSettings(length=5, overlap=2), None)), chained(model))
