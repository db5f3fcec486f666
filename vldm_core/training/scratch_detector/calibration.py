"""Calibration of the scratch network, so that its output is a probability and 0.5 is where to decide."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from ...arrays import DoubleArray
from ...film.scratches.network import ScratchNetwork

_PRIOR = (1.0, 0.0)
"""Factor and offset of a network that is calibrated already; by a weak belief in it few examples say little."""

_BOUNDS = ((0.1, 10.0), (-10.0, 10.0))
"""A factor or an offset beyond these says that the examples say nothing."""


def calibrate(network: ScratchNetwork, parts: Sequence[Tensor], *, mark_cost: float) -> None:
    """Fit temperature and offset of a network so that its output is a probability (Platt scaling).

    The odds are then divided by the cost of a mark, so that 0.5 is where a mark on the scene counts as so many missed
    scratches.

    Args:
        network: Trained network; changed in place.
        parts: Pictures, numbers and labels, see `task.tensors`, of examples it was not trained on. Where they are of
            one kind alone, nothing is changed.
        mark_cost: How many missed scratches a mark on the scene counts for.
    """
    *seen, labels = parts
    if not 0 < float(labels.mean()) < 1:
        return
    device = network.offset.device
    with torch.no_grad():
        logits = network.eval()(*(part.to(device) for part in seen)).double().cpu().numpy()
    design, target = np.stack((logits, np.ones_like(logits)), axis=1), labels.double().cpu().numpy()

    def unlikely(place: DoubleArray) -> tuple[float, DoubleArray]:
        """The negative log likelihood of a logistic regression with a prior, and its gradient."""
        odds, away = design @ place, place - _PRIOR
        value = np.logaddexp(0, odds).sum() - target @ odds + 0.5 * away @ away
        return float(value), design.T @ (expit(odds) - target) + away

    factor, offset = minimize(unlikely, _PRIOR, jac=True, bounds=_BOUNDS, method="L-BFGS-B").x
    with torch.no_grad():
        network.temperature.fill_(float(factor))
        network.offset.fill_(float(offset) - math.log(mark_cost))
