"""Attachments leave the host as it was."""

import comfy.samplers
import pytest
import torch
from inside.prior.headless import Mixing
from inside.sampling import conditioning, random, sample
from pack.nodes.host.prior.attachments import bring, with_attachment
from pack.nodes.host.prior.regions import with_regions
from pack.vldm_core.sampling.regions.windows import WindowSettings


def globals_of_the_host():
    """What attachments of other packs like to replace."""
    return comfy.samplers.sampling_function, torch.nn.GroupNorm.forward, comfy.samplers.calc_cond_batch


def run(model):
    shape = 6, 4, 8, 8
    return sample(model, conditioning(), conditioning(seed=3), random(*shape), torch.zeros(shape), steps=3)


@pytest.fixture
def plain(model):
    return run(model)


@pytest.fixture
def patched(model):
    return with_regions(with_attachment(model, Mixing(), "mixing"), WindowSettings(length=4, overlap=1), None)


def test_a_patched_clone_and_the_model_itself_are_sampled_in_turn(model, plain, patched):
    changed = run(patched)
    assert (changed - plain).abs().max() > 1e-2
    assert torch.equal(run(model), plain)
    assert torch.equal(run(patched), changed)


def test_after_detaching_nothing_is_left(model, plain, patched):
    before = globals_of_the_host()
    weights = {key: value.clone() for key, value in model.model.diffusion_model.state_dict().items()}
    run(patched)
    patched.detach()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())
    assert all(torch.equal(value, weights[key]) for key, value in model.model.diffusion_model.state_dict().items())
    assert globals_of_the_host() == before
    assert torch.equal(run(model), plain)


def test_two_attachments_both_act(model, plain, patched):
    once = run(patched)
    twice = with_attachment(with_attachment(model, Mixing(), "a"), Mixing(), "b")
    assert (run(twice) - once).abs().max() > 1e-2
    assert torch.equal(run(model), plain)


def test_what_a_host_short_of_memory_left_elsewhere_is_brought_along():
    moved = []

    class Partly(torch.nn.Linear):
        def to(self, device):  # type: ignore[override]
            moved.append(device)
            return self

    here = torch.device("cpu")
    bring(Partly(2, 2), here)
    assert not moved
    left = Partly(2, 2)
    left.bias = torch.nn.Parameter(left.bias.to("meta"))
    bring(left, here)
    assert moved == [here]
