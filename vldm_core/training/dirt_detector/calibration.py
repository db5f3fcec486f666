"""Calibration of the dirt network: what is added to its outputs so that 0.5 is where to decide."""

from dataclasses import replace

import torch
from torch import Tensor

from ...film.dirt.network import DirtNetwork
from ...metrics.detection import score_detection
from .task import COUNTED, floats, neither_way

_LEVELS = tuple(torch.arange(-3.0, 3.01, 0.5).tolist())
"""Offsets, logits: beyond ±3 a network has learnt nothing; some hundred examples tell half a logit, no less."""


def calibrated(network: DirtNetwork, held: tuple[Tensor, Tensor, Tensor], *, alarm_cost: float) -> DirtNetwork:
    """Return the network with the offsets at which a probability of 0.5 gives each kind its best F1 at 1 px tolerance.

    What is too faint, or of another kind, counts neither way, as in `task.dirt_loss`.

    Args:
        network: Trained network.
        held: Planes and labels of examples it was not trained on, see `examples.load_examples`.
        alarm_cost: How many right marks a false alarm counts for.
    """
    device = next(network.parameters()).device
    fine, coarse, labels = held
    with torch.inference_mode():
        logits = torch.cat(
            [
                network(floats(near.to(device)), floats(far.to(device))).cpu()
                for near, far in zip(fine.split(8), coarse.split(8), strict=True)
            ]
        )
    offset = []
    for kind, (own, faint) in enumerate(COUNTED):
        truth = (labels & own) > 0
        ignore = ((labels & neither_way(own, faint)) > 0) & ~truth
        f1 = {}
        for level in _LEVELS:
            found = (logits[:, kind] + level > 0).float()
            score = score_detection(found, truth.float(), tolerance=1, ignore=ignore)
            recall, precision = score.recall or 0.0, score.precision or 0.0
            precision /= precision + alarm_cost * (1 - precision)
            f1[level] = 2 * recall * precision / (recall + precision) if recall and precision else 0.0
        # Of several that are as good, the one that changes least.
        offset.append(max((value, -abs(level), level) for level, value in f1.items())[-1])
    result = DirtNetwork(replace(network.config, offset=(offset[0], offset[1], offset[2])))
    result.load_state_dict(network.state_dict())
    return result.eval()
