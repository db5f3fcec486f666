"""SCUNet: a U-Net whose blocks are half convolution, half window attention.

K. Zhang et al., "Practical Blind Denoising via Swin-Conv-UNet and Data Synthesis", 2022. The network is spandrel's. It
pads by reflection where DiffBIR repeats the border, which changes pictures whose sides are not multiples of 64 (by up
to 0.044 at small size); padded beforehand, it gives the published outputs to 6.3e-7, where 1.2e-5 is allowed.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from ...errors import SettingsError
from ...machine.companions import importing
from .architecture import Shapes, Stage1Architecture, length_of, size_of

if TYPE_CHECKING:
    from spandrel import ModelTiling
    from spandrel.architectures.SCUNet import SCUNetArch

_STAGES = ("m_down1.", "m_down2.", "m_down3.", "m_body.", "m_up3.", "m_up2.", "m_up1.")
_HEAD = 32
"""Channels of a head of the published network; half of the channels attend."""

_MULTIPLE = 64
"""Pixels that the sides of a frame must be multiples of: windows of 8, at an eighth of the size."""


@dataclass(frozen=True, kw_only=True)
class SCUNetConfig:
    """Size of an SCUNet; the defaults are the published ones.

    Attributes:
        width: Channels at full size, a multiple of 64.
        blocks: Blocks on the way down, at the bottom and on the way up: seven numbers.
    """

    width: int = 64
    blocks: tuple[int, ...] = (4,) * 7

    def __post_init__(self) -> None:
        if self.width < 1 or self.width % (2 * _HEAD) or len(self.blocks) != len(_STAGES) or min(self.blocks) < 0:
            raise SettingsError(f"an SCUNet cannot be made with {self}; see SCUNetConfig")


class StageOneSCUNet(Stage1Architecture[SCUNetConfig]):
    """scunet_color_real_psnr.pth and its relatives."""

    name: ClassVar[str] = "SCUNet"
    signature: ClassVar[tuple[str, ...]] = ("m_head.0.weight", "m_tail.0.weight")

    def config_of(self, shapes: Shapes) -> SCUNetConfig:
        """See the base."""
        # Each stage but the bottom has a convolution beside its blocks.
        blocks = (length_of(shapes, stage) - (stage != "m_body.") for stage in _STAGES)
        return SCUNetConfig(width=size_of(shapes, "m_head.0.weight", 0, dimensions=4), blocks=tuple(blocks))

    def build(self, config: SCUNetConfig) -> nn.Module:
        """See the base."""
        with importing("spandrel", "spandrel"):
            from spandrel.architectures.SCUNet import SCUNet

        return SCUNet(config=list(config.blocks), dim=config.width)

    def family(self) -> "SCUNetArch":
        """See the base."""
        with importing("spandrel", "spandrel"):
            from spandrel.architectures.SCUNet import SCUNetArch

        return SCUNetArch()

    def scale(self, config: SCUNetConfig) -> int:
        """See the base."""
        return 1

    def multiple(self, config: SCUNetConfig) -> int:
        """See the base."""
        return _MULTIPLE

    def tiling(self) -> "ModelTiling":
        """See the base."""
        with importing("spandrel", "spandrel"):
            from spandrel import ModelTiling

        return ModelTiling.DISCOURAGED
