"""StableSR's networks: the encoder of the degraded picture, and the modulation that it steers.

The encoder is the downward half of a diffusion UNet without text (P. Dhariwal and A. Nichol, "Diffusion Models Beat
GANs on Image Synthesis", NeurIPS 2021, appendix A). It sees the latent of the degraded picture and the time step, and
gives one feature for each level of Stable Diffusion's UNet: early steps are led by the layout, late ones by the detail.

The modulation is spatially adaptive normalisation (T. Park et al., "Semantic Image Synthesis with Spatially-Adaptive
Normalization", CVPR 2019, equation 1): h ← norm(h) · (1 + γ) + β, with γ and β computed from the feature by two layers
of convolution. Here the norm is a group norm with weights of its own.

J. Wang et al., "Exploiting Diffusion Prior for Real-World Image Super-Resolution", IJCV 2024, section 3.1. Written
from the paper and the layout of the published files; the weights are for non-commercial use (S-Lab License 1.0).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....errors import SettingsError
from ....files.published import fill
from ..network.blocks import Downsample, TimedResidualBlock, time_mlp, timestep_embedding
from .config import GROUPS, HEADS, ModulationConfig, StructureEncoderConfig


class StructureEncoder(nn.Module):
    """Latents of degraded pictures and time steps to features; keys are those of the published files.

    Args:
        config: Its shape.
    """

    def __init__(self, config: StructureEncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or StructureEncoderConfig()
        time = 4 * config.width
        self.time_embed = time_mlp(config.width)
        self.input_blocks = nn.ModuleList()
        self.fea_tran = nn.ModuleList()
        self.input_blocks.append(nn.Sequential(nn.Conv2d(config.in_channels, config.width, 3, padding=1)))
        before = config.width
        for level, width in enumerate(config.widths):
            if level:
                self.input_blocks.append(nn.Sequential(Downsample(before)))
            for _ in range(config.blocks):
                layers: list[nn.Module] = [TimedResidualBlock(before, width, time)]
                if config.attention[level]:
                    layers.append(_SelfAttention(width))
                self.input_blocks.append(nn.Sequential(*layers))
                before = width
            self.fea_tran.append(TimedResidualBlock(before, config.out_channels, time))
        self.middle_block = nn.Sequential(
            TimedResidualBlock(before, before, time), _SelfAttention(before), TimedResidualBlock(before, before, time)
        )

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor]) -> "StructureEncoder":
        """Build the encoder that a file holds, ready to be used.

        Args:
            tensors: In the published layout, without `structcond_stage_model.`.

        Raises:
            WeightFileError: The file does not fit; the message lists what is missing or left over.
        """
        config = StructureEncoderConfig.of(tensors)
        with torch.device("meta"):
            encoder = cls(config)
        fill(encoder, tensors, "StableSR's structure encoder")
        return encoder.eval().requires_grad_(False)

    def forward(self, latent: Tensor, step: Tensor) -> tuple[Tensor, ...]:
        """Return the features of frames.

        Args:
            latent: (B, in_channels, h, w), scaled as the UNet's are, of the degraded picture.
            step: (B,) time steps of the training schedule, 0 … 999; between whole steps where a sampler stands there.

        Returns:
            (B, out_channels, h / 2^n, w / 2^n) for every level n, largest first; sides rounded up.

        Raises:
            SettingsError: The latent has another number of channels, or there is not one step for each frame.
        """
        if latent.ndim != 4 or latent.shape[1] != self.config.in_channels or step.shape != latent.shape[:1]:
            raise SettingsError(
                f"the structure encoder got latents {tuple(latent.shape)} and steps {tuple(step.shape)}; give "
                f"(B, {self.config.in_channels}, h, w) and (B,)"
            )
        time = self.time_embed(timestep_embedding(step, self.config.width).to(latent.dtype))
        found, hidden = [], latent
        for block in self.input_blocks:
            assert isinstance(block, nn.Sequential)
            if isinstance(block[0], Downsample):
                found.append(hidden)
            hidden = _passed(block, hidden, time)
        found.append(_passed(self.middle_block, hidden, time))
        return tuple(layer(feature, time) for layer, feature in zip(self.fea_tran, found, strict=True))


class SpatialModulation(nn.Module):
    """Modulation of one ResBlock's output; keys are those of the published files.

    γ and β depend on the feature alone, so they are computed once for a frame (`look`) and serve every chunk of the
    batch that holds the frame.

    Args:
        config: Its shape.
    """

    def __init__(self, config: ModulationConfig) -> None:
        super().__init__()
        self.config = config
        self.param_free_norm = nn.GroupNorm(GROUPS, config.channels)
        self.mlp_shared = nn.Sequential(nn.Conv2d(config.label_channels, config.hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(config.hidden, config.channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(config.hidden, config.channels, 3, padding=1)

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor], *, what: str = "modulation") -> "SpatialModulation":
        """Build the modulation that a file holds for one ResBlock, ready to be used.

        Args:
            tensors: Without the prefix of the ResBlock.
            what: Name of the place in messages.

        Raises:
            WeightFileError: The file does not fit; the message lists what is missing or left over.
        """
        config = ModulationConfig.of(tensors)
        with torch.device("meta"):
            layer = cls(config)
        fill(layer, tensors, what)
        return layer.eval().requires_grad_(False)

    def look(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Return γ and β, each (B, channels, h, w), of features (B, label_channels, h, w)."""
        shared = self.mlp_shared(feature)
        return self.mlp_gamma(shared), self.mlp_beta(shared)

    def forward(self, hidden: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """Return the modulated output of a ResBlock's branch, (N · F, channels, h, w).

        Args:
            hidden: (N · F, channels, h, w), before the skip is added: N chunks that hold the same frames in order.
            gamma: (F, channels, h, w) from `look`.
            beta: Likewise.
        """
        chunks = self.param_free_norm(hidden).unflatten(0, (-1, len(gamma)))
        return (chunks * (1 + gamma) + beta).flatten(0, 1)


def _passed(block: nn.Sequential, hidden: Tensor, time: Tensor) -> Tensor:
    for layer in block:
        hidden = layer(hidden, time) if isinstance(layer, TimedResidualBlock) else layer(hidden)
    return hidden


class _SelfAttention(nn.Module):
    """Attention of every position to all others, with a projection that holds q, k and v head by head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        tokens = hidden.flatten(2)
        # (B, 3C, n) to (B, heads, 3, d, n): the heads come first in the channels, then q, k and v of each.
        joined = self.qkv(self.norm(tokens)).unflatten(1, (HEADS, 3, -1))
        query, key, value = (part.transpose(2, 3) for part in joined.unbind(2))
        found = functional.scaled_dot_product_attention(query, key, value)
        return hidden + self.proj_out(found.transpose(2, 3).flatten(1, 2)).view_as(hidden)
