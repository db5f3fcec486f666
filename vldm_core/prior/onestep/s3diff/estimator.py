"""S3Diff's estimator of blur and noise, which reads a picture as it is before it is enlarged.

One branch for each score: a convolution, residual blocks at the picture's size and, halved once, two more, the mean
over the picture, and two linear layers.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ....files.published import fill

SCORES = 2
"""Blur and noise."""

_WIDTH, _WIDE, _HIDDEN = 64, 128, 512
_BLOCKS, _WIDE_BLOCKS = 6, 2


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(torch.relu(self.conv1(x)))


class DamageEstimator(nn.Module):
    """Pictures to scores of their damage."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_first = nn.ModuleList(nn.Conv2d(3, _WIDTH, 3, padding=1) for _ in range(SCORES))
        self.body = nn.ModuleList(
            nn.Sequential(
                *(_Residual(_WIDTH) for _ in range(_BLOCKS)),
                nn.Conv2d(_WIDTH, _WIDE, 3, stride=2, padding=1),
                *(_Residual(_WIDE) for _ in range(_WIDE_BLOCKS)),
            )
            for _ in range(SCORES)
        )
        self.fc_degree = nn.ModuleList(
            nn.Sequential(nn.Linear(_WIDE, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 1), nn.Sigmoid())
            for _ in range(SCORES)
        )

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor]) -> "DamageEstimator":
        """Build it from the tensors of de_net.pth.

        Raises:
            WeightFileError: Some are missing, left over or of another shape.
        """
        with torch.device("meta"):
            found = cls()
        fill(found, tensors, "S3Diff's estimator of the damage")
        return found.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Estimate.

        Args:
            pictures: (T, 3, H, W), RGB, [0, 1].

        Returns:
            (T, 2), [0, 1].
        """
        found = [
            degree(body(first(pictures)).mean(dim=(-2, -1)))
            for first, body, degree in zip(self.conv_first, self.body, self.fc_degree, strict=True)
        ]
        return torch.cat(found, dim=1)
