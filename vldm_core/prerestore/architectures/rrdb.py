"""BSRNet: a network of residual-in-residual dense blocks that enlarges four times.

K. Zhang et al., "Designing a Practical Degradation Model for Deep Blind Image Super-Resolution", ICCV 2021; the network
is that of X. Wang et al., "ESRGAN", ECCVW 2018. spandrel has it as ESRGAN, but with 32 growth channels fixed, and it
renames what it knows of a file and drops the rest; so the network is built here under the published names.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from ...errors import SettingsError
from ...machine.companions import importing
from .architecture import Shapes, Stage1Architecture, length_of, size_of
from .dense_blocks import SLOPE, ResidualDenseBlocks

if TYPE_CHECKING:
    from spandrel import ModelTiling
    from spandrel.architectures.ESRGAN import ESRGANArch


@dataclass(frozen=True, kw_only=True)
class RRDBConfig:
    """Size of an RRDBNet; the defaults are BSRNet's.

    Attributes:
        width: Channels of the features.
        blocks: Residual-in-residual dense blocks.
        growth: Channels that each convolution of a dense block adds.
        scale: Enlargement, 2 or 4.
    """

    width: int = 64
    blocks: int = 23
    growth: int = 32
    scale: int = 4

    def __post_init__(self) -> None:
        if min(self.width, self.blocks, self.growth) < 1 or self.scale not in (2, 4):
            raise SettingsError(f"an RRDBNet cannot be made with {self}; use positive sizes and scale 2 or 4")


class RRDBNet(nn.Module):
    """(B, 3, H, W) in [0, 1] to (B, 3, scale·H, scale·W), not clamped."""

    def __init__(self, config: RRDBConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.conv_first = nn.Conv2d(3, width, 3, padding=1)
        self.RRDB_trunk = nn.Sequential(
            *(ResidualDenseBlocks(width, config.growth, name="RDB") for _ in range(config.blocks))
        )
        self.trunk_conv = nn.Conv2d(width, width, 3, padding=1)
        self.upconv1 = nn.Conv2d(width, width, 3, padding=1)
        if config.scale == 4:
            self.upconv2 = nn.Conv2d(width, width, 3, padding=1)
        self.HRconv = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Enlarge and restore pictures."""
        features = self.conv_first(image)
        features = features + self.trunk_conv(self.RRDB_trunk(features))
        for convolution in (self.upconv1, self.upconv2) if self.config.scale == 4 else (self.upconv1,):
            features = _leaky(convolution(functional.interpolate(features, scale_factor=2, mode="nearest")))
        return self.conv_last(_leaky(self.HRconv(features)))


def _leaky(features: Tensor) -> Tensor:
    return functional.leaky_relu(features, SLOPE)


class BSRNet(Stage1Architecture[RRDBConfig]):
    """BSRNet.pth, and BSRGAN's files, which have the same layout."""

    name: ClassVar[str] = "BSRNet"
    signature: ClassVar[tuple[str, ...]] = ("RRDB_trunk.0.RDB1.conv1.weight", "trunk_conv.weight")

    def config_of(self, shapes: Shapes) -> RRDBConfig:
        """See the base."""
        return RRDBConfig(
            width=size_of(shapes, "conv_first.weight", 0, dimensions=4),
            blocks=length_of(shapes, "RRDB_trunk."),
            growth=size_of(shapes, "RRDB_trunk.0.RDB1.conv1.weight", 0, dimensions=4),
            scale=4 if "upconv2.weight" in shapes else 2,
        )

    def build(self, config: RRDBConfig) -> RRDBNet:
        """See the base."""
        return RRDBNet(config)

    def family(self) -> "ESRGANArch":
        """See the base."""
        with importing("spandrel", "spandrel"):
            from spandrel.architectures.ESRGAN import ESRGANArch

        return ESRGANArch()

    def scale(self, config: RRDBConfig) -> int:
        """See the base."""
        return config.scale

    def multiple(self, config: RRDBConfig) -> int:
        """See the base."""
        return 1

    def tiling(self) -> "ModelTiling":
        """See the base."""
        with importing("spandrel", "spandrel"):
            from spandrel import ModelTiling

        return ModelTiling.SUPPORTED
