"""Hints of ControlNets follow their frames through every window."""

import pytest
import torch
from inside.models import tiny_control
from inside.sampling import assert_same, conditioning, random, sample
from pack.nodes.host.prior.regions import with_regions
from pack.vldm_core.sampling.regions.windows import WindowSettings

FRAMES = 11
HINTS = torch.rand(FRAMES, 64, 64, 3, generator=torch.Generator().manual_seed(4))
NOISE, LATENT = random(FRAMES, 4, 8, 8), torch.zeros(FRAMES, 4, 8, 8)


def controlled(kind=None, clones=None):
    """Return a prompt and a hint for every frame; the control is of a `kind` that is made from its class."""
    net = tiny_control()
    net.set_cond_hint(HINTS.movedim(-1, 1), 0.8)
    if kind is not None:
        net.__class__ = kind(type(net))
        net.cond_hints, net.control_inputs, net.multigpu_clones = {}, {}, clones
    return conditioning(frames=FRAMES, control=net, control_apply_to_uncond=True)


def sampled(model, positive):
    return sample(model, positive, conditioning(seed=3), NOISE, LATENT, steps=2)


@pytest.fixture(scope="module")
def whole(model):
    """The clip in one window."""
    return sampled(model, controlled())


@pytest.mark.parametrize(
    "windows",
    [
        WindowSettings(length=5, overlap=2),
        WindowSettings(length=4, overlap=1, schedule="uniform", stride=2),
        WindowSettings(length=6, overlap=3, move=True),
    ],
    ids=["static", "uniform", "moving"],
)
def test_windows_change_nothing(model, whole, windows):
    assert_same(sampled(with_regions(model, windows, None), controlled()), whole)


def remembering(kind):
    """Return the control of newer hosts: it remembers prepared hints by size, which all windows share."""

    class Remembering(kind):  # type: ignore
        def get_control(self, x_noisy, *arguments):
            assert self.multigpu_clones == {}, "a clone holds the hints of the control that it was made of"
            key = tuple(x_noisy.shape[2:])
            self.cond_hint = self.cond_hints.get(key)
            control = super().get_control(x_noisy, *arguments)
            self.cond_hints[key] = self.control_inputs[key] = self.cond_hint
            return control

    return Remembering


def test_a_host_that_remembers_hints_by_size_gets_those_of_the_window(model, whole):
    assert_same(sampled(model, controlled(remembering, {})), whole)
    windowed = with_regions(model, WindowSettings(length=5, overlap=2), None)
    for clones in ({}, {"cuda:1": object()}):
        assert_same(sampled(windowed, controlled(remembering, clones)), whole)


def test_chained_controls_and_hints_fewer_than_frames(model):
    """One hint serves all frames; the host repeats hints that are too few."""

    def chained(model):
        first, second = tiny_control(), tiny_control(seed=8)
        first.set_cond_hint(HINTS[:1].movedim(-1, 1), 0.5)
        second.set_cond_hint(HINTS[:6].movedim(-1, 1), 0.5).set_previous_controlnet(first)
        return sampled(model, conditioning(control=second, control_apply_to_uncond=True))

    assert_same(chained(with_regions(model, WindowSettings(length=5, overlap=2), None)), chained(model))
