"""The picture's way into a ControlNet: from pixels to features of the latent's size.

Eight convolutions, three of them of stride 2 (arXiv:2302.05543, section 3.1), under diffusers' names.
"""

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from ....files.published import shape_of

_HALVINGS = 3


class PictureEmbedding(nn.Module):
    """Pixels to features an eighth of their size.

    Args:
        out_channels: Channels of the features, those of a UNet's first level.
        channels: Of the first convolution and of each of the three halvings; 16, 32, 96, 256 where published.
    """

    def __init__(self, out_channels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for before, after in pairwise(channels):
            self.blocks.append(nn.Conv2d(before, before, 3, padding=1))
            self.blocks.append(nn.Conv2d(before, after, 3, padding=1, stride=2))
        self.conv_out = nn.Conv2d(channels[-1], out_channels, 3, padding=1)

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> "PictureEmbedding":
        """Build, without its weights, the embedding that a file holds.

        Args:
            tensors: Of the file, without prefix.

        Raises:
            WeightFileError: They are not those of such an embedding.
        """
        halving = [2 * step + 1 for step in range(_HALVINGS)]
        widths = [shape_of(tensors, "conv_in.weight", 4)[0]]
        widths += [shape_of(tensors, f"blocks.{index}.weight", 4)[0] for index in halving]
        return cls(shape_of(tensors, "conv_out.weight", 4)[0], tuple(widths))

    def forward(self, picture: Tensor) -> Tensor:
        """Return (B, out_channels, h, w) for a picture (B, 3, 8·h, 8·w), RGB, [0, 1]."""
        return self.conv_out(self.halved(picture)[-1])

    def halved(self, picture: Tensor) -> list[Tensor]:
        """Return the features after each halving."""
        found = self.begun(picture)
        halved = []
        for index, conv in enumerate(self.blocks):
            found = functional.silu(conv(found))
            if index % 2:
                halved.append(found)
        return halved

    def begun(self, picture: Tensor) -> Tensor:
        """Return the features before the first halving."""
        return functional.silu(self.conv_in(picture))
