"""SwinIR as DiffBIR trains it: PixelUnshuffle first, so that window attention works at an eighth of the size.

J. Liang et al., "SwinIR: Image Restoration Using Swin Transformer", ICCVW 2021. The network is spandrel's, which gives
the published outputs (to 2.4e-7 at small size, where 1.1e-5 is allowed) and calls one convolution by another name.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from ...errors import SettingsError
from ...files.weights import WeightFileError
from ...machine.companions import importing
from .architecture import Shapes, Stage1Architecture, length_of, root_of, size_of

if TYPE_CHECKING:
    from spandrel import ModelTiling
    from spandrel.architectures.SwinIR import SwinIRArch

_FIRST, _OWN_FIRST = "conv_first.1.", "conv_first."
_UPSAMPLERS = {2: 1, 4: 2, 8: 3}
"""Layers that double the picture, by the factor that they enlarge it by together."""


@dataclass(frozen=True, kw_only=True)
class SwinIRConfig:
    """Size of a SwinIR; the defaults are DiffBIR's.

    Attributes:
        width: Channels, divisible by every number of heads.
        depths: Transformer layers of every block.
        heads: Attention heads of every block.
        window: Side of an attention window, in features.
        hidden: Channels inside a layer's perceptron.
        unshuffle: Pixels on a side that become one feature, and by how much the network enlarges: 2, 4 or 8.
        trained_side: Features on a side for which the file holds attention masks.
        residual: "1conv" or "3conv": what closes a block.
    """

    width: int = 180
    depths: tuple[int, ...] = (6,) * 8
    heads: tuple[int, ...] = (6,) * 8
    window: int = 8
    hidden: int = 360
    unshuffle: int = 8
    trained_side: int = 64
    residual: str = "1conv"

    def __post_init__(self) -> None:
        sizes = (self.width, *self.depths, *self.heads, self.window - 1, self.hidden, self.trained_side)
        if (
            min(sizes) < 1
            or len(self.depths) != len(self.heads)
            or any(self.width % heads for heads in self.heads)
            or self.unshuffle not in _UPSAMPLERS
            or self.trained_side % self.window
            or self.residual not in ("1conv", "3conv")
        ):
            raise SettingsError(f"a SwinIR cannot be made with {self}; see SwinIRConfig")


class StageOneSwinIR(Stage1Architecture[SwinIRConfig]):
    """general_swinir_v1.ckpt, face_swinir_v1.ckpt, realesrgan_s4_swinir_100k.pth, codeformer_swinir.ckpt."""

    name: ClassVar[str] = "SwinIR with PixelUnshuffle"
    signature: ClassVar[tuple[str, ...]] = ("conv_first.1.weight", "layers.0.residual_group.blocks.0.norm1.weight")
    # Nor does spandrel run it in float16.
    halves: ClassVar[bool] = False

    def config_of(self, shapes: Shapes) -> SwinIRConfig:
        """See the base."""
        first = "layers.0.residual_group.blocks."
        layers = [f"layers.{index}.residual_group.blocks." for index in range(length_of(shapes, "layers."))]
        window = root_of(
            size_of(shapes, f"{first}0.attn.relative_position_index", 0, dimensions=2), "the size of its windows"
        )
        unshuffle = root_of(size_of(shapes, f"{_FIRST}weight", 1, dimensions=4) // 3, "the pixels in a feature")
        upsamplers = sum(f"conv_up{number}.weight" in shapes for number in (1, 2, 3))
        if _UPSAMPLERS.get(unshuffle) != upsamplers:
            raise WeightFileError(
                f"it reduces pictures by {unshuffle} and enlarges them by {2**upsamplers}; a stage-1 restorer does "
                "both alike, and other SwinIRs belong into the host's Load Upscale Model"
            )
        # Only shifted layers have a mask.
        masks = f"{first}1.attn_mask"
        trained = (
            window * root_of(size_of(shapes, masks, 0, dimensions=3), "the number of its windows")
            if masks in shapes
            else window
        )
        return SwinIRConfig(
            width=size_of(shapes, f"{_FIRST}weight", 0, dimensions=4),
            depths=tuple(length_of(shapes, layer) for layer in layers),
            heads=tuple(
                size_of(shapes, f"{layer}0.attn.relative_position_bias_table", 1, dimensions=2) for layer in layers
            ),
            window=window,
            hidden=size_of(shapes, f"{first}0.mlp.fc1.weight", 0, dimensions=2),
            unshuffle=unshuffle,
            trained_side=trained,
            residual="1conv" if "conv_after_body.weight" in shapes else "3conv",
        )

    def build(self, config: SwinIRConfig) -> nn.Module:
        """See the base."""
        with importing("spandrel", "spandrel"):
            from spandrel.architectures.SwinIR import SwinIR

        return SwinIR(
            img_size=config.trained_side,
            embed_dim=config.width,
            depths=list(config.depths),
            num_heads=list(config.heads),
            window_size=config.window,
            mlp_ratio=config.hidden / config.width,
            upscale=config.unshuffle,
            upsampler="nearest+conv",
            resi_connection=config.residual,
            start_unshuffle=config.unshuffle,
        )

    def family(self) -> "SwinIRArch":
        """See the base."""
        with importing("spandrel", "spandrel"):
            from spandrel.architectures.SwinIR import SwinIRArch

        return SwinIRArch()

    def scale(self, config: SwinIRConfig) -> int:
        """See the base."""
        return 1

    def multiple(self, config: SwinIRConfig) -> int:
        """See the base."""
        return config.unshuffle * config.window

    def tiling(self) -> "ModelTiling":
        """See the base."""
        with importing("spandrel", "spandrel"):
            from spandrel import ModelTiling

        return ModelTiling.DISCOURAGED

    def inner_key(self, key: str) -> str:
        """See the base."""
        return _OWN_FIRST + key[len(_FIRST) :] if key.startswith(_FIRST) else key

    def published_key(self, key: str) -> str:
        """See the base."""
        return _FIRST + key[len(_OWN_FIRST) :] if key.startswith(_OWN_FIRST) else key
