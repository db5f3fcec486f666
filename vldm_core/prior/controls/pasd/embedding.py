"""PASD's way from the degraded picture to features: a small network that also has to paint the clean picture.

Between its convolutions stand heads that give a picture at a half, a quarter and an eighth of the size; training asks
them for the clean one, so that the features between are freed of the damage (arXiv:2308.14469, section 3.1). Only
training needs the heads. Checkpoints whose names end in `rrdb` have two residual-in-residual dense blocks (ESRGAN,
arXiv:1809.00219) before the halvings.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from ....files.published import numbered
from ....prerestore.architectures.dense_blocks import ResidualDenseBlocks
from ..network.picture_embedding import PictureEmbedding


class DegradationRemoval(PictureEmbedding):
    """Pixels to features an eighth of their size.

    Args:
        out_channels: Channels of the features, those of a UNet's first level.
        channels: Of the first convolution and of each halving; 16, 32, 96, 256 where published.
        dense: Residual-in-residual dense blocks; 0, or 2 in the `rrdb` checkpoints.
    """

    def __init__(self, out_channels: int, channels: tuple[int, ...], *, dense: int = 0) -> None:
        super().__init__(out_channels, channels)
        self.preprocesser = nn.Sequential(*(ResidualDenseBlocks(channels[0], channels[0]) for _ in range(dense)))
        self.to_rgbs = nn.ModuleList(nn.Conv2d(width, 3, 3, padding=1) for width in channels[1:])

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> "DegradationRemoval":
        """Build, without its weights, the embedding that a file holds.

        Args:
            tensors: Of the file, without prefix.

        Raises:
            WeightFileError: They are not those of such an embedding.
        """
        plain = PictureEmbedding.like(tensors)
        halvings = [int(conv.out_channels) for conv in plain.blocks if conv.stride == (2, 2)]  # type: ignore[arg-type]
        return cls(
            plain.conv_out.out_channels,
            (plain.conv_in.out_channels, *halvings),
            dense=len(numbered(tensors, "preprocesser.")),
        )

    def begun(self, picture: Tensor) -> Tensor:
        """Return the features before the first halving."""
        return self.preprocesser(super().begun(picture))

    def pictures(self, picture: Tensor) -> list[Tensor]:
        """Return the cleaned pictures that training compares with the true one, RGB, [-1, 1].

        Args:
            picture: (B, 3, H, W), RGB, [0, 1], degraded.

        Returns:
            (B, 3, H/2, W/2), (B, 3, H/4, W/4) and (B, 3, H/8, W/8).
        """
        return [head(found) for head, found in zip(self.to_rgbs, self.halved(picture), strict=True)]
