"""The latent head: an encoder in the place of the VAE's, which sees the pre-restored picture and how it came about.

The VAE of Stable Diffusion halves a picture three times, and its latents are nearly a linear function of patches of
8×8 pixels and their surroundings. So the head takes such patches in one step, as vision transformers do (A. Dosovitskiy
et al., "An Image is Worth 16×16 Words", ICLR 2021), adds what the network knows at that size, and works there alone,
where a convolution costs a sixty-fourth of what it costs in full.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import residual_blocks

LATENT_CHANNELS = 4
"""Channels of a latent of Stable Diffusion."""

SCALE = 8
"""Size of a frame over that of its latent."""

_SPREAD = 5.0
"""About the standard deviation of the latents of Stable Diffusion before they are scaled."""
_CONTRAST = 4.0
"""Factor that brings pictures to about unit variance."""


class LatentHead(nn.Module):
    """See the module.

    Args:
        channels: Of the features at 1/8.
        blocks: Residual blocks.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        width = 2 * channels
        self.patches = nn.Conv2d(3 * SCALE**2 + channels, width, 1)
        self.blocks = residual_blocks(width, blocks)
        self.out = nn.Conv2d(width, LATENT_CHANNELS, 3, padding=1)

    def forward(self, planes: Tensor) -> Tensor:
        """Return latents (N, 4, h, w), unscaled like the VAE's mean, for planes of `seen`."""
        return _SPREAD * self.out(self.blocks(self.patches(planes)))

    @staticmethod
    def seen(pictures: Tensor, features: Tensor) -> Tensor:
        """Return what the head sees.

        Args:
            pictures: (N, 3, 8·h, 8·w), pre-restored, about [0, 1].
            features: (N, C, h, w), of the network at 1/8.

        Returns:
            (N, 192 + C, h, w), like the features.
        """
        patches = functional.pixel_unshuffle(_CONTRAST * (pictures.clamp(0, 1) - 0.5), SCALE)
        return torch.cat((patches.to(features), features), dim=1)
