"""The shape of StableSR's encoder and modulation, read off a file's tensors."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ....errors import SettingsError
from ....files.published import numbered, shape_of
from ....files.weights import WeightFileError

GROUPS = 32
"""Groups of every norm; published, and not in a file."""

HEADS = 4
"""Attention heads of the encoder; published, and not in a file."""


@dataclass(frozen=True, kw_only=True)
class StructureEncoderConfig:
    """Shape of the structure encoder; the defaults are the published ones.

    Attributes:
        in_channels: Of the latent.
        width: Channels after the first convolution; the time embedding is four times as wide.
        widths: Channels at every level, largest picture first; the picture is halved between levels.
        blocks: Residual blocks of a level.
        attention: Whether the blocks of a level are followed by self-attention.
        out_channels: Of every feature that comes out.
    """

    in_channels: int = 4
    width: int = 256
    widths: tuple[int, ...] = (256, 256, 512, 512)
    blocks: int = 2
    attention: tuple[bool, ...] = (True, True, True, False)
    out_channels: int = 256

    def __post_init__(self) -> None:
        wrong = [width for width in (self.width, *self.widths, self.out_channels) if width < 1 or width % GROUPS]
        if wrong:
            raise SettingsError(f"a structure encoder needs widths that are multiples of {GROUPS}; got {wrong[0]}")
        if min(self.in_channels, self.blocks, len(self.widths)) < 1 or len(self.attention) != len(self.widths):
            raise SettingsError(
                f"a structure encoder needs channels, blocks and levels, and one word about attention for each level; "
                f"got {self}"
            )

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "StructureEncoderConfig":
        """Read the shape off the encoder's weights.

        Args:
            tensors: In the published layout, without `structcond_stage_model.`.

        Raises:
            WeightFileError: They are of something else.
        """
        width, in_channels = shape_of(tensors, "input_blocks.0.0.weight", 4)[:2]
        levels: list[list[int]] = [[]]
        for number in numbered(tensors, "input_blocks.")[1:]:
            if f"input_blocks.{number}.0.op.weight" in tensors:
                levels.append([])
            else:
                levels[-1].append(number)
        if not all(levels):
            raise WeightFileError("a level of the structure encoder has no blocks; take the published file")
        first = [level[0] for level in levels]
        try:
            return cls(
                in_channels=in_channels,
                width=width,
                widths=tuple(
                    shape_of(tensors, f"input_blocks.{number}.0.out_layers.3.weight", 4)[0] for number in first
                ),
                blocks=max(len(level) for level in levels),
                attention=tuple(f"input_blocks.{number}.1.qkv.weight" in tensors for number in first),
                out_channels=shape_of(tensors, "fea_tran.0.out_layers.3.weight", 4)[0],
            )
        except SettingsError as error:
            raise WeightFileError(f"the structure encoder of this file is unknown: {error}") from error


@dataclass(frozen=True, kw_only=True)
class ModulationConfig:
    """Shape of the modulation of one ResBlock.

    Attributes:
        channels: Of the ResBlock's output.
        label_channels: Of the feature that modulates it.
        hidden: Channels between; 128 in all published files.
    """

    channels: int
    label_channels: int = 256
    hidden: int = 128

    def __post_init__(self) -> None:
        if self.channels < 1 or self.channels % GROUPS or min(self.label_channels, self.hidden) < 1:
            raise SettingsError(f"modulation needs a multiple of {GROUPS} channels and features; got {self}")

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "ModulationConfig":
        """Read the shape off the weights of one ResBlock's modulation, without their prefix.

        Raises:
            WeightFileError: They are of something else.
        """
        hidden, label_channels = shape_of(tensors, "mlp_shared.0.weight", 4)[:2]
        (channels,) = shape_of(tensors, "param_free_norm.weight", 1)
        try:
            return cls(channels=channels, label_channels=label_channels, hidden=hidden)
        except SettingsError as error:
            raise WeightFileError(f"the modulation of this file is unknown: {error}") from error
