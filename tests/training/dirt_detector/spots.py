"""Examples that are quickly learnt: spots whose every plane stands out."""

import torch
from torch import Tensor

from vldm_core.film.dirt.features import COARSE_PLANES, FINE_PLANES
from vldm_core.film.dirt.network import DirtNetworkConfig
from vldm_core.training.dirt_detector.examples import BLOTCH, DIRT, SCRATCH

TINY = DirtNetworkConfig(widths=(4, 4, 4), depths=(0, 0, 1))


def spots() -> tuple[Tensor, Tensor, Tensor]:
    """Return fine planes (9, C, 40, 40) and coarse ones (9, C, 20, 20) int8, and labels (9, 40, 40) uint8."""
    stream = torch.Generator().manual_seed(1)
    fine = torch.randint(-8, 9, (9, len(FINE_PLANES), 40, 40), generator=stream, dtype=torch.int8)
    coarse = torch.randint(-8, 9, (9, len(COARSE_PLANES), 20, 20), generator=stream, dtype=torch.int8)
    labels = torch.zeros(9, 40, 40, dtype=torch.uint8)
    for number in range(9):
        top, left = (2 * int(value) for value in torch.randint(0, 15, (2,), generator=stream))
        fine[number, :, top : top + 6, left : left + 6] += 60
        coarse[number, :, top // 2 : top // 2 + 3, left // 2 : left // 2 + 3] += 60
        labels[number, top : top + 6, left : left + 6] = (BLOTCH, DIRT, SCRATCH)[number % 3]
    return fine, coarse, labels
