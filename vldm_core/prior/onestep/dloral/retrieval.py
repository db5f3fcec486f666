"""DLoRAL's retrieval from the frame before: its latent is brought along the flow, and what fits is added.

The attention has no softmax: a = ReLU((q · k / sqrt(64) - t(q)) / 3000), over all positions of the other latent. The
sum grows with their number, so pictures are looked at in tiles no larger than those of training allowed.
"""

import torch
from torch import Tensor, nn

from .flow import SPyNet, looked_up

HEADS, WIDTH = 9, 64
_DIVISOR = 3000.0
_MOST_PRODUCTS = 2**24
"""Entries of the table of queries by positions that are held at once for each head."""


class Retrieval(nn.Module):
    """The cross-frame attention."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        wide = HEADS * WIDTH
        self.query_conv = nn.Conv2d(channels, wide, 1)
        self.key_conv = nn.Conv2d(channels, wide, 1)
        self.value_conv = nn.Conv2d(channels, wide, 1)
        self.proj_out = nn.Conv2d(wide, channels, 1)
        self.threshold_fc = nn.Linear(WIDTH, 1)

    def forward(self, current: Tensor, warped: Tensor) -> Tensor:
        """Return the current latent with what was found in the other.

        Args:
            current: (N, 4, h, w), scaled.
            warped: Likewise: the frame before, brought to the current one.
        """
        count, _, height, width = current.shape

        def heads(made: Tensor) -> Tensor:
            return made.view(count, HEADS, WIDTH, height * width).transpose(2, 3)

        query, key, value = (
            heads(self.query_conv(current)),
            heads(self.key_conv(warped)),
            heads(self.value_conv(warped)),
        )
        # In chunks of queries: the whole table grows with the square of the picture.
        rows = max(1, _MOST_PRODUCTS // (height * width))
        found = [self._found(part, key, value) for part in query.split(rows, dim=2)]
        joined = torch.cat(found, dim=2).transpose(2, 3).reshape(count, HEADS * WIDTH, height, width)
        return current + self.proj_out(joined)

    def _found(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        likeness = query @ key.transpose(2, 3) / WIDTH**0.5
        return ((likeness - self.threshold_fc(query)) / _DIVISOR).relu() @ value


class FrameRetrieval(nn.Module):
    """The previous frame brought to the current one, and the current one with what was found there."""

    def __init__(self) -> None:
        super().__init__()
        self.spynet = SPyNet()
        self.cross_attn_module = Retrieval()

    def forward(self, current: Tensor, before: Tensor, here: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Look back.

        Args:
            current: (N, 4, h, w), scaled latent.
            before: Likewise, of the frame before.
            here: (N, 3, h, w), [-1, 1]: the current picture, a pixel for each of the latent's.
            there: Likewise, of the frame before.

        Returns:
            The latent before, brought along, and the current one with what was found in it.
        """
        warped = looked_up(before, self.spynet(here, there), padding="zeros")
        return warped, self.cross_attn_module(current, warped)
