"""The learned verdict on a candidate: scratch, or part of the scene?

A small network looks at what `appearance.py` describes: three convolutional branches over the pictures near the
path, far from it and over time, joined with the numbers. The weights were trained by `training/scratch_detector`; their
card lies beside them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import SettingsError
from ...files.networks import WEIGHTS, NetworkKind
from .search.appearance import FAR_PLANES, NEAR_PLANES, NUMBERS, TIME_PLANES, Appearance

_NEAR_GROUPS = 9
"""Groups of columns over which what lies near the path is pooled: the line and both its sides are kept apart."""

_GROUPS = 4
"""Groups of columns over which what lies far from it, and what changes over time, is pooled: more coarsely."""


@dataclass(frozen=True, kw_only=True)
class ScratchNetworkConfig:
    """Size of the network.

    Attributes:
        width: Channels of the first layers, 4 … 64.
        hidden: Width of the joint layers, 8 … 256.
    """

    width: int = 12
    hidden: int = 64

    def __post_init__(self) -> None:
        for name, low, high in (("width", 4, 64), ("hidden", 8, 256)):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise SettingsError(f"scratch network {name} is {value!r}; use a whole number from {low} to {high}")


class ScratchNetwork(nn.Module):
    """Judges candidates.

    Args:
        config: Its size.
    """

    temperature: Tensor
    offset: Tensor

    def __init__(self, config: ScratchNetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ScratchNetworkConfig()
        width, hidden = config.width, config.hidden
        self.near = _branch(NEAR_PLANES, width, pool=(1, 2))
        self.far = _branch(FAR_PLANES, width // 2, pool=(1, 2))
        self.times = _branch(TIME_PLANES, width // 2, pool=(1, 1))
        # Mean and maximum down the rows, for nine groups of columns near the path and four of the others.
        features = 4 * width * _NEAR_GROUPS + 4 * (width // 2) * 2 * _GROUPS
        self.features = nn.Sequential(nn.Linear(features, hidden), nn.SiLU())
        self.numbers = nn.Sequential(nn.Linear(NUMBERS, hidden // 2), nn.SiLU())
        self.verdict = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(hidden + hidden // 2, hidden), nn.SiLU(), nn.Linear(hidden, 1)
        )
        self.register_buffer("temperature", torch.ones(1))
        self.register_buffer("offset", torch.zeros(1))

    def forward(self, near: Tensor, far: Tensor, times: Tensor, numbers: Tensor) -> Tensor:
        """Return the logit of every candidate being a scratch.

        Args:
            near: (n, 6, 24, 33).
            far: (n, 3, 24, 33).
            times: (n, 4, 24, 16).
            numbers: (n, 18).

        Returns:
            (n,), before calibration.
        """
        seen = torch.cat(
            (
                _pooled(self.near(near), _NEAR_GROUPS),
                _pooled(self.far(far), _GROUPS),
                _pooled(self.times(times), _GROUPS),
            ),
            dim=1,
        )
        joint = torch.cat((self.features(seen), self.numbers(numbers)), dim=1)
        return self.verdict(joint)[:, 0]

    @torch.no_grad()
    def probability(self, seen: Appearance) -> list[float]:
        """Return the calibrated probability of every candidate being a scratch."""
        if not len(seen):
            return []
        logit = self(*(torch.from_numpy(part) for part in (seen.near, seen.far, seen.times, seen.numbers)))
        return [float(value) for value in torch.sigmoid(logit * self.temperature + self.offset)]


def _branch(planes: int, width: int, *, pool: tuple[int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(planes, width, 3, padding=1),
        nn.GroupNorm(min(4, width // 2), width),
        nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1, stride=pool),
        nn.SiLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1, stride=2),
        nn.SiLU(),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1),
        nn.SiLU(),
    )


def _pooled(features: Tensor, columns: int) -> Tensor:
    """Mean and maximum over rows and groups of columns, (n, 2·channels·columns)."""
    rows = torch.cat((features.mean(dim=2), features.amax(dim=2)), dim=1)
    return nn.functional.adaptive_avg_pool1d(rows, columns).flatten(1)


KIND: NetworkKind[ScratchNetwork] = NetworkKind(
    "vldm.line_network",
    "scratch detector",
    ScratchNetwork,
    ScratchNetworkConfig,
    hint="or use the detector 'weight-free'",
)
"""How such networks are kept in files."""


def shared_network() -> ScratchNetwork:
    """Return the network that ships with the package, read once per process.

    Raises:
        WeightFileError: Its file is missing, damaged, or does not hold such a network.
    """
    return KIND.shared(WEIGHTS / "line_detector.safetensors")
