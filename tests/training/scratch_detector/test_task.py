"""The scratch detector as a task: its samples, its loss, its calibration."""

import numpy as np
import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.film.scratches.network import ScratchNetwork, ScratchNetworkConfig
from vldm_core.training.scratch_detector.calibration import calibrate
from vldm_core.training.scratch_detector.task import (
    ScratchSample,
    ScratchSamples,
    ScratchTask,
    ScratchTrainingSettings,
    figures,
    held_out,
    tensors,
)

from .candidates import candidates

SMALL = ScratchNetworkConfig(width=8, hidden=16)


def test_a_batch_has_as_many_scratches_as_asked_for():
    settings = ScratchTrainingSettings(scratches=0.25)
    samples = ScratchSamples(candidates(), settings, seed=3, batch=8)
    labels = [float(samples.sample(index)["label"]) for index in range(24)]
    assert [sum(labels[start : start + 8]) for start in (0, 8, 16)] == [2.0, 2.0, 2.0]
    one, again = samples.sample(5), ScratchSamples(candidates(), settings, seed=3, batch=8).sample(5)
    assert all(torch.equal(one[name], again[name]) for name in one)  # type: ignore[literal-required]
    assert not torch.equal(one["near"], ScratchSamples(candidates(), settings, seed=4, batch=8).sample(5)["near"])


def test_samples_are_reflected_and_the_examples_stay_as_they_are():
    # One example of each kind, so it is known of which each sample is made.
    examples = candidates(2)
    before = {name: getattr(examples, name).copy() for name in ("near", "times", "numbers")}
    settings = ScratchTrainingSettings(noise=0.0, scratches=0.5)
    samples, kinds = ScratchSamples(examples, settings, seed=0, batch=2), set()
    near, _, times, numbers, _ = (part[1] for part in tensors(examples))
    for index in range(0, 120, 2):
        sample = samples.sample(index)
        assert float(sample["label"]) == 1
        found = []
        for mirrored in (False, True):
            for upside_down in (False, True):
                for backwards in (False, True):
                    for negative in (False, True):
                        expected = near.clone()
                        expected[5] *= -1 if negative else 1
                        expected = expected.flip([axis for axis, on in ((2, mirrored), (1, upside_down)) if on])
                        shown = times.clone()
                        shown[3] *= -1 if mirrored else 1
                        shown = shown.flip([axis for axis, on in ((1, upside_down), (2, backwards)) if on])
                        told = numbers.clone()
                        told[11] *= -1 if mirrored is not upside_down else 1
                        looks = {"near": expected, "times": shown, "numbers": told}
                        if all(torch.equal(sample[name], look) for name, look in looks.items()):  # type: ignore
                            found.append((mirrored, upside_down, backwards, negative))
        assert len(found) == 1
        kinds.add(found[0])
    assert len(kinds) >= 12
    assert all(np.array_equal(getattr(examples, name), part) for name, part in before.items())


def test_the_loss_by_hand():
    class Sure(torch.nn.Module):
        def forward(self, near, far, times, numbers):
            return torch.full((len(near),), 2.0)

    *seen, labels = tensors(candidates(8))
    batch = ScratchSample(near=seen[0], far=seen[1], times=seen[2], numbers=seen[3], label=labels)
    task = ScratchTask(ScratchNetwork(SMALL), ScratchTrainingSettings(doubt=0.1), [*seen, labels])
    chance = 1 / (1 + np.exp(-2))
    expected = np.mean([-(t * np.log(chance) + (1 - t) * np.log(1 - chance)) for t in (0.05, 0.95)])
    assert float(task.loss(Sure(), batch)[0]) == pytest.approx(expected, rel=1e-5)


def test_calibration_gives_probabilities_and_the_cost_of_a_mark():
    class Boastful(ScratchNetwork):
        def forward(self, near, far, times, numbers):
            return numbers[:, 0]

    stream = np.random.default_rng(0)
    truth = stream.normal(size=4000).astype(np.float32)
    labels = torch.from_numpy((stream.random(4000) < 1 / (1 + np.exp(-truth))).astype(np.float32))
    numbers = torch.from_numpy(np.repeat(5 * truth[:, None] + 1, 18, axis=1))
    parts = [torch.zeros(4000, 1), torch.zeros(4000, 1), torch.zeros(4000, 1), numbers, labels]
    network = Boastful(SMALL)
    calibrate(network, parts, mark_cost=2.0)
    assert float(network.temperature) == pytest.approx(0.2, rel=0.15)
    assert float(network.offset) == pytest.approx(-0.2 - np.log(2), abs=0.15)
    # Of one kind alone nothing can be learnt.
    untouched = Boastful(SMALL)
    calibrate(untouched, [*parts[:-1], torch.ones(4000)], mark_cost=2.0)
    assert float(untouched.temperature) == 1 and float(untouched.offset) == 0


def test_whole_files_are_held_out():
    examples = candidates()
    held = held_out(examples, ScratchTrainingSettings(held_out=0.2))
    assert 0 < held.sum() < len(held)
    assert not set(examples.sources[held]) & set(examples.sources[~held])
    assert len(examples.only(held)) == held.sum()


def test_figures():
    logits, labels = torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0]), torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
    found = figures(logits, labels)
    assert found["recall"] == 0.5 and found["false_share"] == pytest.approx(1 / 3) and found["examples"] == 5


def test_bad_settings_and_one_kind_of_line_only():
    for given in ({"scratches": 1.0}, {"held_out": 0.0}, {"doubt": 1.0}, {"noise": -1.0}, {"mark_cost": 0.0}):
        with pytest.raises(SettingsError, match=next(iter(given))):
            ScratchTrainingSettings(**given)  # type: ignore[arg-type]
    only = candidates()
    only.labels[:] = 0
    with pytest.raises(SettingsError, match="0 scratches"):
        ScratchSamples(only, ScratchTrainingSettings(), seed=0, batch=8)
