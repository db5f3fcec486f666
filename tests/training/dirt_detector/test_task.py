"""The dirt detector as a task: its samples, its loss, its calibration."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.film.dirt.features import COARSE_PLANES, FINE_PLANES, SIGNED_COARSE
from vldm_core.film.dirt.network import DirtNetwork, DirtNetworkConfig
from vldm_core.training.dirt_detector.calibration import calibrated
from vldm_core.training.dirt_detector.examples import (
    BLOTCH,
    DIRT,
    FAINT_BLOTCH,
    FAINT_DIRT,
    FAINT_SCRATCH,
    SCRATCH,
    UNKNOWN,
)
from vldm_core.training.dirt_detector.task import DirtSquares, DirtTask, DirtTrainingSettings, dirt_loss

from .spots import TINY, spots


def test_samples_are_squares_in_every_way_that_makes_sense() -> None:
    samples = DirtSquares(*spots(), side=24, seed=1, batch=2)
    drawn = [samples.sample(index) for index in range(60)]
    again = samples.sample(7)
    assert all(torch.equal(again[name], drawn[7][name]) for name in ("fine", "coarse", "labels"))  # type: ignore
    signs = set()
    for sample in drawn:
        assert sample["fine"].shape == (len(FINE_PLANES), 24, 24) and sample["labels"].shape == (24, 24)
        assert sample["coarse"].shape == (len(COARSE_PLANES), 12, 12)
        spot = sample["labels"] > 0
        if spot.sum() > 20:
            # The labels lie where the spot lies, whatever was turned; a negative changes signed planes alone.
            fine = sample["fine"].float()[:, spot].mean(dim=1)
            coarse = sample["coarse"].float()[:, spot[::2, ::2]].mean(dim=1)
            assert (fine.abs() > 40).all() and (coarse[:SIGNED_COARSE].abs() > 40).all()
            assert (coarse[SIGNED_COARSE:] > 40).all()
            signs.add(bool(fine[0] > 0))
    assert signs == {True, False}


def test_what_is_too_faint_or_unknown_counts_neither_way() -> None:
    logits = torch.zeros(1, 3, 8, 8, requires_grad=True)
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    for row, bit in enumerate((FAINT_DIRT, FAINT_SCRATCH, FAINT_BLOTCH, DIRT, SCRATCH, BLOTCH, UNKNOWN)):
        labels[0, row] = bit
    dirt_loss(logits, labels, DirtTrainingSettings(evidence=1.0))[0].backward()
    assert logits.grad is not None
    counted = (logits.grad[0].abs().amax(-1) > 0).tolist()
    assert counted[0] == [False, True, True, True, False, False, False, True]
    assert counted[1] == [True, False, True, False, True, False, False, True]
    assert counted[2] == [True, True, False, False, False, True, False, True]


def test_the_loss_by_hand() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[0, :4] = DIRT
    loss, parts = dirt_loss(torch.zeros(1, 3, 8, 8), labels, DirtTrainingSettings(evidence=2.0, least_overlap=8.0))
    # Half of 64 pixels is dirt and everything is given 0.5; the rest is looked for in the other half alone.
    overlaps = 1 - (2 * 16 + 8) / (32 + 32 + 8), 1 - 8 / (16 + 8), 1 - 8 / (16 + 8)
    assert float(parts["entropy"]) == pytest.approx(2 * np.log(2))
    assert float(parts["overlap"]) == pytest.approx(sum(overlaps) / 3)
    assert float(loss) == pytest.approx(float(parts["entropy"] + parts["overlap"]))


def test_validation_is_the_loss_of_what_is_held_out() -> None:
    fine, coarse, labels = (part[:8] for part in spots())
    network, settings = DirtNetwork(TINY).eval(), DirtTrainingSettings()
    with torch.no_grad():
        found = DirtTask(network, settings, (fine, coarse, labels)).validate(network).figures["loss"]
        expected = dirt_loss(network(fine.float() / 26, coarse.float() / 26), labels, settings)[0]
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_calibration_moves_the_operating_point() -> None:
    class Shifted(DirtNetwork):
        def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
            return torch.stack([fine[:, 0] * 4 - 11, fine[:, 0] * 0 - 9, fine[:, 0] * 0 - 9], dim=1)

    assert calibrated(Shifted(TINY), spots(), alarm_cost=1.5).config.offset[0] >= 0.5


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(SettingsError, match="squares"):
        DirtSquares(*spots(), side=64, seed=0, batch=2)
    for wrong in ({"side": 12}, {"held_out": 1.0}, {"evidence": 0.0}, {"alarm_cost": 0.0}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            DirtTrainingSettings(**wrong)  # type: ignore[arg-type]
    assert DirtNetworkConfig() == DirtNetwork().config
