"""The layers of controllable feature wrapping (CFW).

At two levels of a VAE's decoder, just before the picture is enlarged, a feature h becomes h + w · R(cat(e, h)). Here e
is the encoder's feature of the degraded picture at the same size, w the fidelity weight, and R a residual block, two
residual-in-residual dense blocks (X. Wang et al., "ESRGAN", ECCVW 2018) and a second residual block.

J. Wang et al., "Exploiting Diffusion Prior for Real-World Image Super-Resolution" (StableSR), IJCV 2024, section 3.2,
equation 4. Written from the paper and the layout of the published files, whose weights are for non-commercial use
(S-Lab License 1.0).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import SettingsError
from ...files.published import below, fill, numbered, shape_of
from ...files.weights import WeightFileError, read_wanted
from ...prerestore.architectures.dense_blocks import ResidualDenseBlocks

LEVELS = (2, 1)
"""Levels of the decoder that are wrapped, in the order in which it reaches them; level 0 is the whole picture."""

_GROUPS = 32
"""Groups of every norm; published, and not in a file."""

_EPS = 1e-6
"""What a norm adds to the variance of groups; published, and not in a file."""

_PREFIX = "decoder.fusion_layer_"
_WHOLE = "first_stage_model."
"""Prefix that a VAE has inside a complete checkpoint."""

_FIRST = "{level}.encode_enc_1.conv1.weight"


@dataclass(frozen=True, kw_only=True)
class FeatureWrappingConfig:
    """Shape of the layers; the defaults are the published ones.

    Attributes:
        widths: Channels of the VAE's features at levels 2 and 1.
        blocks: Residual-in-residual dense blocks of a layer.
        growth: Channels that each convolution of a dense block adds.
    """

    widths: tuple[int, int] = (512, 256)
    blocks: int = 2
    growth: int = 32

    def __post_init__(self) -> None:
        if any(width < 1 or width % _GROUPS for width in self.widths) or len(self.widths) != len(LEVELS):
            raise SettingsError(f"feature wrapping has widths {self.widths}; use {len(LEVELS)} multiples of {_GROUPS}")
        if self.blocks < 1 or self.growth < 1:
            raise SettingsError(f"feature wrapping needs blocks and growth of 1 or more; got {self}")

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "FeatureWrappingConfig":
        """Read the shape off the layers' weights, whose keys begin with the level: "2.encode_enc_1.conv1.weight".

        Raises:
            WeightFileError: They are of something else.
        """
        first, second = (shape_of(tensors, _FIRST.format(level=level), 4)[0] for level in LEVELS)
        try:
            return cls(
                widths=(first, second),
                blocks=len(numbered(tensors, f"{LEVELS[0]}.encode_enc_2.")),
                growth=shape_of(tensors, f"{LEVELS[0]}.encode_enc_2.0.rdb1.conv1.weight", 4)[0],
            )
        except SettingsError as error:
            raise WeightFileError(f"the feature wrapping of this file is unknown: {error}") from error


class FeatureWrapping(nn.Module):
    """The layers of both levels.

    Args:
        config: Their shape.
    """

    def __init__(self, config: FeatureWrappingConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FeatureWrappingConfig()
        self.layers = nn.ModuleDict(
            {
                str(level): _WrappingLayer(width, config.blocks, config.growth)
                for level, width in zip(LEVELS, config.widths, strict=True)
            }
        )

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor]) -> "FeatureWrapping":
        """Build the layers that a file holds, ready to be used.

        Args:
            tensors: A file of StableSR's VAE. The VAE itself and what its training used (`loss.`) are left aside.

        Raises:
            WeightFileError: There are no such layers, or they do not fit; the message lists what.
        """
        whole = any(key.startswith(_WHOLE) for key in tensors)
        own = below(tensors, (_WHOLE if whole else "") + _PREFIX)
        if not own:
            raise WeightFileError(
                f"there are no layers of feature wrapping ({_PREFIX}1 and {_PREFIX}2) here; "
                "take StableSR's vqgan_cfw_00011.ckpt or face_vqgan_cfw_00011.ckpt"
            )
        with torch.device("meta"):
            network = cls(FeatureWrappingConfig.of(own))
        fill(network.layers, own, "StableSR's feature wrapping")
        return network.eval().requires_grad_(False)

    def width(self, level: int) -> int:
        """Return the channels of the features at a level."""
        return self.config.widths[LEVELS.index(level)]

    def forward(self, level: int, encoded: Tensor, hidden: Tensor, fidelity: float) -> Tensor:
        """Return a wrapped feature of the decoder.

        Args:
            level: 2 or 1.
            encoded: (B, C, h, w) of the encoder, of the degraded picture.
            hidden: (B, C, h, w) of the decoder.
            fidelity: The weight w.
        """
        return hidden + fidelity * self.layers[str(level)](torch.cat([encoded, hidden], dim=1))


def read_feature_wrapping(path: Path) -> FeatureWrapping:
    """Read the layers out of a file of StableSR's VAE; the rest of the file stays on the disk.

    Args:
        path: .safetensors, .ckpt, .pt or .pth.

    Raises:
        WeightFileError: The file is unreadable, or see `FeatureWrapping.from_published`.
    """
    try:
        return FeatureWrapping.from_published(
            read_wanted(path, lambda key: key.removeprefix(_WHOLE).startswith(_PREFIX))
        )
    except WeightFileError as error:
        raise error if str(path) in str(error) else WeightFileError(f"{path}: {error}") from error


class _WrappingLayer(nn.Module):
    """R: (B, 2C, h, w) to (B, C, h, w)."""

    def __init__(self, width: int, blocks: int, growth: int) -> None:
        super().__init__()
        self.encode_enc_1 = _ResidualBlock(2 * width, width)
        self.encode_enc_2 = nn.Sequential(*(ResidualDenseBlocks(width, growth) for _ in range(blocks)))
        self.encode_enc_3 = _ResidualBlock(width, width)

    def forward(self, joined: Tensor) -> Tensor:
        return self.encode_enc_3(self.encode_enc_2(self.encode_enc_1(joined)))


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_GROUPS, channels, eps=_EPS)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(_GROUPS, out_channels, eps=_EPS)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, out_channels, 1) if channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(x)))
        return self.conv_out(x) + self.conv2(functional.silu(self.norm2(inner)))
