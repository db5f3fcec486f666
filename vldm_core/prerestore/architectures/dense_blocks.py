"""Residual-in-residual dense blocks (X. Wang et al., "ESRGAN", ECCVW 2018, section 3.1), part of several networks.

dense(x) = x + 0.2 · conv5([x, x1, … x4]), with xi = leaky(convi([x, x1, … ])),
block(x) = x + 0.2 · dense3(dense2(dense1(x))).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

RESIDUAL = 0.2
"""Factor on what each block adds; published, and not in a file."""

SLOPE = 0.2
"""Factor on what is below 0 in the activations; published, and not in a file."""

_DENSE = 3
"""Number of dense blocks in a row; published."""

_GROWING = 4
"""Number of convolutions of a dense block that add channels; published."""


class DenseBlock(nn.Module):
    """Five convolutions that each see all before them, a fifth of the last added to what came in.

    Args:
        width: Channels of what comes in and goes out.
        growth: Channels that each of the first four adds.
    """

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for number in range(_GROWING):
            self.add_module(f"conv{number + 1}", nn.Conv2d(width + number * growth, growth, 3, padding=1))
        self.conv5 = nn.Conv2d(width + _GROWING * growth, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, h, w) for the same."""
        known = [x]
        for number in range(_GROWING):
            grown = self.get_submodule(f"conv{number + 1}")(torch.cat(known, dim=1))
            known.append(functional.leaky_relu(grown, SLOPE))
        return x + RESIDUAL * self.conv5(torch.cat(known, dim=1))


class ResidualDenseBlocks(nn.Module):
    """Three dense blocks, a fifth of them added to what came in.

    Args:
        width: Channels of what comes in and goes out.
        growth: Channels that each convolution of a dense block adds.
        name: Of the dense blocks, before their numbers 1, 2 and 3; published networks differ in it.
    """

    def __init__(self, width: int, growth: int, *, name: str = "rdb") -> None:
        super().__init__()
        for number in range(_DENSE):
            self.add_module(f"{name}{number + 1}", DenseBlock(width, growth))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, h, w) for the same."""
        found = x
        for block in self.children():
            found = block(found)
        return x + RESIDUAL * found
