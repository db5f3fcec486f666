"""The dirt detector as a task: its samples, its loss, its calibration."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.film.dirt.features import PLANES, SIGNED_PLANES
from vldm_core.film.dirt.network import DirtNetwork, DirtNetworkConfig
from vldm_core.training.dirt_detector.calibration import calibrated
from vldm_core.training.dirt_detector.examples import BLOTCH, DIRT, FAINT_BLOTCH, FAINT_DIRT
from vldm_core.training.dirt_detector.task import DirtSquares, DirtTask, DirtTrainingSettings, dirt_loss

from .spots import TINY, spots


def test_samples_are_squares_in_every_way_that_makes_sense() -> None:
    planes, labels = spots()
    samples = DirtSquares(planes, labels, side=24, seed=1, batch=2)
    drawn = [samples.sample(index) for index in range(60)]
    again = samples.sample(7)
    assert torch.equal(again["planes"], drawn[7]["planes"]) and torch.equal(again["labels"], drawn[7]["labels"])
    signs, brightest = set(), PLANES.index("spike")
    for sample in drawn:
        assert sample["planes"].shape == (len(PLANES), 24, 24) and sample["labels"].shape == (24, 24)
        spot = sample["labels"] > 0
        if spot.sum() > 20:
            # The labels lie where the spot lies, whatever was turned; a negative changes signed planes alone.
            mean = sample["planes"].float()[:, spot].mean(dim=1)
            assert (mean[: len(SIGNED_PLANES)].abs() > 40).all() and (mean[len(SIGNED_PLANES) :] > 40).all()
            signs.add(bool(mean[brightest] > 0))
    assert signs == {True, False}


def test_what_is_too_faint_counts_neither_way() -> None:
    logits = torch.zeros(1, 2, 8, 8, requires_grad=True)
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[0, 0], labels[0, 1], labels[0, 2], labels[0, 3] = FAINT_DIRT, FAINT_BLOTCH, DIRT, BLOTCH
    dirt_loss(logits, labels, DirtTrainingSettings(evidence=1.0))[0].backward()
    assert logits.grad is not None
    dirt, blotch = logits.grad[0].abs().amax(-1)
    assert dirt[0] == 0 and dirt[3] == 0 and dirt[1] > 0 and dirt[2] > 0
    assert blotch[1] == 0 and blotch[2] == 0 and blotch[0] > 0 and blotch[3] > 0


def test_the_loss_by_hand() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[0, :4] = DIRT
    loss, parts = dirt_loss(torch.zeros(1, 2, 8, 8), labels, DirtTrainingSettings(evidence=2.0, least_overlap=8.0))
    # Half of 64 pixels is dirt and everything is given 0.5; blotches are looked for in the other half alone.
    overlaps = 1 - (2 * 16 + 8) / (32 + 32 + 8), 1 - 8 / (16 + 8)
    assert float(parts["entropy"]) == pytest.approx(2 * np.log(2))
    assert float(parts["overlap"]) == pytest.approx(sum(overlaps) / 2)
    assert float(loss) == pytest.approx(float(parts["entropy"] + parts["overlap"]))


def test_validation_is_the_loss_of_what_is_held_out() -> None:
    planes, labels = spots()
    network, settings = DirtNetwork(TINY).eval(), DirtTrainingSettings()
    with torch.no_grad():
        found = DirtTask(network, settings, planes[:8], labels[:8]).validate(network).figures["loss"]
        expected = dirt_loss(network(planes[:8].float() / 26), labels[:8], settings)[0]
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_calibration_moves_the_operating_point() -> None:
    class Shifted(DirtNetwork):
        def forward(self, planes: Tensor) -> Tensor:
            return torch.stack([planes[:, 0] * 4 - 11, planes[:, 0] * 0 - 9], dim=1)

    planes, labels = spots()
    assert calibrated(Shifted(TINY), planes, labels, alarm_cost=1.5).config.offset[0] >= 0.5


def test_impossible_settings_are_refused() -> None:
    planes, labels = spots()
    with pytest.raises(SettingsError, match="squares"):
        DirtSquares(planes, labels, side=64, seed=0, batch=2)
    for wrong in ({"side": 12}, {"held_out": 1.0}, {"evidence": 0.0}, {"alarm_cost": 0.0}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            DirtTrainingSettings(**wrong)  # type: ignore[arg-type]
    assert DirtNetworkConfig() == DirtNetwork().config
