"""Examples that are quickly learnt: spots whose every plane stands out."""

import torch
from torch import Tensor

from vldm_core.film.dirt.features import PLANES
from vldm_core.film.dirt.network import DirtNetworkConfig
from vldm_core.training.dirt_detector.examples import BLOTCH, DIRT

TINY = DirtNetworkConfig(widths=(4, 4, 4), depths=(0, 0, 1))


def spots() -> tuple[Tensor, Tensor]:
    """Return planes (10, len(PLANES), 40, 40) int8 and labels (10, 40, 40) uint8."""
    stream = torch.Generator().manual_seed(1)
    planes = torch.randint(-8, 9, (10, len(PLANES), 40, 40), generator=stream, dtype=torch.int8)
    labels = torch.zeros(10, 40, 40, dtype=torch.uint8)
    for number in range(10):
        top, left = (int(value) for value in torch.randint(0, 30, (2,), generator=stream))
        planes[number, :, top : top + 6, left : left + 6] += 60
        labels[number, top : top + 6, left : left + 6] = BLOTCH if number % 3 == 0 else DIRT
    return planes, labels
