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


# Newer hosts remember prepared hints by size in the control; every window has the same size and other frames.
def remembering(kind):
    class Remembering(kind):
        def get_control(self, x_noisy, *arguments):
            assert self.multigpu_clones == {}, "a clone holds the hints of the control that it was made of"
            key = tuple(x_noisy.shape[2:])
            self.cond_hint = self.cond_hints.get(key)
            control = super().get_control(x_noisy, *arguments)
            self.cond_hints[key] = self.control_inputs[key] = self.cond_hint
            return control

    return Remembering


def remembered(frames, clones):
    positive = controlled(frames)
    net = positive[0][1]["control"]
    net.__class__ = remembering(type(net))
    net.cond_hints, net.control_inputs, net.multigpu_clones = {}, {}, clones
    return positive


equal(sample(model, remembered(every, {}), negative, noise, latent, steps=2), whole)
remembering_windows = with_regions(model, WindowSettings(length=5, overlap=2), None)
for clones in ({}, {"cuda:1": object()}):
    equal(sample(remembering_windows, remembered(every, clones), negative, noise, latent, steps=2), whole)


# One hint for all frames, chained controls, hints fewer than frames (the host repeats them).
def chained(model):
    first, second = tiny_control(), tiny_control(seed=8)
    first.set_cond_hint(hints[:1].movedim(-1, 1), 0.5)
    second.set_cond_hint(hints[:9].movedim(-1, 1), 0.5).set_previous_controlnet(first)
    positive = conditioning()
    positive[0][1].update(control=second, control_apply_to_uncond=True)
    return sample(model, positive, negative, noise, latent, steps=2)


equal(chained(with_regions(model, WindowSettings(length=5, overlap=2), None)), chained(model))
