"""The small network that enlarges a frame fourfold before CLIP looks at it: MSRResNet.

SRResNet (Ledig et al., arXiv:1609.04802) without batch normalisation, as the RealESRGAN line of work uses it: residual
blocks at the frame's own size, pixel shuffles, and the frame itself enlarged bilinearly below.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....errors import SettingsError
from ....files.published import fill, numbered, shape_of
from ....files.weights import WeightFileError

_SLOPE = 0.1
"""Slope of the leaky ReLUs below zero, a ratio; published."""


@dataclass(frozen=True, kw_only=True)
class PreSRConfig:
    """Shape of the network.

    Attributes:
        features: Channels inside.
        blocks: Residual blocks.
        scale: Enlargement: 2, 3 or 4.
    """

    features: int = 64
    blocks: int = 16
    scale: int = 4

    def __post_init__(self) -> None:
        if self.features < 1 or self.blocks < 1:
            raise SettingsError(f"pre-SR needs features and blocks; got {self.features} and {self.blocks}")
        if self.scale not in (2, 3, 4):
            raise SettingsError(f"pre-SR enlarges by 2, 3 or 4; got {self.scale}")

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "PreSRConfig":
        """Read the shape off a file.

        Raises:
            WeightFileError: The file holds something else.
        """
        features = shape_of(tensors, "conv_first.weight", 4)[0]
        widened = shape_of(tensors, "upconv1.weight", 4)[0]
        scale = 4 if "upconv2.weight" in tensors else round((widened / features) ** 0.5)
        try:
            return cls(features=features, blocks=len(numbered(tensors, "body.")), scale=scale)
        except SettingsError as error:
            raise WeightFileError(f"the pre-SR network of this file is unknown: {error}") from error


class _Block(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(functional.relu(self.conv1(x)))


class PreSR(nn.Module):
    """MSRResNet; its keys are those of the checkpoint below `pre_sr_model.`."""

    def __init__(self, config: PreSRConfig) -> None:
        super().__init__()
        self.config = config
        step = 2 if config.scale == 4 else config.scale
        self.conv_first = nn.Conv2d(3, config.features, 3, padding=1)
        self.body = nn.Sequential(*(_Block(config.features) for _ in range(config.blocks)))
        self.upconv1 = nn.Conv2d(config.features, config.features * step * step, 3, padding=1)
        self.upconv2 = nn.Conv2d(config.features, config.features * 4, 3, padding=1) if config.scale == 4 else None
        self.conv_hr = nn.Conv2d(config.features, config.features, 3, padding=1)
        self.conv_last = nn.Conv2d(config.features, 3, 3, padding=1)
        self._step = step

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor]) -> "PreSR":
        """Build the network that a file holds.

        Args:
            tensors: Without the prefix.

        Raises:
            WeightFileError: The file does not fit; the message lists why.
        """
        config = PreSRConfig.of(tensors)
        with torch.device("meta"):
            network = cls(config)
        fill(network, tensors, "the pre-SR network (pre_sr_model)")
        return network.eval()

    def forward(self, frames: Tensor) -> Tensor:
        """Enlarge (B, 3, h, w) in [0, 1] to (B, 3, scale·h, scale·w), about [0, 1] and not clamped."""
        hidden = self.body(functional.leaky_relu(self.conv_first(frames), _SLOPE))
        for widen in (self.upconv1, self.upconv2):
            if widen is not None:
                hidden = functional.leaky_relu(functional.pixel_shuffle(widen(hidden), self._step), _SLOPE)
        detail = self.conv_last(functional.leaky_relu(self.conv_hr(hidden), _SLOPE))
        return detail + functional.interpolate(frames, scale_factor=self.config.scale, mode="bilinear")
